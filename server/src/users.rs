//! The users of the warehouse, as those who are let in. As long as there are none, whoever is on the server's machine may do everything, and nobody else is let
//! in; a server that others can reach makes an administrator when it starts.

use std::convert::Infallible;
use std::net::IpAddr;

use async_trait::async_trait;
use clap::Args;
use orrery_engine::access::{Access, LOCAL, LoginError, Secret};

use crate::{Authenticator, Principal, Refused};

/// Settings of users, each declared once: its environment variable, key in the configuration file and meaning.
#[derive(Debug, Clone, Args)]
pub struct UserSettings {
    /// Password of the user `admin`, whom a server makes when there is no administrator and others can reach it or this is set [default: made up and
    /// printed once]. Better given by the environment than by the flag, which others on the machine can read
    #[arg(long, env = "ORRERY_ADMIN_PASSWORD", value_name = "PASSWORD", hide_env_values = true, value_parser = secret)]
    pub admin_password: Option<Secret>,
}

fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// See the module documentation.
pub struct Users {
    access: Access,
}

impl Users {
    /// The users of a warehouse, an administrator among them if the server listens to others than its own machine.
    ///
    /// # Errors
    /// The tables of users cannot be read or written, or the password is too short.
    pub async fn open(access: Access, settings: &UserSettings, bind_host: IpAddr) -> orrery_engine::Result<Self> {
        let password = settings.admin_password.as_ref().map(Secret::expose);
        if password.is_some() || !bind_host.is_loopback() {
            // An administrator may be there already: then his password is not touched.
            let made = access.bootstrap_administrator(password).await?;
            if let Some(made) = made {
                tracing::info!(user = made.user, "the first administrator was made");
                if let Some(generated) = made.generated {
                    // Not by the log, which is kept and shipped.
                    eprintln!("The password of the administrator '{}' is shown this once: {}", made.user, generated.expose());
                }
            }
        }
        Ok(Self { access })
    }

    async fn has_users(&self) -> Result<bool, Refused> {
        self.access.has_users().await.map_err(|error| unavailable(&LoginError::from(error)))
    }

    fn local(from: Option<IpAddr>) -> Result<Principal, Refused> {
        if from.is_some_and(|address| address.to_canonical().is_loopback()) {
            return Ok(Principal { name: LOCAL.to_string(), user: None });
        }
        Err(Refused::Denied("there are no users yet, so only the machine of the server may connect".to_string()))
    }
}

fn unavailable(error: &LoginError) -> Refused {
    Refused::Unavailable(error.to_string())
}

fn refused(error: LoginError) -> Refused {
    match error {
        LoginError::Unavailable(_) => unavailable(&error),
        LoginError::Refused | LoginError::Throttled { .. } => Refused::Denied(error.to_string()),
    }
}

/// The address as it is counted and recorded.
pub(crate) fn address_text(from: Option<IpAddr>) -> String {
    from.map_or_else(|| "unknown".to_string(), |address| address.to_canonical().to_string())
}

fn known(user: orrery_engine::access::Principal) -> Principal {
    Principal { name: user.user().to_string(), user: Some(user) }
}

#[async_trait]
impl Authenticator for Users {
    async fn password(&self, user: &str, password: &str, from: Option<IpAddr>) -> Result<Principal, Refused> {
        if !self.has_users().await? {
            return Self::local(from);
        }
        self.access.authenticate_password(user, password, &address_text(from)).await.map(known).map_err(refused)
    }

    async fn token(&self, token: &str, from: Option<IpAddr>) -> Result<Principal, Refused> {
        self.access.authenticate_token(token, &address_text(from)).await.map(known).map_err(refused)
    }

    async fn nameless(&self, from: Option<IpAddr>) -> Result<Principal, Refused> {
        if !self.has_users().await? {
            return Self::local(from);
        }
        Err(Refused::Denied("a user name and a password, or a token, are needed".to_string()))
    }

    async fn still_lets_in(&self, principal: &Principal) -> Result<bool, Refused> {
        match &principal.user {
            None => Ok(!self.has_users().await?),
            Some(user) => self.access.admits(user).await.map_err(|error| unavailable(&LoginError::from(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_engine::Warehouse;
    use orrery_engine::session::{Mode, Session, SessionOptions, Tracker};
    use std::net::Ipv4Addr;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const EVERYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

    fn settings(password: Option<&str>) -> UserSettings {
        UserSettings { admin_password: password.map(Secret::new) }
    }

    async fn users(warehouse: &str, password: Option<&str>, bind_host: IpAddr) -> orrery_engine::Result<Users> {
        let warehouse = Warehouse::open(warehouse, Default::default()).await?;
        Users::open(Access::open(warehouse), &settings(password), bind_host).await
    }

    #[tokio::test]
    async fn without_users_only_this_machine_is_let_in() {
        let users = users("memory:///no-users", None, LOOPBACK).await.unwrap();
        for (address, is_let_in) in [("127.0.0.1", true), ("::1", true), ("::ffff:127.0.0.1", true), ("172.17.0.1", false), ("::", false)] {
            let from = address.parse().ok();
            assert_eq!(users.password("anybody", "", from).await.is_ok(), is_let_in, "{address}");
            assert_eq!(users.nameless(from).await.is_ok(), is_let_in, "{address}");
        }
        assert!(users.password("anybody", "", None).await.is_err());
        assert!(users.token("anything", Some(LOOPBACK)).await.is_err());
    }

    #[tokio::test]
    async fn a_server_that_others_reach_has_an_administrator() {
        let made = users("memory:///reached", None, EVERYWHERE).await.unwrap();
        assert!(made.access.has_users().await.unwrap());
        assert!(made.nameless(Some(LOOPBACK)).await.is_err());
        assert!(made.password("admin", "", Some(LOOPBACK)).await.is_err());
        assert!(users("memory:///short", Some("short"), LOOPBACK).await.is_err());
    }

    #[tokio::test]
    async fn whoever_was_let_in_for_want_of_users_is_out_once_there_are_some() {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = dir.path().join("w").display().to_string();
        let open = users(&warehouse, None, LOOPBACK).await.unwrap();
        let local = open.nameless(Some(LOOPBACK)).await.unwrap();
        assert!(open.still_lets_in(&local).await.unwrap());
        let session = Session::open(SessionOptions { warehouse, ..SessionOptions::default() }).await.unwrap();
        for sql in ["CREATE USER boss PASSWORD 'correct horse'", "GRANT ROLE administrators TO boss"] {
            let statement = orrery_engine::dialect::split(sql).unwrap().remove(0);
            session.execute(&statement, Mode::Run, &Tracker::default()).await.unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        assert!(!open.still_lets_in(&local).await.unwrap());
        assert!(open.nameless(Some(LOOPBACK)).await.is_err());
        let boss = open.password("boss", "correct horse", Some(LOOPBACK)).await.unwrap();
        assert!(boss.user.as_ref().unwrap().is_administrator().await.unwrap());
        assert!(open.still_lets_in(&boss).await.unwrap());
    }
}
