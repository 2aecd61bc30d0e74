//! Servers under test, and a client of them.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{FlightInfo, Ticket};
use futures::TryStreamExt as _;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::cluster::{Cluster, Options, Process, free_port};

/// A server that clients connect to.
#[derive(Clone)]
pub struct Server {
    pub port: u16,
    /// Ids of all its processes.
    pub processes: Vec<u32>,
}

/// A client as arrow-flight has it.
pub type Client = FlightSqlServiceClient<Channel>;

/// Runs a test against `orrery serve`.
pub fn on_one_machine<F: Future<Output = ()>>(test: impl FnOnce(Server) -> F) {
    let dir = tempfile::tempdir().unwrap();
    let (_process, server) = serve(dir.path(), &[]);
    block_on(test(server));
}

/// Runs a test against a cluster of two executors.
pub fn on_a_cluster<F: Future<Output = ()>>(test: impl FnOnce(Server) -> F) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Options::of(2));
    let processes = std::iter::once(&cluster.scheduler).chain(&cluster.executors).map(Process::id).collect();
    block_on(test(Server { port: cluster.client_port(), processes }));
}

/// Starts `orrery serve` with more arguments and waits until it answers.
pub fn serve(dir: &std::path::Path, arguments: &[&str]) -> (Process, Server) {
    serve_with(dir, arguments, &[])
}

/// The same with variables in its environment.
pub fn serve_with(dir: &std::path::Path, arguments: &[&str], env: &[(&str, &str)]) -> (Process, Server) {
    let port = free_port();
    let mut all: Vec<String> = vec!["serve".to_string(), "--client-port".to_string(), port.to_string()];
    all.extend(arguments.iter().map(ToString::to_string));
    let process = Process::start(dir, "serve", &all, env);
    let server = Server { port, processes: vec![process.id()] };
    let answers = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    for _ in 0..1_200 {
        if answers() {
            return (process, server);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the server does not answer:\n{}", process.said());
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

impl Server {
    /// A connection without a token.
    pub async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://127.0.0.1:{}", self.port)).unwrap().connect().await.unwrap()
    }

    /// A client that has been let in, into a session of its own.
    pub async fn connect(&self) -> Client {
        let mut client = FlightSqlServiceClient::new(self.channel().await);
        client.handshake("analyst", "any").await.unwrap();
        client
    }
}

/// Runs statements and returns the rows of the last one as text, a row a string. What was promised has to be what came.
pub async fn rows(client: &mut Client, sql: &str) -> Result<Vec<String>, Status> {
    let info = client.execute(sql.to_string(), None).await.map_err(status)?;
    fetched(client, info).await.map(|batch| as_text(&batch))
}

/// The rows that were promised.
pub async fn fetched(client: &mut Client, info: FlightInfo) -> Result<RecordBatch, Status> {
    assert_eq!(info.endpoint.len(), 1);
    let promised = info.clone().try_decode_schema().unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let (batches, sent) = batches(client, ticket).await?;
    assert_eq!(sent.as_ref(), &promised, "schema promised and schema sent");
    Ok(concat_batches(&sent, &batches).unwrap())
}

/// The batches of a ticket, and their columns.
pub async fn batches(client: &mut Client, ticket: Ticket) -> Result<(Vec<RecordBatch>, arrow::datatypes::SchemaRef), Status> {
    let mut stream = client.do_get(ticket).await.map_err(status)?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.try_next().await.map_err(status)? {
        batches.push(batch);
    }
    let schema = stream.schema().cloned().unwrap();
    assert!(batches.iter().all(|batch| batch.schema() == schema));
    Ok((batches, schema))
}

/// Runs statements for what they do.
pub async fn update(client: &mut Client, sql: &str) -> Result<i64, Status> {
    client.execute_update(sql.to_string(), None).await.map_err(status)
}

/// The server's words.
pub fn status(error: impl Into<FlightError>) -> Status {
    match error.into() {
        FlightError::Tonic(status) => *status,
        other => Status::internal(format!("not from the server: {other}")),
    }
}

/// Asserts who is to blame and what is said.
#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, words: &[&str]) {
    let status = result.expect_err("it is refused");
    assert_eq!(status.code(), code, "{status:?}");
    for word in words {
        assert!(status.message().contains(word), "{word}: {}", status.message());
    }
}

/// Rows as text, `NULL` for null.
pub fn as_text(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|")).collect()
}
