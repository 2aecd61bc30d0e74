//! The commands that talk to a scheduler.

mod follow;
mod list;
mod submit;

use orrery_proto::v1::scripts_client::ScriptsClient;
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
    match try_connect(remote).await {
        Ok(client) => Ok(client),
        Err(reason) => {
            eprintln!("cluster error: no scheduler answers at {}: {reason}", remote.to);
            Err(exit::FAILED)
        }
    }
}

async fn try_connect(remote: &Remote) -> Result<Client, String> {
    let endpoint = Endpoint::from_shared(remote.to.clone()).map_err(|error| error.to_string())?;
    let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true).connect().await.map_err(|error| root_cause(&error))?;
    Ok(ScriptsClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT_BYTES).max_encoding_message_size(MESSAGE_LIMIT_BYTES))
}

/// Transport errors say what happened only in their causes.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
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
    eprintln!("{title}: {}", status.message());
    code
}
