//! Statements that number all rows, on a backend that says that it cuts plans into stages: numbers are 1 to n, each once, whoever reads them.

use std::path::Path;
use std::sync::Arc;

use arrow::util::display::array_value_to_string;
use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt as _;
use orrery_lakehouse::Warehouse;

use crate::Result;
use crate::dialect::split;
use crate::session::{Backend, InProcess, Mode, Outcome, Session, SessionOptions, Tracker};

struct Stages;

#[async_trait]
impl Backend for Stages {
    fn partitions(&self, _: Option<u64>) -> Option<usize> {
        Some(3)
    }

    async fn stream(&self, plan: Arc<dyn ExecutionPlan>, session: &SessionContext, tracker: &Tracker) -> Result<SendableRecordBatchStream> {
        InProcess.stream(plan, session, tracker).await
    }

    async fn run(&self, plan: Arc<dyn ExecutionPlan>, session: &SessionContext, tracker: &Tracker) -> Result<Vec<RecordBatch>> {
        InProcess.run(plan, session, tracker).await
    }
}

/// A session in whose eyes nothing is too small to be spread, with the table `t` of 30,000 rows in several files.
async fn session(dir: &Path) -> Session {
    let path = dir.join("warehouse").display().to_string();
    let options =
        SessionOptions { warehouse: path.clone(), scratch_dir: Some(dir.join("scratch")), threads: Some(2), ..SessionOptions::default() };
    let warehouse = Warehouse::open(&path, Default::default()).await.unwrap();
    let session = Session::open_on(warehouse, options, Arc::new(Stages)).await.unwrap();
    rows(&session, "SET orrery.common_subplan_bytes = 0").await;
    rows(&session, "CREATE TABLE t AS SELECT /*+ REPARTITION(4) */ value AS id, value % 10 AS k FROM generate_series(1, 30000)").await;
    session
}

/// The rows of a statement as text.
async fn rows(session: &Session, sql: &str) -> Vec<String> {
    let statement = split(sql).unwrap().remove(0);
    let Outcome::Rows(stream) = session.execute(&statement, Mode::Run, &Tracker::default()).await.unwrap() else { return Vec::new() };
    let mut lines = Vec::new();
    for batch in stream.try_collect::<Vec<_>>().await.unwrap() {
        let cell = |column: usize, row| array_value_to_string(batch.column(column), row).unwrap();
        lines.extend(
            (0..batch.num_rows()).map(|row| (0..batch.num_columns()).map(|column| cell(column, row)).collect::<Vec<_>>().join("|")),
        );
    }
    lines
}

const CHECK: &str = "count(*), min(n), max(n), count(DISTINCT n), count(DISTINCT id)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_number_is_given_once() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    for (from, found) in [
        ("(SELECT id, row_number() OVER () AS n FROM t)", "30000|1|30000|30000|30000"),
        ("(SELECT id, row_number() OVER () AS n FROM t WHERE k = 3)", "3000|1|3000|3000|3000"),
        ("(SELECT id, row_number() OVER () AS n FROM t WHERE k > 10)", "0|||0|0"),
        ("(SELECT k AS id, row_number() OVER () AS n FROM (SELECT k, count(*) FROM t GROUP BY k))", "10|1|10|10|10"),
        ("(SELECT a.id, row_number() OVER () AS n FROM t AS a JOIN t AS b ON a.id = b.id + 1)", "29999|1|29999|29999|29999"),
        ("(SELECT id, m + 0 * row_number() OVER () AS n FROM (SELECT id, row_number() OVER () AS m FROM t))", "30000|1|30000|30000|30000"),
        ("(SELECT id, monotonically_increasing_id() AS n FROM t)", "30000|0|29999|30000|30000"),
    ] {
        assert_eq!(rows(&session, &format!("SELECT {CHECK} FROM {from}")).await, [found], "{from}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_that_were_written_stay_with_their_rows() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    rows(&session, "CREATE TABLE numbered AS SELECT id, row_number() OVER () AS n, row_number() OVER () AS again, k FROM t").await;
    assert_eq!(
        rows(&session, &format!("SELECT {CHECK}, count(CASE WHEN n = again AND id % 10 = k THEN 1 END) FROM numbered")).await,
        ["30000|1|30000|30000|30000|30000"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_shows_the_rows_that_are_written_down_first() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    let sql = "SELECT id, row_number() OVER () AS n FROM t";
    let shown = rows(&session, &format!("EXPLAIN {sql}")).await.join("\n");
    assert!(shown.contains("numbered_rows1") && !shown.contains("WindowAgg"), "{shown}");
    let measured = rows(&session, &format!("EXPLAIN ANALYZE {sql}")).await.join("\n");
    assert!(measured.contains("NumberRowsExec") && measured.contains("30,000 rows in"), "{measured}");
    rows(&session, "SET orrery.common_subplan_bytes = 100000000").await;
    let small = rows(&session, &format!("EXPLAIN {sql}")).await.join("\n");
    assert!(small.contains("WindowAgg"), "{small}");
}
