//! The scheduler: the coordinator as a server. It embeds Ballista's scheduler, owns sessions, catalog and commits, runs the scripts that clients submit and
//! remembers what became of them.

mod avoid;
mod backend;
mod balance;
mod client_sessions;
mod coordinator;
mod embed;
mod executors;
mod homes;
mod http;
mod membership;
mod reclaim;
mod recovery;
mod runs;
mod serve;
mod service;
mod settings;

pub use coordinator::{Background, Coordinator};
pub use serve::serve;
pub use settings::Settings;

/// Why a scheduler does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Ballista does not start.
    #[error("the cluster's scheduler does not start: {0}")]
    Ballista(String),
    /// A port that is taken.
    #[error("cannot listen on {0}: {1}")]
    Listen(std::net::SocketAddr, std::io::Error),
    /// Certificates, or the lack of them.
    #[error(transparent)]
    Transport(#[from] orrery_transport::Error),
    /// The warehouse or the folder of the journal.
    #[error(transparent)]
    Engine(#[from] orrery_engine::Error),
    /// The folder of the journal.
    #[error("the state directory {0} cannot be used: {1}")]
    StateDir(std::path::PathBuf, std::io::Error),
    /// A server ended by itself.
    #[error("{0} stopped: {1}")]
    Stopped(&'static str, String),
}

/// Result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;
