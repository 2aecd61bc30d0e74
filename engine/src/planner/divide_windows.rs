//! Has windows over whole partitions computed partition by partition, in the memory pool (`operators/window_partitions.rs`).
//!
//! ```text
//! WindowPartitionsExec
//!   WindowAggExec: wdw=[max(price) … PARTITION BY [user_id]]
//!     SortExec: expr=[user_id]
//! ```

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};

use crate::operators::window_partitions::{WindowPartitionsExec, is_collecting};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct DivideWindows {}

impl PhysicalOptimizerRule for DivideWindows {
    fn name(&self) -> &str {
        "divide_windows"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let window = match node.downcast_ref::<BoundedWindowAggExec>() {
                // It puts rows out before their partition is there, and takes as much for each as has come so far.
                Some(window) if collects(window) && window.input_order_mode == InputOrderMode::Sorted => {
                    let has_keys = !window.partition_keys().is_empty();
                    Arc::new(WindowAggExec::try_new(window.window_expr().to_vec(), Arc::clone(window.input()), has_keys)?)
                }
                _ if node.is::<WindowAggExec>() => node,
                _ => return Ok(Transformed::no(node)),
            };
            Ok(Transformed::yes(Arc::new(WindowPartitionsExec::new(window)) as _))
        })
        .data()
    }
}

fn collects(window: &BoundedWindowAggExec) -> bool {
    window.window_expr().iter().any(is_collecting)
}

#[cfg(test)]
mod tests {
    use crate::planner::testing::{assert_same_rows, plan_of};

    #[tokio::test]
    async fn windows_are_divided() {
        for (sql, is_divided) in [
            ("SELECT id, percent_rank() OVER (PARTITION BY user_id ORDER BY id) AS p FROM events", true),
            ("SELECT id, array_agg(id) OVER (PARTITION BY user_id ORDER BY id) AS p FROM events", true),
            (
                "SELECT id, string_agg(kind, ',') OVER (PARTITION BY user_id ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS p FROM events",
                true,
            ),
            ("SELECT id, sum(price) OVER (PARTITION BY user_id ORDER BY id) AS p FROM events", false),
        ] {
            let plan = plan_of(sql).await.unwrap();
            assert_eq!(plan.contains("WindowPartitionsExec"), is_divided, "{plan}");
            assert_same_rows(sql).await.unwrap();
        }
    }
}
