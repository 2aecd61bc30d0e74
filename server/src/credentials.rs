//! What an `authorization` header says.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tonic::Status;

/// With or without padding: Go's drivers leave it out.
const ANY_PADDING: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// A header, taken apart.
pub(crate) enum Credentials {
    Password { user: String, password: String },
    Token(String),
}

impl Credentials {
    /// Takes a header apart.
    ///
    /// # Errors
    /// Neither `Basic` nor `Bearer`, or not readable.
    pub fn read(header: &str) -> Result<Self, Status> {
        if let Some(token) = scheme(header, "bearer") {
            return Ok(Self::Token(token.to_string()));
        }
        let encoded = scheme(header, "basic").ok_or_else(|| Status::unauthenticated("Basic or Bearer authorization is expected"))?;
        let unreadable = || Status::unauthenticated("the user name and password cannot be read");
        let decoded = ANY_PADDING.decode(encoded).map_err(|_| unreadable())?;
        let decoded = String::from_utf8(decoded).map_err(|_| unreadable())?;
        let (user, password) = decoded.split_once(':').ok_or_else(unreadable)?;
        Ok(Self::Password { user: user.to_string(), password: password.to_string() })
    }
}

/// What follows the name of a scheme in an authorization header.
pub(crate) fn scheme<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let (found, rest) = value.split_once(' ')?;
    found.eq_ignore_ascii_case(name).then(|| rest.trim()).filter(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_taken_apart() {
        assert!(matches!(Credentials::read("bearer  abc"), Ok(Credentials::Token(token)) if token == "abc"));
        let read = Credentials::read("Basic YW5uOmE6Yg==");
        assert!(matches!(read, Ok(Credentials::Password { user, password }) if user == "ann" && password == "a:b"));
        assert!(matches!(Credentials::read("Basic YW5uOmE6Yg"), Ok(Credentials::Password { user, .. }) if user == "ann"));
        for header in ["", "Basic", "Basic ", "Basic !!", "Basic YW5u", "Digest abc", "Bearer "] {
            assert!(Credentials::read(header).is_err(), "{header}");
        }
    }
}
