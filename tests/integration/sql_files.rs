//! The SQL tests: every `tests/slt/*.slt`, each on a session and warehouse of its own, in one process and on a cluster.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt as _;
use orrery_engine::Error;
use orrery_engine::access::Access;
use orrery_engine::dialect::{Variable, split};
use orrery_engine::session::{Mode, Outcome, Session, SessionOptions, Tracker};
use orrery_scheduler::{Background, Coordinator};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

use super::cluster::{Process, executor_of, free_port, in_stages};
use super::data;

/// The sessions of a file: the embedded engine's, and one for each user that a record names.
struct Engine<'a> {
    sessions: &'a dyn Sessions,
    options: SessionOptions,
    session: Session,
    of_users: HashMap<String, Session>,
    access: Option<Access>,
}

/// Begins a record that is run on the session of a user, who has to exist: `-- as ann`.
const AS_USER: &str = "-- as ";

impl Engine<'_> {
    async fn run_as(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
        let user = sql.strip_prefix(AS_USER).and_then(|rest| rest.lines().next()).map(str::trim);
        let Some(user) = user else { return Self::statement(&self.session, sql).await };
        // Rights that the embedded engine has just changed are known to others within a second.
        let access = self.access.get_or_insert_with(|| Access::open(self.session.warehouse().clone()));
        if !self.of_users.contains_key(user) {
            let principal = access.trusted(user, "slt").await.map_err(|e| Error::sql(e.to_string()))?;
            let options = SessionOptions { principal: Some(principal), ..self.options.clone() };
            self.of_users.insert(user.to_string(), self.sessions.open(options).await);
        }
        Self::statement(&self.of_users[user], sql).await
    }

    async fn statement(session: &Session, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
        let mut output = DBOutput::StatementComplete(0);
        for statement in split(sql)? {
            let tracker = Tracker::default();
            output = match session.execute(&statement, Mode::Run, &tracker).await? {
                Outcome::Rows(stream) => {
                    let schema = stream.schema();
                    let batches: Vec<RecordBatch> = match stream.try_collect().await {
                        Ok(batches) => batches,
                        Err(error) => return Err(session.explain_error(error.into(), &statement, &tracker).await),
                    };
                    let types = schema.fields().iter().map(|f| column_type(f.data_type())).collect();
                    DBOutput::Rows { types, rows: batches.iter().flat_map(cells).collect() }
                }
                Outcome::Written { outcome, .. } => DBOutput::StatementComplete(outcome.rows),
                Outcome::Done(_) => DBOutput::StatementComplete(0),
            };
        }
        Ok(output)
    }
}

#[async_trait]
impl AsyncDB for Engine<'_> {
    type Error = Shown;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Shown> {
        self.run_as(sql).await.map_err(Shown)
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "orrery"
    }
}

/// An error with everything that a user would read, so that tests can ask for place and hint too.
#[derive(Debug)]
struct Shown(Error);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        if let Some(hint) = &self.0.hint {
            write!(f, " hint: {hint}")?;
        }
        write!(f, " [{}]", self.0.blame.as_str())
    }
}

impl std::error::Error for Shown {}

fn column_type(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        t if t.is_integer() => DefaultColumnType::Integer,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DefaultColumnType::FloatingPoint,
        t if t.is_numeric() => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    }
}

fn cells(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let formatters: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
    let cell = |f: &ArrayFormatter<'_>, row: usize| {
        let text = f.value(row).to_string();
        if text.is_empty() { "(empty)".to_string() } else { text.replace('\n', "\\n") }
    };
    (0..batch.num_rows()).map(|row| formatters.iter().map(|f| cell(f, row)).collect()).collect()
}

fn options(warehouse: &Path) -> SessionOptions {
    let text = |path: PathBuf| Variable::String(path.to_string_lossy().into_owned());
    let variables = [
        ("fixtures", data::root().join("tests/fixtures")),
        ("warehouse", warehouse.to_path_buf()),
        ("scratch", warehouse.join("../files")),
    ];
    SessionOptions {
        warehouse: warehouse.to_string_lossy().into_owned(),
        threads: Some(3),
        variables: variables.map(|(name, path)| (name.to_string(), text(path))).to_vec(),
        ..SessionOptions::default()
    }
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(data::root().join("tests/slt")).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "slt"));
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Runs every file, or the one that `ORRERY_SLT` names, in a folder of its own, on sessions that `open` gives for it.
async fn run_files<Opening>(open: impl Fn(&Path) -> Opening)
where
    Opening: Future<Output = Box<dyn Sessions>>,
{
    let only = std::env::var("ORRERY_SLT").unwrap_or_default();
    let mut failures = Vec::new();
    for file in files() {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if !only.is_empty() && name != only {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("files")).unwrap();
        let sessions = open(dir.path()).await;
        let mut runner = Runner::new(|| async {
            let options = options(&dir.path().join("warehouse"));
            let session = sessions.open(options.clone()).await;
            let (of_users, access) = (HashMap::new(), None);
            Ok::<_, Shown>(Engine { sessions: sessions.as_ref(), options, session, of_users, access })
        });
        if std::env::var_os("ORRERY_SLT_COMPLETE").is_some() {
            let updated = runner
                .update_test_file(
                    &file,
                    " ",
                    sqllogictest::default_validator,
                    sqllogictest::default_normalizer,
                    sqllogictest::default_column_validator,
                )
                .await;
            if let Err(error) = updated {
                failures.push(format!("{name}: {error}"));
            }
        } else if let Err(error) = runner.run_file_async(&file).await {
            failures.push(format!("{name}: {}", error.display(false)));
        }
    }
    assert!(failures.is_empty(), "{} of the SQL test files failed:\n\n{}", failures.len(), failures.join("\n\n"));
}

/// Where the sessions of a file come from.
#[async_trait]
trait Sessions: Send + Sync {
    async fn open(&self, options: SessionOptions) -> Session;
}

struct InThisProcess;

#[async_trait]
impl Sessions for InThisProcess {
    async fn open(&self, options: SessionOptions) -> Session {
        Session::open(options).await.unwrap()
    }
}

/// A coordinator in this process and executors in others.
struct OnCluster {
    coordinator: Coordinator,
    _background: Background,
    _executors: Vec<Process>,
}

/// Vcores of each executor.
const VCORES: usize = 2;

#[derive(clap::Parser)]
struct SchedulerArgs {
    #[command(flatten)]
    settings: orrery_scheduler::Settings,
}

impl OnCluster {
    async fn start(dir: &Path, executors: usize, more_args: &[String]) -> Self {
        let port = free_port();
        let (internal_port, warehouse) = (port.to_string(), dir.join("warehouse").display().to_string());
        // Everything that reads a file goes to the executor, however small.
        let args = ["scheduler", "--internal-port", &internal_port, "--warehouse", &warehouse, "--local-limit", "0B"];
        let args = args.into_iter().map(String::from).chain(more_args.iter().cloned());
        let settings = <SchedulerArgs as clap::Parser>::try_parse_from(args).unwrap().settings;
        let (coordinator, background) = Coordinator::start(&settings).await.unwrap();
        let executors: Vec<Process> = (1..=executors).map(|number| executor_of(dir, number, port, VCORES)).collect();
        for _ in 0..600 {
            if coordinator.vcores() == executors.len() * VCORES {
                return Self { coordinator, _background: background, _executors: executors };
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("the executors did not join:\n{}", executors.iter().map(Process::said).collect::<String>());
    }
}

#[async_trait]
impl Sessions for OnCluster {
    async fn open(&self, options: SessionOptions) -> Session {
        self.coordinator.open_session(options).await.unwrap()
    }
}

/// `ORRERY_SLT=name` runs one file; `ORRERY_SLT_COMPLETE=1` writes the results found into the files, for a person to check.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_tests() {
    run_files(|_| async { Box::new(InThisProcess) as Box<dyn Sessions> }).await;
}

/// Every plan is cut into stages, whose tasks are on different executors.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_sql_tests() {
    on_cluster(3, &in_stages()).await;
}

/// Whole plans go to the executor, as they do by default where there is only one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_sql_tests_in_one_task() {
    on_cluster(1, &[]).await;
}

async fn on_cluster(executors: usize, more_args: &[String]) {
    run_files(|dir| {
        let (dir, more_args) = (dir.to_path_buf(), more_args.to_vec());
        async move { Box::new(OnCluster::start(&dir, executors, &more_args).await) as Box<dyn Sessions> }
    })
    .await;
}

/// An interrupt that comes between statements, or while one is planned, is not lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_session_runs_nothing_until_it_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let session = Session::open(options(&dir.path().join("warehouse"))).await.unwrap();
    let tracker = Tracker::default();
    let create = orrery_engine::dialect::split("CREATE TABLE t AS SELECT 1 AS a").unwrap().remove(0);
    session.cancel();
    for _ in 0..2 {
        let error = session.execute(&create, Mode::Run, &tracker).await.err().unwrap();
        assert_eq!(error.blame, orrery_engine::Blame::Interrupted, "{error}");
    }
    session.resume();
    // That it can be created shows that it was not before.
    session.execute(&create, Mode::Run, &tracker).await.unwrap();
}
