//! Statements with common subplans from text to rows, and what is left of them in scratch storage.

use std::path::Path;
use std::time::Duration;

use arrow::util::display::array_value_to_string;
use futures::TryStreamExt as _;

use crate::dialect::split;
use crate::session::{Mode, Outcome, Session, SessionOptions, Tracker};
use crate::{Blame, Result};

const TWICE: &str = "WITH s AS (SELECT k, count(*) AS n, max(v) AS v FROM t GROUP BY k) SELECT k, n FROM s UNION ALL SELECT v, n FROM s";

/// A session in whose eyes nothing is too small to be computed once, with the table `t` of 1,000 rows.
async fn session(dir: &Path) -> Session {
    let options = SessionOptions {
        warehouse: dir.join("warehouse").display().to_string(),
        scratch_dir: Some(dir.join("scratch")),
        threads: Some(2),
        ..SessionOptions::default()
    };
    let session = Session::open(options).await.unwrap();
    run(&session, "SET orrery.common_subplan_bytes = 0").await.unwrap();
    run(&session, "CREATE TABLE t AS SELECT value % 10 AS k, value AS v FROM generate_series(1, 1000)").await.unwrap();
    session
}

/// Runs a statement to its end and gives the number of its rows.
async fn run(session: &Session, sql: &str) -> Result<usize> {
    let statement = split(sql)?.remove(0);
    match session.execute(&statement, Mode::Run, &Tracker::default()).await? {
        Outcome::Rows(stream) => Ok(stream.try_collect::<Vec<_>>().await?.iter().map(|batch| batch.num_rows()).sum()),
        Outcome::Written { outcome, .. } => Ok(outcome.rows as usize),
        Outcome::Done(_) => Ok(0),
    }
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

/// Waits until nothing is left in scratch storage, which is cleaned in the background when a statement is given up.
async fn assert_cleaned(dir: &Path) {
    for _ in 0..100 {
        if files(&dir.join("scratch")).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("left in scratch storage: {:#?}", files(&dir.join("scratch")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_kept_until_they_have_been_read() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    let statement = split(TWICE).unwrap().remove(0);
    let Outcome::Rows(stream) = session.execute(&statement, Mode::Run, &Tracker::default()).await.unwrap() else { panic!("no rows") };
    assert!(files(&dir.path().join("scratch")).iter().any(|file| file.ends_with(".parquet")));
    let batches: Vec<_> = stream.try_collect().await.unwrap();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 20);
    assert_eq!(files(&dir.path().join("scratch")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    assert_eq!(run(&session, &format!("CREATE TABLE u AS {TWICE}")).await.unwrap(), 20);
    assert_eq!(run(&session, &format!("INSERT INTO u {TWICE}")).await.unwrap(), 20);
    assert_eq!(run(&session, "SELECT * FROM u").await.unwrap(), 40);
    assert_eq!(files(&dir.path().join("scratch")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    let fails_later = "WITH s AS (SELECT k, count(*) AS n FROM t GROUP BY k)
        SELECT CAST('x' || a.n AS INT) AS n FROM s a JOIN s b ON a.k = b.k";
    let fails_first = "WITH s AS (SELECT k, max(CAST('x' || v AS INT)) AS n FROM t GROUP BY k) SELECT n FROM s UNION ALL SELECT k FROM s";
    for sql in [fails_later.to_string(), fails_first.to_string(), format!("CREATE TABLE u AS {fails_later}")] {
        assert_eq!(run(&session, &sql).await.unwrap_err().blame, Blame::Data, "{sql}");
        assert_cleaned(dir.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_nobody_reads_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    let statement = split(TWICE).unwrap().remove(0);
    let outcome = session.execute(&statement, Mode::Run, &Tracker::default()).await.unwrap();
    assert!(!files(&dir.path().join("scratch")).is_empty());
    drop(outcome);
    assert_cleaned(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_subplan_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    let slow = "WITH s AS (SELECT a.k, sum(a.v * b.v % (c.v + 1)) AS n FROM t a CROSS JOIN t b CROSS JOIN t c GROUP BY a.k)
        SELECT k, n FROM s UNION ALL SELECT n, k FROM s";
    for sql in [slow.to_string(), format!("CREATE TABLE u AS {slow}")] {
        let cancelled = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            session.cancel();
        };
        let (result, ()) = tokio::join!(run(&session, &sql), cancelled);
        assert_eq!(result.unwrap_err().blame, Blame::Interrupted);
        assert_cleaned(dir.path()).await;
        session.resume();
    }
    assert!(run(&session, "SELECT * FROM u").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_statements_are_run_as_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    run(&session, "SET orrery.common_subplan_bytes = 1000000").await.unwrap();
    assert_eq!(run(&session, TWICE).await.unwrap(), 20);
    assert!(!dir.path().join("scratch").read_dir().unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().contains("cache")));
}

/// Kinds and texts of the plans that a statement shows.
async fn plans(session: &Session, sql: &str) -> Vec<(String, String)> {
    let statement = split(sql).unwrap().remove(0);
    let Outcome::Rows(stream) = session.execute(&statement, Mode::Run, &Tracker::default()).await.unwrap() else { panic!("no rows") };
    let mut plans = Vec::new();
    for batch in stream.try_collect::<Vec<_>>().await.unwrap() {
        let cell = |column: usize, row| array_value_to_string(batch.column(column), row).unwrap();
        plans.extend((0..batch.num_rows()).map(|row| (cell(0, row), cell(1, row))));
    }
    plans
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_shows_what_would_run_first() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    for sql in [TWICE.to_string(), format!("CREATE TABLE u AS {TWICE}")] {
        let plans = plans(&session, &format!("EXPLAIN {sql}")).await;
        let of = |kind: &str| plans.iter().find(|(found, _)| found == kind).map(|(_, plan)| plan.as_str()).unwrap_or_default();
        assert!(of("common_subplans").starts_with("common_subplan1:\n  "), "{plans:#?}");
        assert!(of("common_subplans").contains("Aggregate"), "{plans:#?}");
        assert_eq!(of("logical_plan").matches("TableScan: common_subplan1").count(), 2, "{plans:#?}");
        assert!(of("physical_plan").contains("common_subplan1") && !of("physical_plan").contains("Aggregate"), "{plans:#?}");
    }
    assert_eq!(files(&dir.path().join("scratch")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_analyze_shows_the_figures_of_what_ran_first() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    let plans = plans(&session, &format!("EXPLAIN ANALYZE {TWICE}")).await;
    let kinds: Vec<_> = plans.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["common_subplan1", "plan_with_metrics", "result"]);
    let is_measured = |line: &str| line.trim_start().starts_with("10 ") && line.contains("AggregateExec: mode=FinalPartitioned");
    assert!(plans[0].1.lines().any(is_measured), "{}", plans[0].1);
    assert!(!plans[1].1.contains("AggregateExec"), "{}", plans[1].1);
    assert!(plans[2].1.starts_with("20 rows"), "{}", plans[2].1);
    assert_eq!(files(&dir.path().join("scratch")), [""; 0]);
}
