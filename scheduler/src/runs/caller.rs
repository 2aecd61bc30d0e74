//! Who asks for runs, and which are his to see: his own, and all of them for administrators. Runs of an earlier user of his name are somebody else's.

use orrery_engine::{Result, access};
use orrery_server::Principal;

use super::Run;

/// See the module documentation.
pub(crate) struct Caller {
    /// The name under which his runs are kept.
    pub name: String,
    /// With whose rights his runs are carried out; `None` is the embedded engine's, where there are no users.
    pub user: Option<access::Principal>,
    /// Since when there is the user, in milliseconds since 1970.
    since_ms: i64,
    sees_all: bool,
}

impl Caller {
    /// Somebody who was let in.
    ///
    /// # Errors
    /// Rights cannot be read.
    pub async fn of(principal: &Principal) -> Result<Self> {
        let (sees_all, since_ms) = match &principal.user {
            Some(user) => (user.is_administrator().await?, user.created_at().await?.map_or(i64::MAX, |at| at.timestamp_millis())),
            None => (true, 0),
        };
        Ok(Self { name: principal.name.clone(), user: principal.user.clone(), since_ms, sees_all })
    }

    /// The operator, on a port that tells no secrets.
    pub fn operator() -> Self {
        Self { name: access::LOCAL.to_string(), user: None, since_ms: 0, sees_all: true }
    }

    /// Whether a run is his to see, follow, stop and resume.
    pub fn may_see(&self, run: &Run) -> bool {
        self.sees_all || self.has_begun(run)
    }

    /// Whether a run is his own.
    pub fn has_begun(&self, run: &Run) -> bool {
        run.user_name() == self.name && run.started_ms() >= self.since_ms
    }
}
