//! Hands rows on as they are, and lets nothing through from above: no filter reaches the rows below before those have been sorted out that the reader may not
//! see, and no statistics of theirs come up as exact.

use std::fmt;
use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};

use crate::operators::one_child::{hands_rows_on, one_child};

/// See the module documentation. Filters, limits and projections are not pushed through, since operators that say nothing of them refuse them.
#[derive(Debug)]
pub(crate) struct BarrierExec {
    input: Arc<dyn ExecutionPlan>,
}

impl BarrierExec {
    pub fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        Self { input }
    }
}

impl DisplayAs for BarrierExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BarrierExec")
    }
}

impl ExecutionPlan for BarrierExec {
    fn name(&self) -> &'static str {
        "BarrierExec"
    }

    hands_rows_on!();

    one_child!(self, input => Self::new(input));

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }

    /// How much it is, roughly; nothing of single columns.
    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let Some(input) = inputs.first() else { return internal_err!("BarrierExec has one child") };
        let roughly = |precision: &Precision<usize>| precision.to_inexact();
        Ok(Arc::new(Statistics {
            num_rows: roughly(&input.num_rows),
            total_byte_size: roughly(&input.total_byte_size),
            column_statistics: Statistics::unknown_column(&self.schema()),
        }))
    }
}

pub(crate) mod codec {
    //! Nothing but its name.

    use datafusion::common::{Result, internal_err};

    use super::{Arc, BarrierExec, ExecutionPlan};

    /// The operator's payload; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>) -> Option<Vec<u8>> {
        plan.is::<BarrierExec>().then(Vec::new)
    }

    /// The operator over its input.
    pub(crate) fn decode(inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = inputs else { return internal_err!("a BarrierExec cannot be read") };
        Ok(Arc::new(BarrierExec::new(Arc::clone(input))))
    }
}
