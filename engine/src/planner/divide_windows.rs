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
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::windows::WindowAggExec;

use crate::operators::window_partitions::WindowPartitionsExec;

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
            let is_whole = node.is::<WindowAggExec>();
            Ok(if is_whole { Transformed::yes(Arc::new(WindowPartitionsExec::new(node)) as _) } else { Transformed::no(node) })
        })
        .data()
    }
}
