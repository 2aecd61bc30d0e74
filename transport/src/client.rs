//! How a client's side of a connection is secured.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity as IdentityText};

use crate::identity::{Identity, authorities};
use crate::reload::{Dated, Reloading};
use crate::{Error, IdentityFiles, Result};

/// How long a server may take to say who it is.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Files of a client.
#[derive(Debug, Clone, Default)]
pub struct ClientFiles {
    /// PEM file of the authorities whose servers are trusted; those that this machine trusts if there is none.
    pub ca: Option<PathBuf>,
    /// What it shows to servers that ask.
    pub identity: Option<IdentityFiles>,
    /// The name that servers' certificates have to carry; the host that is dialled if there is none.
    pub server_name: Option<String>,
}

/// A client's certificates, as they are in their files now.
#[derive(Clone)]
pub struct ClientTls(Arc<Reloading<Loaded>>);

struct Loaded {
    identity: Option<Identity>,
    config: ClientTlsConfig,
}

impl Dated for Loaded {
    fn warn_of_dates(&self) {
        if let Some(identity) = &self.identity {
            identity.warn_of_dates();
        }
    }
}

impl ClientTls {
    /// Reads the files, and reads them again when they change. Needs a tokio runtime. `what` names the certificates in the log.
    ///
    /// # Errors
    /// Files that cannot be used; see [`Error`].
    pub fn open(what: &'static str, files: ClientFiles) -> Result<Self> {
        let mut watched = Vec::from_iter(files.ca.clone());
        if let Some(identity) = &files.identity {
            watched.extend([identity.certificate.clone(), identity.key.clone()]);
        }
        Ok(Self(Reloading::start(what, watched, move || load(&files))?))
    }

    /// An endpoint with an `https` address as it has to be dialled. A channel keeps what it was made with: one that lives long has to be made anew when
    /// [`Self::generation`] has changed.
    ///
    /// # Errors
    /// An address without a host, or that of a Unix socket.
    pub fn secure(&self, endpoint: Endpoint) -> Result<Endpoint, tonic::transport::Error> {
        endpoint.tls_config(self.0.current().config.clone())
    }

    /// How many times the files have changed.
    pub fn generation(&self) -> u64 {
        self.0.generation()
    }
}

fn load(files: &ClientFiles) -> Result<Loaded> {
    let mut config = ClientTlsConfig::new().timeout(HANDSHAKE_LIMIT);
    config = match &files.ca {
        Some(path) => config.ca_certificate(Certificate::from_pem(authorities(path)?.1)),
        None => config.trust_anchors(trusted_by_this_machine()?.roots),
    };
    let identity = files.identity.as_ref().map(Identity::load).transpose()?;
    if let Some(identity) = &identity {
        config = config.identity(IdentityText::from_pem(&identity.certificate_text, &identity.key_text));
    }
    if let Some(name) = &files.server_name {
        config = config.domain_name(name);
    }
    Ok(Loaded { identity, config })
}

fn trusted_by_this_machine() -> Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Old ones among them are no reason to trust none.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(Error::NoRoots(reason));
    }
    Ok(roots)
}
