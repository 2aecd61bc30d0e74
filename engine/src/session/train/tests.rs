//! Trainings from plan to model: the same bytes however they run, and nothing left behind when they have ended or were cancelled.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orrery_models::Trained;

use super::TrainingPlan;
use crate::dialect::{Statement, parse, split};
use crate::models::{blocks, live};
use crate::operators::train_model::testing::spec;
use crate::session::{Mode, Session, SessionOptions, Tracker, planning};
use crate::{Blame, Result};

/// Rows that are read where they are, and rows that have to be computed.
const PLAIN: &str = "SELECT k, v FROM t WHERE v > 10";
const COMPUTED: &str = "SELECT k, sum(v) AS v FROM t GROUP BY k, v % 300";

async fn session(dir: &Path, threads: usize, memory_limit_bytes: Option<usize>) -> Session {
    let options = SessionOptions {
        warehouse: dir.join("warehouse").display().to_string(),
        scratch_dir: Some(dir.join("scratch")),
        threads: Some(threads),
        memory_limit_bytes,
        ..SessionOptions::default()
    };
    Session::open(options).await.unwrap()
}

async fn run(session: &Session, sql: &str) {
    let statement = split(sql).unwrap().remove(0);
    session.execute(&statement, Mode::Run, &Tracker::default()).await.unwrap();
}

/// The table `t` of 200,000 rows, whose keys are 0 to 499.
async fn with_rows(dir: &Path) {
    let session = session(dir, 2, None).await;
    let rows = |from, to| format!("SELECT value * 7919 % 500 AS k, value AS v FROM generate_series({from}, {to})");
    run(&session, &format!("CREATE TABLE t AS {}", rows(1, 90_000))).await;
    run(&session, &format!("INSERT INTO t {}", rows(90_001, 200_000))).await;
}

async fn plan(session: &Session, sql: &str) -> datafusion::logical_expr::LogicalPlan {
    let Statement::Query(query) = parse(&split(sql).unwrap().remove(0).tokens).unwrap() else { panic!("a query") };
    planning::plan_query(&session.context.state(), &session.names, query).await.unwrap()
}

async fn train(session: &Session, sql: &str, run_id: &str, options: &[(&str, i64)]) -> Result<(Trained, u32)> {
    let plan = plan(session, sql).await;
    let token = session.cancellation();
    let tracker = Tracker::default();
    tracker.stop_with(token);
    session.train(&plan, &spec(run_id, options), &tracker).await
}

/// Files below a folder.
fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path.display().to_string()),
        }
    }
    found
}

async fn assert_nothing_is_left(dir: &Path, session: &Session, run_id: &str) {
    for _ in 0..100 {
        let reserved = session.context.runtime_env().memory_pool.reserved();
        if files(&dir.join("scratch")).is_empty() && reserved == 0 && blocks::kept_of(run_id) == 0 && live::find(run_id).is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let reserved = session.context.runtime_env().memory_pool.reserved();
    panic!("{reserved} bytes and {} blocks are left, and {:#?}", blocks::kept_of(run_id), files(&dir.join("scratch")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gives_the_same_bytes_however_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    with_rows(dir.path()).await;
    for (query, expected_rows, expected_keys) in [(PLAIN, 199_990, 500), (COMPUTED, 500 * 3, 500)] {
        let mut found = Vec::new();
        for threads in [1, 2, 7] {
            let session = session(dir.path(), threads, None).await;
            for (place, batch_size) in [("one_task", 8192), ("distributed", 8192), ("distributed", 333), ("auto", 100)] {
                run(&session, &format!("SET datafusion.execution.batch_size = {batch_size}")).await;
                run(&session, &format!("SET orrery.training = '{place}'")).await;
                let run_id = format!("same-{place}-{threads}-{batch_size}-{expected_rows}");
                let (trained, tasks) = train(&session, query, &run_id, &[("rounds", 4)]).await.unwrap();
                assert_eq!(tasks > 1, place == "distributed" && threads > 1, "{run_id} in {tasks} tasks");
                assert_eq!(trained.rows, expected_rows, "{run_id}");
                assert_eq!(trained.file.i64s("distinct").unwrap().1, [expected_keys; 4], "{run_id}");
                assert_eq!(trained.iterations.len(), 4);
                found.push((run_id.clone(), trained.file.to_bytes().unwrap()));
                assert_nothing_is_left(dir.path(), &session, &run_id).await;
            }
        }
        for (run_id, bytes) in &found {
            assert!(*bytes == found[0].1, "{run_id} gives other bytes than {}", found[0].0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_one_task_is_trained_in_many() {
    let dir = tempfile::tempdir().unwrap();
    with_rows(dir.path()).await;
    let ample = session(dir.path(), 2, None).await;
    let (expected, _) = train(&ample, PLAIN, "ample", &[]).await.unwrap();
    // 200,000 rows of 16 bytes are 3.2 MB.
    let short = session(dir.path(), 2, Some(2 << 20)).await;
    let (trained, tasks) = train(&short, PLAIN, "short", &[]).await.unwrap();
    assert_eq!(tasks, 2);
    assert!(trained.file.to_bytes().unwrap() == expected.file.to_bytes().unwrap());
    assert_nothing_is_left(dir.path(), &short, "short").await;
    run(&short, "SET orrery.training = 'one_task'").await;
    let refused = train(&short, PLAIN, "refused", &[]).await.unwrap_err();
    assert_eq!(refused.blame, Blame::Resources);
    assert!(refused.hint.unwrap().contains("orrery.training"));
    assert_nothing_is_left(dir.path(), &short, "refused").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_finds_that_rows_do_not_fit_leaves_them_to_many() {
    let dir = tempfile::tempdir().unwrap();
    with_rows(dir.path()).await;
    // How many rows come out of the join is not known, and more memory is needed than to compute it.
    let query = "SELECT unnest(make_array(k, k + 1, k + 2, k + 3, k + 4)) AS k, v FROM t";
    let ample = session(dir.path(), 2, None).await;
    let (expected, tasks) = train(&ample, query, "unknown-ample", &[]).await.unwrap();
    assert_eq!(tasks, 1);
    let short = session(dir.path(), 2, Some(9 << 20)).await;
    let (trained, tasks) = train(&short, query, "unknown-short", &[]).await.unwrap();
    assert_eq!((trained.rows, tasks), (1_000_000, 2));
    assert_eq!(trained.iterations.len(), 3);
    assert!(trained.file.to_bytes().unwrap() == expected.file.to_bytes().unwrap());
    assert_nothing_is_left(dir.path(), &short, "unknown-short").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancellation_ends_it_at_once_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    with_rows(dir.path()).await;
    for place in ["one_task", "distributed"] {
        let session = Arc::new(session(dir.path(), 2, None).await);
        run(&session, &format!("SET orrery.training = '{place}'")).await;
        let run_id = format!("cancelled-{place}");
        let training = tokio::spawn({
            let (session, run_id) = (Arc::clone(&session), run_id.clone());
            async move { train(&session, COMPUTED, &run_id, &[("pass_ms", 60_000)]).await.map(|_| ()) }
        });
        // Until it runs.
        for _ in 0..500 {
            if live::find(&run_id).is_some_and(|live| live.progress().iterations_total == 3) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let asked = Instant::now();
        session.cancel();
        let error = training.await.unwrap().unwrap_err();
        assert_eq!(error.blame, Blame::Interrupted, "{error}");
        assert_nothing_is_left(dir.path(), &session, &run_id).await;
        // A pass would have gone on for a minute.
        assert!(asked.elapsed() < Duration::from_secs(30));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_far_it_is_can_be_seen_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    with_rows(dir.path()).await;
    for place in ["one_task", "distributed"] {
        let session = Arc::new(session(dir.path(), 2, None).await);
        run(&session, &format!("SET orrery.training = '{place}'")).await;
        let model = format!("dev.default.{place}");
        let announced = live::announce(place, &model);
        let tracker = Arc::new(Tracker::default());
        let training = tokio::spawn({
            let (session, tracker) = (Arc::clone(&session), Arc::clone(&tracker));
            async move {
                let plan = plan(&session, PLAIN).await;
                session.train(&plan, &spec(place, &[("rounds", 20), ("pass_ms", 20)]), &tracker).await.map(|(trained, _)| trained)
            }
        });
        let mut seen = Vec::new();
        while !training.is_finished() {
            if let (Some(progress), Some(iterations)) = (tracker.read().and_then(|progress| progress.training), live::iterations(&model)) {
                assert_eq!(progress.iterations_total, 20);
                seen.push(iterations.len());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(seen.is_sorted() && seen.iter().any(|iterations| (1..20).contains(iterations)), "{seen:?}");
        assert_eq!(training.await.unwrap().unwrap().iterations, live::iterations(&model).unwrap());
        drop(announced);
        assert!(live::iterations(&model).is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_rows_and_columns_are_the_statements() {
    let dir = tempfile::tempdir().unwrap();
    with_rows(dir.path()).await;
    let session = session(dir.path(), 2, None).await;
    for place in ["one_task", "distributed"] {
        run(&session, &format!("SET orrery.training = '{place}'")).await;
        let error = train(&session, "SELECT k, 1 / (v - 5) AS v FROM t", "divide", &[]).await.unwrap_err();
        assert_eq!(error.blame, Blame::Data, "{error}");
        let error = train(&session, PLAIN, "option", &[("round", 3)]).await.unwrap_err();
        assert_eq!((error.blame, error.hint.as_deref()), (Blame::Sql, Some("did you mean 'rounds'?")));
        let (empty, _) = train(&session, "SELECT k, v FROM t WHERE v < 0", "empty", &[]).await.unwrap();
        assert_eq!((empty.rows, empty.file.i64s("sums").unwrap().1), (0, vec![0; 3]));
    }
    assert_nothing_is_left(dir.path(), &session, "divide").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tells_how_it_would_run() {
    let dir = tempfile::tempdir().unwrap();
    with_rows(dir.path()).await;
    let session = session(dir.path(), 2, None).await;
    let whole = plan(&session, "SELECT k, v FROM t").await;
    let planned = session.plan_training(&whole, &spec("explain", &[("rounds", 5)])).await.unwrap();
    let TrainingPlan { rows, bytes_read, block_bytes, passes, tasks, is_distributed, .. } = planned;
    assert_eq!((rows, block_bytes, passes, tasks, is_distributed), (Some(200_000), Some(3_200_000), 15, 1, false));
    assert!(bytes_read > 10_000);
    run(&session, "SET orrery.training = 'distributed'").await;
    let planned = session.plan_training(&whole, &spec("explain", &[])).await.unwrap();
    assert_eq!((planned.tasks, planned.is_distributed), (2, true));
    assert!(planned.reason.contains("orrery.training"));
}
