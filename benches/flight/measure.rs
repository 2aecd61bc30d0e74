//! Measures the client port in one process, over loopback: round trips of a prepared statement by 16 clients, the throughput of a numeric result beside a
//! bare arrow-flight server that sends the same batches, and the memory of idle sessions. Prints one object of JSON.
//!
//! `flight_bench ROWS RUNS`: rows of the streamed result, and how often each is measured; the median counts.

mod clients;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use clap::Parser as _;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use orrery_engine::access::{Access, Secret};
use orrery_engine::session::SessionOptions;
use orrery_server::{Embedded, Limits, Port, UserSettings, Users, listen, tuned};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use clients::{Anything, READY_WITHIN, ROUNDS, RoundTrip, at_once, median, read};

/// As in the program that serves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USER: &str = "admin";
const PASSWORD: &str = "correct horse";
const BATCH_ROWS: i64 = 8192;
const ONE_ROW: &[u8] = b"one row";

#[derive(clap::Parser)]
struct Arguments {
    rows: u64,
    runs: usize,
    #[command(flatten)]
    limits: Limits,
}

fn main() -> Anything<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(Arguments::parse()))?;
    // What still writes the audit is not waited for.
    runtime.shutdown_background();
    Ok(())
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
    tokio::spawn(
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))),
    );

    let server = clients::Server { address, login: Some((USER, PASSWORD)) };
    let floor = bare_round_trips(bare).await?;
    let plain = server.round_trips(false).await?;
    let bound = server.round_trips(true).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..arguments.runs {
        theirs.push(bare_gb_per_s(bare, arguments.rows).await?);
        ours.push(server.streamed_gb_per_s(arguments.rows).await?);
    }
    let idle_sessions_mb = server.idle_sessions_mb().await?;
    println!(
        "{{\"bare_round_trip_ms\": {{\"p50\": {:.2}, \"p99\": {:.2}}}, \"round_trip_ms\": {{\"p50\": {:.2}, \"p99\": {:.2}}}, \"bound_round_trip_ms\": {{\"p50\": {:.2}, \"p99\": {:.2}}}, \
         \"gb_per_s\": {:.2}, \"bare_gb_per_s\": {:.2}, \"idle_sessions_mb\": {idle_sessions_mb:.0}}}",
        floor.p50_ms,
        floor.p99_ms,
        plain.p50_ms,
        plain.p99_ms,
        bound.p50_ms,
        bound.p99_ms,
        median(&mut ours),
        median(&mut theirs),
    );
    Ok(())
}

async fn bare_gb_per_s(address: SocketAddr, rows: u64) -> Anything<f64> {
    let mut client = clients::Server { address, login: None }.connect().await?;
    let started = Instant::now();
    let info = FlightInfo::new().with_endpoint(FlightEndpoint::new().with_ticket(Ticket::new("all")));
    let (read, bytes) = read(&mut client, info).await?;
    if read < rows {
        return Err(format!("{read} of {rows} rows came").into());
    }
    Ok(bytes as f64 / started.elapsed().as_secs_f64() / 1e9)
}

/// The two calls that a prepared query takes, to a server that does nothing for them.
async fn bare_round_trips(address: SocketAddr) -> Anything<RoundTrip> {
    let server = clients::Server { address, login: None };
    at_once(move |all_are_ready| async move {
        let mut client = server.connect().await?;
        let mut times_ms = Vec::with_capacity(ROUNDS);
        tokio::time::timeout(READY_WITHIN, all_are_ready.wait()).await?;
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let info = client.inner_mut().get_flight_info(FlightDescriptor::new_cmd("one row")).await?.into_inner();
            read(&mut client, info).await?;
            times_ms.push(started.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times_ms)
    })
    .await
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

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let is_one = request.get_ref().ticket == ONE_ROW;
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..if is_one { 1 } else { BATCH_ROWS }));
        let batch = RecordBatch::try_from_iter(["a", "b", "c", "d"].map(|name| (name, Arc::clone(&column))));
        let batch = batch.map_err(|error| Status::internal(error.to_string()))?;
        let schema = batch.schema();
        let count = if is_one { 1 } else { self.rows.div_ceil(BATCH_ROWS as u64) as usize };
        let batches = futures::stream::iter(std::iter::repeat_n(batch, count).map(Ok));
        Ok(Response::new(FlightDataEncoderBuilder::new().with_schema(schema).build(batches).map_err(Status::from).boxed()))
    }

    async fn handshake(&self, _: Request<Streaming<HandshakeRequest>>) -> Result<Response<Self::HandshakeStream>, Status> {
        nothing()
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        nothing()
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let schema = Schema::new(vec![Field::new("x", DataType::Int64, true)]);
        let info = FlightInfo::new().try_with_schema(&schema).map_err(|error| Status::internal(error.to_string()))?;
        let info = info.with_endpoint(FlightEndpoint::new().with_ticket(Ticket::new(ONE_ROW))).with_descriptor(request.into_inner());
        Ok(Response::new(info))
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
