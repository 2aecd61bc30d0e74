//! Users at a server's door and behind it: who comes in, what he may do, how much of the server he gets, and what is written down of it.

use std::time::{Duration, Instant};

use arrow_flight::sql::client::FlightSqlServiceClient;
use tonic::{Code, Status};

use super::served::{Client, Server, assert_refused, block_on, rows, serve_with, status, update};
use crate::cluster::{ADMIN_PASSWORD, Cluster, Options, Process};
use crate::orrery::{Ran, command, finished};

/// How long a change of rights may take to be known everywhere; a second is promised, machines under test are slow.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// The same tests against `orrery serve` and against a cluster of two executors, both with the user `admin`.
macro_rules! on_both_with_users {
    ($($name:ident),* $(,)?) => {
        mod on_one_machine {
            $(#[test] fn $name() { super::on_one_machine(super::$name); })*
        }
        mod on_a_cluster {
            $(#[test] fn $name() { super::on_a_cluster(super::$name); })*
        }
    };
}

on_both_with_users!(
    only_who_has_a_password_or_token_comes_in,
    rights_hold_and_are_gone_once_revoked,
    limits_hold,
    what_was_done_is_written_down,
    the_shell_works_on_a_server,
);

fn on_one_machine<F: Future<Output = ()>>(test: impl FnOnce(Server) -> F) {
    let dir = tempfile::tempdir().unwrap();
    let (_process, server) = serve_with(dir.path(), &[], &[("ORRERY_ADMIN_PASSWORD", ADMIN_PASSWORD)]);
    block_on(test(server));
}

fn on_a_cluster<F: Future<Output = ()>>(test: impl FnOnce(Server) -> F) {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Options::of(2).with_administrator());
    let processes = std::iter::once(&cluster.scheduler).chain(&cluster.executors).map(Process::id).collect();
    block_on(test(Server { port: cluster.client_port(), processes }));
}

pub(super) async fn log_in(server: &Server, user: &str, password: &str) -> Result<Client, Status> {
    let mut client = FlightSqlServiceClient::new(server.channel().await);
    // arrow-flight's client tells of a refused handshake by words only.
    let refused = |error: arrow_flight::error::FlightError| match error.to_string() {
        words if words.contains("authentication credentials") => Status::unauthenticated(words),
        words => Status::internal(words),
    };
    client.handshake(user, password).await.map_err(refused)?;
    Ok(client)
}

/// The administrator.
pub(super) async fn admin(server: &Server) -> Client {
    log_in(server, "admin", ADMIN_PASSWORD).await.unwrap()
}

/// A user with a password who may use schema `s`, in which there is the table `t`.
async fn ann(server: &Server, admin: &mut Client) -> Client {
    update(
        admin,
        "CREATE SCHEMA s; CREATE TABLE s.t AS SELECT value AS a, value % 2 AS b FROM generate_series(1, 4);
         CREATE USER ann PASSWORD 'ann likes tea'; GRANT USE CATALOG ON CATALOG dev TO ann; GRANT USE SCHEMA ON SCHEMA dev.s TO ann",
    )
    .await
    .unwrap();
    log_in(server, "ann", "ann likes tea").await.unwrap()
}

/// Tries again until something is refused.
async fn refused_in_time<T: std::fmt::Debug>(mut attempt: impl AsyncFnMut() -> Result<T, Status>, code: Code) {
    let deadline = Instant::now() + KNOWN_WITHIN;
    loop {
        match attempt().await {
            Err(status) if status.code() == code => return,
            other => assert!(Instant::now() < deadline, "it is not refused: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn only_who_has_a_password_or_token_comes_in(server: Server) {
    for (user, password) in [("admin", "wrong"), ("nobody", ADMIN_PASSWORD), ("", ""), ("local", "")] {
        assert_refused(log_in(&server, user, password).await.map(|_| ()), Code::Unauthenticated, &["not right"]);
    }
    let mut admin = admin(&server).await;
    assert_eq!(rows(&mut admin, "SELECT current_user()").await.unwrap(), ["admin"]);
    let mut ann = ann(&server, &mut admin).await;
    let secret = rows(&mut ann, "CREATE TOKEN notebook EXPIRES IN INTERVAL '1' DAY").await.unwrap();
    let secret = secret[0].split('|').next().unwrap().to_string();
    let mut by_token = FlightSqlServiceClient::new(server.channel().await);
    by_token.set_token(secret);
    assert_eq!(rows(&mut by_token, "SELECT current_user()").await.unwrap(), ["ann"]);
    // A token of the past lets nobody in, and neither does one that was dropped, or a user who was.
    let old = rows(&mut ann, "CREATE TOKEN old EXPIRES AT TIMESTAMP '2020-01-01 00:00:00'").await;
    if let Ok(old) = old {
        let mut by_old = FlightSqlServiceClient::new(server.channel().await);
        by_old.set_token(old[0].split('|').next().unwrap().to_string());
        assert_refused(rows(&mut by_old, "SELECT 1").await, Code::Unauthenticated, &[]);
    }
    update(&mut ann, "DROP TOKEN notebook").await.unwrap();
    refused_in_time(async || rows(&mut by_token, "SELECT 1").await, Code::Unauthenticated).await;
    update(&mut admin, "ALTER USER ann DISABLE").await.unwrap();
    refused_in_time(async || rows(&mut ann, "SELECT 1").await, Code::Unauthenticated).await;
    assert_refused(log_in(&server, "ann", "ann likes tea").await.map(|_| ()), Code::Unauthenticated, &["not right"]);
}

async fn rights_hold_and_are_gone_once_revoked(server: Server) {
    let mut admin = admin(&server).await;
    let mut ann = ann(&server, &mut admin).await;
    assert_refused(rows(&mut ann, "SELECT * FROM dev.s.t").await, Code::InvalidArgument, &["does not exist"]);
    update(&mut admin, "GRANT SELECT ON TABLE dev.s.t TO ann; ALTER TABLE dev.s.t SET ROW FILTER (a > 1)").await.unwrap();
    let deadline = Instant::now() + KNOWN_WITHIN;
    while rows(&mut ann, "SELECT sum(a) AS s FROM dev.s.t").await.ok() != Some(vec!["9".to_string()]) {
        assert!(Instant::now() < deadline, "the grant is not known");
    }
    assert_refused(update(&mut ann, "INSERT INTO dev.s.t VALUES (5, 1)").await, Code::PermissionDenied, &["MODIFY"]);
    assert_refused(update(&mut ann, "CREATE TABLE dev.s.mine AS SELECT 1 AS a").await, Code::PermissionDenied, &["CREATE TABLE"]);
    assert_refused(update(&mut ann, "CREATE USER eve").await, Code::PermissionDenied, &["administrators"]);
    assert_refused(rows(&mut ann, "EXPLAIN SELECT * FROM dev.s.t").await, Code::PermissionDenied, &["plan"]);
    let listed =
        rows(&mut ann, "SELECT table_schema || '.' || table_name FROM dev.information_schema.tables WHERE table_schema = 's'").await;
    assert_eq!(listed.unwrap(), ["s.t"]);
    let catalogs = rows(&mut ann, "SHOW CATALOGS").await.unwrap();
    assert!(!catalogs.iter().any(|catalog| catalog.starts_with("prod")), "{catalogs:?}");
    update(&mut admin, "INSERT INTO dev.s.t VALUES (10, 0); REVOKE SELECT ON TABLE dev.s.t FROM ann").await.unwrap();
    refused_in_time(async || rows(&mut ann, "SELECT * FROM dev.s.t").await, Code::InvalidArgument).await;
    // What it was before the revoke is not to be had either.
    assert_refused(rows(&mut ann, "SELECT * FROM dev.s.t VERSION AS OF 0").await, Code::InvalidArgument, &["does not exist"]);
}

/// Takes minutes if nobody stops it.
pub(super) const ENDLESS: &str =
    "SELECT sum(a.value % (b.value + 1)) AS s FROM generate_series(1, 300000) a CROSS JOIN generate_series(1, 300000) b";

async fn limits_hold(server: Server) {
    let mut admin = admin(&server).await;
    let mut ann = ann(&server, &mut admin).await;
    update(&mut admin, "ALTER USER ann SET LIMITS (run_time_s = 1, result_bytes = '10KB')").await.unwrap();
    assert_eq!(rows(&mut admin, "SHOW LIMITS").await.unwrap(), ["ann|NULL|NULL|1|10000"]);
    refused_in_time(async || rows(&mut ann, ENDLESS).await, Code::ResourceExhausted).await;
    let large = rows(&mut ann, "SELECT value FROM generate_series(1, 100000)").await;
    assert_refused(large, Code::ResourceExhausted, &["larger than", "ann"]);
    assert_eq!(rows(&mut ann, "SELECT count(*) AS n FROM generate_series(1, 100000)").await.unwrap(), ["100000"]);
    let unknown = update(&mut admin, "ALTER USER ann SET LIMITS (run_time = 1)").await;
    assert_refused(unknown, Code::InvalidArgument, &["no limit 'run_time'", "run_time_s"]);
    assert_refused(update(&mut ann, "ALTER USER ann DROP LIMITS").await, Code::PermissionDenied, &["administrators"]);
    // One at a time: while one runs, the next waits, and somebody else does not.
    update(&mut admin, "ALTER USER ann SET LIMITS (max_statements = 1)").await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    let mut second = log_in(&server, "ann", "ann likes tea").await.unwrap();
    let endless = tokio::spawn(async move { rows(&mut ann, ENDLESS).await });
    server.wait_until_busy();
    let waiting = tokio::spawn(async move { rows(&mut second, "SELECT 1 AS one").await });
    assert_eq!(rows(&mut admin, "SELECT 2 AS two").await.unwrap(), ["2"]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!endless.is_finished() && !waiting.is_finished());
    endless.abort();
    assert_eq!(waiting.await.unwrap().unwrap(), ["1"]);
}

async fn what_was_done_is_written_down(server: Server) {
    let mut admin = admin(&server).await;
    let mut ann = ann(&server, &mut admin).await;
    let _refused = log_in(&server, "ann", "a bad guess").await;
    update(&mut admin, "GRANT SELECT ON TABLE dev.s.t TO ann; ALTER USER ann SET PASSWORD 'ann likes coffee'").await.unwrap();
    // Whoever was in by the earlier password is out.
    refused_in_time(async || rows(&mut ann, "SELECT 1").await, Code::Unauthenticated).await;
    let mut ann = log_in(&server, "ann", "ann likes coffee").await.unwrap();
    refused_in_time(async || update(&mut ann, "DROP TABLE dev.s.t").await, Code::PermissionDenied).await;
    assert_eq!(rows(&mut ann, "SELECT a FROM dev.s.t ORDER BY a").await.unwrap().len(), 4);
    let prepared = ann.prepare("INSERT INTO dev.s.t VALUES (5, 1)".to_string(), None).await.map(|_| ()).map_err(status);
    assert_refused(prepared, Code::PermissionDenied, &["MODIFY"]);
    let audit = "SELECT DISTINCT coalesce(user_name, '') || ' ' || kind || ' ' || outcome || ' ' || coalesce(rows, 0) FROM system.access.audit WHERE user_name = 'ann'";
    let wanted = ["ann LOGIN refused 0", "ann DROP TABLE refused 0", "ann SELECT succeeded 4", "ann INSERT INTO (prepare) refused 0"];
    let deadline = Instant::now() + KNOWN_WITHIN;
    loop {
        let seen = rows(&mut admin, audit).await.unwrap_or_default();
        if wanted.iter().all(|row| seen.iter().any(|found| found == row)) {
            break;
        }
        assert!(Instant::now() < deadline, "{seen:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let told = rows(&mut admin, "SELECT count(*) FROM system.access.audit WHERE statement LIKE '%likes%' OR error LIKE '%guess%'").await;
    assert_eq!(told.unwrap(), ["0"], "secrets are in the audit");
    let own = rows(&mut ann, "SELECT DISTINCT user_name FROM system.access.audit").await.unwrap();
    assert_eq!(own, ["ann"]);
}

fn shell(server: &Server, dir: &std::path::Path, env: &[(&str, &str)], args: &[&str]) -> Ran {
    let mut shell = command(dir);
    shell.args(["sql", "--to", &format!("http://127.0.0.1:{}", server.port), "--format", "csv"]).args(args).envs(env.iter().copied());
    finished(shell.output().unwrap())
}

async fn the_shell_works_on_a_server(server: Server) {
    let dir = tempfile::tempdir().unwrap();
    let mut admin = admin(&server).await;
    let _ann = ann(&server, &mut admin).await;
    let as_ann = [("ORRERY_USER", "ann"), ("ORRERY_PASSWORD", "ann likes tea")];
    let ran =
        shell(&server, dir.path(), &as_ann, &["--set", "x=it's", "-c", "SET y = 5; SELECT current_user() AS u, ${x} AS x, ${y} AS y"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "u,x,y\nann,it's,5\n"), "{}", ran.stderr);
    let wrong = shell(&server, dir.path(), &as_ann, &["-c", "SELECT 1 AS a;\nSELECT nothing"]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stdout.contains("a\n1") && wrong.stderr.contains("nothing") && wrong.stderr.contains("statement 2"), "{wrong:?}");
    let stranger = shell(&server, dir.path(), &[], &["-c", "SELECT 1"]);
    assert_eq!(stranger.code, Some(1));
    assert!(stranger.stderr.contains("--user") && stranger.stderr.contains("not right"), "{}", stranger.stderr);
    let changed = shell(&server, dir.path(), &as_ann, &["-c", "ALTER USER ann SET PASSWORD 'it''s a secret'"]);
    assert_eq!(changed.code, Some(0), "{}", changed.stderr);
    log_in(&server, "ann", "it's a secret").await.unwrap();
}

#[test]
fn a_server_that_others_reach_tells_the_password_of_its_administrator_once() {
    let dir = tempfile::tempdir().unwrap();
    let open = ["--bind-host", "0.0.0.0", "--insecure"];
    let said = {
        let (process, server) = serve_with(dir.path(), &open, &[]);
        let told = || process.said().lines().find(|line| line.contains("shown this once")).map(str::to_string);
        // The port is open a moment before.
        let line = (0..200).find_map(|_| {
            std::thread::sleep(Duration::from_millis(50));
            told()
        });
        let line = line.unwrap_or_else(|| panic!("no password is told:\n{}", process.said()));
        let password = line.rsplit(' ').next().unwrap().to_string();
        block_on(async {
            assert_refused(log_in(&server, "anybody", "").await.map(|_| ()), Code::Unauthenticated, &[]);
            log_in(&server, "admin", &password).await.unwrap();
        });
        password
    };
    let (process, server) = serve_with(dir.path(), &open, &[("ORRERY_ADMIN_PASSWORD", "another password")]);
    // Both write to the same log.
    assert_eq!(process.said().matches("shown this once").count(), 1);
    block_on(async {
        assert_refused(log_in(&server, "admin", "another password").await.map(|_| ()), Code::Unauthenticated, &[]);
        log_in(&server, "admin", &said).await.unwrap();
    });
}

/// Scripts run with the rights of who submits them, and are his alone.
#[test]
fn scripts_are_their_users() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Options::of(1).with_administrator());
    cluster.sql(
        "CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a; CREATE USER ann; CREATE USER ben; GRANT ALL PRIVILEGES ON CATALOG dev TO ann",
    );
    let refused = cluster.try_sql("CREATE USER eve PASSWORD 'eve is nosy'");
    assert!(refused.stderr.contains("cannot set passwords"), "{}", refused.stderr);
    // Tokens are made in a shell, since scripts and their results are kept.
    let token = |user: &str| {
        let server = Server { port: cluster.client_port(), processes: Vec::new() };
        let env = [("ORRERY_USER", "admin"), ("ORRERY_PASSWORD", ADMIN_PASSWORD)];
        let ran = shell(&server, dir.path(), &env, &["-c", &format!("CREATE TOKEN FOR USER {user}")]);
        ran.stdout.lines().nth(1).unwrap_or_else(|| panic!("{ran:?}")).split(',').next().unwrap().to_string()
    };
    let (ann, ben) = (token("ann"), token("ben"));
    let script = dir.path().join("script.sql");
    let client = |token: Option<&str>, args: &[&str]| {
        let mut client = command(dir.path());
        client.args(args).env("ORRERY_SCHEDULER", format!("http://127.0.0.1:{}", cluster.client_port()));
        token.into_iter().for_each(|token| {
            client.env("ORRERY_TOKEN", token);
        });
        finished(client.output().unwrap())
    };
    let submit = |token: Option<&str>, sql: &str| {
        std::fs::write(&script, sql).unwrap();
        client(token, &["submit", "--format", "csv", "--quiet", script.to_str().unwrap()])
    };
    let ran = submit(Some(&ann), "SELECT current_user() AS u, a FROM s.t");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "u,a\nann,1\n"), "{}", ran.stderr);
    let ran = submit(Some(&ben), "SELECT a FROM s.t");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("does not exist"), "{}", ran.stderr);
    assert!(submit(None, "SELECT 1").stderr.contains("--user"));
    assert!(submit(Some("made-up"), "SELECT 1").stderr.contains("not right"));
    let ids = |token: &str| {
        let listed = client(Some(token), &["runs", "--format", "csv"]);
        assert_eq!(listed.code, Some(0), "{}", listed.stderr);
        listed.stdout.lines().skip(1).map(|line| line.split(',').next().unwrap().to_string()).collect::<Vec<_>>()
    };
    let (of_ann, of_ben) = (ids(&ann), ids(&ben));
    assert_eq!((of_ann.len(), of_ben.len()), (1, 1));
    for args in [["attach", of_ann[0].as_str()], ["cancel", of_ann[0].as_str()], ["runs", of_ann[0].as_str()]] {
        let ran = client(Some(&ben), &args);
        assert_eq!(ran.code, Some(2), "{args:?} {}", ran.stderr);
        assert!(ran.stderr.contains("there is no run"), "{}", ran.stderr);
    }
    assert_eq!(cluster.rows("SELECT DISTINCT user_name FROM system.query.runs WHERE user_name <> 'admin' ORDER BY 1"), ["ann", "ben"]);
    assert_eq!(submit(Some(&ben), "SELECT DISTINCT user_name AS u FROM system.query.statements").stdout, "u\nben\n");
    // Whoever comes to have his name is somebody else.
    cluster.sql("DROP USER ben; CREATE USER ben");
    let ben = token("ben");
    assert_eq!(ids(&ben), Vec::<String>::new());
    assert!(client(Some(&ben), &["runs", of_ben[0].as_str()]).stderr.contains("there is no run"));
    assert_eq!(submit(Some(&ben), "SELECT count(*) AS n FROM system.query.statements").stdout, "n\n0\n");
}

/// Statements that read little answer while a script keeps every vcore busy.
#[test]
fn a_small_query_is_answered_while_a_script_fills_the_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::of(2).small_plans_whole();
    options.scheduler_args.retain(|arg| arg != "--local-limit" && arg != "0B");
    options.scheduler_args.push("--local-limit=0B".to_string());
    let cluster = Cluster::start(dir.path(), options);
    cluster.sql("CREATE TABLE t AS SELECT value AS a FROM generate_series(1, 1000); CREATE TABLE big AS SELECT value AS a FROM generate_series(1, 300000)");
    let script = dir.path().join("nightly.sql");
    let nightly = "SELECT sum(x.a % (y.a + 1)) AS s FROM big x JOIN big y ON x.a % 2 = y.a % 2";
    std::fs::write(&script, format!("SELECT /*+ REPARTITION(8) */ * FROM ({nightly}) n")).unwrap();
    let mut busy = cluster.client_in_background(&["submit", "--quiet", script.to_str().unwrap()]);
    let server = Server { port: cluster.client_port(), processes: cluster.executors.iter().map(Process::id).collect() };
    server.wait_until_busy();
    block_on(async {
        let mut client = server.connect().await;
        for _ in 0..3 {
            assert_eq!(rows(&mut client, "SELECT a FROM t WHERE a = 7").await.unwrap(), ["7"]);
        }
    });
    assert!(busy.try_wait().unwrap().is_none(), "the script ended before the query was answered");
    let _ = busy.kill();
    let _ = busy.wait();
}
