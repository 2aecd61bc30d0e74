//! The commands that talk to a scheduler.

mod follow;
mod list;
mod submit;

use orrery_proto::v1::scripts_client::ScriptsClient;
use orrery_transport::{ClientFiles, ClientTls, IdentityFiles, explain};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::args::Remote;
use crate::exit;

pub(crate) use follow::attach;
pub(crate) use list::{cancel, runs};
pub(crate) use submit::submit;

/// Largest message that is accepted: rows of one batch.
const MESSAGE_LIMIT_BYTES: usize = 256 << 20;
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// The version that is told to the scheduler.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

type Client = ScriptsClient<Channel>;

/// Connects, or says why not and returns the exit code.
async fn connect(remote: &Remote) -> Result<Client, u8> {
    let endpoint = endpoint(remote).map_err(|reason| {
        eprintln!("error: {reason}");
        exit::USAGE
    })?;
    dial(endpoint).await.map_err(|reason| {
        eprintln!("cluster error: no scheduler answers at {}: {reason}", remote.to);
        exit::FAILED
    })
}

async fn try_connect(remote: &Remote) -> Result<Client, String> {
    dial(endpoint(remote)?).await
}

async fn dial(endpoint: Endpoint) -> Result<Client, String> {
    let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
    let channel = endpoint.connect().await.map_err(|error| explain(&error))?;
    Ok(ScriptsClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT_BYTES).max_encoding_message_size(MESSAGE_LIMIT_BYTES))
}

/// With the certificates as they are now.
fn endpoint(remote: &Remote) -> Result<Endpoint, String> {
    let endpoint = Endpoint::from_shared(remote.to.clone()).map_err(|error| error.to_string())?;
    let identity = match (&remote.tls_cert, &remote.tls_key) {
        (Some(certificate), Some(key)) => Some(IdentityFiles { certificate: certificate.clone(), key: key.clone() }),
        _ => None,
    };
    if !remote.to.starts_with("https:") {
        return match (&remote.tls_ca, identity) {
            (None, None) => Ok(endpoint),
            _ => Err(format!("certificates are for https:// URLs, and {} is none", remote.to)),
        };
    }
    let files = ClientFiles { ca: remote.tls_ca.clone(), identity, server_name: None };
    let tls = ClientTls::open("the certificates of this client", files).map_err(|error| error.to_string())?;
    tls.secure(endpoint).map_err(|error| explain(&error))
}

/// Says what the scheduler refused; returns the exit code.
fn refused(status: &Status) -> u8 {
    let (title, code) = match status.code() {
        Code::InvalidArgument | Code::NotFound => ("error", exit::USAGE),
        Code::Unimplemented => {
            eprintln!("error: this port does not answer to scripts; is it the scheduler's client port (50060 unless changed)?");
            return exit::USAGE;
        }
        _ => ("cluster error", exit::FAILED),
    };
    eprintln!("{title}: {}", said(status));
    code
}

/// What a status says. Of a connection that broke, the transport says what happened only in its causes.
fn said(status: &Status) -> String {
    if std::error::Error::source(status).is_some() { explain(status) } else { status.message().to_string() }
}
