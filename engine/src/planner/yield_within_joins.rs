//! Has joins without equal keys pause between their batches.
//!
//! Operators give way to others when their inputs do, and inputs do so after so many batches. A join that compares every row with every other makes thousands of
//! batches of one: a few inputs keep a thread for hours, and whoever wants to stop the statement, or has a small one, waits as long.
//!
//! ```text
//! CooperativeExec                 gives way after so many batches of the join
//!   NestedLoopJoinExec | CrossJoinExec
//! ```

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::{CrossJoinExec, NestedLoopJoinExec};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct YieldWithinJoins {}

impl PhysicalOptimizerRule for YieldWithinJoins {
    fn name(&self) -> &str {
        "yield_within_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let multiplies = |node: &Arc<dyn ExecutionPlan>| node.is::<NestedLoopJoinExec>() || node.is::<CrossJoinExec>();
        plan.transform_up(|node| {
            if multiplies(&node) { Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as _)) } else { Ok(Transformed::no(node)) }
        })
        .data()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::session_state::SessionStateBuilder;
    use datafusion::physical_plan::execute_stream;
    use datafusion::prelude::{SessionConfig, SessionContext};
    use futures::StreamExt as _;

    #[tokio::test]
    async fn a_join_of_everything_with_everything_can_be_stopped() {
        let config = SessionConfig::new().with_target_partitions(1);
        let state = crate::planner::register(SessionStateBuilder::new().with_default_features().with_config(config)).build();
        let context = SessionContext::new_with_state(state);
        for sql in [
            "SELECT sum(a.value % (b.value + 1)) FROM generate_series(1, 300000) a CROSS JOIN generate_series(1, 300000) b",
            "SELECT sum(a.value) FROM generate_series(1, 300000) a JOIN generate_series(1, 300000) b ON a.value < b.value + 1",
        ] {
            let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
            let mut rows = execute_stream(plan, context.task_ctx()).unwrap();
            let stopped = tokio::time::timeout(std::time::Duration::from_millis(100), rows.next()).await;
            assert!(stopped.is_err(), "it takes hours unless it is stopped");
        }
    }
}
