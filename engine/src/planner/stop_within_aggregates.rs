//! Puts aggregates that compute for long under an operator that tells them when their statement has been stopped.
//!
//! ```text
//! StoppableExec                   lends the thread the means to find out
//!   AggregateExec: kmeans(…)      looks at it while it trains
//! ```

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use orrery_udfs::aggregate::computes_for_long;

use crate::operators::stoppable::StoppableExec;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct StopWithinAggregates {}

impl PhysicalOptimizerRule for StopWithinAggregates {
    fn name(&self) -> &str {
        "stop_within_aggregates"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            if takes_long(&node) { Ok(Transformed::yes(Arc::new(StoppableExec::new(node)) as _)) } else { Ok(Transformed::no(node)) }
        })
        .data()
    }
}

/// A first step only gathers rows.
fn takes_long(node: &Arc<dyn ExecutionPlan>) -> bool {
    let Some(aggregate) = node.downcast_ref::<AggregateExec>() else { return false };
    let gives_values = !matches!(aggregate.mode(), AggregateMode::Partial | AggregateMode::PartialReduce);
    gives_values && aggregate.aggr_expr().iter().any(|expr| computes_for_long(expr.fun()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use datafusion::execution::session_state::SessionStateBuilder;
    use datafusion::physical_plan::{collect, displayable};
    use datafusion::prelude::{SessionConfig, SessionContext};
    use tokio_util::sync::CancellationToken;

    use crate::{Blame, Error, TaskPool};

    fn session() -> SessionContext {
        let config = SessionConfig::new().with_target_partitions(2);
        let state = crate::planner::register(SessionStateBuilder::new().with_default_features().with_config(config)).build();
        SessionContext::new_with_state(state)
    }

    #[tokio::test]
    async fn only_aggregates_that_take_long_are_told() {
        let session = session();
        for (call, is_told) in [("kmeans(2, [value])", true), ("max(value)", false)] {
            for group in ["", " GROUP BY value % 3"] {
                let plan = session.sql(&format!("SELECT {call} FROM generate_series(1, 100){group}")).await.unwrap();
                let text = displayable(plan.create_physical_plan().await.unwrap().as_ref()).indent(false).to_string();
                assert_eq!(text.matches("StoppableExec").count(), usize::from(is_told), "{call}{group}:\n{text}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_group_under_training_ends_with_its_statement() {
        let session = session();
        let sql = "SELECT kmeans(5000, [value * 7919 % 100003, value * 31 % 9973, value % 4999]) FROM generate_series(1, 100000)";
        let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let cancelled = CancellationToken::new();
        let context = TaskPool::within(session.task_ctx(), cancelled.clone()).unwrap();
        let training = tokio::spawn(collect(plan, context));
        // Long enough for all rows to be there, and far from long enough for so many clusters of them.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!training.is_finished(), "the training has ended: {:?}", training.await);
        cancelled.cancel();
        let begin = Instant::now();
        let error = Error::from(training.await.unwrap().unwrap_err());
        assert_eq!(error.blame, Blame::Interrupted, "{error}");
        assert!(begin.elapsed() < Duration::from_secs(20), "it went on for {:?}", begin.elapsed());
    }
}
