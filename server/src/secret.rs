//! Names that nobody can guess: tokens, sessions, tickets.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use tonic::Status;

/// A random name of 192 bits in hexadecimal digits.
///
/// # Errors
/// The system gives no random numbers.
pub(crate) fn random() -> Result<String, Status> {
    let mut bytes = [0u8; 24];
    getrandom::fill(&mut bytes).map_err(|error| Status::internal(format!("the system gives no random numbers: {error}")))?;
    let mut name = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _never_fails = write!(name, "{byte:02x}");
    }
    Ok(name)
}

/// What is kept of a token, so that neither a dump of memory nor the time of a comparison gives it away.
pub(crate) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
