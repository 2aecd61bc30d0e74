//! `OneTaskExec`: a whole plan that one task runs, exchanges and all, as it would run in one process.
//!
//! A scheduler cuts a plan at its exchanges, and every cut costs files and messages. That buys nothing where one executor has all the work to do anyway, or
//! where a statement reads so little that it is over before its stages are. The plan is therefore hidden from the scheduler: to it the operator is a leaf with
//! one partition. Once it has been read on the executor, the plan stands in its place.
//!
//! ```text
//! ShuffleWriterExec                      ShuffleWriterExec
//!   OneTaskExec          on the wire:      CoalescePartitionsExec
//!                                            AggregateExec
//!                                              RepartitionExec       in memory
//! ```

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, PlanProperties};

use super::deduplicate::DeduplicateExec;
use super::train_model::TrainModelExec;

/// See the module documentation.
#[derive(Debug)]
pub struct OneTaskExec {
    plan: Arc<dyn ExecutionPlan>,
}

impl OneTaskExec {
    /// Hides a plan, whose partitions come out as one.
    pub fn over(plan: Arc<dyn ExecutionPlan>) -> Self {
        let is_one = plan.output_partitioning().partition_count() == 1;
        Self { plan: if is_one { plan } else { Arc::new(CoalescePartitionsExec::new(plan)) } }
    }

    /// Whether every part of a plan can travel within one.
    pub fn can_hold(plan: &Arc<dyn ExecutionPlan>) -> bool {
        let stays = plan.exists(|node| Ok(node.downcast_ref::<DeduplicateExec>().is_some_and(|d| !d.can_travel())));
        !stays.unwrap_or(true)
    }

    /// What the task runs.
    pub fn plan(&self) -> &Arc<dyn ExecutionPlan> {
        &self.plan
    }

    /// How many threads the plan can keep busy: the most partitions that any part of it has, or the threads that a training takes.
    pub fn parallelism(&self) -> usize {
        let mut most = 1;
        let visited = self.plan.apply(|node| {
            most = most.max(node.output_partitioning().partition_count());
            most = most.max(node.downcast_ref::<TrainModelExec>().map_or(1, TrainModelExec::threads));
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(visited.is_ok());
        most
    }
}

impl DisplayAs for OneTaskExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTaskExec")
    }
}

impl ExecutionPlan for OneTaskExec {
    fn name(&self) -> &'static str {
        "OneTaskExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.plan.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("OneTaskExec is a leaf") }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.plan.execute(partition, context)
    }
}

pub(crate) mod codec {
    //! The plan as DataFusion and the codecs of its operators write it.

    use datafusion_proto::physical_plan::{AsExecutionPlan as _, PhysicalExtensionCodec};
    use datafusion_proto::protobuf::PhysicalPlanNode;

    use super::{Arc, ExecutionPlan, OneTaskExec, Result, TaskContext};

    /// The operator's payload; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>, codec: &dyn PhysicalExtensionCodec) -> Result<Option<Vec<u8>>> {
        let Some(one_task) = plan.downcast_ref::<OneTaskExec>() else { return Ok(None) };
        let mut bytes = Vec::new();
        PhysicalPlanNode::try_from_physical_plan(Arc::clone(&one_task.plan), codec)?.try_encode(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// The plan that was hidden.
    pub(crate) fn decode(bytes: &[u8], context: &TaskContext, codec: &dyn PhysicalExtensionCodec) -> Result<Arc<dyn ExecutionPlan>> {
        PhysicalPlanNode::try_decode(bytes)?.try_into_physical_plan(context, codec)
    }
}
