//! What servers can be told of their connections: with clients, and of the nodes of a cluster with one another.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;

use crate::{ClientFiles, ClientTls, Error, IdentityFiles, Result, ServerFiles, ServerTls};

/// Settings of a node.
#[derive(Debug, Clone, Default, Args)]
pub struct ClusterSettings {
    /// Certificate that this node shows to other nodes, in PEM, followed by those between it and its authority; with a key and an authority, nodes only talk
    /// encrypted, and only to nodes whose certificates that authority has signed
    #[arg(long, env = "ORRERY_CLUSTER_TLS_CERT", value_name = "FILE")]
    pub cluster_tls_cert: Option<PathBuf>,
    /// Private key of that certificate, in PEM, without a passphrase
    #[arg(long, env = "ORRERY_CLUSTER_TLS_KEY", value_name = "FILE")]
    pub cluster_tls_key: Option<PathBuf>,
    /// Certificate of the authority that signs those of nodes, in PEM. Who has a certificate of it is a node: it should sign no others
    #[arg(long, env = "ORRERY_CLUSTER_TLS_CA", value_name = "FILE")]
    pub cluster_tls_ca: Option<PathBuf>,
    /// Name that the certificates of nodes carry [default: each has to carry the host or address under which it is reached]
    #[arg(long, env = "ORRERY_CLUSTER_TLS_NAME", value_name = "NAME")]
    pub cluster_tls_name: Option<String>,
    /// Listen in plain text where other machines can connect, if there are no certificates
    #[arg(long, env = "ORRERY_INSECURE", value_parser = BoolishValueParser::new())]
    pub insecure: bool,
}

/// Connections between nodes, both ways.
#[derive(Clone)]
pub struct ClusterTls {
    /// For those who connect to this node; they have to show a certificate of the cluster.
    pub server: ServerTls,
    /// For those that this node connects to.
    pub client: ClientTls,
}

impl ClusterSettings {
    /// Reads the certificates, if the settings name any, and reads them again when they change. Needs a tokio runtime.
    ///
    /// # Errors
    /// A setting without those that belong to it, or files that cannot be used.
    pub fn open(&self) -> Result<Option<ClusterTls>> {
        let (certificate, key, ca) = match (&self.cluster_tls_cert, &self.cluster_tls_key, &self.cluster_tls_ca) {
            (None, None, None) if self.cluster_tls_name.is_none() => return Ok(None),
            (Some(certificate), Some(key), Some(ca)) => (certificate, key, ca),
            _ => {
                let all = "--cluster-tls-cert, --cluster-tls-key and --cluster-tls-ca";
                return Err(Error::Incomplete { given: "encryption between nodes", missing: all });
            }
        };
        let identity = IdentityFiles { certificate: certificate.clone(), key: key.clone() };
        let server = ServerFiles { identity: identity.clone(), client_ca: Some(ca.clone()) };
        let client = ClientFiles { ca: Some(ca.clone()), identity: Some(identity), server_name: self.cluster_tls_name.clone() };
        Ok(Some(ClusterTls {
            server: ServerTls::open("this node's certificate", server)?,
            client: ClientTls::open("this node's certificate for connections to others", client)?,
        }))
    }

    /// Refuses to open a port to nodes of other machines in plain text, unless that was asked for.
    ///
    /// # Errors
    /// [`Error::Exposed`].
    pub fn refuse_exposed_to_nodes(&self, what: &'static str, address: IpAddr) -> Result<()> {
        let flags = "--cluster-tls-cert, --cluster-tls-key and --cluster-tls-ca";
        refuse_exposed(what, address, self.cluster_tls_cert.is_some() || self.insecure, flags)
    }
}

/// Settings of a port for clients.
#[derive(Debug, Clone, Default, Args)]
pub struct ClientPortSettings {
    /// Certificate that clients are shown on their port, in PEM, followed by those between it and its authority; with a key, clients have to talk encrypted
    #[arg(long, env = "ORRERY_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of that certificate, in PEM, without a passphrase
    #[arg(long, env = "ORRERY_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Certificates of authorities, in PEM: clients have to show a certificate that one of them has signed
    #[arg(long, env = "ORRERY_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
}

impl ClientPortSettings {
    /// Reads the certificates, if the settings name any, and reads them again when they change. Needs a tokio runtime.
    ///
    /// # Errors
    /// A setting without those that belong to it, or files that cannot be used.
    pub fn open(&self) -> Result<Option<ServerTls>> {
        let identity = match (&self.tls_cert, &self.tls_key) {
            (None, None) if self.tls_client_ca.is_none() => return Ok(None),
            (Some(certificate), Some(key)) => IdentityFiles { certificate: certificate.clone(), key: key.clone() },
            _ => return Err(Error::Incomplete { given: "encryption of the client port", missing: "--tls-cert and --tls-key" }),
        };
        let files = ServerFiles { identity, client_ca: self.tls_client_ca.clone() };
        ServerTls::open("the certificate of the client port", files).map(Some)
    }

    /// Refuses to open the port in plain text to other machines, unless that was asked for.
    ///
    /// # Errors
    /// [`Error::Exposed`].
    pub fn refuse_exposed(&self, address: IpAddr, insecure: bool) -> Result<()> {
        refuse_exposed("the client port", address, self.tls_cert.is_some() || insecure, "--tls-cert and --tls-key")
    }
}

fn refuse_exposed(what: &'static str, address: IpAddr, is_allowed: bool, flags: &'static str) -> Result<()> {
    if is_allowed || address.to_canonical().is_loopback() {
        return Ok(());
    }
    Err(Error::Exposed { what, address, flags })
}
