//! Why certificates are not used, in sentences for an operator.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// Why a port or a connection is not secured as it was asked for. Never holds anything of a key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that is not there or may not be read.
    #[error("{0} cannot be read: {1}")]
    Read(PathBuf, io::Error),
    /// A file without the right sections.
    #[error("{0} holds no certificate; a PEM file with BEGIN CERTIFICATE is expected")]
    NoCertificate(PathBuf),
    /// A file that is cut short, or is something else.
    #[error("{0} is not a valid PEM file: {1}")]
    Pem(PathBuf, &'static str),
    /// A certificate that nobody can use.
    #[error("certificate {number} in {path} cannot be used: {reason}")]
    Certificate {
        /// Its file.
        path: PathBuf,
        /// Which one in the file, from 1.
        number: usize,
        /// What is wrong.
        reason: String,
    },
    /// A file without a private key.
    #[error("{0} holds no private key; a PEM file with BEGIN PRIVATE KEY, BEGIN RSA PRIVATE KEY or BEGIN EC PRIVATE KEY is expected")]
    NoKey(PathBuf),
    /// A key behind a passphrase.
    #[error(
        "the private key in {0} is protected by a passphrase, which nobody could type when it is read; remove it with: openssl pkey -in OLD -out NEW"
    )]
    EncryptedKey(PathBuf),
    /// A key of a kind that is not supported.
    #[error("the private key in {0} cannot be used: {1}; RSA keys of at least 2048 bits, EC keys on P-256 or P-384 and Ed25519 keys can")]
    Key(PathBuf, String),
    /// Files that were not made for each other.
    #[error("the private key in {key} does not belong to the first certificate in {certificate}")]
    Mismatch {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
    },
    /// Settings of which one needs another.
    #[error("{given} needs {missing}")]
    Incomplete {
        /// Flags that were given.
        given: &'static str,
        /// Flags that go with them.
        missing: &'static str,
    },
    /// A port in plain text where others reach it.
    #[error(
        "{what} would be open to other machines in plain text, because --bind-host is {address}; give {flags} to encrypt it, or --insecure to leave it so"
    )]
    Exposed {
        /// The port.
        what: &'static str,
        /// Where it would listen.
        address: IpAddr,
        /// What would secure it.
        flags: &'static str,
    },
    /// A client that can trust nobody.
    #[error("this machine has no certificates of authorities to trust{0}; name a file of them with --tls-ca")]
    NoRoots(String),
    /// What the library refuses, for a reason that is none of the above.
    #[error("encryption cannot be set up: {0}")]
    Setup(String),
}

/// Result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;
