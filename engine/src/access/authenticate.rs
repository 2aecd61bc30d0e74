//! Letting users in: by password, by token. Whoever is refused is not told why; the log and the audit are.

use std::fmt;
use std::time::{Duration, Instant};

use chrono::Utc;

use super::tables::{MemberRow, TokenRow};
use super::tokens::{PREFIX, hash_of};
use super::users::NAME_BYTES_MAX;
use super::{ADMINISTRATORS, Access, AuditEntry, FIRST_ADMINISTRATOR, LOCAL, Principal, Secret, passwords};
use crate::{Blame, Error, Result};

/// Why somebody is not let in.
#[derive(Debug)]
pub enum LoginError {
    /// There is no such user, or the password or token is not his, or he may not come in any more.
    Refused,
    /// Too many failures before.
    Throttled {
        /// When the next attempt may be made.
        retry_after: Duration,
    },
    /// The tables of users cannot be read.
    Unavailable(Error),
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("the user, password or token is not right"),
            Self::Throttled { retry_after } => write!(f, "too many failed logins; try again in {} s", retry_after.as_secs().max(1)),
            Self::Unavailable(_) => f.write_str("users cannot be looked up now"),
        }
    }
}

impl std::error::Error for LoginError {}

impl From<Error> for LoginError {
    fn from(error: Error) -> Self {
        tracing::error!(%error, "users cannot be looked up");
        Self::Unavailable(error)
    }
}

/// The administrator that a fresh server has made.
#[derive(Debug)]
pub struct Bootstrapped {
    /// His name.
    pub user: &'static str,
    /// His password if it was made up here, to be shown once.
    pub generated: Option<Secret>,
}

/// When to try again where too many log in at the same time.
const CROWDED: Duration = Duration::from_secs(1);

/// Why a login failed, for the log.
type Reason = &'static str;

impl Access {
    /// Makes the user `admin`, an administrator, if there are no administrators; `None` if there are. Without a password one is made up.
    ///
    /// # Errors
    /// The password is too short, there is a user of that name who is none, or the tables of users cannot be read or written.
    pub async fn bootstrap_administrator(&self, password: Option<&str>) -> Result<Option<Bootstrapped>> {
        let rights = self.rights_now().await?;
        if !rights.administrators().is_empty() {
            return Ok(None);
        }
        if rights.users.contains_key(FIRST_ADMINISTRATOR) {
            let problem = format!("there is no administrator who may log in, and the user '{FIRST_ADMINISTRATOR}' is none");
            let hint = format!("where the warehouse is: orrery sql -c \"GRANT ROLE {ADMINISTRATORS} TO …\"");
            return Err(Error::new(Blame::Rights, problem).hint(hint));
        }
        let (password, generated) = match password {
            Some(password) => (Secret::new(password), None),
            None => {
                const CHARACTERS: usize = 24;
                let random = Secret::random("")?;
                let password = Secret::new(random.expose().chars().take(CHARACTERS).collect::<String>());
                (password.clone(), Some(password))
            }
        };
        if !self.create_user(FIRST_ADMINISTRATOR, Some(&password), Some("The first administrator"), true, LOCAL).await? {
            return Ok(None);
        }
        self.change(&self.inner.tables.members, |rows: &mut Vec<MemberRow>| {
            rows.retain(|row| row.role != ADMINISTRATORS || row.member != FIRST_ADMINISTRATOR);
            rows.push(MemberRow {
                role: ADMINISTRATORS.to_string(),
                member: FIRST_ADMINISTRATOR.to_string(),
                granted_by: Some(LOCAL.to_string()),
                granted_at: Utc::now(),
            });
            Ok(true)
        })
        .await?;
        Ok(Some(Bootstrapped { user: FIRST_ADMINISTRATOR, generated }))
    }

    /// Lets a user in by his password. `address` is where he comes from.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn authenticate_password(&self, user: &str, password: &str, address: &str) -> Result<Principal, LoginError> {
        // What cannot be a name is not worth a record.
        if user.len() > NAME_BYTES_MAX || user.chars().any(char::is_control) {
            return Err(LoginError::Refused);
        }
        self.wait_for(Some(user), address)?;
        let turn = passwords::turn().await?.ok_or(LoginError::Throttled { retry_after: CROWDED })?;
        // Again: of those who came at the same time, the first ones may have used up what guesses there are.
        self.wait_for(Some(user), address)?;
        let rights = self.rights().await?;
        let known = rights.users.get(user);
        let fits = passwords::verify(turn, Secret::new(password), known.and_then(|row| row.password_hash.clone())).await?;
        let reason: Option<Reason> = match known {
            None => Some("there is no such user"),
            Some(row) if row.password_hash.is_none() => Some("the user has no password"),
            Some(_) if !fits => Some("wrong password"),
            Some(row) if !row.is_enabled => Some("the user is disabled"),
            Some(_) => None,
        };
        match reason {
            Some(reason) => Err(self.refuse(Some(user), address, "password", reason)),
            None => Ok(self.let_in(user, address, None)),
        }
    }

    /// Lets the user of a token in. `address` is where he comes from.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn authenticate_token(&self, secret: &str, address: &str) -> Result<Principal, LoginError> {
        // What is none of ours, such as the token of a session that has ended, tells nothing of anybody's guesses.
        if !secret.starts_with(PREFIX) {
            return Err(LoginError::Refused);
        }
        self.wait_for(None, address)?;
        let rights = self.rights().await?;
        let token = rights.tokens.get(&hash_of(&Secret::new(secret)));
        let reason = match token {
            None => Some("there is no such token"),
            Some(token) => refusal_of(token, rights.users.get(&token.user).map(|user| user.is_enabled)),
        };
        match (reason, token) {
            (None, Some(token)) => Ok(self.let_in(&token.user, address, Some(token.id.clone()))),
            (reason, token) => {
                let user = token.map(|token| token.user.as_str());
                Err(self.refuse(user, address, "token", reason.unwrap_or("there is no such token")))
            }
        }
    }

    /// A user whose identity somebody else has made sure of, such as a server by a client's certificate.
    ///
    /// # Errors
    /// There is no such user, or he is disabled.
    pub async fn trusted(&self, user: &str, address: &str) -> Result<Principal, LoginError> {
        match self.rights().await?.users.get(user).map(|row| row.is_enabled) {
            Some(true) => Ok(self.let_in(user, address, None)),
            Some(false) => Err(self.refuse(Some(user), address, "identity", "the user is disabled")),
            None => Err(self.refuse(Some(user), address, "identity", "there is no such user")),
        }
    }

    fn wait_for(&self, user: Option<&str>, address: &str) -> Result<(), LoginError> {
        match self.inner.throttle.wait(user, address, Instant::now()) {
            None => Ok(()),
            Some(retry_after) => {
                tracing::warn!(user = user.unwrap_or_default(), address, "a login is refused: too many failures before");
                Err(LoginError::Throttled { retry_after })
            }
        }
    }

    fn let_in(&self, user: &str, address: &str, token: Option<String>) -> Principal {
        self.inner.throttle.succeeded(user, address);
        Principal::new(self.clone(), user, address, token)
    }

    /// Users by token are not counted as users: who has no secret cannot say whose he tried.
    fn refuse(&self, user: Option<&str>, address: &str, by: &'static str, reason: Reason) -> LoginError {
        let counted = user.filter(|_| by == "password");
        self.inner.throttle.failed(counted, address, Instant::now());
        tracing::warn!(user = user.unwrap_or_default(), address, by, reason, "a login is refused");
        self.audit(AuditEntry {
            user: user.map(str::to_string),
            address: Some(address.to_string()),
            error: Some(format!("{by}: {reason}")),
            ..AuditEntry::new("LOGIN", "refused")
        });
        LoginError::Refused
    }
}

/// Why a token that is known lets nobody in.
pub(super) fn refusal_of(token: &TokenRow, is_user_enabled: Option<bool>) -> Option<Reason> {
    if token.revoked_at.is_some() {
        return Some("the token was dropped");
    }
    if token.expires_at.is_some_and(|at| at <= Utc::now()) {
        return Some("the token has expired");
    }
    match is_user_enabled {
        Some(true) => None,
        Some(false) => Some("the token's user is disabled"),
        None => Some("the token's user does not exist any more"),
    }
}
