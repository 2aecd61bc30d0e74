//! Tells whether reading a plan's rows a second time gives the same rows at little more than the cost of the scan.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_expr::expressions::DynamicFilterTracking;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};

/// True for filters, projections and unions over files or memory, without a limit and without an expression that may give
/// another value the second time.
pub(super) fn can_read_twice(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    if plan.fetch().is_some() || !is_cheap(plan) {
        return Ok(false);
    }
    let mut is_stable = true;
    plan.apply_expressions(&mut |expr| {
        is_stable &= !is_volatile(expr) && !DynamicFilterTracking::classify(expr).contains_dynamic_filter();
        Ok(if is_stable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    if !is_stable {
        return Ok(false);
    }
    for child in plan.children() {
        if !can_read_twice(child)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_cheap(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
        return scan.data_source().is::<FileScanConfig>() || scan.data_source().is::<MemorySourceConfig>();
    }
    if let Some(repartition) = plan.downcast_ref::<RepartitionExec>() {
        return matches!(repartition.partitioning(), Partitioning::RoundRobinBatch(_) | Partitioning::UnknownPartitioning(_));
    }
    plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<UnionExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<CooperativeExec>()
}
