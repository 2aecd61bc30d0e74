//! Stopping statements, and following those that take long.

use std::time::{Duration, Instant};

use arrow_flight::sql::{ActionCancelQueryRequest, ActionCancelQueryResult, Any, CommandStatementQuery, ProstMessageExt as _};
use arrow_flight::{Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor, FlightInfo, PollInfo};
use futures::TryStreamExt as _;
use prost::Message as _;
use tonic::{Code, Status};

use super::on_both;
use super::served::{Client, Server, as_text, assert_refused, fetched, rows, status, update};

on_both!(
    a_poll_tells_progress_and_then_the_rows,
    a_polled_statement_is_cancelled,
    a_promised_result_is_cancelled,
    a_reader_that_goes_away_stops_the_work,
    a_write_that_is_cancelled_leaves_nothing,
);

/// Takes minutes if nobody stops it.
const ENDLESS: &str = "SELECT sum(a.value % (b.value + 1)) AS s FROM n a CROSS JOIN n b";

async fn numbers(client: &mut Client) {
    update(client, "CREATE TABLE n AS SELECT value FROM generate_series(1, 300000)").await.unwrap();
}

fn asked<T>(client: &Client, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {}", client.token().unwrap()).parse().unwrap());
    request
}

async fn poll(client: &mut Client, descriptor: FlightDescriptor) -> Result<PollInfo, Status> {
    let request = asked(client, descriptor);
    client.inner_mut().poll_flight_info(request).await.map(tonic::Response::into_inner)
}

fn descriptor(sql: &str) -> FlightDescriptor {
    let command = CommandStatementQuery { query: sql.to_string(), transaction_id: None };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

/// Asks the server to stop what it gave this answer for.
pub(super) async fn cancel(client: &mut Client, info: FlightInfo) -> CancelStatus {
    let action = Action::new("CancelFlightInfo", CancelFlightInfoRequest::new(info).encode_to_vec());
    let answer = client.do_action(action).await.unwrap().message().await.unwrap().unwrap();
    CancelFlightInfoResult::decode(answer.body).unwrap().status()
}

async fn a_poll_tells_progress_and_then_the_rows(server: Server) {
    let mut client = server.connect().await;
    numbers(&mut client).await;
    let sql = "SELECT count(*) AS n, sum(a.value % (b.value + 1)) > 0 AS s FROM n a CROSS JOIN (SELECT * FROM n LIMIT 1000) b";
    let mut answer = poll(&mut client, descriptor(sql)).await.unwrap();
    while let Some(next) = answer.flight_descriptor.take() {
        assert!(answer.progress.is_none_or(|progress| (0.0..=1.0).contains(&progress)));
        answer = poll(&mut client, next).await.unwrap();
    }
    assert_eq!(answer.progress, Some(1.0));
    let batch = fetched(&mut client, answer.info.unwrap()).await.unwrap();
    assert_eq!(as_text(&batch), ["300000000|true"]);
    // Failures and listings are told by a poll as well.
    assert_refused(poll(&mut client, descriptor("SELECT nothing")).await, Code::InvalidArgument, &["nothing"]);
    let listing = FlightDescriptor::new_cmd(arrow_flight::sql::CommandGetCatalogs {}.as_any().encode_to_vec());
    let answer = poll(&mut client, listing).await.unwrap();
    assert!(answer.flight_descriptor.is_none());
    assert!(fetched(&mut client, answer.info.unwrap()).await.unwrap().num_rows() > 0);
}

async fn a_polled_statement_is_cancelled(server: Server) {
    let mut client = server.connect().await;
    numbers(&mut client).await;
    let answer = poll(&mut client, descriptor(ENDLESS)).await.unwrap();
    let next = answer.flight_descriptor.clone().expect("it goes on");
    server.wait_until_busy();
    let info = FlightInfo { flight_descriptor: Some(next.clone()), ..answer.info.unwrap() };
    // Nobody else can do that.
    let mut other = server.connect().await;
    assert_eq!(cancel(&mut other, info.clone()).await, CancelStatus::NotCancellable);
    assert_eq!(cancel(&mut client, info.clone()).await, CancelStatus::Cancelled);
    assert_refused(poll(&mut client, next).await, Code::NotFound, &["cancelled"]);
    assert_eq!(cancel(&mut client, info).await, CancelStatus::NotCancellable);
    server.wait_until_idle();
    assert_eq!(rows(&mut client, "SELECT count(*) FROM n").await.unwrap(), ["300000"]);
}

async fn a_promised_result_is_cancelled(server: Server) {
    let mut client = server.connect().await;
    numbers(&mut client).await;
    // More rows than are worked ahead of a reader.
    let info = client.execute("SELECT a.value FROM n a".to_string(), None).await.map_err(status).unwrap();
    let request = ActionCancelQueryRequest { info: info.encode_to_vec().into() };
    let action = Action::new("CancelQuery", request.as_any().encode_to_vec());
    let answer = client.do_action(action).await.unwrap().message().await.unwrap().unwrap();
    let result: ActionCancelQueryResult = Any::decode(answer.body).unwrap().unpack().unwrap().unwrap();
    assert_eq!(result.result, CancelStatus::Cancelled as i32);
    assert_refused(fetched(&mut client, info).await, Code::NotFound, &[]);
}

async fn a_reader_that_goes_away_stops_the_work(server: Server) {
    let mut client = server.connect().await;
    numbers(&mut client).await;
    // Whether it waits for the promise, as on a cluster, or for the first row.
    let mut reader = client.clone();
    let reading = tokio::spawn(async move {
        let info = reader.execute(ENDLESS.to_string(), None).await.unwrap();
        let mut stream = reader.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
        stream.try_next().await.unwrap()
    });
    server.wait_until_busy();
    assert!(!reading.is_finished(), "there are no rows yet");
    reading.abort();
    server.wait_until_idle();
    assert_eq!(rows(&mut client, "SELECT count(*) FROM n").await.unwrap(), ["300000"]);
}

async fn a_write_that_is_cancelled_leaves_nothing(server: Server) {
    let mut client = server.connect().await;
    numbers(&mut client).await;
    let write = format!("CREATE TABLE never AS {ENDLESS}");
    {
        let write = update(&mut client, &write);
        assert!(tokio::time::timeout(Duration::from_secs(2), write).await.is_err(), "it takes longer");
    }
    server.wait_until_idle();
    assert_refused(rows(&mut client, "SELECT * FROM never").await, Code::InvalidArgument, &["does not exist"]);
    assert_eq!(update(&mut client, "CREATE TABLE never AS SELECT 1 AS x").await.unwrap(), 1);
}

impl Server {
    /// Waits until its processes work.
    pub(super) fn wait_until_busy(&self) {
        self.wait(|share| share > 0.5, "the server to be busy");
    }

    /// Waits until its processes have nothing to do.
    fn wait_until_idle(&self) {
        self.wait(|share| share < 0.3, "the server to be idle");
    }

    /// Waits for the share of a processor that the server's processes take.
    fn wait(&self, reached: impl Fn(f64) -> bool, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let (before, started) = (self.cpu_s(), Instant::now());
            std::thread::sleep(Duration::from_millis(400));
            let share = (self.cpu_s() - before) / started.elapsed().as_secs_f64();
            if reached(share) {
                return;
            }
            assert!(Instant::now() < deadline, "waited too long for {what}: {share}");
        }
    }

    /// Seconds of processor time that its processes have taken.
    fn cpu_s(&self) -> f64 {
        let ticks = self.processes.iter().map(|id| {
            let text = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            // `utime` and `stime`, the 14th and 15th field, the first two being before the parenthesis.
            [11, 12].iter().filter_map(|i| fields.get(*i)?.parse::<f64>().ok()).sum::<f64>()
        });
        ticks.sum::<f64>() / 100.0
    }
}
