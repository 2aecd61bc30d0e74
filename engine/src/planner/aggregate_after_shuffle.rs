//! Aggregates raw rows after one shuffle where a grouped `count(DISTINCT …)` is involved, instead of before and after it.
//!
//! The state of a distinct count is the list of all values of the group. Building these lists, shuffling them and taking
//! them apart again costs more than shuffling the rows, whatever the number of groups; and with few groups the lists of
//! one group are merged by one task anyway.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};

/// See the module documentation.
#[derive(Debug, Clone, Default)]
pub struct AggregateAfterShuffle {}

impl PhysicalOptimizerRule for AggregateAfterShuffle {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions = config.execution.target_partitions;
        let rewrite = |node: Arc<dyn ExecutionPlan>| match in_one_step(&node, partitions)? {
            Some(rewritten) => Ok(Transformed::yes(rewritten)),
            None => Ok(Transformed::no(node)),
        };
        plan.transform_up(rewrite).data()
    }

    fn name(&self) -> &str {
        "aggregate_after_shuffle"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The two steps that end in `node` as one, if they count distinct values of hashed groups.
fn in_one_step(node: &Arc<dyn ExecutionPlan>, partitions: usize) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(last) = node.downcast_ref::<AggregateExec>() else { return Ok(None) };
    let Some(first) = last.input().downcast_ref::<AggregateExec>() else { return Ok(None) };
    let has_two_steps = *last.mode() == AggregateMode::FinalPartitioned && *first.mode() == AggregateMode::Partial;
    let is_hashed = *first.input_order_mode() == InputOrderMode::Linear && first.group_expr().is_single();
    let counts_distinct = last.aggr_expr().iter().any(|aggregate| aggregate.is_distinct());
    if !has_two_steps || !is_hashed || !counts_distinct || is_known_to_have_fewer_groups(first, partitions)? {
        return Ok(None);
    }
    let single = AggregateExec::try_new(
        AggregateMode::SinglePartitioned,
        Arc::new(first.group_expr().clone()),
        last.aggr_expr().to_vec(),
        first.filter_expr().to_vec(),
        Arc::clone(first.input()),
        first.input_schema(),
    )?;
    Ok(Some(Arc::new(single)))
}

/// True if statistics say that there are not even as many groups as partitions, so that some would have nothing to do.
fn is_known_to_have_fewer_groups(aggregate: &AggregateExec, partitions: usize) -> Result<bool> {
    let input = StatisticsContext::new().compute(aggregate.input().as_ref(), &StatisticsArgs::new())?;
    let mut groups = 1usize;
    for key in aggregate.group_expr().input_exprs() {
        let Some(column) = key.downcast_ref::<datafusion::physical_expr::expressions::Column>() else { return Ok(false) };
        match input.column_statistics.get(column.index()).map(|statistics| &statistics.distinct_count) {
            Some(Precision::Exact(values) | Precision::Inexact(values)) => groups = groups.saturating_mul((*values).max(1)),
            _ => return Ok(false),
        }
    }
    Ok(groups < partitions)
}

#[cfg(test)]
mod tests;
