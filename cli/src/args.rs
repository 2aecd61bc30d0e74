//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use orrery_engine::access::Secret;
use orrery_engine::dialect::{Variable, parse_assignment};

/// SQL scripts in; a star schema of Delta tables out.
#[derive(Debug, Parser)]
#[command(name = "orrery", version, about, max_term_width = 120)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run SQL scripts: files, or folders of .sql files in the order of their names
    Run(Run),
    /// Open the SQL shell, or run one statement or file
    Sql(Sql),
    /// Run SQL scripts on a cluster
    Submit(Submit),
    /// List the runs of a cluster, or show one
    Runs(Runs),
    /// Follow a run of a cluster
    Attach(Attach),
    /// Stop a run of a cluster
    Cancel(Cancel),
    /// Serve the warehouse to Flight SQL clients, with this process as the engine
    Serve(Server<orrery_server::Settings>),
    /// Start the scheduler of a cluster
    Scheduler(Server<orrery_scheduler::Settings>),
    /// Start an executor of a cluster
    Executor(Server<orrery_executor::Settings>),
    /// Make synthetic data
    #[command(subcommand)]
    Generate(Generate),
}

impl Arguments {
    /// Worker threads asked for.
    pub fn threads(&self) -> Option<usize> {
        match &self.command {
            Command::Run(Run { session, .. }) | Command::Sql(Sql { session, .. }) => session.threads,
            Command::Serve(server) => server.settings.threads,
            _ => None,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Scripts, and folders of scripts, in running order
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub session: SessionArgs,
    /// Parse and plan every statement, write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Start at statement N; earlier ones that only prepare the session (SET, USE, temporary views, caches) still run
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub from: usize,
    #[command(flatten)]
    pub display: Display,
    /// Do not show progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// Where the cluster is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Remote {
    /// The scheduler's client port
    #[arg(long, env = "ORRERY_SCHEDULER", value_name = "URL", default_value = "http://127.0.0.1:50060", value_parser = parse_endpoint)]
    pub to: String,
    /// How to log in there
    #[command(flatten)]
    pub login: Login,
}

/// Who calls a server, and which servers are trusted.
#[derive(Debug, Clone, Args)]
pub(crate) struct Login {
    /// Certificates of the authorities whose servers are trusted, in PEM, for https:// URLs [default: those that this machine trusts]
    #[arg(long, env = "ORRERY_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Certificate to show to a server that asks for one, in PEM
    #[arg(long, env = "ORRERY_CLIENT_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of that certificate, in PEM, without a passphrase
    #[arg(long, env = "ORRERY_CLIENT_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Name of the user, where the server has users
    #[arg(long, env = "ORRERY_USER", value_name = "NAME")]
    pub user: Option<String>,
    /// His password. Better given by the environment, since others on this machine can read flags
    #[arg(long, env = "ORRERY_PASSWORD", value_name = "PASSWORD", hide_env_values = true, requires = "user", value_parser = parse_secret)]
    pub password: Option<Secret>,
    /// A token of a user, instead of his name and password; likewise better given by the environment
    #[arg(long, env = "ORRERY_TOKEN", value_name = "TOKEN", hide_env_values = true, conflicts_with = "user", value_parser = parse_secret)]
    pub token: Option<Secret>,
}

#[derive(Debug, Args)]
pub(crate) struct Submit {
    #[command(flatten)]
    pub remote: Remote,
    /// Scripts, and folders of scripts, in running order; they are read here and sent
    #[arg(required_unless_present = "resume", conflicts_with = "resume", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// A script variable, used as ${name}; wins over SET in a script. Numbers, true, false and null are typed; all else is text
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_assignment, conflicts_with = "resume")]
    pub variables: Vec<(String, Variable)>,
    /// Catalog that two-level names belong to
    #[arg(long, env = "ORRERY_CATALOG", value_name = "CATALOG", default_value = "dev")]
    pub catalog: String,
    /// Parse and plan every statement, write nothing
    #[arg(long, conflicts_with = "resume")]
    pub dry_run: bool,
    /// Start at statement N; earlier ones that only prepare the session (SET, USE, temporary views, caches) still run
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub from: usize,
    /// Go on with a run that failed, was cancelled or interrupted, at its first unfinished statement
    #[arg(long, value_name = "RUN")]
    pub resume: Option<String>,
    /// Name of the run; a name that was used before attaches to that run [default: made by the scheduler]
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    pub run_id: Option<String>,
    /// Print the run's id and return while it runs
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub display: Display,
    /// Do not show progress
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Runs {
    #[command(flatten)]
    pub remote: Remote,
    /// Show the statements of this run
    pub run: Option<String>,
    /// Show what each executor did for the run instead
    #[arg(long, requires = "run")]
    pub executors: bool,
    /// Runs shown at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
    #[command(flatten)]
    pub display: Display,
}

#[derive(Debug, Args)]
pub(crate) struct Attach {
    #[command(flatten)]
    pub remote: Remote,
    /// The run, or a beginning of its id
    pub run: String,
    #[command(flatten)]
    pub display: Display,
    /// Do not show progress
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    pub remote: Remote,
    /// The run, or a beginning of its id
    pub run: String,
}

/// A server: its settings, where else they come from, and what it logs.
#[derive(Debug, Args)]
pub(crate) struct Server<S: Args> {
    /// File with settings: tables [serve], [scheduler] and [executor] with the flags' names as keys. Flags and environment variables win over it
    #[arg(long, env = "ORRERY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What is logged: a level, or levels by module as in RUST_LOG
    #[arg(
        long,
        env = "ORRERY_LOG",
        value_name = "FILTER",
        default_value = "warn,orrery_scheduler=info,orrery_executor=info,orrery_server=info,orrery_engine=info,orrery_lakehouse=info,orrery_transport=info"
    )]
    pub log: String,
    /// How it is logged
    #[arg(long, env = "ORRERY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    #[command(flatten)]
    pub settings: S,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line per event
    Text,
    /// A JSON object per event
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Sql {
    #[command(flatten)]
    pub session: SessionArgs,
    /// Run the statements on a server, orrery serve or a scheduler, instead of in this process
    #[arg(long, value_name = "URL", value_parser = parse_endpoint)]
    pub to: Option<String>,
    /// How to log in there
    #[command(flatten)]
    pub login: Login,
    /// Run these statements and exit
    #[arg(long, short, value_name = "SQL", conflicts_with = "file")]
    pub command: Option<String>,
    /// Run this file and exit
    #[arg(long, short, value_name = "FILE")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub display: Display,
}

/// What a session is opened with.
#[derive(Debug, Clone, Args)]
pub(crate) struct SessionArgs {
    /// A script variable, used as ${name}; wins over SET in a script. Numbers, true, false and null are typed; all else is text
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_assignment)]
    pub variables: Vec<(String, Variable)>,
    /// Root of the warehouse: a path, or a file, s3, gs or az URL
    #[arg(long, env = "ORRERY_WAREHOUSE", value_name = "URL", default_value = "./warehouse")]
    pub warehouse: String,
    /// Catalog that two-level names belong to
    #[arg(long, env = "ORRERY_CATALOG", value_name = "CATALOG", default_value = "dev")]
    pub catalog: String,
    /// Worker threads [default: all cores]
    #[arg(long, env = "ORRERY_THREADS", value_name = "N", value_parser = at_least_one)]
    pub threads: Option<usize>,
    /// Memory that operators may hold before they spill, such as 4GB [default: three fifths of the machine's]
    #[arg(long, env = "ORRERY_MEMORY_LIMIT", value_name = "SIZE", value_parser = parse_size)]
    pub memory_limit: Option<usize>,
    /// Folder for spill files and caches [default: the system's temporary folder]
    #[arg(long, env = "ORRERY_SCRATCH_DIR", value_name = "DIR")]
    pub scratch_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Display {
    /// How rows are written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Rows of a table shown at most; 0 shows all
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub max_rows: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One JSON object per line
    Json,
    /// A Parquet file on standard output; one result only
    Parquet,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Generate {
    /// Raw e-commerce events, shaped like the REES46 clickstream of October 2019
    Clickstream(Clickstream),
    /// Sales, shaped like the Black Friday data set: customers, products, amounts
    BlackFriday(GeneratedTable),
    /// Customers, shaped like the Customer Personality Analysis data set
    CustomerPersonality(GeneratedTable),
}

#[derive(Debug, Args)]
pub(crate) struct GeneratedTable {
    /// How many rows; the data set's own number if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub rows: Option<u64>,
    /// Equal seeds give equal data
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// File format
    #[arg(long, default_value = "parquet", value_parser = ["parquet", "csv", "csv.gz"])]
    pub format: String,
    /// Folder for the file
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Replace the file of an earlier generation
    #[arg(long)]
    pub overwrite: bool,
    /// Do not say what was written
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Clickstream {
    /// How many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// Equal seeds give equal data
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// File format
    #[arg(long, default_value = "parquet", value_parser = ["parquet", "csv", "csv.gz"])]
    pub format: String,
    /// Folder for the files
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Share of rows to spoil, 0 to 1: malformed times, negative and huge prices, unknown types, null keys
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    pub dirty: f64,
    /// Replace the files of an earlier generation
    #[arg(long)]
    pub overwrite: bool,
    /// Do not show progress
    #[arg(long, short)]
    pub quiet: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse::<usize>().ok().filter(|n| *n >= 1).ok_or_else(|| "expected a whole number of at least 1".to_string())
}

fn parse_size(text: &str) -> Result<usize, String> {
    let bytes = text.trim().parse::<bytesize::ByteSize>().map_err(|_| "expected a size such as 512MB or 4GB".to_string())?;
    usize::try_from(bytes.as_u64()).ok().filter(|b| *b >= 16 << 20).ok_or_else(|| "expected at least 16MB".to_string())
}

fn parse_endpoint(text: &str) -> Result<String, String> {
    let url = match text.split_once("://") {
        Some(("grpc", rest)) => format!("http://{rest}"),
        Some(("grpc+tls", rest)) => format!("https://{rest}"),
        Some(("http" | "https", _)) => text.to_string(),
        Some((scheme, _)) => {
            return Err(format!("'{scheme}' is not a scheme of schedulers; expected http://HOST:PORT or https://HOST:PORT"));
        }
        None => format!("http://{text}"),
    };
    match url.rsplit_once(':') {
        Some((_, port)) if port.trim_end_matches('/').parse::<u16>().is_ok() => Ok(url),
        _ => Err("expected http://HOST:PORT or https://HOST:PORT, such as http://127.0.0.1:50060".to_string()),
    }
}

fn parse_secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}
