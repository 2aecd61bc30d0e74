//! Collects the side of a join that has few rows beside the other's, so that neither side is shuffled.
//!
//! Within one process the tasks of a join share the table that is built from its left side. A shuffled join holds the same rows in as many tables, and has
//! them filled by all tasks instead of one; but for that it takes every row of both sides apart and brings it to another task, and the tasks that get the
//! frequent keys are the last to end. So a side is worth collecting by how many rows it spares the other side of being shuffled, not by its bytes as
//! DataFusion has it: these are in memory either way.
//!
//! A join in which both sides are of a size stays shuffled, and so does every join whose sizes are not known, or whose larger side is grouped: its rows
//! lie by their groups already, which often are the keys of the join. A session that collects nothing
//! (`datafusion.optimizer.hash_join_single_partition_threshold = 0`) is heeded. Executors share nothing: it is no rule of a cluster's planner.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

/// How many rows are shuffled in the time in which one is put into a table, as measured with a few columns.
const ROWS_SHUFFLED_PER_ROW_BUILT: usize = 2;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct CollectSmallSides {}

/// The rule's name.
pub(super) const NAME: &str = "collect_small_sides";

impl PhysicalOptimizerRule for CollectSmallSides {
    fn name(&self) -> &str {
        NAME
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let tasks = config.execution.target_partitions;
        if config.optimizer.hash_join_single_partition_threshold == 0 || tasks < 2 {
            return Ok(plan);
        }
        plan.transform_up(|node| {
            Ok(match node.downcast_ref::<HashJoinExec>() {
                Some(join) if is_worth_collecting(join, tasks) => {
                    Transformed::yes(join.builder().with_partition_mode(PartitionMode::CollectLeft).build_exec()?)
                }
                _ => Transformed::no(node),
            })
        })
        .data()
    }
}

/// Whether one task builds from the left side before the tasks together would have shuffled the right one.
fn is_worth_collecting(join: &HashJoinExec, tasks: usize) -> bool {
    let (Some(left), Some(right)) = (rows_of(join.left()), rows_of(join.right())) else { return false };
    *join.partition_mode() == PartitionMode::Partitioned
        && !comes_grouped(join.right())
        && left.saturating_mul(tasks * ROWS_SHUFFLED_PER_ROW_BUILT) <= right
}

/// Whether rows are groups, as they come from an aggregation.
fn comes_grouped(plan: &Arc<dyn ExecutionPlan>) -> bool {
    match plan.children()[..] {
        _ if plan.is::<AggregateExec>() => true,
        [input] if plan.is::<ProjectionExec>() || plan.is::<FilterExec>() => comes_grouped(input),
        _ => false,
    }
}

/// The rows of a plan, as far as statistics tell.
fn rows_of(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok()?;
    statistics.num_rows.get_value().copied()
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::SessionContext;

    use crate::planner::testing::{across_tasks, assert_same_rows, ours, plain, rows_of};

    /// As many users as there are, by a column of some width, so that they are more than a megabyte.
    const USERS: &str = "CREATE TABLE users AS SELECT value AS user_id, repeat('of a great many words ', 12) || value AS name FROM generate_series(0, 6999)";
    const FEW_USERS: &str = "CREATE TABLE users AS SELECT value * 2 AS user_id, repeat('of a great many words ', 12) || value AS name
        FROM generate_series(0, 4999)";

    const WIDE_USERS: &str = "CREATE TABLE users AS SELECT value AS user_id, repeat('of a great many words ', 100) || value AS name FROM generate_series(0, 699)";

    async fn plan(context: &SessionContext, sql: &str) -> String {
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        displayable(plan.as_ref()).indent(false).to_string()
    }

    async fn with(context: SessionContext, users: &str) -> SessionContext {
        context.sql(users).await.unwrap().collect().await.unwrap();
        context
    }

    fn join(kind: &str) -> String {
        format!(
            "SELECT e.user_id AS e, u.user_id AS u, count(e.id) AS events, min(u.name) AS name, min(e.at), min(e.brand), max(e.price) FROM users AS u {kind} JOIN events AS e
             ON e.user_id = u.user_id AND e.id % 7 <> u.user_id % 5 GROUP BY e.user_id, u.user_id"
        )
    }

    #[tokio::test]
    async fn a_side_with_few_rows_is_collected_whatever_its_bytes() {
        let (ours, plain) = (with(ours().await.unwrap(), USERS).await, with(plain().await.unwrap(), USERS).await);
        let sql =
            "SELECT count(*), min(u.name), min(e.at), min(e.brand), min(e.price) FROM events AS e JOIN users AS u ON e.user_id = u.user_id";
        let (collected, shuffled) = (plan(&ours, sql).await, plan(&plain, sql).await);
        assert!(collected.contains("mode=CollectLeft") && !collected.contains("mode=Partitioned"), "{collected}");
        assert!(shuffled.contains("mode=Partitioned, join_type"), "{shuffled}");
        assert_eq!(rows_of(&ours, sql).await.unwrap(), rows_of(&plain, sql).await.unwrap());
        ours.sql("SET datafusion.optimizer.hash_join_single_partition_threshold = 0").await.unwrap();
        assert!(plan(&ours, sql).await.contains("mode=Partitioned, join_type"));
    }

    #[tokio::test]
    async fn sides_of_a_size_and_groups_and_joins_of_a_cluster_stay_shuffled() {
        let ours = with(ours().await.unwrap(), USERS).await;
        let sql = "SELECT count(*), min(a.name), max(b.name) FROM users AS a JOIN users AS b ON a.user_id = b.user_id";
        let of_a_size = plan(&ours, sql).await;
        assert!(of_a_size.contains("mode=Partitioned, join_type"), "{of_a_size}");
        let cluster = with(across_tasks().await.unwrap(), USERS).await;
        let across = plan(&cluster, "SELECT count(*), min(u.name) FROM events AS e JOIN users AS u ON e.user_id = u.user_id").await;
        assert!(across.contains("mode=Partitioned, join_type"), "{across}");
    }

    #[tokio::test]
    async fn groups_are_not_taken_from_where_they_lie() {
        let ours = with(ours().await.unwrap(), WIDE_USERS).await;
        let sql = "SELECT count(*), min(u.name), max(e.id), min(e.at), min(e.brand), min(e.price) FROM events AS e JOIN users AS u ON e.user_id = u.user_id";
        let grouped =
            sql.replace("events AS e", "(SELECT user_id, id, at, brand, price FROM events GROUP BY user_id, id, at, brand, price) AS e");
        let (rows, groups) = (plan(&ours, sql).await, plan(&ours, &grouped).await);
        assert!(rows.contains("mode=CollectLeft"), "{rows}");
        assert!(groups.contains("mode=Partitioned, join_type"), "{groups}");
    }

    #[tokio::test]
    async fn every_join_type_gives_the_same_rows() {
        let (ours, plain) = (with(ours().await.unwrap(), FEW_USERS).await, with(plain().await.unwrap(), FEW_USERS).await);
        for kind in ["", "LEFT", "RIGHT", "FULL"] {
            let sql = join(kind);
            assert!(plan(&ours, &sql).await.contains("mode=CollectLeft"), "{kind}");
            assert_eq!(rows_of(&ours, &sql).await.unwrap(), rows_of(&plain, &sql).await.unwrap(), "{kind}");
        }
        for condition in ["EXISTS", "NOT EXISTS"] {
            for (one, other) in [("users", "events"), ("events", "users")] {
                let sql = format!(
                    "SELECT count(*), sum(a.user_id) FROM {one} AS a WHERE {condition} (SELECT 1 FROM {other} AS b WHERE a.user_id = b.user_id)"
                );
                assert_eq!(rows_of(&ours, &sql).await.unwrap(), rows_of(&plain, &sql).await.unwrap(), "{sql}");
            }
        }
        assert_same_rows("SELECT count(*) FROM events AS a JOIN events AS b ON a.id = b.user_id").await.unwrap();
    }
}
