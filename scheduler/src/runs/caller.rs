//! Who asks for runs, and which are his to see: his own, and all of them for administrators.

use orrery_engine::{Result, access};
use orrery_server::Principal;

use super::Run;

/// See the module documentation.
pub(crate) struct Caller {
    /// The name under which his runs are kept.
    pub name: String,
    /// With whose rights his runs are carried out; `None` is the embedded engine's, where there are no users.
    pub user: Option<access::Principal>,
    sees_all: bool,
}

impl Caller {
    /// Somebody who was let in.
    ///
    /// # Errors
    /// Rights cannot be read.
    pub async fn of(principal: &Principal) -> Result<Self> {
        let sees_all = match &principal.user {
            Some(user) => user.is_administrator().await?,
            None => true,
        };
        Ok(Self { name: principal.name.clone(), user: principal.user.clone(), sees_all })
    }

    /// The operator, on a port that tells no secrets.
    pub fn operator() -> Self {
        Self { name: access::LOCAL.to_string(), user: None, sees_all: true }
    }

    /// Whether a run is his to see, follow, stop and resume.
    pub fn may_see(&self, run: &Run) -> bool {
        self.sees_all || run.user_name() == self.name
    }
}
