//! A password or the secret of a token: what holds it can be printed without telling it.

use std::fmt;

/// See the module documentation.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Holds a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A random text of 32 bytes, in letters and digits, behind a prefix.
    ///
    /// # Errors
    /// The machine has no randomness.
    pub(super) fn random(prefix: &str) -> crate::Result<Self> {
        const BYTES: usize = 32;
        let mut bytes = [0u8; BYTES];
        getrandom::fill(&mut bytes)
            .map_err(|error| crate::Error::new(crate::Blame::Storage, format!("the machine gives no random numbers: {error}")))?;
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self(format!("{prefix}{digits}")))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
