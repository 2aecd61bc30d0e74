//! Connections between processes: which certificates they show, whom they trust, and what happens to those who come without.
//!
//! A server makes an [`Incoming`] of its listener, plain or with a [`ServerTls`], and serves it with tonic. A client gives its endpoints to a
//! [`ClientTls`]. Nodes of a cluster are both, to one another: [`ClusterTls`]. All of them read their files again when these change.

mod client;
mod connection;
mod error;
mod explain;
mod identity;
mod incoming;
mod pem;
mod plain_text;
mod reload;
mod server;
mod settings;
#[cfg(test)]
mod tests;

pub use client::{ClientFiles, ClientTls};
pub use connection::Connection;
pub use error::{Error, Result};
pub use explain::explain;
pub use identity::IdentityFiles;
pub use incoming::Incoming;
pub use server::{ServerFiles, ServerTls};
pub use settings::{ClientPortSettings, ClusterSettings, ClusterTls};

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// HTTP/2, the only protocol that is spoken inside.
const PROTOCOL: &[u8] = b"h2";

/// The cryptography, named each time: other libraries of the process bring another one with them, and rustls does not choose between two.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
