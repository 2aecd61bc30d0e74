//! How much of a server one user gets: turns for his statements, how long they wait for one, and memory.

use std::time::{Duration, Instant};

use arrow_flight::{CancelStatus, FlightInfo};
use tonic::{Code, Status};

use super::cancel::cancel;
use super::served::{Client, Server, assert_refused, block_on, fetched, rows, serve_with, status, update};
use super::users::{ENDLESS, admin, log_in};
use crate::cluster::{ADMIN_PASSWORD, Cluster, Options, Process};

/// How long anything may take that is promised to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// More rows than are worked ahead of a reader.
const UNREAD: &str = "SELECT value FROM generate_series(1, 300000)";
const UNREAD_ROWS: usize = 300_000;

/// Holds eight bytes for each of a million numbers, and cannot spill.
const LARGE: &str = "SELECT cardinality(array_agg(value)) AS n FROM generate_series(1, 12000000)";
const SMALL: &str = "SELECT cardinality(array_agg(value)) AS n FROM generate_series(1, 1000)";

mod on_one_machine {
    #[test]
    fn a_user_has_no_more_statements_than_his_limit() {
        super::on_one_machine(&["--queue-timeout-s", "1"], super::a_user_has_no_more_statements_than_his_limit);
    }
}

mod on_a_cluster {
    #[test]
    fn a_user_has_no_more_statements_than_his_limit() {
        super::on_a_cluster(&["--queue-timeout-s", "1"], super::a_user_has_no_more_statements_than_his_limit);
    }
}

fn on_one_machine<F: Future<Output = ()>>(arguments: &[&str], test: impl FnOnce(Server) -> F) {
    let dir = tempfile::tempdir().unwrap();
    let (_process, server) = serve_with(dir.path(), arguments, &[("ORRERY_ADMIN_PASSWORD", ADMIN_PASSWORD)]);
    block_on(test(server));
}

fn on_a_cluster<F: Future<Output = ()>>(arguments: &[&str], test: impl FnOnce(Server) -> F) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::of(2).with_administrator();
    options.scheduler_args.extend(arguments.iter().map(ToString::to_string));
    let cluster = Cluster::start(dir.path(), options);
    let processes = std::iter::once(&cluster.scheduler).chain(&cluster.executors).map(Process::id).collect();
    block_on(test(Server { port: cluster.client_port(), processes }));
}

/// The administrator, and the users `ann` and `ben`, whom he makes.
async fn users(server: &Server) -> (Client, Client, Client) {
    let mut admin = admin(server).await;
    update(&mut admin, "CREATE USER ann PASSWORD 'ann likes tea'; CREATE USER ben PASSWORD 'ben likes milk'").await.unwrap();
    let ben = log_in(server, "ben", "ben likes milk").await.unwrap();
    (admin, ann(server).await, ben)
}

/// A session of hers.
async fn ann(server: &Server) -> Client {
    log_in(server, "ann", "ann likes tea").await.unwrap()
}

/// Begins a query, whose rows nobody fetches as yet.
async fn begun(client: &mut Client, sql: &str) -> FlightInfo {
    let promise = tokio::time::timeout(PATIENCE, client.execute(sql.to_string(), None)).await;
    promise.expect("rows are promised before they are there").map_err(status).unwrap()
}

/// Tries again as long as the server has no room.
async fn answered_in_time<T>(mut attempt: impl AsyncFnMut() -> Result<T, Status>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(answer) => return answer,
            Err(status) => assert!(status.code() == Code::ResourceExhausted && Instant::now() < deadline, "{status:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Tries again until it is refused; a limit that was just set may take a moment to be known.
async fn refused_in_time<T: std::fmt::Debug>(mut attempt: impl AsyncFnMut() -> Result<T, Status>) -> Result<T, Status> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Err(status) => return Err(status),
            Ok(answer) => assert!(Instant::now() < deadline, "it is not refused: {answer:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn who_waits_too_long_for_the_only_turn_is_refused() {
    on_one_machine(&["--max-statements", "1", "--queue-timeout-s", "1"], |server| async move {
        let (mut admin, mut ann, mut ben) = users(&server).await;
        let running = begun(&mut ann, ENDLESS).await;
        let words = ["a statement of ben waited 1 s for its turn", "the server runs 1 statements at the same time"];
        assert_refused(rows(&mut ben, "SELECT 1 AS one").await, Code::ResourceExhausted, &words);
        // So does an administrator, who can still do what needs no turn.
        assert_refused(rows(&mut admin, "SELECT 1 AS one").await, Code::ResourceExhausted, &["a statement of admin waited"]);
        assert_eq!(update(&mut admin, "CREATE USER cy").await.unwrap(), 0);
        assert_eq!(cancel(&mut ann, running).await, CancelStatus::Cancelled);
        assert_eq!(answered_in_time(async || rows(&mut ben, "SELECT 1 AS one").await).await, ["1"]);
        assert_eq!(answered_in_time(async || rows(&mut ann, "SELECT 2 AS two").await).await, ["2"]);
    });
}

#[test]
fn nobody_has_more_than_half_of_the_turns() {
    on_one_machine(&["--max-statements", "2", "--queue-timeout-s", "1"], |server| async move {
        let (_admin, mut first, mut ben) = users(&server).await;
        let mut second = ann(&server).await;
        let held = begun(&mut first, UNREAD).await;
        let refused = rows(&mut second, "SELECT 1 AS one").await;
        assert_refused(refused, Code::ResourceExhausted, &["a statement of ann waited 1 s for its turn"]);
        assert_eq!(rows(&mut ben, "SELECT 2 AS two").await.unwrap(), ["2"]);
        assert_eq!(fetched(&mut first, held).await.unwrap().num_rows(), UNREAD_ROWS);
        assert_eq!(answered_in_time(async || rows(&mut second, "SELECT 1 AS one").await).await, ["1"]);
    });
}

async fn a_user_has_no_more_statements_than_his_limit(server: Server) {
    let (mut admin, mut first, mut ben) = users(&server).await;
    let (mut second, mut third) = (ann(&server).await, ann(&server).await);
    update(&mut admin, "ALTER USER ann SET LIMITS (max_statements = 2)").await.unwrap();
    let one = begun(&mut first, UNREAD).await;
    let two = begun(&mut second, UNREAD).await;
    let refused = refused_in_time(async || rows(&mut third, "SELECT 3 AS three").await).await;
    let words = ["a statement of ann waited 1 s for its turn", "ann may run 2 statements at the same time", "not read to their end"];
    assert_refused(refused, Code::ResourceExhausted, &words);
    assert_eq!(rows(&mut ben, "SELECT 2 AS two").await.unwrap(), ["2"]);
    // One that is stopped makes room, and so does one that is read to its end.
    assert_eq!(cancel(&mut first, one).await, CancelStatus::Cancelled);
    let one = answered_in_time(async || third.execute(UNREAD.to_string(), None).await.map_err(status)).await;
    assert_refused(rows(&mut first, "SELECT 1 AS one").await, Code::ResourceExhausted, &["ann may run 2 statements"]);
    assert_eq!(fetched(&mut second, two).await.unwrap().num_rows(), UNREAD_ROWS);
    assert_eq!(answered_in_time(async || rows(&mut first, "SELECT 1 AS one").await).await, ["1"]);
    assert_eq!(fetched(&mut third, one).await.unwrap().num_rows(), UNREAD_ROWS);
}

#[test]
fn members_share_the_statements_of_their_role() {
    on_one_machine(&["--queue-timeout-s", "1"], |server| async move {
        let (mut admin, mut ann, mut ben) = users(&server).await;
        let limited = "CREATE ROLE analysts; GRANT ROLE analysts TO ann, ben; ALTER ROLE analysts SET LIMITS (max_statements = 1)";
        update(&mut admin, limited).await.unwrap();
        // What was begun before the limit was known does not count under it, so each attempt begins anew.
        let refused = refused_in_time(async || {
            let held = begun(&mut ann, UNREAD).await;
            let answer = rows(&mut ben, "SELECT 1 AS one").await;
            assert_eq!(cancel(&mut ann, held).await, CancelStatus::Cancelled);
            answer
        });
        assert_refused(refused.await, Code::ResourceExhausted, &["a statement of ben waited", "analysts may run 1 statements"]);
        assert_eq!(answered_in_time(async || rows(&mut ben, "SELECT 1 AS one").await).await, ["1"]);
        assert_eq!(rows(&mut admin, "SELECT 2 AS two").await.unwrap(), ["2"]);
    });
}

#[test]
fn what_needs_more_memory_than_its_user_may_have_fails_and_gives_it_back() {
    on_one_machine(&[], |server| async move {
        let (mut admin, mut ann, mut ben) = users(&server).await;
        assert_eq!(rows(&mut ann, LARGE).await.unwrap(), ["12000000"]);
        update(&mut admin, "ALTER USER ann SET LIMITS (memory_bytes = 67108864)").await.unwrap();
        for _ in 0..3 {
            let refused = refused_in_time(async || rows(&mut ann, LARGE).await).await;
            assert_refused(refused, Code::ResourceExhausted, &["above the memory limit of ann", "64.0 MB"]);
        }
        assert_eq!(rows(&mut ann, SMALL).await.unwrap(), ["1000"]);
        assert_eq!(rows(&mut ben, LARGE).await.unwrap(), ["12000000"]);
        // A role's limit is its members', and ann's is gone.
        let moved = "ALTER USER ann DROP LIMITS; CREATE ROLE analysts; GRANT ROLE analysts TO ben; ALTER ROLE analysts SET LIMITS (memory_bytes = '64MB')";
        update(&mut admin, moved).await.unwrap();
        let refused = refused_in_time(async || rows(&mut ben, LARGE).await).await;
        assert_refused(refused, Code::ResourceExhausted, &["above the memory limit of analysts"]);
        assert_eq!(rows(&mut ben, SMALL).await.unwrap(), ["1000"]);
        assert_eq!(answered_in_time(async || rows(&mut ann, LARGE).await).await, ["12000000"]);
    });
}

#[test]
fn a_sort_that_needs_more_memory_than_its_user_may_have_spills() {
    // Two sorts at the same time, which share what is little.
    on_one_machine(&["--threads", "2"], |server| async move {
        let (mut admin, mut ann, mut ben) = users(&server).await;
        update(&mut admin, "ALTER USER ann SET LIMITS (memory_bytes = '64MB')").await.unwrap();
        let sort = "EXPLAIN ANALYZE SELECT value, repeat('x', 100) AS t FROM generate_series(1, 1000000) ORDER BY value % 1000, value";
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = rows(&mut ann, sort).await.unwrap().join("\n");
            if told.contains("spills=") {
                break;
            }
            assert!(Instant::now() < deadline, "it does not spill:\n{told}");
        }
        let told = rows(&mut ben, sort).await.unwrap().join("\n");
        assert!(told.contains("SortExec") && !told.contains("spills="), "{told}");
    });
}
