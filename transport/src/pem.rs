//! Reads PEM files, and says exactly what is wrong with those that cannot be used.

use std::path::Path;

use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::{Error, Result};

/// The bytes of a file.
///
/// # Errors
/// It is not there or may not be read.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::Read(path.to_path_buf(), error))
}

/// All certificates of a file, in their order; at least one. Other sections are passed over.
///
/// # Errors
/// There is none, or the file is damaged.
pub(crate) fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| damaged(path, &error))?;
    for (place, certificate) in found.iter().enumerate() {
        if let Err(error) = x509_parser::parse_x509_certificate(certificate) {
            return Err(Error::Certificate { path: path.to_path_buf(), number: place + 1, reason: error.to_string() });
        }
    }
    if found.is_empty() { Err(Error::NoCertificate(path.to_path_buf())) } else { Ok(found) }
}

/// The first private key of a file: PKCS#8, PKCS#1 or SEC1.
///
/// # Errors
/// There is none, it is behind a passphrase, or the file is damaged.
pub(crate) fn private_key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>> {
    // Both forms of protection say so in words: BEGIN ENCRYPTED PRIVATE KEY, and the header Proc-Type: 4,ENCRYPTED.
    if text.windows(b"ENCRYPTED".len()).any(|words| words == b"ENCRYPTED") {
        return Err(Error::EncryptedKey(path.to_path_buf()));
    }
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        PemError::NoItemsFound => Error::NoKey(path.to_path_buf()),
        error => damaged(path, &error),
    })
}

/// Says what is wrong without repeating anything of the file, which may hold a key.
fn damaged(path: &Path, error: &PemError) -> Error {
    let reason = match error {
        PemError::MissingSectionEnd { .. } => "a section has no END line; was it copied only in part?",
        PemError::IllegalSectionStart { .. } => "a BEGIN line is damaged",
        PemError::Base64Decode(_) => "a section is not base64",
        PemError::SectionTooLarge => "a section is too large",
        _ => "it cannot be parsed",
    };
    Error::Pem(path.to_path_buf(), reason)
}
