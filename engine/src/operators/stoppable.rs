//! Tells functions that compute for long within its input whether the task has been stopped: what they do not find out by themselves, since whoever drops
//! their stream waits for them.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};
use futures::StreamExt as _;
use orrery_udfs::stop::Stop;

use crate::TaskPool;
use crate::operators::one_child::{hands_rows_on, has_statistics_of_child, one_child};

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct StoppableExec {
    input: Arc<dyn ExecutionPlan>,
}

impl StoppableExec {
    pub fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        Self { input }
    }
}

impl DisplayAs for StoppableExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoppableExec")
    }
}

impl ExecutionPlan for StoppableExec {
    fn name(&self) -> &'static str {
        "StoppableExec"
    }

    hands_rows_on!();

    one_child!(self, input => Self::new(input));

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let pool = Arc::clone(context.memory_pool());
        let stop = Stop::new(move || pool.downcast_ref::<TaskPool>().map_or(Ok(()), TaskPool::check));
        let mut rows = self.input.execute(partition, context)?;
        let schema = rows.schema();
        let rows = futures::stream::poll_fn(move |waiting| stop.lend(|| rows.poll_next_unpin(waiting)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    has_statistics_of_child!();
}

pub(crate) mod codec {
    //! Nothing but its name.

    use datafusion::common::{Result, internal_err};

    use super::{Arc, ExecutionPlan, StoppableExec};

    /// The operator's payload; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>) -> Option<Vec<u8>> {
        plan.is::<StoppableExec>().then(Vec::new)
    }

    /// The operator over its input.
    pub(crate) fn decode(inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = inputs else { return internal_err!("a StoppableExec cannot be read") };
        Ok(Arc::new(StoppableExec::new(Arc::clone(input))))
    }
}
