//! The executor: takes tasks from the scheduler and runs them with the same functions, operators and object stores as the coordinator that planned them.
//!
//! It holds no state but files of the jobs that run, so it can be started, stopped and killed at any time.

mod admission;
mod connections;
mod engine;
mod fill_filters;
mod http;
mod join;
mod link;
mod metrics;
mod ports;
mod registry;
mod scheduler;
mod serve;
mod settings;
mod shared_rows;
mod task_guard;
mod task_port;
mod unreachable;

use std::path::PathBuf;

pub use serve::serve;
pub use settings::Settings;

/// Why an executor does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers.
    #[error("the scheduler at {address} does not answer: {reason}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What went wrong.
        reason: String,
    },
    /// The scheduler does not want this executor.
    #[error("the scheduler refuses this executor: {0}")]
    Refused(String),
    /// The folder for shuffle files.
    #[error("the work directory {0} cannot be used: {1}")]
    WorkDir(PathBuf, std::io::Error),
    /// Certificates, or the lack of them.
    #[error(transparent)]
    Transport(#[from] orrery_transport::Error),
    /// The folder for the socket through which Ballista reaches the scheduler.
    #[error("the encrypted connection to the scheduler cannot be set up: {0}")]
    Link(std::io::Error),
    /// A port that is taken.
    #[error("cannot listen on {0}: {1}")]
    Listen(std::net::SocketAddr, std::io::Error),
    /// Ballista ended with an error.
    #[error("the executor stopped: {0}")]
    Stopped(String),
}

/// Result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;
