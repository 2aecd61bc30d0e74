//! How a server's side of a connection is secured.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;

use crate::identity::{Identity, authorities};
use crate::reload::{Dated, Reloading};
use crate::{Error, IdentityFiles, PROTOCOL, Result, provider};

/// Files of a server.
#[derive(Debug, Clone)]
pub struct ServerFiles {
    /// What it shows.
    pub identity: IdentityFiles,
    /// PEM file of authorities: clients have to show a certificate that one of them has signed. Without it they are not asked for one.
    pub client_ca: Option<PathBuf>,
}

/// A server's certificates, as they are in their files now.
#[derive(Clone)]
pub struct ServerTls(Arc<Reloading<Loaded>>);

struct Loaded {
    identity: Identity,
    config: Arc<ServerConfig>,
}

impl Dated for Loaded {
    fn warn_of_dates(&self) {
        self.identity.warn_of_dates();
    }
}

impl ServerTls {
    /// Reads the files, and reads them again when they change. Needs a tokio runtime. `what` names the certificates in the log.
    ///
    /// # Errors
    /// Files that cannot be used; see [`Error`].
    pub fn open(what: &'static str, files: ServerFiles) -> Result<Self> {
        let mut watched = vec![files.identity.certificate.clone(), files.identity.key.clone()];
        watched.extend(files.client_ca.clone());
        Ok(Self(Reloading::start(what, watched, move || load(&files))?))
    }

    /// For the next connection.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.current().config)
    }
}

fn load(files: &ServerFiles) -> Result<Loaded> {
    let identity = Identity::load(&files.identity)?;
    let setup = |error: rustls::Error| Error::Setup(error.to_string());
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(setup)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let (roots, _) = authorities(path)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| Error::Setup(error.to_string()))?)
        }
    };
    let shown = SingleCertAndKey::from(Arc::clone(&identity.key));
    let mut config = builder.with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Loaded { identity, config: Arc::new(config) })
}
