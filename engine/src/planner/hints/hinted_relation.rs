//! Holds the place of a hinted relation in a physical plan until its join has been rewritten.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

use super::Tracked;
use crate::dialect::hints::HintKind;
use crate::operators::one_child::one_child;

/// The rows of a relation, and the hint for its join.
#[derive(Debug)]
pub(in crate::planner) struct HintedRelationExec {
    pub tracked: Tracked,
    pub input: Arc<dyn ExecutionPlan>,
}

/// A plan without the marks of hints of some kinds.
pub(in crate::planner) fn without_marks(plan: Arc<dyn ExecutionPlan>, done: impl Fn(HintKind) -> bool) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        Ok(match node.downcast_ref::<HintedRelationExec>().filter(|hinted| done(hinted.tracked.hint.kind)) {
            Some(hinted) => Transformed::yes(Arc::clone(&hinted.input)),
            None => Transformed::no(node),
        })
    })
    .data()
}

impl DisplayAs for HintedRelationExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HintedRelationExec: {}", self.tracked.hint)
    }
}

impl ExecutionPlan for HintedRelationExec {
    fn name(&self) -> &'static str {
        "HintedRelationExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    one_child!(self, input => Self { tracked: self.tracked.clone(), input });

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        internal_err!("HintedRelationExec is taken out when a query is planned")
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    /// Joins are selected by size, with a hint or without.
    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        match inputs {
            [input] => Ok(Arc::clone(input)),
            _ => internal_err!("HintedRelationExec has one child"),
        }
    }
}
