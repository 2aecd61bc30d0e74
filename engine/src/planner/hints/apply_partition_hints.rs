//! Deals rows out as `REPARTITION` and `COALESCE` ask, after DataFusion has settled where partitions are needed for other reasons.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, Partitioning, PlanProperties};

use crate::operators::one_child::one_child;
use crate::planner::spread_partitions::shuffle_in_chunks;

/// Rows that go to the same partition before the next one has its turn, where turns are hashes of numbers.
const ROWS_PER_TURN: u64 = 64;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct ApplyPartitionHints {}

impl PhysicalOptimizerRule for ApplyPartitionHints {
    fn name(&self) -> &str {
        "apply_partition_hints"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_down(|node| {
            // More partitions than were asked for, only to occupy all cores.
            let node = match node.downcast_ref::<RepartitionExec>() {
                Some(spread)
                    if matches!(spread.partitioning(), Partitioning::RoundRobinBatch(_)) && spread.input().is::<PartitionsExec>() =>
                {
                    Arc::clone(spread.input())
                }
                _ => node,
            };
            match node.downcast_ref::<PartitionsExec>() {
                Some(asked) => Ok(Transformed::yes(asked.operator()?)),
                None => Ok(Transformed::no(node)),
            }
        })
        .data()
    }
}

/// The plan with a shuffle wherever rows are dealt out in turns, for backends that shuffle by hashes alone.
///
/// # Errors
/// None but those of building the operators.
pub fn shuffle_dealt_rows(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        Ok(match node.downcast_ref::<RepartitionExec>().map(|dealt| (dealt.input(), dealt.partitioning())) {
            Some((input, Partitioning::RoundRobinBatch(partitions))) => {
                Transformed::yes(shuffle_in_chunks(Arc::clone(input), &[], ROWS_PER_TURN, *partitions)?)
            }
            _ => Transformed::no(node),
        })
    })
    .data()
}

/// Holds the place of a repartition, with its properties, while DataFusion takes out those that it sees no need for.
#[derive(Debug)]
pub(super) struct PartitionsExec {
    input: Arc<dyn ExecutionPlan>,
    partitioning: Partitioning,
    /// Never more than there are.
    only_fewer: bool,
    properties: Arc<PlanProperties>,
}

impl PartitionsExec {
    pub fn exactly(input: Arc<dyn ExecutionPlan>, partitioning: Partitioning) -> Self {
        Self::new(input, partitioning, false)
    }

    pub fn at_most(input: Arc<dyn ExecutionPlan>, partitions: usize) -> Self {
        Self::new(input, Partitioning::RoundRobinBatch(partitions), true)
    }

    fn new(input: Arc<dyn ExecutionPlan>, partitioning: Partitioning, only_fewer: bool) -> Self {
        let shown = if only_fewer && is_fewer(&input, &partitioning) { input.output_partitioning().clone() } else { partitioning.clone() };
        let properties =
            PlanProperties::new(EquivalenceProperties::new(input.schema()), shown, input.pipeline_behavior(), input.boundedness());
        Self { input, partitioning, only_fewer, properties: Arc::new(properties) }
    }

    fn operator(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let input = Arc::clone(&self.input);
        if self.only_fewer && is_fewer(&input, &self.partitioning) {
            return Ok(input);
        }
        match &self.partitioning {
            partitioning if partitioning.partition_count() == 1 && input.output_partitioning().partition_count() == 1 => Ok(input),
            partitioning if partitioning.partition_count() == 1 => Ok(Arc::new(CoalescePartitionsExec::new(input))),
            partitioning => Ok(Arc::new(RepartitionExec::try_new(input, partitioning.clone())?)),
        }
    }
}

fn is_fewer(input: &Arc<dyn ExecutionPlan>, asked: &Partitioning) -> bool {
    input.output_partitioning().partition_count() <= asked.partition_count()
}

impl DisplayAs for PartitionsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionsExec: {}", self.partitioning)
    }
}

impl ExecutionPlan for PartitionsExec {
    fn name(&self) -> &'static str {
        "PartitionsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![!self.only_fewer]
    }

    fn apply_expressions(&self, visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        let Partitioning::Hash(keys, _) = &self.partitioning else { return Ok(TreeNodeRecursion::Continue) };
        for key in keys {
            if visit(key)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    one_child!(self, input => Self::new(input, self.partitioning.clone(), self.only_fewer));

    fn child_stats_requests(&self, _: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(None)]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        match (inputs, args.partition()) {
            ([input], None) => Ok(Arc::clone(input)),
            _ => Ok(Arc::new(Statistics::new_unknown(&self.input.schema()))),
        }
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        internal_err!("PartitionsExec is replaced when a query is planned")
    }
}
