//! Rows on their way into a partitioned table, brought together by partition: without it every task writes a file into every partition, and a plan of many
//! tasks litters the table with small files. Partitions with many rows are salted, so that no task gets all of one.
//!
//! ```text
//! ProjectionExec: the columns of <input>
//!   RepartitionExec: Hash([partition columns, __salt], tasks)
//!     SaltExec: keys=[partition columns]
//!       <input>
//! ```

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _, Partitioning};

use crate::operators::salt::SaltExec;

/// Rows that a file should get before the next one of the same partition is begun on another task.
const ROWS_PER_FILE: u64 = 1 << 18;
/// Rows of a partition that a task hands to one writer at least.
const ROWS_PER_CHUNK_MIN: u64 = 1 << 13;

/// The plan of the module documentation over `input`; `columns` are the places of the partition columns in its schema. Rows and columns stay the same.
///
/// # Errors
/// None but those of building the operators.
pub fn spread_partitions(input: Arc<dyn ExecutionPlan>, columns: &[usize]) -> Result<Arc<dyn ExecutionPlan>> {
    let tasks = input.output_partitioning().partition_count();
    let rows_per_chunk = (ROWS_PER_FILE / tasks.max(1) as u64).max(ROWS_PER_CHUNK_MIN);
    shuffle_in_chunks(input, columns, rows_per_chunk, tasks)
}

/// The rows in `tasks` partitions, by the columns and by chunks of rows of the same values.
pub(super) fn shuffle_in_chunks(
    input: Arc<dyn ExecutionPlan>,
    columns: &[usize],
    rows_per_chunk: u64,
    tasks: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = input.schema();
    let column = |at: usize, name: &str| -> Arc<dyn PhysicalExpr> { Arc::new(Column::new(name, at)) };
    let salted: Arc<dyn ExecutionPlan> = Arc::new(SaltExec::new(input, columns.to_vec(), rows_per_chunk));
    let salt = schema.fields().len();
    let mut hashed: Vec<Arc<dyn PhysicalExpr>> = columns.iter().map(|at| column(*at, schema.field(*at).name())).collect();
    hashed.push(column(salt, salted.schema().field(salt).name()));
    let shuffled = Arc::new(RepartitionExec::try_new(salted, Partitioning::Hash(hashed, tasks))?);
    let kept = schema.fields().iter().enumerate().map(|(at, field)| (column(at, field.name()), field.name().clone()));
    Ok(Arc::new(ProjectionExec::try_new(kept.collect::<Vec<_>>(), shuffled)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::testing::ours;
    use datafusion::arrow::array::AsArray as _;
    use datafusion::arrow::datatypes::Int64Type;
    use datafusion::physical_plan::collect_partitioned;

    /// For each task, its rows per value of the second column, after spreading by that column.
    async fn spread(sql: &str, rows_per_chunk: u64) -> Vec<std::collections::BTreeMap<i64, usize>> {
        let session = ours().await.unwrap();
        let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let before = plan.schema();
        let tasks = plan.output_partitioning().partition_count();
        let plan = shuffle_in_chunks(plan, &[1], rows_per_chunk, tasks).unwrap();
        assert_eq!(plan.schema(), before);
        let tasks = collect_partitioned(plan, session.task_ctx()).await.unwrap();
        let mut ids: Vec<i64> = Vec::new();
        let mut counts = Vec::new();
        for batches in tasks {
            let mut count = std::collections::BTreeMap::new();
            for batch in batches {
                ids.extend(batch.column(0).as_primitive::<Int64Type>().values());
                batch.column(1).as_primitive::<Int64Type>().values().iter().for_each(|value| *count.entry(*value).or_default() += 1);
            }
            counts.push(count);
        }
        ids.sort_unstable();
        assert!(ids.iter().copied().eq(0..60_000), "every row comes out once");
        counts
    }

    #[tokio::test]
    async fn rows_of_a_rare_partition_meet_on_one_task() {
        let tasks = spread("SELECT id, user_id FROM events WHERE abs(id) >= 0", 100).await;
        assert!(tasks.len() > 1);
        for user in 0..7000 {
            assert_eq!(tasks.iter().filter(|count| count.contains_key(&user)).count(), 1, "user {user}");
        }
    }

    #[tokio::test]
    async fn rows_of_a_frequent_partition_are_on_all() {
        let tasks = spread("SELECT id, CASE WHEN id % 10 = 0 THEN id ELSE -1 END FROM events WHERE abs(id) >= 0", 100).await;
        let frequent: Vec<usize> = tasks.iter().map(|count| count.get(&-1).copied().unwrap_or(0)).collect();
        assert_eq!(frequent.iter().sum::<usize>(), 54_000);
        assert!(frequent.iter().all(|rows| *rows > 54_000 / frequent.len() / 2), "{frequent:?}");
    }
}
