//! Faults on purpose: scans that fail as storage does, now and then, so that recovery can be tried out.

use std::sync::Arc;

use ballista_core::execution_plans::ChaosExec;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use orrery_engine::Result;

/// Ballista's word for faults that another attempt may not meet.
const TRANSIENT: &str = "transient";

/// The plan with a fault of that probability in every partition of every scan.
///
/// # Errors
/// The plan cannot be built anew.
pub(super) fn with_faults(plan: Arc<dyn ExecutionPlan>, probability: f64) -> Result<Arc<dyn ExecutionPlan>> {
    if probability <= 0.0 {
        return Ok(plan);
    }
    let faulty = plan.transform_down(|node| {
        if !node.is::<DataSourceExec>() {
            return Ok(Transformed::no(node));
        }
        let chaos: Arc<dyn ExecutionPlan> = Arc::new(ChaosExec::new(node, probability, TRANSIENT, None)?);
        Ok(Transformed::new(chaos, true, TreeNodeRecursion::Jump))
    });
    Ok(faulty.data()?)
}
