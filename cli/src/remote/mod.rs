//! The commands that talk to a scheduler.

mod authorization;
mod follow;
mod list;
mod submit;

use orrery_proto::v1::scripts_client::ScriptsClient;
use orrery_transport::{ClientFiles, ClientTls, IdentityFiles, explain};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::args::{Login, Remote};
use crate::exit;

pub(crate) use authorization::Authorization;
pub(crate) use follow::attach;
pub(crate) use list::{cancel, runs};
pub(crate) use submit::submit;

/// Largest message that is accepted: rows of one batch.
const MESSAGE_LIMIT_BYTES: usize = 256 << 20;
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// The version that is told to the scheduler.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

type Client = ScriptsClient<InterceptedService<Channel, Authorization>>;

/// Connects, or says why not and returns the exit code.
async fn connect(remote: &Remote) -> Result<Client, u8> {
    connected(&remote.to, &remote.login).await.map(|channel| scripts(channel, &remote.login))
}

async fn try_connect(remote: &Remote) -> Result<Client, String> {
    Ok(scripts(dial(endpoint(&remote.to, &remote.login)?).await?, &remote.login))
}

/// A connection with a server, or says why not and returns the exit code.
pub(crate) async fn connected(url: &str, login: &Login) -> Result<Channel, u8> {
    let endpoint = endpoint(url, login).map_err(|reason| {
        eprintln!("error: {reason}");
        exit::USAGE
    })?;
    dial(endpoint).await.map_err(|reason| {
        eprintln!("cluster error: no server answers at {url}: {reason}");
        exit::FAILED
    })
}

async fn dial(endpoint: Endpoint) -> Result<Channel, String> {
    let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
    endpoint.connect().await.map_err(|error| explain(&error))
}

fn scripts(channel: Channel, login: &Login) -> Client {
    let client = ScriptsClient::with_interceptor(channel, Authorization::of(login));
    client.max_decoding_message_size(MESSAGE_LIMIT_BYTES).max_encoding_message_size(MESSAGE_LIMIT_BYTES)
}

/// With the certificates as they are now.
fn endpoint(url: &str, login: &Login) -> Result<Endpoint, String> {
    let endpoint = Endpoint::from_shared(url.to_string()).map_err(|error| error.to_string())?;
    let identity = match (&login.tls_cert, &login.tls_key) {
        (Some(certificate), Some(key)) => Some(IdentityFiles { certificate: certificate.clone(), key: key.clone() }),
        _ => None,
    };
    if !url.starts_with("https:") {
        return match (&login.tls_ca, identity) {
            (None, None) => Ok(endpoint),
            _ => Err(format!("certificates are for https:// URLs, and {url} is none")),
        };
    }
    let files = ClientFiles { ca: login.tls_ca.clone(), identity, server_name: None };
    let tls = ClientTls::open("the certificates of this client", files).map_err(|error| error.to_string())?;
    tls.secure(endpoint).map_err(|error| explain(&error))
}

/// Says what the scheduler refused; returns the exit code.
fn refused(status: &Status) -> u8 {
    let (title, code) = match status.code() {
        Code::InvalidArgument | Code::NotFound => ("error", exit::USAGE),
        Code::Unauthenticated => {
            eprintln!("error: {}; give --user and ORRERY_PASSWORD, or ORRERY_TOKEN", said(status));
            return exit::USAGE;
        }
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
pub(crate) fn said(status: &Status) -> String {
    if std::error::Error::source(status).is_some() { explain(status) } else { status.message().to_string() }
}
