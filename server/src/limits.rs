//! How much of the server one caller may take.

use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use orrery_engine::access::Capacity;

/// Limits of a client port, each declared once: its flag, environment variable, key in the configuration file, default and meaning.
#[derive(Debug, Clone, Args)]
pub struct Limits {
    /// Seconds without a request after which a client's session ends
    #[arg(long, env = "ORRERY_SESSION_TIMEOUT_S", value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..))]
    pub session_timeout_s: u64,
    /// Seconds after which rows that nobody fetches are dropped
    #[arg(long, env = "ORRERY_RESULT_TIMEOUT_S", value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    pub result_timeout_s: u64,
    /// Sessions of clients at the same time
    #[arg(long, env = "ORRERY_MAX_SESSIONS", value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_sessions: u32,
    /// Statements of users that run at the same time, scripts' included; others wait their turn, whose user has least running first
    #[arg(long, env = "ORRERY_MAX_STATEMENTS", value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_statements: u32,
    /// Seconds after which a statement that waits its turn is refused
    #[arg(long, env = "ORRERY_QUEUE_TIMEOUT_S", value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub queue_timeout_s: u64,
    /// Largest text of a request's statements
    #[arg(long, env = "ORRERY_STATEMENT_LIMIT", value_name = "SIZE", default_value = "10MB")]
    pub statement_limit: ByteSize,
    /// Largest message of a client, such as a batch of rows that it sends
    #[arg(long, env = "ORRERY_REQUEST_LIMIT", value_name = "SIZE", default_value = "64MB")]
    pub request_limit: ByteSize,
}

/// Prepared statements, and likewise results, that one session may have open.
pub(crate) const OPEN_PER_SESSION: usize = 1_000;

impl Limits {
    /// How much runs at the same time.
    pub fn capacity(&self) -> Capacity {
        Capacity { max_statements: self.max_statements, queue_timeout: Duration::from_secs(self.queue_timeout_s) }
    }

    pub(crate) fn session_timeout(&self) -> Duration {
        Duration::from_secs(self.session_timeout_s)
    }

    pub(crate) fn result_timeout(&self) -> Duration {
        Duration::from_secs(self.result_timeout_s)
    }

    pub(crate) fn statement_bytes(&self) -> usize {
        usize::try_from(self.statement_limit.as_u64()).unwrap_or(usize::MAX)
    }

    pub(crate) fn request_bytes(&self) -> usize {
        usize::try_from(self.request_limit.as_u64()).unwrap_or(usize::MAX)
    }
}
