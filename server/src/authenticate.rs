//! Who calls: names and passwords, or tokens, to principals. Who may do what is not decided here.

use std::net::IpAddr;

use async_trait::async_trait;
use orrery_engine::access;
use tonic::Status;

/// Somebody who was let in.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The name under which rights are granted.
    pub name: String,
    /// The user with his rights; `None` where there are no users, so that whoever is on the server's machine may do everything.
    pub user: Option<access::Principal>,
}

impl Principal {
    /// Whether this is the same user, whichever way he came.
    pub fn is(&self, other: &Self) -> bool {
        self.name == other.name && self.user.is_some() == other.user.is_some()
    }

    /// The same, calling from another address.
    pub(crate) fn calling_from(self, address: &str) -> Self {
        Self { user: self.user.map(|user| user.calling_from(address)), ..self }
    }
}

/// Somebody was not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The message is for him, and does not tell what of it was wrong.
    #[error("{0}")]
    Denied(String),
    /// Users cannot be looked up at the moment.
    #[error("{0}")]
    Unavailable(String),
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Denied(message) => Self::unauthenticated(message),
            Refused::Unavailable(message) => Self::unavailable(message),
        }
    }
}

/// Decides who is let in.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// The principal of a name and its password.
    ///
    /// # Errors
    /// They do not belong together, or nobody is let in from there.
    async fn password(&self, user: &str, password: &str, from: Option<IpAddr>) -> Result<Principal, Refused>;

    /// The principal of a token that was not given out by this server's handshake.
    ///
    /// # Errors
    /// There is no such token, it has expired, or nobody is let in from there.
    async fn token(&self, token: &str, from: Option<IpAddr>) -> Result<Principal, Refused>;

    /// The principal of whoever says nothing of himself.
    ///
    /// # Errors
    /// He has to say who he is.
    async fn nameless(&self, from: Option<IpAddr>) -> Result<Principal, Refused>;

    /// Whether somebody who was let in by a handshake may go on; asked at every call.
    ///
    /// # Errors
    /// That cannot be looked up.
    async fn still_lets_in(&self, principal: &Principal) -> Result<bool, Refused>;
}
