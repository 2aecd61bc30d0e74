//! Measures other Flight SQL servers with the clients that measure ours: `datafusion-flight-sql-server` over one session of DataFusion, and the front end of
//! Ballista's scheduler with one executor. Server and clients are in one process, as ours are. Prints one object of JSON.
//!
//! `flight_peers {datafusion | ballista} ROWS RUNS`: what a server cannot do is null, with the reason on standard error.

#[path = "../../clients.rs"]
mod clients;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ballista_core::config::TaskSchedulingPolicy;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;
use datafusion::prelude::SessionContext;
use datafusion_flight_sql_server::service::FlightSqlService;

use clients::{Anything, RoundTrip, Server, median, read};

/// As in our own measurement.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Anything<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, rows, runs] = arguments.as_slice() else {
        return Err("usage: flight_peers {datafusion | ballista} ROWS RUNS".into());
    };
    let (rows, runs) = (rows.parse()?, runs.parse()?);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let folder = tempfile::tempdir()?;
        let server = match name.as_str() {
            "datafusion" => datafusion_server()?,
            "ballista" => ballista_server(folder.path().display().to_string())?,
            other => return Err(format!("no server is called '{other}'").into()),
        };
        wait_for(&server).await?;
        measure(&server, rows, runs).await
    })
}

async fn measure(server: &Server, rows: u64, runs: usize) -> Anything<()> {
    let plain = told("a prepared statement", server.round_trips(false).await);
    let bound = told("a bound value", server.round_trips(true).await);
    let mut streamed = Vec::new();
    for _ in 0..runs {
        streamed.extend(told("a streamed result", server.streamed_gb_per_s(rows).await));
    }
    let streamed = (!streamed.is_empty()).then(|| median(&mut streamed));
    let idle = told("idle sessions", server.idle_sessions_mb().await);
    println!(
        "{{\"round_trip_ms\": {}, \"bound_round_trip_ms\": {}, \"gb_per_s\": {}, \"idle_sessions_mb\": {}}}",
        round_trip(plain),
        round_trip(bound),
        number(streamed),
        number(idle)
    );
    Ok(())
}

fn told<T>(what: &str, measured: Anything<T>) -> Option<T> {
    measured.inspect_err(|error| eprintln!("{what}: {error}")).ok()
}

fn round_trip(measured: Option<RoundTrip>) -> String {
    measured.map_or("null".to_string(), |times| format!("{{\"p50\": {:.2}, \"p99\": {:.2}}}", times.p50_ms, times.p99_ms))
}

fn number(measured: Option<f64>) -> String {
    measured.map_or("null".to_string(), |value| format!("{value:.2}"))
}

/// The server's clients share one state and need no handshake, which it does not know.
fn datafusion_server() -> Anything<Server> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let service = FlightSqlService::new(SessionContext::new().state());
    tokio::spawn(async move {
        if let Err(error) = service.serve_with_listener(listener).await {
            eprintln!("datafusion-flight-sql-server: {error}");
        }
    });
    Ok(Server { address, login: None })
}

/// A scheduler that pushes tasks, which answers sooner than one that is polled, and an executor with all cores.
fn ballista_server(work_dir: String) -> Anything<Server> {
    let address = free_address()?;
    let config = SchedulerConfig {
        bind_port: address.port(),
        scheduling_policy: TaskSchedulingPolicy::PushStaged,
        flight_sql: true,
        ..SchedulerConfig::default()
    };
    tokio::spawn(async move {
        let cluster = BallistaCluster::new_from_config(&config).await?;
        let ended = start_server(cluster, address, Arc::new(config)).await;
        ended.inspect_err(|error| eprintln!("Ballista's scheduler: {error}"))
    });
    let executor = ExecutorProcessConfig {
        port: free_address()?.port(),
        grpc_port: free_address()?.port(),
        scheduler_host: "127.0.0.1".to_string(),
        scheduler_port: address.port(),
        scheduler_connect_timeout_seconds: 10,
        task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
        work_dir: Some(work_dir),
        ..ExecutorProcessConfig::default()
    };
    tokio::spawn(async move {
        let ended = start_executor_process(Arc::new(executor)).await;
        ended.inspect_err(|error| eprintln!("Ballista's executor: {error}"))
    });
    Ok(Server { address, login: Some(("anybody", "")) })
}

fn free_address() -> Anything<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

/// Returns when a query was answered: a scheduler listens before its executor has registered.
async fn wait_for(server: &Server) -> Anything<()> {
    let started = Instant::now();
    loop {
        let answered = tokio::time::timeout(Duration::from_secs(10), async {
            let mut client = server.connect().await?;
            let info = client.execute("SELECT 1".to_string(), None).await?;
            read(&mut client, info).await
        });
        match answered.await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) if started.elapsed() > Duration::from_secs(60) => return Err(error),
            Err(_) if started.elapsed() > Duration::from_secs(60) => return Err("the server does not answer".into()),
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}
