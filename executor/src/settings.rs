//! What an executor can be told, each setting declared once: its flag, environment variable, key in the configuration file, type, default and meaning.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;
use orrery_transport::ClusterSettings;

/// Settings of `orrery executor`.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Host of the scheduler
    #[arg(long, env = "ORRERY_SCHEDULER_HOST", value_name = "HOST", default_value = "127.0.0.1")]
    pub scheduler_host: String,
    /// Internal port of the scheduler
    #[arg(long, env = "ORRERY_SCHEDULER_PORT", value_name = "PORT", default_value_t = 50050)]
    pub scheduler_port: u16,
    /// Seconds to wait for the scheduler at the start
    #[arg(long, env = "ORRERY_CONNECT_TIMEOUT_S", value_name = "SECONDS", default_value_t = 60)]
    pub connect_timeout_s: u16,
    /// Address to listen on, for the scheduler and other executors
    #[arg(long, env = "ORRERY_BIND_HOST", value_name = "IP", default_value = "127.0.0.1")]
    pub bind_host: std::net::IpAddr,
    /// Name or address under which the scheduler and other executors reach this one [default: the address it connects from]
    #[arg(long, env = "ORRERY_EXTERNAL_HOST", value_name = "HOST")]
    pub external_host: Option<String>,
    /// Port that serves rows to other executors
    #[arg(long, env = "ORRERY_FLIGHT_PORT", value_name = "PORT", default_value_t = 50051)]
    pub flight_port: u16,
    /// Port that takes tasks from the scheduler
    #[arg(long, env = "ORRERY_TASK_PORT", value_name = "PORT", default_value_t = 50052)]
    pub task_port: u16,
    /// Port of /healthz, /readyz and /metrics; 0 for none
    #[arg(long, env = "ORRERY_HTTP_PORT", value_name = "PORT", default_value_t = 50053)]
    pub http_port: u16,
    /// Partitions worked on at the same time [default: all cores]
    #[arg(long, env = "ORRERY_VCORES", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub vcores: Option<u16>,
    /// Memory that operators may hold before they spill, over all tasks [default: seven tenths of the machine's or container's]
    #[arg(long, env = "ORRERY_MEMORY_LIMIT", value_name = "SIZE")]
    pub memory_limit: Option<ByteSize>,
    /// Folder for shuffle and spill files, emptied at the start; a fast local disk, not shared with another executor [default: a temporary folder]
    #[arg(long, env = "ORRERY_WORK_DIR", value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// Seconds between signs of life
    #[arg(long, env = "ORRERY_HEARTBEAT_S", value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=5))]
    pub heartbeat_s: u64,
    /// Largest message between nodes; plans with very many files need more
    #[arg(long, env = "ORRERY_MESSAGE_LIMIT", value_name = "SIZE", default_value = "256MB")]
    pub message_limit: ByteSize,
    /// Connections with other nodes
    #[command(flatten)]
    pub cluster: ClusterSettings,
}
