//! Passwords: argon2id, with the parameters that OWASP recommends and a salt each.
//!
//! A hash takes tens of milliseconds and 19 MiB, so hashes are computed beside the tasks of the runtime, a few at a time.

use std::sync::{Arc, LazyLock};

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Secret;
use crate::{Blame, Error, Result};

/// 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
/// Hashes at the same time.
const AT_ONCE: usize = 4;
/// Shortest password in characters, as NIST SP 800-63B asks for.
const LEAST_CHARACTERS: usize = 8;
/// Longest password in bytes.
const MOST_BYTES: usize = 1024;

/// Logins that wait for that.
const WAIT_MAX: usize = 256;

static WAITING: Semaphore = Semaphore::const_new(WAIT_MAX);
static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));
/// The hash that the password of a user who does not exist is compared with, so that the answer takes as long.
static NOBODY: LazyLock<Option<String>> = LazyLock::new(|| digest(&Secret::new("nobody")).ok());

/// The hash of a password, in PHC form.
///
/// # Errors
/// The password is too short or too long.
pub(super) async fn hash(password: Secret) -> Result<String> {
    let text = password.expose();
    if text.chars().count() < LEAST_CHARACTERS {
        return Err(Error::sql(format!("the password is shorter than {LEAST_CHARACTERS} characters")));
    }
    if text.len() > MOST_BYTES {
        return Err(Error::sql(format!("the password is longer than {MOST_BYTES} bytes")));
    }
    let turn = Arc::clone(&*TURNS).acquire_owned().await.map_err(|e| ended(&e))?;
    aside(turn, move || digest(&password)).await?
}

/// Leave to compute a hash.
pub(super) type Turn = OwnedSemaphorePermit;

/// Waits for leave to compute a hash; `None` where too many wait already.
///
/// # Errors
/// The runtime is shutting down.
pub(super) async fn turn() -> Result<Option<Turn>> {
    let _place = match WAITING.try_acquire() {
        Ok(place) => place,
        Err(_) => return Ok(None),
    };
    Arc::clone(&*TURNS).acquire_owned().await.map(Some).map_err(|e| ended(&e))
}

/// Whether a password is the one of a hash; `None` takes as long and is false.
///
/// # Errors
/// The runtime is shutting down.
pub(super) async fn verify(turn: Turn, password: Secret, hash: Option<String>) -> Result<bool> {
    if password.expose().len() > MOST_BYTES {
        return Ok(false);
    }
    aside(turn, move || {
        let known = hash.is_some();
        let Some(hash) = hash.or_else(|| NOBODY.clone()) else { return false };
        let matches = PasswordHash::new(&hash)
            .is_ok_and(|hash| hasher().is_ok_and(|h| h.verify_password(password.expose().as_bytes(), &hash).is_ok()));
        matches && known
    })
    .await
}

fn ended(error: &dyn std::fmt::Display) -> Error {
    Error::new(Blame::Interrupted, format!("a password could not be checked: {error}"))
}

async fn aside<T: Send + 'static>(turn: Turn, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    })
    .await
    .map_err(|e| ended(&e))
}

fn hasher() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|e| Error::new(Blame::Bug, format!("argon2: {e}")))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn digest(password: &Secret) -> Result<String> {
    let broken = |error: &dyn std::fmt::Display| Error::new(Blame::Bug, format!("argon2: {error}"));
    let mut salt = [0u8; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|e| Error::new(Blame::Storage, format!("the machine gives no random numbers: {e}")))?;
    let salt = SaltString::encode_b64(&salt).map_err(|e| broken(&e))?;
    Ok(hasher()?.hash_password(password.expose().as_bytes(), &salt).map_err(|e| broken(&e))?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let first = hash(Secret::new("correct horse")).await.unwrap();
        let again = hash(Secret::new("correct horse")).await.unwrap();
        assert!(first.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{first}");
        assert_ne!(first, again, "every hash has a salt of its own");
        assert!(!first.contains("correct"));
        assert!(verify(turn().await.unwrap().unwrap(), Secret::new("correct horse"), Some(first.clone())).await.unwrap());
        assert!(!verify(turn().await.unwrap().unwrap(), Secret::new("correct horsf"), Some(first)).await.unwrap());
        assert!(!verify(turn().await.unwrap().unwrap(), Secret::new("nobody"), None).await.unwrap());
        assert!(!verify(turn().await.unwrap().unwrap(), Secret::new("x"), Some("no hash".to_string())).await.unwrap());
        assert!(hash(Secret::new("seven77")).await.is_err());
    }
}
