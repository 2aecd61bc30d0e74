//! Who a session acts for, once a server knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

use super::Access;
use crate::Result;

/// A user who has shown who he is. His rights are looked up anew for every statement, so that what is revoked is gone within a second, sessions that are open
/// included.
#[derive(Debug, Clone)]
pub struct Principal {
    access: Access,
    user: String,
    address: String,
    /// Id of the token by which he came.
    token: Option<String>,
    /// When he last showed who he is, in microseconds since 1970; the same for all clones.
    since_us: Arc<AtomicI64>,
}

impl Principal {
    pub(super) fn new(access: Access, user: &str, address: &str, token: Option<String>) -> Self {
        Self {
            access,
            user: user.to_string(),
            address: address.to_string(),
            token,
            since_us: Arc::new(AtomicI64::new(Utc::now().timestamp_micros())),
        }
    }

    /// His name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Where he comes from, as the server said; for the audit and the throttle.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The same user, calling from another address.
    pub fn calling_from(mut self, address: &str) -> Self {
        self.address = address.to_string();
        self
    }

    /// Id of the token by which he came, if he did.
    pub fn token_id(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// When he last showed who he is.
    pub(crate) fn since(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.since_us.load(Ordering::Acquire)).unwrap_or_default()
    }

    /// He has given himself another password, so he need not log in anew by it.
    pub(crate) fn renew(&self) {
        self.since_us.store(Utc::now().timestamp_micros(), Ordering::Release);
    }

    /// Whether he is an administrator, as of at most half a second ago.
    ///
    /// # Errors
    /// The tables of rights cannot be read.
    pub async fn is_administrator(&self) -> Result<bool> {
        let rights = self.access.rights().await?;
        Ok(rights.admitted(self).is_some_and(|subject| subject.is_administrator()))
    }

    /// Since when there is a user of his name, as of at most half a second ago; `None` if there is none any more. Who had the name before was somebody else.
    ///
    /// # Errors
    /// The tables of rights cannot be read.
    pub async fn created_at(&self) -> Result<Option<DateTime<Utc>>> {
        Ok(self.access.rights().await?.users.get(&self.user).map(|row| row.created_at))
    }

    /// The users and rights that he is one of.
    pub fn access(&self) -> &Access {
        &self.access
    }
}
