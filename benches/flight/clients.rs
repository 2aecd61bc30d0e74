//! The clients that measure a Flight SQL server over loopback: round trips of a prepared statement, the throughput of a result,
//! and the memory that idle sessions hold.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow_flight::FlightInfo;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt as _;
use tokio::sync::Barrier;
use tokio::time::timeout;
use tonic::transport::Channel;

pub type Anything<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
pub type Client = FlightSqlServiceClient<Channel>;

const CLIENTS: usize = 16;
pub const ROUNDS: usize = 200;
/// How long clients wait for each other.
pub const READY_WITHIN: Duration = Duration::from_secs(60);
const IDLE_SESSIONS: usize = 500;
/// Four computed columns of 8 bytes each.
const COLUMNS: &str = "value AS a, value + 1 AS b, value * 2 AS c, value - 7 AS d";

/// Where a server listens and who its clients are; nobody where the server knows no handshake.
#[derive(Clone, Copy)]
pub struct Server {
    pub address: SocketAddr,
    pub login: Option<(&'static str, &'static str)>,
}

/// Milliseconds from a statement's execution to its last row: the median, and the slowest of a hundred.
#[derive(Clone, Copy)]
pub struct RoundTrip {
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl Server {
    pub async fn connect(&self) -> Anything<Client> {
        let channel = Channel::from_shared(format!("http://{}", self.address))?.tcp_nodelay(true).connect().await?;
        let mut client = FlightSqlServiceClient::new(channel);
        if let Some((user, password)) = self.login {
            client.handshake(user, password).await?;
        }
        Ok(client)
    }

    /// Round trips of a prepared statement by 16 clients at once; with a value that is bound each time, or without.
    pub async fn round_trips(&self, binds: bool) -> Anything<RoundTrip> {
        let server = *self;
        let sql = if binds { "SELECT ? + 1 AS x" } else { "SELECT 1 AS x" };
        at_once(move |all_are_ready| async move {
            let mut client = server.connect().await?;
            let mut prepared = client.prepare(sql.to_string(), None).await?;
            let mut times_ms = Vec::with_capacity(ROUNDS);
            timeout(READY_WITHIN, all_are_ready.wait()).await?;
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
            Ok(times_ms)
        })
        .await
    }

    /// Gigabytes a second of a result that is computed while it is streamed, from the statement to its last row.
    pub async fn streamed_gb_per_s(&self, rows: u64) -> Anything<f64> {
        let mut client = self.connect().await?;
        let started = Instant::now();
        let info = client.execute(format!("SELECT {COLUMNS} FROM generate_series(1, {rows})"), None).await?;
        let (read, bytes) = read(&mut client, info).await?;
        if read != rows {
            return Err(format!("{read} of {rows} rows came").into());
        }
        Ok(bytes as f64 / started.elapsed().as_secs_f64() / 1e9)
    }

    /// Megabytes that the process has grown by when 500 sessions have been opened, used once and left idle; those of their clients are in it.
    pub async fn idle_sessions_mb(&self) -> Anything<f64> {
        let mut first = self.connect().await?;
        let info = first.execute("SELECT 1".to_string(), None).await?;
        read(&mut first, info).await?;
        let before = resident_bytes()?;
        let mut clients = Vec::new();
        for _ in 0..IDLE_SESSIONS {
            let mut client = self.connect().await?;
            let info = client.execute("SELECT 1".to_string(), None).await?;
            read(&mut client, info).await?;
            clients.push(client);
        }
        Ok((resident_bytes()? - before) / 1e6)
    }
}

/// What 16 clients at once measure, each in a task of its own, which answers its times in milliseconds: what is
/// before it waits for the others, such as to log in, which takes long on purpose, disturbs nobody.
pub async fn at_once<F: Future<Output = Anything<Vec<f64>>> + Send + 'static>(client: impl Fn(Arc<Barrier>) -> F) -> Anything<RoundTrip> {
    let all_are_ready = Arc::new(Barrier::new(CLIENTS));
    let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(client(Arc::clone(&all_are_ready)))).collect();
    let mut all = Vec::with_capacity(CLIENTS * ROUNDS);
    for client in clients {
        all.extend(client.await??);
    }
    all.sort_by(f64::total_cmp);
    Ok(RoundTrip { p50_ms: all[all.len() / 2], p99_ms: all[all.len() * 99 / 100] })
}

/// Rows and bytes of a result, all its endpoints read one after the other.
pub async fn read(client: &mut Client, info: FlightInfo) -> Anything<(u64, u64)> {
    let (mut rows, mut bytes) = (0, 0);
    for endpoint in info.endpoint {
        let mut stream = client.do_get(endpoint.ticket.ok_or("no ticket")?).await?;
        while let Some(batch) = stream.try_next().await? {
            rows += batch.num_rows() as u64;
            bytes += batch.columns().iter().map(|column| column.len() as u64 * 8).sum::<u64>();
        }
    }
    Ok((rows, bytes))
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn resident_bytes() -> Anything<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse::<f64>()? * 1024.0)
}
