//! What a process shows of itself: a certificate with those between it and its authority, and the key that proves it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys, RootCertStore};

use crate::{Error, Result, pem, provider};

/// From so many days before its end on, a certificate is complained of.
const WARN_BEFORE_DAYS: i64 = 7;
const DAY_S: i64 = 24 * 3600;

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// PEM file: the certificate first, then those between it and its authority.
    pub certificate: PathBuf,
    /// PEM file with its private key: PKCS#8, PKCS#1 or SEC1. May be the same file.
    pub key: PathBuf,
}

/// A certificate that can be shown, and its text for those who parse it themselves.
pub(crate) struct Identity {
    pub key: Arc<CertifiedKey>,
    pub certificate_text: Vec<u8>,
    pub key_text: Vec<u8>,
    path: PathBuf,
}

impl Identity {
    /// Reads both files and proves that they belong together.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(files: &IdentityFiles) -> Result<Self> {
        let (certificate_text, key_text) = (pem::read(&files.certificate)?, pem::read(&files.key)?);
        let chain = pem::certificates(&files.certificate, &certificate_text)?;
        let key = pem::private_key(&files.key, &key_text)?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                Error::Mismatch { certificate: files.certificate.clone(), key: files.key.clone() }
            }
            TlsError::InvalidCertificate(reason) => {
                Error::Certificate { path: files.certificate.clone(), number: 1, reason: reason.to_string() }
            }
            error => Error::Key(files.key.clone(), error.to_string()),
        })?;
        Ok(Self { key: Arc::new(key), certificate_text, key_text, path: files.certificate.clone() })
    }

    /// Complains of certificates that are not valid now, or not for long any more.
    pub fn warn_of_dates(&self) {
        for complaint in complaints(&self.path, &self.key.cert, now_s()) {
            tracing::warn!("{complaint}");
        }
    }
}

/// Whom to trust: the certificates of a file.
///
/// # Errors
/// See [`Error`].
pub(crate) fn authorities(path: &Path) -> Result<(RootCertStore, Vec<u8>)> {
    let text = pem::read(path)?;
    let mut roots = RootCertStore::empty();
    for (place, certificate) in pem::certificates(path, &text)?.into_iter().enumerate() {
        let added = roots.add(certificate);
        added.map_err(|error| Error::Certificate { path: path.to_path_buf(), number: place + 1, reason: error.to_string() })?;
    }
    Ok((roots, text))
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)
}

fn complaints(path: &Path, chain: &[CertificateDer<'_>], now_s: i64) -> Vec<String> {
    let complaint = |(place, certificate): (usize, &CertificateDer<'_>)| {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let validity = parsed.validity();
        let (from_s, to_s) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let what = format!("certificate {} in {} ({})", place + 1, path.display(), parsed.subject());
        if to_s < now_s {
            Some(format!("{what} has expired on {}; others will refuse it", validity.not_after))
        } else if from_s > now_s {
            Some(format!("{what} is not valid before {}; others will refuse it", validity.not_before))
        } else if to_s - now_s < WARN_BEFORE_DAYS * DAY_S {
            Some(format!("{what} expires on {}", validity.not_after))
        } else {
            None
        }
    };
    chain.iter().enumerate().filter_map(complaint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Authority;

    #[test]
    fn dates_are_complained_of_when_they_matter() {
        let chain = [Authority::new("root").leaf("node").certificate];
        let (_, parsed) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
        let (from_s, to_s) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        let said = |now_s| complaints(Path::new("node.pem"), &chain, now_s).join("\n");
        assert_eq!(said(from_s + 1), "");
        assert!(said(from_s - 1).contains("is not valid before"), "{}", said(from_s - 1));
        assert!(said(to_s + 1).contains("node.pem (CN=node) has expired on"), "{}", said(to_s + 1));
        assert!(said(to_s - DAY_S).contains("expires on"), "{}", said(to_s - DAY_S));
    }
}
