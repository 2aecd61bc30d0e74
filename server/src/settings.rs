//! What `orrery serve` can be told, each setting declared once: its flag, environment variable, key in the configuration file, default and meaning.

use std::net::IpAddr;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;
use clap::builder::BoolishValueParser;
use orrery_engine::session::SessionOptions;
use orrery_transport::ClientPortSettings;

use crate::{Limits, UserSettings};

/// Settings of `orrery serve`.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Root of the warehouse: a path, or a file, s3, gs or az URL
    #[arg(long, env = "ORRERY_WAREHOUSE", value_name = "URL", default_value = "./warehouse")]
    pub warehouse: String,
    /// Catalog that sessions begin in
    #[arg(long, env = "ORRERY_CATALOG", value_name = "CATALOG", default_value = "dev")]
    pub catalog: String,
    /// Address to listen on
    #[arg(long, env = "ORRERY_BIND_HOST", value_name = "IP", default_value = "127.0.0.1")]
    pub bind_host: IpAddr,
    /// Port for clients
    #[arg(long, env = "ORRERY_CLIENT_PORT", value_name = "PORT", default_value_t = 50060)]
    pub client_port: u16,
    /// Worker threads [default: all cores]
    #[arg(long, env = "ORRERY_THREADS", value_name = "N", value_parser = at_least_one)]
    pub threads: Option<usize>,
    /// Memory that all sessions' operators together may hold before they spill [default: three fifths of the machine's]
    #[arg(long, env = "ORRERY_MEMORY_LIMIT", value_name = "SIZE")]
    pub memory_limit: Option<ByteSize>,
    /// Folder for spill files and caches [default: the system's temporary folder]
    #[arg(long, env = "ORRERY_SCRATCH_DIR", value_name = "DIR")]
    pub scratch_dir: Option<PathBuf>,
    /// Listen in plain text where other machines can connect, if there is no certificate
    #[arg(long, env = "ORRERY_INSECURE", value_parser = BoolishValueParser::new())]
    pub insecure: bool,
    /// Certificates of the client port
    #[command(flatten)]
    pub tls: ClientPortSettings,
    /// Users
    #[command(flatten)]
    pub users: UserSettings,
    /// Limits of the client port
    #[command(flatten)]
    pub limits: Limits,
}

impl Settings {
    /// What sessions are opened with.
    pub(crate) fn session_options(&self) -> SessionOptions {
        SessionOptions {
            warehouse: self.warehouse.clone(),
            catalog: self.catalog.clone(),
            threads: self.threads,
            memory_limit_bytes: self.memory_limit.map(|limit| usize::try_from(limit.as_u64()).unwrap_or(usize::MAX)),
            scratch_dir: self.scratch_dir.clone(),
            ..SessionOptions::default()
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse::<usize>().ok().filter(|n| *n >= 1).ok_or_else(|| "expected a whole number of at least 1".to_string())
}
