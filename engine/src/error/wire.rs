//! Errors between processes: an executor reports a failed task as text, in which the engine's own error is kept whole, so that a statement fails with the
//! same words on a cluster as in one process.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{Blame, Error};

const START: &str = "<<orrery:";
const END: &str = ">>";

/// An error whose text can be found again within any other text.
pub struct WireError(String);

impl WireError {
    /// Wraps an error; its position is not kept, because a task does not know the script.
    pub fn new(error: &Error) -> Self {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let hint = error.hint.as_deref().map(encode).unwrap_or_default();
        Self(format!("{START}{}|{}|{hint}{END}", error.blame.as_str(), encode(&error.message)))
    }

    /// The first error within a text.
    pub fn find(text: &str) -> Option<Error> {
        let (_, rest) = text.split_once(START)?;
        let (payload, _) = rest.split_once(END)?;
        let mut parts = payload.split('|');
        let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let blame = Blame::ALL.into_iter().find(|blame| Some(blame.as_str()) == parts.clone().next())?;
        parts.next();
        let mut error = Error::new(blame, decode(parts.next()?));
        error.hint = parts.next().filter(|hint| !hint.is_empty()).map(decode);
        Some(error)
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// What reports a task's failure writes errors for debugging, in which quotes would be escaped.
impl fmt::Debug for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WireError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_being_wrapped() {
        let error = Error::data("divide by zero in \"a|b\" >> 'ü'\n").hint("use NULLIF");
        let text = format!("{:?}", Some(format!("Task failed: {:?}", WireError::new(&error))));
        let found = WireError::find(&text).unwrap();
        assert_eq!((found.blame, found.message, found.hint), (error.blame, error.message, error.hint));
        assert!(WireError::find("Task failed: no reason").is_none());
        let plain = WireError::find(&WireError::new(&Error::interrupted()).to_string()).unwrap();
        assert_eq!((plain.blame, plain.hint), (Blame::Interrupted, None));
    }
}
