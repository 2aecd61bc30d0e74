//! Fewer rows per batch where rows are long. What is computed of a batch is in no memory pool: a text of 200 MB in the query, in each of 8192 rows, is 1.6 TB.
//!
//! ```text
//! ProjectionExec: expr=[<200 MB> as x, value]        evaluated for as many rows as the session's batches have, which are few for this plan
//!   ShortBatchesExec                                 cuts what comes in larger batches, whatever the session says
//!     LazyMemoryExec
//! ```
//!
//! The session that a plan runs in has batches of [`batch_rows`], so that whatever repeats a value or joins batches makes no more of them.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion, TreeNodeVisitor};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::union::UnionExec;

use crate::operators::row_bytes::{Views, literal_bytes, longest_value};
use crate::operators::short_batches::ShortBatchesExec;

/// Bytes that the columns of a batch may take by what is known when a plan is made.
const BATCH_BYTES: usize = 64 << 20;
/// Bytes of a column's value where nothing is known of it.
const VALUE_BYTES: usize = 8;
/// Bytes from which on literals are worth shorter batches by themselves.
const LONG_LITERAL_BYTES: usize = 1024;
/// Rows in memory that are longer than this on average are looked at one by one.
const LONG_ROW_BYTES: usize = 128;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct ShortenBatches {}

impl PhysicalOptimizerRule for ShortenBatches {
    fn name(&self) -> &str {
        "shorten_batches"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let most = config.execution.batch_size.get();
        if batch_rows(&plan, most) == most {
            return Ok(plan);
        }
        plan.transform_up(|node| {
            // The rows of `generate_series` come in batches of the size that was set when they were planned.
            if node.is::<LazyMemoryExec>() {
                return Ok(Transformed::yes(short(&node)));
            }
            match node.children()[..] {
                [input] if own_literal_bytes(&node) >= LONG_LITERAL_BYTES => {
                    let input = short(input);
                    replace_children_if_necessary(node, vec![input]).map(Transformed::yes)
                }
                _ => Ok(Transformed::no(node)),
            }
        })
        .data()
    }
}

/// The rows of a batch of a plan: `most`, or fewer where its rows are long.
pub fn batch_rows(plan: &Arc<dyn ExecutionPlan>, most: usize) -> usize {
    let mut rows = LongRows::default();
    // Counting does not fail.
    let _ = plan.visit(&mut rows);
    let row_bytes = rows.of_inputs.iter().sum::<usize>() + rows.widest * VALUE_BYTES;
    most.min(BATCH_BYTES / row_bytes.max(1)).max(1)
}

/// What rows have at least, besides their columns.
#[derive(Default)]
struct LongRows {
    /// Of the nodes that have been visited and whose parents have not.
    of_inputs: Vec<usize>,
    widest: usize,
}

impl TreeNodeVisitor<'_> for LongRows {
    type Node = Arc<dyn ExecutionPlan>;

    fn f_up(&mut self, node: &Arc<dyn ExecutionPlan>) -> Result<TreeNodeRecursion> {
        let inputs = self.of_inputs.split_off(self.of_inputs.len().saturating_sub(node.children().len()));
        let of_inputs = if node.is::<UnionExec>() { inputs.into_iter().max().unwrap_or(0) } else { inputs.into_iter().sum() };
        self.of_inputs.push(of_inputs + own_literal_bytes(node) + longest_row_in_memory(node));
        self.widest = self.widest.max(node.schema().fields().len());
        Ok(TreeNodeRecursion::Continue)
    }
}

fn short(input: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    match input.is::<ShortBatchesExec>() || input.is::<PlaceholderRowExec>() {
        true => Arc::clone(input),
        false => Arc::new(ShortBatchesExec::new(Arc::clone(input))),
    }
}

/// Bytes of the literals in a node's expressions that stand in each row.
fn own_literal_bytes(node: &Arc<dyn ExecutionPlan>) -> usize {
    let mut bytes = 0;
    // The closure does not fail.
    let _ = node.apply_expressions(&mut |expr| {
        bytes += literal_bytes(expr);
        Ok(TreeNodeRecursion::Continue)
    });
    bytes
}

/// Bytes of the longest of the rows that a node has in memory, as `VALUES` are.
fn longest_row_in_memory(node: &Arc<dyn ExecutionPlan>) -> usize {
    let source = node.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
    let Some(memory) = source.and_then(|source| source.downcast_ref::<MemorySourceConfig>()) else { return 0 };
    memory.partitions().iter().flatten().map(longest_row).max().unwrap_or(0)
}

fn longest_row(batch: &RecordBatch) -> usize {
    if batch.get_array_memory_size() <= batch.num_rows().saturating_mul(LONG_ROW_BYTES) {
        return 0;
    }
    batch.columns().iter().map(|column| longest_value(column, Views::Shared)).sum()
}

#[cfg(test)]
mod tests {
    use datafusion::execution::TaskContext;
    use datafusion::physical_plan::{displayable, execute_stream};
    use datafusion::prelude::SessionContext;
    use futures::TryStreamExt as _;

    use super::*;
    use crate::planner::testing::ours;

    const MOST: usize = 8192;

    async fn plan(session: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
        session.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
    }

    #[tokio::test]
    async fn batches_are_as_short_as_rows_are_long() {
        let session = ours().await.unwrap();
        let long = "b".repeat(100_000);
        let list: Vec<String> = (0..300).map(|i| format!("'{i}{}'", "c".repeat(1000))).collect();
        let columns: Vec<String> = (0..3000).map(|i| format!("id + {i} AS c{i}")).collect();
        for (sql, rows) in [
            ("SELECT id, 'b' AS x FROM events".to_string(), MOST),
            ("SELECT repeat('x', 1000000) AS x FROM events".to_string(), 67),
            (format!("SELECT '{long}' AS x FROM events"), 671),
            (format!("SELECT CASE WHEN id > 5 THEN '{long}' ELSE brand END AS x FROM events"), 670),
            (format!("SELECT count(*) FROM events WHERE brand IN ({})", list.join(", ")), MOST),
            (format!("SELECT id FROM events WHERE brand < '{long}' OR regexp_like(kind, '{long}')"), MOST),
            (format!("SELECT '{long}' AS x FROM events UNION ALL SELECT '{long}' FROM events"), 671),
            (format!("SELECT x, id FROM (VALUES ('a'), ('{long}'), ('b')) AS v(x) CROSS JOIN events"), 671),
            (format!("SELECT {} FROM events", columns.join(", ")), 2796),
            ("SELECT repeat('x', 200000000) AS x FROM events".to_string(), 1),
        ] {
            let shown: String = sql.chars().take(80).collect();
            let found = batch_rows(&plan(&session, &sql).await, MOST);
            assert!(found.abs_diff(rows) <= rows / 50, "{shown}: {found} instead of {rows}");
        }
    }

    #[tokio::test]
    async fn no_batch_is_longer() {
        let session = ours().await.unwrap();
        let text = "(SELECT repeat('x', 1000000) AS x, value AS n FROM generate_series(1, 300))";
        for (sql, rows) in [
            (text.to_string(), 300),
            ("SELECT repeat('x', 1000000) AS x, id FROM events WHERE id % 100 = 3".to_string(), 600),
            ("SELECT a.x, b.value FROM (SELECT repeat('x', 1000000) AS x) a CROSS JOIN generate_series(1, 500) b".to_string(), 500),
            ("SELECT CASE WHEN value % 2 = 0 THEN repeat('x', 1000000) ELSE 'b' END AS x FROM generate_series(1, 500)".to_string(), 500),
            ("SELECT repeat('x', 1000000) AS x, max(value) OVER () AS m FROM generate_series(1, 500)".to_string(), 500),
            (format!("SELECT x || n AS x FROM {text} UNION ALL SELECT x FROM {text}"), 600),
            (format!("SELECT t.x, e.id FROM {text} t JOIN events e ON e.id = t.n"), 300),
        ] {
            let plan = plan(&session, &sql).await;
            let short = batch_rows(&plan, MOST);
            assert!(short < 100, "{sql}: {short}");
            let config = session.copied_config().with_batch_size(short);
            let context = Arc::new(TaskContext::from(&session).with_session_config(config));
            let mut read = 0;
            let mut batches = execute_stream(Arc::clone(&plan), context).unwrap();
            while let Some(batch) = batches.try_next().await.unwrap() {
                assert!(batch.num_rows() <= short, "{sql}: {} rows\n{}", batch.num_rows(), displayable(plan.as_ref()).indent(false));
                read += batch.num_rows();
            }
            assert_eq!(read, rows, "{sql}");
        }
    }

    #[tokio::test]
    async fn constants_within_windows_are_bounded() {
        let session = ours().await.unwrap();
        let sql = "SELECT max(repeat('x', 100000)) OVER () AS m FROM events";
        let refused = session.sql(sql).await.unwrap().collect().await.unwrap_err().to_string();
        assert!(refused.contains("arguments of a window function over 60000 rows"), "{refused}");
    }
}
