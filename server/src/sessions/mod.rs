//! The sessions of clients: opened by a handshake, found again by the token that it gave or by a cookie, ended by their clients or for want of requests.
//!
//! A token that a handshake gave has a session of its own. A token that was made elsewhere and is used as it is may belong to many connections: those that
//! send cookies get a session each by a handshake, the others share one.

mod client_session;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::task::TaskTracker;
use tonic::Status;

pub(crate) use client_session::{ClientSession, InUse};

use crate::credentials::Credentials;
use crate::running::Place;
use crate::secret::{digest, random};
use crate::users::address_text;
use crate::{Authenticator, Limits, OpenSession, Principal, Refused};

/// The cookie by which a session is found again, as Flight's own clients and servers call it.
pub(crate) const COOKIE: &str = "arrow_flight_session_id";

/// How often it is looked for sessions and results that have had their time.
const SWEPT_EVERY: Duration = Duration::from_secs(1);

/// Somebody who was let in, in his session.
#[derive(Clone)]
pub(crate) struct Caller {
    pub session: Arc<ClientSession>,
    /// Where the call comes from, which may be another place than that of the session's first call.
    pub address: String,
    /// Keeps the session from being idle while the call lasts.
    _in_use: Arc<InUse>,
}

impl Caller {
    fn of(session: Arc<ClientSession>, from: Option<IpAddr>) -> Self {
        let in_use = Arc::new(ClientSession::enter(&session));
        Self { session, address: address_text(from), _in_use: in_use }
    }
}

/// What a handshake gives.
pub(crate) struct Admission {
    pub token: String,
    pub session_id: String,
}

#[derive(Default)]
struct Known {
    by_id: HashMap<String, Arc<ClientSession>>,
    /// Sessions by the digests of tokens.
    by_token: HashMap<[u8; 32], String>,
}

/// See the module documentation.
pub(crate) struct Sessions {
    authenticator: Arc<dyn Authenticator>,
    opener: Arc<dyn OpenSession>,
    limits: Limits,
    place: Place,
    known: Mutex<Known>,
}

impl Sessions {
    pub fn new(authenticator: Arc<dyn Authenticator>, opener: Arc<dyn OpenSession>, limits: Limits) -> Arc<Self> {
        let place = Place { tasks: TaskTracker::new(), patience: limits.result_timeout() };
        let sessions = Arc::new(Self { authenticator, opener, limits, place, known: Mutex::default() });
        tokio::spawn(sweep(Arc::downgrade(&sessions)));
        sessions
    }

    /// Lets somebody in by name and password, into a session of his own.
    pub async fn admit_by_password(&self, user: &str, password: &str, from: Option<IpAddr>) -> Result<Admission, Status> {
        let principal = self.authenticator.password(user, password, from).await?;
        self.admit(principal)
    }

    /// Lets somebody in by a token that was made elsewhere, into a session of his own.
    pub async fn admit_by_token(&self, token: &str, from: Option<IpAddr>) -> Result<Admission, Status> {
        let principal = self.authenticator.token(token, from).await?;
        self.admit(principal)
    }

    fn admit(&self, principal: Principal) -> Result<Admission, Status> {
        let token = random()?;
        let session = self.begin(principal, Some(digest(&token)), true)?;
        Ok(Admission { token, session_id: session.id().to_string() })
    }

    fn begin(&self, principal: Principal, token: Option<[u8; 32]>, is_own: bool) -> Result<Arc<ClientSession>, Status> {
        let id = random()?;
        let mut known = self.known.lock();
        if known.by_id.len() >= self.limits.max_sessions as usize {
            return Err(Status::resource_exhausted(format!("the server has {} sessions already; try again later", known.by_id.len())));
        }
        let session = Arc::new(ClientSession::new(id.clone(), principal, is_own, Arc::clone(&self.opener), self.place.clone()));
        known.by_id.insert(id.clone(), Arc::clone(&session));
        if let Some(token) = token {
            known.by_token.insert(token, id);
        }
        Ok(session)
    }

    /// The session of a call with this token and cookie.
    ///
    /// # Errors
    /// The token is not, or not any more, one that lets in; the cookie is of no session, or of somebody else's.
    pub async fn find(&self, token: &str, cookie: Option<&str>, from: Option<IpAddr>) -> Result<Caller, Status> {
        let key = digest(token);
        let issued = self.session_of(&key).filter(|session| session.has_own_token());
        let principal = match &issued {
            Some(session) => self.principal_of(session).await?,
            None => {
                let refused = |refused| match refused {
                    Refused::Denied(_) => Status::unauthenticated("the token is not valid, or its session has ended; connect again"),
                    Refused::Unavailable(_) => Status::from(refused),
                };
                self.authenticator.token(token, from).await.map_err(refused)?
            }
        };
        if let Some(id) = cookie {
            let session = self.known.lock().by_id.get(id).cloned();
            let session = session.filter(|session| session.principal().is(&principal));
            let gone = || Status::unauthenticated(format!("the session of the cookie {COOKIE} has ended; connect again"));
            return session.map(|session| Caller::of(session, from)).ok_or_else(gone);
        }
        if let Some(session) = issued {
            return Ok(Caller::of(session, from));
        }
        let shared = self.session_of(&key).filter(|session| session.principal().is(&principal));
        match shared {
            Some(session) => Ok(Caller::of(session, from)),
            None => self.begin(principal, Some(key), false).map(|session| Caller::of(session, from)),
        }
    }

    /// Whose a session is, as long as he is let in.
    async fn principal_of(&self, session: &ClientSession) -> Result<Principal, Status> {
        if self.authenticator.still_lets_in(session.principal()).await? {
            return Ok(session.principal().clone());
        }
        self.end(session.id());
        Err(Status::unauthenticated("the user is not let in any more"))
    }

    /// Who calls with this authorization, for calls that need no session.
    ///
    /// # Errors
    /// He is not let in.
    pub async fn identify(&self, authorization: Option<&str>, from: Option<IpAddr>) -> Result<Principal, Status> {
        let Some(authorization) = authorization else { return Ok(self.authenticator.nameless(from).await?) };
        match Credentials::read(authorization)? {
            Credentials::Password { user, password } => Ok(self.authenticator.password(&user, &password, from).await?),
            Credentials::Token(token) => match self.session_of(&digest(&token)).filter(|session| session.has_own_token()) {
                Some(session) => Ok(self.principal_of(&session).await?.calling_from(&address_text(from))),
                None => Ok(self.authenticator.token(&token, from).await?),
            },
        }
    }

    fn session_of(&self, token: &[u8; 32]) -> Option<Arc<ClientSession>> {
        let known = self.known.lock();
        known.by_token.get(token).and_then(|id| known.by_id.get(id)).cloned()
    }

    /// Ends a session: its work is stopped and its token is worth nothing any more.
    pub fn end(&self, id: &str) {
        let mut known = self.known.lock();
        known.by_token.retain(|_, session| session != id);
        if let Some(session) = known.by_id.remove(id) {
            session.close();
        }
    }

    /// Ends all sessions and waits until their work has cleaned up behind itself.
    pub async fn end_all(&self) {
        {
            let mut known = self.known.lock();
            known.by_token.clear();
            for (_, session) in known.by_id.drain() {
                session.close();
            }
        }
        self.place.tasks.close();
        self.place.tasks.wait().await;
    }

    async fn drop_what_had_its_time(&self) {
        let all: Vec<Arc<ClientSession>> = self.known.lock().by_id.values().cloned().collect();
        for session in all {
            if let Ok(false) = self.authenticator.still_lets_in(session.principal()).await {
                tracing::info!(user = %session.principal().name, "a session ends because its user is not let in any more");
                self.end(session.id());
            } else if session.is_idle_for(self.limits.session_timeout()) {
                tracing::info!(user = %session.principal().name, "a session ends for want of requests");
                self.end(session.id());
            } else {
                session.drop_old_results(self.limits.result_timeout());
            }
        }
    }
}

/// Looks through the sessions for as long as they are there.
async fn sweep(sessions: Weak<Sessions>) {
    let mut ticks = tokio::time::interval(SWEPT_EVERY);
    loop {
        ticks.tick().await;
        match sessions.upgrade() {
            Some(sessions) => sessions.drop_what_had_its_time().await,
            None => return,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
