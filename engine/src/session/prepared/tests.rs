//! Prepared statements over data, names and settings that change between their runs: they give what the same text would give anew.

use std::path::Path;
use std::sync::Arc;

use arrow::util::display::array_value_to_string;
use datafusion::common::ScalarValue;
use futures::TryStreamExt as _;

use super::*;
use crate::dialect::{self, split};
use crate::session::SessionOptions;

async fn session(dir: &Path) -> Session {
    let warehouse = dir.join("warehouse").display().to_string();
    let session = Session::open(SessionOptions { warehouse, threads: Some(2), ..SessionOptions::default() }).await.unwrap();
    run(&session, "CREATE TABLE t AS SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v(k, s)").await;
    session
}

async fn texts(outcome: Outcome) -> Vec<String> {
    let Outcome::Rows(stream) = outcome else { return Vec::new() };
    let batches: Vec<_> = stream.try_collect().await.unwrap();
    let row = |batch: &datafusion::arrow::array::RecordBatch, i| {
        let cells = batch.columns().iter().map(|column| array_value_to_string(column, i).unwrap());
        cells.collect::<Vec<_>>().join("|")
    };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |i| row(batch, i))).collect()
}

async fn run(session: &Session, sql: &str) -> Vec<String> {
    let statement = split(sql).unwrap().remove(0);
    texts(session.execute(&statement, Mode::Run, &Tracker::default()).await.unwrap()).await
}

fn prepare(sql: &str) -> Arc<PreparedStatement> {
    Arc::new(PreparedStatement::new(split(sql).unwrap().remove(0)))
}

async fn again(session: &Session, prepared: &Arc<PreparedStatement>) -> Vec<String> {
    texts(session.execute_prepared(prepared, Parameters::default(), &Tracker::default()).await.unwrap()).await
}

async fn with(session: &Session, prepared: &Arc<PreparedStatement>, value: ScalarValue) -> Result<Vec<String>> {
    let values = Parameters::pair(&dialect::parameters(prepared.text())?, vec![(String::new(), value)])?;
    Ok(texts(session.execute_prepared(prepared, values, &Tracker::default()).await?).await)
}

fn is_kept(prepared: &PreparedStatement) -> bool {
    prepared.planned.lock().is_some()
}

#[tokio::test]
async fn each_run_sees_the_tables_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let (session, other) = (session(dir.path()).await, session_beside(dir.path()).await);
    let prepared = prepare("SELECT count(*), max(s) FROM t WHERE k > 0");
    for _ in 0..3 {
        assert_eq!(again(&session, &prepared).await, ["2|b"]);
        assert!(is_kept(&prepared));
    }
    run(&other, "INSERT INTO t VALUES (3, 'c')").await;
    assert_eq!(again(&session, &prepared).await, ["3|c"]);
    assert_eq!(again(&session, &prepared).await, ["3|c"]);
    run(&other, "DROP TABLE t").await;
    let gone = session.execute_prepared(&prepared, Parameters::default(), &Tracker::default()).await.err().unwrap();
    assert!(gone.message.contains("does not exist"), "{}", gone.message);
    run(&other, "CREATE TABLE t AS SELECT 7 AS k, 'z' AS s").await;
    assert_eq!(again(&session, &prepared).await, ["1|z"]);
}

async fn session_beside(dir: &Path) -> Session {
    let warehouse = dir.join("warehouse").display().to_string();
    Session::open(SessionOptions { warehouse, ..SessionOptions::default() }).await.unwrap()
}

#[tokio::test]
async fn each_run_sees_names_and_settings_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    run(&session, "CREATE SCHEMA s2").await;
    run(&session, "CREATE TABLE s2.t AS SELECT 5 AS k").await;
    run(&session, "CREATE VIEW v AS SELECT k FROM t").await;
    let (table, view, literal) = (prepare("SELECT max(k) FROM t"), prepare("SELECT max(k) FROM v"), prepare("SELECT arrow_typeof(1.5)"));
    let variable = prepare("SELECT ${x} + 1");
    run(&session, "SET x = 1").await;
    for (change, expected) in [
        ("SELECT 1", ["2", "2", "Float64", "2"]),
        ("SET x = 5", ["2", "2", "Float64", "6"]),
        ("SET datafusion.sql_parser.parse_float_as_decimal = true", ["2", "2", "Decimal128(2, 1)", "6"]),
        ("CREATE OR REPLACE VIEW v AS SELECT -k AS k FROM t", ["2", "-1", "Decimal128(2, 1)", "6"]),
        ("CREATE TEMPORARY VIEW t AS SELECT 9 AS k", ["9", "-1", "Decimal128(2, 1)", "6"]),
        ("CREATE OR REPLACE TEMPORARY VIEW t AS SELECT 8 AS k", ["8", "-1", "Decimal128(2, 1)", "6"]),
        ("DROP VIEW t", ["2", "-1", "Decimal128(2, 1)", "6"]),
        ("USE SCHEMA s2", ["5", "", "Decimal128(2, 1)", "6"]),
    ] {
        run(&session, change).await;
        for _ in 0..3 {
            for (prepared, expected) in [&table, &view, &literal, &variable].into_iter().zip(expected) {
                if !expected.is_empty() {
                    assert_eq!(again(&session, prepared).await, [expected], "{change}: {}", prepared.text().text);
                }
            }
        }
    }
    assert!(session.execute_prepared(&view, Parameters::default(), &Tracker::default()).await.is_err());
}

#[tokio::test]
async fn each_run_has_values_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    let prepared = prepare("SELECT s FROM t WHERE k = ?");
    let whole = |value: i64| ScalarValue::Int64(Some(value));
    assert_eq!(with(&session, &prepared, whole(1)).await.unwrap(), ["a"]);
    assert!(is_kept(&prepared));
    for (value, expected) in [(whole(2), vec!["b"]), (whole(2), vec!["b"]), (whole(3), vec![]), (ScalarValue::Null, vec![])] {
        assert_eq!(with(&session, &prepared, value.clone()).await.unwrap(), expected, "{value}");
    }
    let wrong = with(&session, &prepared, ScalarValue::Boolean(Some(true))).await.unwrap_err();
    assert!(wrong.message.contains("the parameter $1"), "{}", wrong.message);
    assert!(session.execute_prepared(&prepared, Parameters::default(), &Tracker::default()).await.is_err());
    assert_eq!(with(&session, &prepared, whole(1)).await.unwrap(), ["a"]);
    let typed = prepare("SELECT arrow_typeof(?)");
    assert_eq!(with(&session, &typed, whole(1)).await.unwrap(), ["Int64"]);
    assert_eq!(with(&session, &typed, ScalarValue::from("x")).await.unwrap(), ["Utf8"]);
}

/// What would be another value next time is computed next time.
#[tokio::test]
async fn what_changes_by_itself_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    run(&session, "CREATE TEMPORARY VIEW later AS SELECT now() AS at").await;
    for sql in
        ["SELECT now()", "SELECT random()", "SELECT uuid()", "SELECT at FROM later", "SELECT k FROM t WHERE now() > TIMESTAMP '2020-01-01'"]
    {
        let prepared = prepare(sql);
        let first = again(&session, &prepared).await;
        assert!(!is_kept(&prepared), "{sql}");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let second = again(&session, &prepared).await;
        assert!(sql.contains("FROM t") || first != second, "{sql}: {first:?}");
    }
    for sql in [
        "SELECT * FROM generate_series(1, 2)",
        "SELECT * FROM t VERSION AS OF 0",
        "SELECT table_name FROM information_schema.tables",
        "SHOW TABLES",
    ] {
        let prepared = prepare(sql);
        assert!(!again(&session, &prepared).await.is_empty(), "{sql}");
        assert!(!is_kept(&prepared), "{sql}");
    }
    let file = dir.path().join("f.csv");
    let files = prepare(&format!("SELECT * FROM read_csv('{}')", file.display()));
    for text in ["a\n1\n", "a\n2\n"] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(again(&session, &files).await, [&text[2..3]]);
    }
}

/// Plans with state of their own, which a second run must not find used up.
#[tokio::test]
async fn joins_aggregates_windows_and_sorts_are_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    run(&session, "CREATE TABLE u AS SELECT value % 7 AS k, value AS n FROM generate_series(1, 1000)").await;
    for sql in [
        "SELECT s, sum(n) FROM t JOIN u ON t.k = u.k GROUP BY s ORDER BY s",
        "SELECT * FROM t CROSS JOIN (SELECT max(n) AS m FROM u) ORDER BY k",
        "SELECT k, n FROM u ORDER BY n DESC LIMIT 3",
        "SELECT k, sum(n) OVER (PARTITION BY k ORDER BY n) AS w FROM u ORDER BY n LIMIT 5",
        "SELECT k FROM t WHERE k IN (SELECT k FROM u WHERE n > 990) ORDER BY k",
        "SELECT s FROM t WHERE k = (SELECT min(k) + 1 FROM u) UNION ALL SELECT 'x'",
        "SELECT count(DISTINCT k), approx_distinct(n) FROM u",
        "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 5) SELECT sum(i) FROM r",
    ] {
        let (anew, prepared) = (run(&session, sql).await, prepare(sql));
        for _ in 0..3 {
            assert_eq!(again(&session, &prepared).await, anew, "{sql}");
        }
    }
}

/// A plan that reads nothing is kept as a whole, and may run several times at once.
#[tokio::test]
async fn constants_are_computed_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    let prepared = prepare("SELECT 1 + 1, 'x'");
    for _ in 0..4 {
        assert_eq!(again(&session, &prepared).await, ["2|x"]);
    }
    let planned = prepared.planned.lock().clone().unwrap();
    let bound = planned.bound.lock().clone().unwrap();
    let kept = Arc::clone(bound.physical.get().unwrap());
    let none = Tracker::default();
    let (one, other) = futures::join!(
        session.execute_prepared(&prepared, Parameters::default(), &none),
        session.execute_prepared(&prepared, Parameters::default(), &none)
    );
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((texts(one).await, texts(other).await), (vec!["2|x".to_string()], vec!["2|x".to_string()]));
    assert!(kept.metrics().is_none_or(|metrics| metrics.iter().next().is_none()), "the kept plan itself is never run");
}
