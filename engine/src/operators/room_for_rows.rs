//! Lets rows into an operator that repeats them only if there is memory for a batch of the longest: what a join, a window or `unnest` puts out is in no memory
//! pool. One text of 200 MB that meets every row of another table is 1.6 TB per batch.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::TryStreamExt as _;

use crate::operators::one_child::one_child;
use crate::operators::row_bytes::longest_row;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct RoomForRowsExec {
    input: Arc<dyn ExecutionPlan>,
}

impl RoomForRowsExec {
    pub fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        Self { input }
    }
}

impl DisplayAs for RoomForRowsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomForRowsExec")
    }
}

impl ExecutionPlan for RoomForRowsExec {
    fn name(&self) -> &'static str {
        "RoomForRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    one_child!(self, input => Self::new(input));

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batch_rows = context.session_config().batch_size();
        let rows = self.input.execute(partition, context)?;
        let checked = rows.and_then(move |batch| std::future::ready(ask_for(&batch, batch_rows).map(|()| batch)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), checked)))
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let Some(input) = inputs.first() else { return internal_err!("RoomForRowsExec has one child") };
        Ok(Arc::clone(input))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

fn ask_for(batch: &RecordBatch, batch_rows: usize) -> Result<()> {
    let bytes = longest_row(batch).saturating_mul(batch_rows);
    let what_for = || {
        format!(
            "a batch of {batch_rows} rows as long as the longest that are joined, unnested or in a window (SET datafusion.execution.batch_size = n makes it less)"
        )
    };
    orrery_udfs::memory::ask(bytes as u64, what_for)
}

pub(crate) mod codec {
    //! Nothing but its name.

    use datafusion::common::{Result, internal_err};

    use super::{Arc, ExecutionPlan, RoomForRowsExec};

    /// The operator's payload; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>) -> Option<Vec<u8>> {
        plan.is::<RoomForRowsExec>().then(Vec::new)
    }

    /// The operator over its input.
    pub(crate) fn decode(inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = inputs else { return internal_err!("a RoomForRowsExec cannot be read") };
        Ok(Arc::new(RoomForRowsExec::new(Arc::clone(input))))
    }
}
