//! Measures the client port in one process, over loopback: round trips of a prepared statement by 16 clients, the throughput of a numeric result beside a
//! bare arrow-flight server that sends the same batches, and the memory of idle sessions. Prints one object of JSON.
//!
//! `flight_bench ROWS RUNS`: rows of the streamed result, and how often each is measured; the median counts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse, PollInfo,
    PutResult, SchemaResult, Ticket,
};
use clap::Parser as _;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use orrery_engine::access::{Access, Secret};
use orrery_engine::session::SessionOptions;
use orrery_server::{Embedded, Limits, Port, UserSettings, Users, listen, tuned};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};

type Anything<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
type Client = FlightSqlServiceClient<Channel>;

const USER: &str = "admin";
const PASSWORD: &str = "correct horse";
const CLIENTS: usize = 16;
const ROUNDS: usize = 200;
const IDLE_SESSIONS: usize = 500;
const BATCH_ROWS: i64 = 8192;
const COLUMNS: [&str; 4] = ["value AS a", "value + 1 AS b", "value * 2 AS c", "value - 7 AS d"];

#[derive(clap::Parser)]
struct Arguments {
    rows: u64,
    runs: usize,
    #[command(flatten)]
    limits: Limits,
}

fn main() -> Anything<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(Arguments::parse()))
}

async fn measure(arguments: Arguments) -> Anything<()> {
    let folder = tempfile::tempdir()?;
    let warehouse = folder.path().join("warehouse").display().to_string();
    let opener = Embedded::new(SessionOptions { warehouse, ..SessionOptions::default() }).await?;
    // With a user, as an analyst comes in: his rights are looked up for every statement, and the audit is written.
    let users = UserSettings { admin_password: Some(Secret::new(PASSWORD)) };
    let users = Users::open(Access::open(opener.warehouse().clone()), &users, IpAddr::V4(Ipv4Addr::LOCALHOST)).await?;
    let port = Port::new(Arc::new(users), Arc::new(opener), arguments.limits.clone());
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = listener.local_addr()?;
    tokio::spawn(tuned().add_service(port.flight_sql()).serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))));
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let bare = listener.local_addr()?;
    let service = FlightServiceServer::new(Bare { rows: arguments.rows });
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))));

    let (p50, p99) = round_trips(address, false).await?;
    let (bound_p50, bound_p99) = round_trips(address, true).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..arguments.runs {
        theirs.push(bare_gb_per_s(bare, arguments.rows).await?);
        ours.push(our_gb_per_s(address, arguments.rows).await?);
    }
    let (before, after) = idle_sessions(address).await?;
    println!(
        "{{\"round_trip_ms\": {{\"p50\": {p50:.2}, \"p99\": {p99:.2}}}, \"bound_round_trip_ms\": {{\"p50\": {bound_p50:.2}, \"p99\": {bound_p99:.2}}}, \
         \"gb_per_s\": {:.2}, \"bare_gb_per_s\": {:.2}, \"idle_sessions_mb\": {:.0}}}",
        median(&mut ours),
        median(&mut theirs),
        (after - before) / 1e6
    );
    Ok(())
}

async fn connect(address: SocketAddr) -> Anything<Client> {
    let channel = Channel::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?;
    let mut client = FlightSqlServiceClient::new(channel);
    client.handshake(USER, PASSWORD).await?;
    Ok(client)
}

async fn read(client: &mut Client, info: FlightInfo) -> Anything<(u64, u64)> {
    let ticket = info.endpoint.into_iter().find_map(|endpoint| endpoint.ticket).ok_or("no ticket")?;
    let mut stream = client.do_get(ticket).await?;
    let (mut rows, mut bytes) = (0, 0);
    while let Some(batch) = stream.try_next().await? {
        rows += batch.num_rows() as u64;
        bytes += batch.columns().iter().map(|column| column.len() as u64 * 8).sum::<u64>();
    }
    Ok((rows, bytes))
}

/// Milliseconds of a prepared statement from its execution to its last row, the median and the slowest of a hundred; with values that are bound each time.
async fn round_trips(address: SocketAddr, binds: bool) -> Anything<(f64, f64)> {
    let sql = if binds { "SELECT ? + 1 AS x" } else { "SELECT 1 AS x" };
    let clients = (0..CLIENTS).map(|_| async move {
        let mut client = connect(address).await?;
        let mut prepared = client.prepare(sql.to_string(), None).await?;
        let mut times_ms = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            if binds {
                let values: ArrayRef = Arc::new(Int64Array::from(vec![round as i64]));
                prepared.set_parameters(RecordBatch::try_from_iter([("a", values)])?)?;
            }
            let started = Instant::now();
            let info = prepared.execute().await?;
            read(&mut client, info).await?;
            times_ms.push(started.elapsed().as_secs_f64() * 1e3);
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(times_ms)
    });
    let mut all: Vec<f64> = futures::future::try_join_all(clients).await?.into_iter().flatten().collect();
    all.sort_by(f64::total_cmp);
    Ok((all[all.len() / 2], all[all.len() * 99 / 100]))
}

async fn our_gb_per_s(address: SocketAddr, rows: u64) -> Anything<f64> {
    let mut client = connect(address).await?;
    let started = Instant::now();
    let info = client.execute(format!("SELECT {} FROM generate_series(1, {rows})", COLUMNS.join(", ")), None).await?;
    let (read, bytes) = read(&mut client, info).await?;
    if read != rows {
        return Err(format!("{read} of {rows} rows came").into());
    }
    Ok(bytes as f64 / started.elapsed().as_secs_f64() / 1e9)
}

async fn bare_gb_per_s(address: SocketAddr, rows: u64) -> Anything<f64> {
    let channel = Channel::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?;
    let mut client = FlightSqlServiceClient::new(channel);
    let started = Instant::now();
    let info = FlightInfo::new().with_endpoint(arrow_flight::FlightEndpoint::new().with_ticket(Ticket::new("all")));
    let (read, bytes) = read(&mut client, info).await?;
    if read < rows {
        return Err(format!("{read} of {rows} rows came").into());
    }
    Ok(bytes as f64 / started.elapsed().as_secs_f64() / 1e9)
}

/// Bytes of the process before and after sessions have been opened, used once, and left idle; those of their clients are in it.
async fn idle_sessions(address: SocketAddr) -> Anything<(f64, f64)> {
    let mut first = connect(address).await?;
    let info = first.execute("SELECT 1".to_string(), None).await?;
    read(&mut first, info).await?;
    let before = resident_bytes()?;
    let mut clients = Vec::new();
    for _ in 0..IDLE_SESSIONS {
        let mut client = connect(address).await?;
        let info = client.execute("SELECT 1".to_string(), None).await?;
        read(&mut client, info).await?;
        clients.push(client);
    }
    Ok((before, resident_bytes()?))
}

fn resident_bytes() -> Anything<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse::<f64>()? * 1024.0)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A server that only sends.
struct Bare {
    rows: u64,
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;

fn nothing<T>() -> Result<T, Status> {
    Err(Status::unimplemented("it only sends"))
}

#[tonic::async_trait]
impl FlightService for Bare {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn do_get(&self, _: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..BATCH_ROWS));
        let batch = RecordBatch::try_from_iter(["a", "b", "c", "d"].map(|name| (name, Arc::clone(&column))));
        let batch = batch.map_err(|error| Status::internal(error.to_string()))?;
        let schema = batch.schema();
        let count = self.rows.div_ceil(BATCH_ROWS as u64) as usize;
        let batches = futures::stream::iter(std::iter::repeat_n(batch, count).map(Ok));
        Ok(Response::new(FlightDataEncoderBuilder::new().with_schema(schema).build(batches).map_err(Status::from).boxed()))
    }

    async fn handshake(&self, _: Request<Streaming<HandshakeRequest>>) -> Result<Response<Self::HandshakeStream>, Status> {
        nothing()
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        nothing()
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        nothing()
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        nothing()
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        nothing()
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        nothing()
    }

    async fn do_action(&self, _: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        nothing()
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        nothing()
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        nothing()
    }
}
