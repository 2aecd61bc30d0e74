//! What a scheduler can be told, each setting declared once: its flag, environment variable, key in the configuration file, type, default and meaning.

use std::net::IpAddr;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;
use orrery_server::{Limits, UserSettings};
use orrery_transport::{ClientPortSettings, ClusterSettings, Error};

/// Settings of `orrery scheduler`.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Root of the warehouse, as every executor reaches it: a path on a shared volume, or an s3, gs or az URL
    #[arg(long, env = "ORRERY_WAREHOUSE", value_name = "URL", default_value = "./warehouse")]
    pub warehouse: String,
    /// Folder for the journal of runs, on a disk that survives a restart
    #[arg(long, env = "ORRERY_STATE_DIR", value_name = "DIR", default_value = "./scheduler-state")]
    pub state_dir: PathBuf,
    /// Where caches of sessions are kept, as every executor reaches it [default: _scratch in the warehouse]
    #[arg(long, env = "ORRERY_SCRATCH", value_name = "URL")]
    pub scratch: Option<String>,
    /// Address to listen on
    #[arg(long, env = "ORRERY_BIND_HOST", value_name = "IP", default_value = "127.0.0.1")]
    pub bind_host: IpAddr,
    /// Name or address under which executors reach this scheduler
    #[arg(long, env = "ORRERY_EXTERNAL_HOST", value_name = "HOST", default_value = "127.0.0.1")]
    pub external_host: String,
    /// Port for executors; never for clients
    #[arg(long, env = "ORRERY_INTERNAL_PORT", value_name = "PORT", default_value_t = 50050)]
    pub internal_port: u16,
    /// Port for clients
    #[arg(long, env = "ORRERY_CLIENT_PORT", value_name = "PORT", default_value_t = 50060)]
    pub client_port: u16,
    /// Port of /healthz, /readyz, /metrics and /api; 0 for none
    #[arg(long, env = "ORRERY_HTTP_PORT", value_name = "PORT", default_value_t = 8080)]
    pub http_port: u16,
    /// Seconds of silence after which an executor counts as dead and its work is done again elsewhere
    #[arg(long, env = "ORRERY_EXECUTOR_TIMEOUT_S", value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(6..))]
    pub executor_timeout_s: u64,
    /// Seconds that statements wait for an executor when there is none
    #[arg(long, env = "ORRERY_NO_EXECUTORS_GRACE_S", value_name = "SECONDS", default_value_t = 120)]
    pub no_executors_grace_s: u64,
    /// Times that a task is tried when its executor dies or its storage fails
    #[arg(long, env = "ORRERY_TASK_ATTEMPTS", value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..))]
    pub task_attempts: u16,
    /// Statements that read less than this run in the scheduler
    #[arg(long, env = "ORRERY_LOCAL_LIMIT", value_name = "SIZE", default_value = "256KB")]
    pub local_limit: ByteSize,
    /// Statements that read less than this run as one task on one executor, or in the scheduler while all vcores are busy, and so does, where there is only one executor, what reads no more than a
    /// partition size per vcore; 0 to cut all into stages
    #[arg(long, env = "ORRERY_ONE_TASK_LIMIT", value_name = "SIZE", default_value = "16MB")]
    pub one_task_limit: ByteSize,
    /// Bytes of input files per partition that are aimed at, within one and eight partitions per vcore
    #[arg(long, env = "ORRERY_PARTITION_SIZE", value_name = "SIZE", default_value = "128MB")]
    pub partition_size: ByteSize,
    /// Scripts that run at the same time; others wait their turn
    #[arg(long, env = "ORRERY_MAX_RUNS", value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_runs: u16,
    /// Results that the scheduler keeps of one run, for those who attach later
    #[arg(long, env = "ORRERY_RESULT_LIMIT", value_name = "SIZE", default_value = "1GB")]
    pub result_limit: ByteSize,
    /// Memory that statements in the scheduler itself may hold before they spill
    #[arg(long, env = "ORRERY_MEMORY_LIMIT", value_name = "SIZE", default_value = "256MB")]
    pub memory_limit: ByteSize,
    /// Probability that reading a partition of a file fails on purpose, to try out recovery; 0 outside of tests
    #[arg(long, env = "ORRERY_CHAOS", value_name = "PROBABILITY", default_value_t = 0.0)]
    pub chaos: f64,
    /// Largest message between nodes; plans with very many files need more
    #[arg(long, env = "ORRERY_MESSAGE_LIMIT", value_name = "SIZE", default_value = "256MB")]
    pub message_limit: ByteSize,
    /// Connections with clients
    #[command(flatten)]
    pub tls: ClientPortSettings,
    /// Connections with other nodes
    #[command(flatten)]
    pub cluster: ClusterSettings,
    /// Users
    #[command(flatten)]
    pub users: UserSettings,
    /// Limits of clients that connect by Flight SQL
    #[command(flatten)]
    pub limits: Limits,
}

impl Settings {
    /// Refuses ports in plain text where other machines reach them, unless that was asked for. The HTTP port is always plain.
    ///
    /// # Errors
    /// [`Error::Exposed`].
    pub(crate) fn refuse_exposed_ports(&self) -> Result<(), Error> {
        self.tls.refuse_exposed(self.bind_host, self.cluster.insecure)?;
        self.cluster.refuse_exposed_to_nodes("the internal port", self.bind_host)
    }
}
