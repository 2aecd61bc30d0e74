//! Who finds which session: by token, by cookie, not by another's, and not after its end.

use std::net::IpAddr;

use async_trait::async_trait;
use clap::Parser;
use orrery_engine::session::Session;
use tonic::Code;

use super::*;
use crate::Refused;

/// Lets in `ann` and `ben`, whose passwords and tokens are their names; `ben` only until he is dropped.
#[derive(Default)]
pub(crate) struct TwoUsers {
    ben_is_gone: Mutex<bool>,
}

#[async_trait]
impl Authenticator for TwoUsers {
    async fn password(&self, user: &str, password: &str, _: Option<IpAddr>) -> Result<Principal, Refused> {
        if user == password { self.token(user, None).await } else { Err(no()) }
    }

    async fn token(&self, token: &str, _: Option<IpAddr>) -> Result<Principal, Refused> {
        let principal = Principal { name: token.to_string(), user: None };
        let known = ["ann", "ben"].contains(&token) && self.still_lets_in(&principal).await?;
        known.then_some(principal).ok_or_else(no)
    }

    async fn nameless(&self, _: Option<IpAddr>) -> Result<Principal, Refused> {
        Err(no())
    }

    async fn still_lets_in(&self, principal: &Principal) -> Result<bool, Refused> {
        Ok(principal.name != "ben" || !*self.ben_is_gone.lock())
    }
}

fn no() -> Refused {
    Refused::Denied("no".to_string())
}

pub(crate) struct NoEngine;

#[async_trait]
impl OpenSession for NoEngine {
    async fn open(&self, _: &Principal, _: &str) -> orrery_engine::Result<Session> {
        Err(orrery_engine::Error::sql("there is no engine in this test"))
    }
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    limits: Limits,
}

fn sessions(arguments: &[&str]) -> (Arc<Sessions>, Arc<TwoUsers>) {
    let limits = Arguments::try_parse_from(["test"].iter().chain(arguments)).unwrap().limits;
    let users = Arc::new(TwoUsers::default());
    (Sessions::new(Arc::clone(&users) as _, Arc::new(NoEngine), limits), users)
}

async fn found(sessions: &Sessions, token: &str, cookie: Option<&str>) -> Option<String> {
    match sessions.find(token, cookie, None).await {
        Ok(caller) => Some(caller.session.id().to_string()),
        Err(status) => {
            assert_eq!(status.code(), Code::Unauthenticated);
            None
        }
    }
}

#[tokio::test]
async fn a_token_of_a_handshake_finds_its_own_session() {
    let (sessions, _) = sessions(&[]);
    let first = sessions.admit_by_password("ann", "ann", None).await.unwrap();
    let second = sessions.admit_by_password("ann", "ann", None).await.unwrap();
    assert_ne!(first.token, second.token);
    assert_eq!(found(&sessions, &first.token, None).await, Some(first.session_id.clone()));
    assert_eq!(found(&sessions, &second.token, None).await, Some(second.session_id.clone()));
    // With a cookie it finds any session of the same user.
    assert_eq!(found(&sessions, &first.token, Some(&second.session_id)).await, Some(second.session_id));
    assert!(sessions.admit_by_password("ann", "wrong", None).await.is_err());
    assert_eq!(found(&sessions, "made up", None).await, None);
}

/// A session goes on from wherever its token is used, and the audit tells where that is.
#[tokio::test]
async fn a_call_has_an_address_of_its_own() {
    let (sessions, _) = sessions(&[]);
    let at = |last: u8| Some(IpAddr::from([10, 0, 0, last]));
    let ann = sessions.admit_by_password("ann", "ann", at(1)).await.unwrap();
    for (from, address) in [(at(2), "10.0.0.2"), (at(1), "10.0.0.1"), (None, "unknown")] {
        for (token, cookie) in [(ann.token.as_str(), None), (ann.token.as_str(), Some(ann.session_id.as_str())), ("ann", None)] {
            assert_eq!(sessions.find(token, cookie, from).await.unwrap().address, address);
        }
    }
}

#[tokio::test]
async fn a_cookie_of_somebody_else_finds_nothing() {
    let (sessions, _) = sessions(&[]);
    let ann = sessions.admit_by_password("ann", "ann", None).await.unwrap();
    let ben = sessions.admit_by_token("ben", None).await.unwrap();
    assert_eq!(found(&sessions, &ben.token, Some(&ann.session_id)).await, None);
    assert_eq!(found(&sessions, "ben", Some(&ann.session_id)).await, None);
    assert_eq!(found(&sessions, "ben", Some(&ben.session_id)).await, Some(ben.session_id));
}

#[tokio::test]
async fn a_token_made_elsewhere_has_one_session_for_those_without_cookies() {
    let (sessions, _) = sessions(&[]);
    let first = found(&sessions, "ann", None).await;
    assert!(first.is_some());
    assert_eq!(found(&sessions, "ann", None).await, first);
    assert_ne!(found(&sessions, "ben", None).await, first);
}

#[tokio::test]
async fn an_ended_session_is_found_by_nothing() {
    let (sessions, _) = sessions(&[]);
    let ann = sessions.admit_by_password("ann", "ann", None).await.unwrap();
    sessions.end(&ann.session_id);
    assert_eq!(found(&sessions, &ann.token, None).await, None);
    assert_eq!(found(&sessions, "ann", Some(&ann.session_id)).await, None);
}

#[tokio::test]
async fn a_dropped_user_is_out_at_once() {
    let (sessions, users) = sessions(&[]);
    let ben = sessions.admit_by_password("ben", "ben", None).await.unwrap();
    *users.ben_is_gone.lock() = true;
    assert_eq!(found(&sessions, &ben.token, None).await, None);
    *users.ben_is_gone.lock() = false;
    // His session is gone too.
    assert_eq!(found(&sessions, &ben.token, None).await, None);
}

#[tokio::test]
async fn sessions_end_for_want_of_requests_and_not_during_one() {
    let (sessions, _) = sessions(&["--session-timeout-s", "1"]);
    let idle = sessions.admit_by_password("ann", "ann", None).await.unwrap();
    let busy = sessions.admit_by_password("ann", "ann", None).await.unwrap();
    let call = sessions.find(&busy.token, None, None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    sessions.drop_what_had_its_time().await;
    assert_eq!(found(&sessions, &idle.token, None).await, None);
    assert_eq!(found(&sessions, &busy.token, None).await, Some(call.session.id().to_string()));
}

#[tokio::test]
async fn there_are_only_so_many() {
    let (sessions, _) = sessions(&["--max-sessions", "1"]);
    let only = sessions.admit_by_password("ann", "ann", None).await.unwrap();
    let refused = sessions.admit_by_password("ben", "ben", None).await.err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    sessions.end(&only.session_id);
    assert!(sessions.admit_by_password("ben", "ben", None).await.is_ok());
}
