//! The operator against the window operator that it stands for, with memory and without.

use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::{collect, displayable};
use datafusion::prelude::SessionContext;

use super::*;
use crate::planner::testing::{assert_same_rows, ours, rows_of};

const QUERY: &str = "SELECT id, session_index(at, INTERVAL '20' MINUTE) OVER (PARTITION BY user_id, kind ORDER BY at) AS number,
    session_start(at, INTERVAL '20' MINUTE, INTERVAL '1' HOUR) OVER (PARTITION BY user_id, kind ORDER BY at) AS start,
    session_id(at, INTERVAL '20' MINUTE) OVER (PARTITION BY user_id, kind ORDER BY at) AS session
  FROM events";

async fn plan(context: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
    context.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
}

/// The same with a second window function, for which rows are sorted anyway.
fn sorted(query: &str) -> String {
    query.replace("FROM events", "FROM (SELECT *, row_number() OVER (PARTITION BY user_id, kind ORDER BY at) AS n FROM events) WHERE n > 0")
}

#[tokio::test]
async fn gives_what_the_window_operator_gives() {
    let context = ours().await.unwrap();
    let text = |plan: Arc<dyn ExecutionPlan>| displayable(plan.as_ref()).indent(false).to_string();
    let (ours, theirs) = (text(plan(&context, QUERY).await), text(plan(&context, &sorted(QUERY)).await));
    assert!(ours.contains("SessionizeExec") && !ours.contains("SortExec"), "{ours}");
    assert!(!theirs.contains("SessionizeExec") && theirs.contains("SortExec"), "{theirs}");
    assert_eq!(rows_of(&context, QUERY).await.unwrap(), rows_of(&context, &sorted(QUERY)).await.unwrap());
}

#[tokio::test]
async fn sorts_where_memory_is_short() {
    let context = ours().await.unwrap();
    let expected = rows_of(&context, QUERY).await.unwrap();
    let plan = plan(&context, QUERY).await;
    context.sql("SET datafusion.execution.sort_spill_reservation_bytes = 65536").await.unwrap();
    let pool = Arc::new(FairSpillPool::new(9 << 20));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
    let task = Arc::new(TaskContext::from(&context.state()).with_runtime(runtime));
    let batches = collect(Arc::clone(&plan), task).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), expected.len());
    context.deregister_table("again").unwrap();
    let again = datafusion::datasource::MemTable::try_new(plan.schema(), vec![batches]).unwrap();
    context.register_table("again", Arc::new(again)).unwrap();
    assert_eq!(rows_of(&context, "SELECT * FROM again").await.unwrap(), expected);
    let mut operator = &plan;
    while !operator.is::<SessionizeExec>() {
        operator = operator.children()[0];
    }
    let metrics = operator.metrics().unwrap();
    assert!(metrics.sum_by_name("sorted_for_want_of_memory").unwrap().as_usize() > 0, "{metrics}");
    assert_eq!(metrics.output_rows(), Some(expected.len()));
}

/// Consumers that can spill get a fiftieth of the pool each, which is too little for a task's rows.
#[tokio::test]
async fn needs_no_share_of_what_others_could_spill() {
    let context = ours().await.unwrap();
    let plan = plan(&context, QUERY).await;
    let pool: Arc<dyn MemoryPool> = Arc::new(FairSpillPool::new(64 << 20));
    let others: Vec<_> = (0..50).map(|_| MemoryConsumer::new("hardly anything").with_can_spill(true).register(&pool)).collect();
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::clone(&pool)).build_arc().unwrap();
    let task = Arc::new(TaskContext::from(&context.state()).with_runtime(runtime));
    let batches = collect(Arc::clone(&plan), task).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 60_000);
    let mut operator = &plan;
    while !operator.is::<SessionizeExec>() {
        operator = operator.children()[0];
    }
    let sorted = operator.metrics().unwrap().sum_by_name("sorted_for_want_of_memory").map_or(0, |count| count.as_usize());
    assert_eq!(sorted, 0);
    drop(others);
    assert_eq!(pool.reserved(), 0);
}

#[tokio::test]
async fn rows_without_a_time_and_no_rows_at_all() {
    let nulls =
        "SELECT id, session_index(CASE WHEN id % 3 = 0 THEN at END, INTERVAL '1' HOUR) OVER (PARTITION BY user_id) AS n FROM events";
    let context = ours().await.unwrap();
    let rows = rows_of(&context, nulls).await.unwrap();
    assert_eq!(rows.iter().filter(|row| row.ends_with('|')).count(), 40_000);
    assert!(rows_of(&context, &format!("{nulls} WHERE id < 0")).await.unwrap().is_empty());
    assert_same_rows("SELECT count(*) FROM events").await.unwrap();
}

/// Rows that lie by user for their sessions stay where they are to be grouped by user and session.
#[tokio::test]
async fn groups_of_user_and_session_need_no_shuffle_of_their_own() {
    let sql = "SELECT user_id, start, count(*) AS events, sum(price) FILTER (WHERE kind = 'view') AS spent
        FROM (SELECT *, session_start(at, INTERVAL '20' MINUTE) OVER (PARTITION BY user_id ORDER BY at) AS start FROM events)
        GROUP BY user_id, start";
    let context = ours().await.unwrap();
    let text = displayable(plan(&context, sql).await.as_ref()).indent(false).to_string();
    assert_eq!(text.matches("partitioning=Hash").count(), 1, "{text}");
    assert!(text.contains("SessionizeExec") && text.contains("mode=SinglePartitioned"), "{text}");
    let rows = rows_of(&context, sql).await.unwrap();
    context.sql("SET datafusion.optimizer.subset_repartition_threshold = 100").await.unwrap();
    let text = displayable(plan(&context, sql).await.as_ref()).indent(false).to_string();
    assert_eq!(text.matches("partitioning=Hash").count(), 2, "{text}");
    assert_eq!(rows_of(&context, sql).await.unwrap(), rows);
}
