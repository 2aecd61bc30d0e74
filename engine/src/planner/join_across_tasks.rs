//! Joins whose tasks know nothing of each other.
//!
//! In one process the tasks of a join share the table that is built from its left side, and the last of them puts out the rows of it that found no match,
//! or did, for the join types that ask for these. On a cluster every task builds a table of its own, and each would put them out. There such a join is
//! shuffled by its keys instead, or swapped so that the side it collects is the one whose matches do not matter; and where it has no keys to shuffle by,
//! one task reads the other side.
//!
//! The shuffles have to be known before the operators above are planned: a coordinator that comes to it later, when it cuts the plan into stages, gives
//! several partitions to an aggregate that was planned for one. So this is a rule of a cluster's planner ([`JoinAcrossTasks`]), and what remains to be
//! done without shuffles is done to a plan that is about to be cut ([`settle_collected_sides`]).

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::{JoinType, Result};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, PartitionMode};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};

use crate::operators::claimed_size::ClaimedSizeExec;

/// What a collected side claims, so that a coordinator does not decide otherwise when operators above it are planned already.
const SMALL_BYTES: usize = 1;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct JoinAcrossTasks {}

impl PhysicalOptimizerRule for JoinAcrossTasks {
    fn name(&self) -> &str {
        "join_across_tasks"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let limit_bytes = config.optimizer.hash_join_single_partition_threshold;
        plan.transform_up(|node| {
            Ok(match rewritten(&node, limit_bytes)? {
                Some(join) => Transformed::yes(join),
                None => Transformed::no(node),
            })
        })
        .data()
    }
}

fn rewritten(node: &Arc<dyn ExecutionPlan>, limit_bytes: usize) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let can_swap = |join_type: JoinType, right: &Arc<dyn ExecutionPlan>| {
        join_type.supports_swap() && follows_right_rows(join_type.swap()) && bytes_of(right).is_some_and(|bytes| bytes < limit_bytes)
    };
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        if *join.partition_mode() != PartitionMode::CollectLeft || join.null_aware || follows_right_rows(*join.join_type()) {
            return Ok(None);
        }
        return Ok(Some(if can_swap(*join.join_type(), join.right()) {
            join.swap_inputs(PartitionMode::CollectLeft)?
        } else {
            join.builder().with_partition_mode(PartitionMode::Partitioned).build_exec()?
        }));
    }
    match node.downcast_ref::<NestedLoopJoinExec>() {
        Some(join) if !follows_right_rows(*join.join_type()) && can_swap(*join.join_type(), join.right()) => join.swap_inputs().map(Some),
        _ => Ok(None),
    }
}

/// Whether each row that the join puts out belongs to one row of its right side, so that tasks with different rows of that side and the whole left side
/// put out every row once.
pub(super) fn follows_right_rows(join_type: JoinType) -> bool {
    matches!(join_type, JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark)
}

/// The bytes of a plan's rows, as far as statistics tell.
pub(super) fn bytes_of(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok()?;
    statistics.total_byte_size.get_value().copied()
}

/// An optimized plan as it can be cut into stages: its collected sides stay collected, and where a join needs to know of all matches, one task has them.
///
/// # Errors
/// None but those of building the operators.
pub fn settle_collected_sides(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let (left, right) = match (node.downcast_ref::<HashJoinExec>(), node.downcast_ref::<NestedLoopJoinExec>()) {
            (Some(join), _) if *join.partition_mode() == PartitionMode::CollectLeft => {
                let right = if join.null_aware { in_one_task(join.right()) } else { Arc::clone(join.right()) };
                (claimed_small(join.left()), right)
            }
            (_, Some(join)) if !follows_right_rows(*join.join_type()) => (Arc::clone(join.left()), in_one_task(join.right())),
            _ => return Ok(Transformed::no(node)),
        };
        replace_children_if_necessary(node, vec![left, right]).map(Transformed::yes)
    })
    .data()
}

fn in_one_task(side: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    if side.output_partitioning().partition_count() == 1 {
        return Arc::clone(side);
    }
    Arc::new(CoalescePartitionsExec::new(Arc::clone(side)))
}

fn claimed_small(side: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let claimed = |rows: &Arc<dyn ExecutionPlan>| Arc::new(ClaimedSizeExec::new(Arc::clone(rows), SMALL_BYTES));
    match side.downcast_ref::<CoalescePartitionsExec>() {
        Some(collected) => Arc::new(CoalescePartitionsExec::new(claimed(collected.input()))),
        None => claimed(side),
    }
}

#[cfg(test)]
mod tests;
