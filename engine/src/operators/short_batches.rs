//! Cuts batches into ones of as many rows as the session wants, behind operators that put out larger ones: what is computed of a batch is in no memory pool and
//! as large as the batch.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet, SplitMetrics};
use datafusion::physical_plan::stream::BatchSplitStream;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};

use crate::operators::one_child::{hands_rows_on, has_statistics_of_child, one_child};

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct ShortBatchesExec {
    input: Arc<dyn ExecutionPlan>,
    metrics: ExecutionPlanMetricsSet,
}

impl ShortBatchesExec {
    pub fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        Self { input, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for ShortBatchesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShortBatchesExec")
    }
}

impl ExecutionPlan for ShortBatchesExec {
    fn name(&self) -> &'static str {
        "ShortBatchesExec"
    }

    hands_rows_on!();

    one_child!(self, input => Self::new(input));

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = context.session_config().batch_size().max(1);
        let metrics = SplitMetrics::new(&self.metrics, partition);
        Ok(Box::pin(BatchSplitStream::new(self.input.execute(partition, context)?, rows, metrics)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    has_statistics_of_child!();
}

pub(crate) mod codec {
    //! Nothing but its name.

    use datafusion::common::{Result, internal_err};

    use super::{Arc, ExecutionPlan, ShortBatchesExec};

    /// The operator's payload; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>) -> Option<Vec<u8>> {
        plan.is::<ShortBatchesExec>().then(Vec::new)
    }

    /// The operator over its input.
    pub(crate) fn decode(inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = inputs else { return internal_err!("a ShortBatchesExec cannot be read") };
        Ok(Arc::new(ShortBatchesExec::new(Arc::clone(input))))
    }
}
