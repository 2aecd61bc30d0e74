//! What analysts connect to: the engine's sessions behind Arrow Flight SQL, for `orrery serve` and for a cluster's client port alike.
//!
//! The way of a request: `door` lets nobody in without a token, `sessions` finds the caller's session, `flight` reads what is asked and hands statements
//! to `running`, which carries them out as a script's are and keeps their rows until they are fetched.

mod authenticate;
mod credentials;
mod door;
mod flight;
mod limits;
mod open_session;
mod running;
mod secret;
mod serve;
mod session_messages;
mod sessions;
mod settings;
mod statements;
mod status;
mod users;
mod wire;

pub use authenticate::{Authenticator, Principal, Refused};
pub use door::Door;
pub use flight::{DirectRows, FlightSql};
pub use limits::Limits;
pub use open_session::{Embedded, OpenSession};
pub use serve::{Port, listen, serve, tuned};
pub use settings::Settings;
pub use users::{UserSettings, Users};

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port that is taken.
    #[error("cannot listen on {0}: {1}")]
    Listen(std::net::SocketAddr, std::io::Error),
    /// Certificates that cannot be used, or a port in plain text that others can reach.
    #[error(transparent)]
    Transport(#[from] orrery_transport::Error),
    /// The warehouse, the catalog or the scratch directory.
    #[error(transparent)]
    Engine(#[from] orrery_engine::Error),
    /// The server ended by itself.
    #[error("the server stopped: {0}")]
    Stopped(#[from] tonic::transport::Error),
}

/// Result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;
