//! Puts `SessionizeExec` in the place of windows that compute nothing but sessions, so that their rows need not be sorted.
//!
//! A window that stands on another one's sorted rows stays: there the sort is paid for already.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};

use crate::operators::sessionize::SessionizeExec;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct SessionizeUnsorted {}

impl PhysicalOptimizerRule for SessionizeUnsorted {
    fn name(&self) -> &str {
        "sessionize_unsorted"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let Some(window) = node.downcast_ref::<WindowAggExec>().filter(|window| !comes_sorted(window.input())) else {
                return Ok(Transformed::no(node));
            };
            Ok(match SessionizeExec::instead_of(window)? {
                Some(sessionize) => Transformed::yes(Arc::new(sessionize)),
                None => Transformed::no(node),
            })
        })
        .data()
    }
}

/// Whether the rows are those of another window, which will have them sorted.
fn comes_sorted(plan: &Arc<dyn ExecutionPlan>) -> bool {
    match plan.children()[..] {
        _ if plan.is::<WindowAggExec>() || plan.is::<BoundedWindowAggExec>() => true,
        [input] if plan.is::<ProjectionExec>() || plan.is::<FilterExec>() => comes_sorted(input),
        _ => false,
    }
}
