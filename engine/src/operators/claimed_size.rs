//! Says how large its rows are, true or not, to planners that go by size; hands the rows on as they are.
//!
//! A coordinator decides by the size of a join's sides which one is broadcast, when it divides a plan that has been optimized already. Where a query says
//! what is to be broadcast, or that nothing is, its sides claim sizes that lead to that.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::filter_pushdown::{ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};

use crate::operators::one_child::{hands_rows_on, one_child};

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct ClaimedSizeExec {
    input: Arc<dyn ExecutionPlan>,
    bytes: usize,
}

impl ClaimedSizeExec {
    pub fn new(input: Arc<dyn ExecutionPlan>, bytes: usize) -> Self {
        Self { input, bytes }
    }
}

impl DisplayAs for ClaimedSizeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimedSizeExec: bytes={}", self.bytes)
    }
}

impl ExecutionPlan for ClaimedSizeExec {
    fn name(&self) -> &'static str {
        "ClaimedSizeExec"
    }

    hands_rows_on!();

    one_child!(self, input => Self::new(input, self.bytes));

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let Some(input) = inputs.first() else { return internal_err!("ClaimedSizeExec has one child") };
        // The number of rows would tell another size.
        let claimed =
            Statistics { total_byte_size: Precision::Inexact(self.bytes), num_rows: Precision::Absent, ..Statistics::clone(input) };
        Ok(Arc::new(claimed))
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        FilterDescription::from_children(filters, &self.children())
    }

    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        result: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        Ok(FilterPushdownPropagation::if_all(result))
    }
}

pub(crate) mod codec {
    //! The claimed number of bytes.

    use datafusion::common::{Result, internal_err};

    use super::{Arc, ClaimedSizeExec, ExecutionPlan};

    /// The operator's payload; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>) -> Option<Vec<u8>> {
        plan.downcast_ref::<ClaimedSizeExec>().map(|claim| (claim.bytes as u64).to_le_bytes().to_vec())
    }

    /// The operator over its input.
    pub(crate) fn decode(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        let ([input], Ok(bytes)) = (inputs, <[u8; 8]>::try_from(bytes)) else { return internal_err!("a ClaimedSizeExec cannot be read") };
        let bytes = usize::try_from(u64::from_le_bytes(bytes)).unwrap_or(usize::MAX);
        Ok(Arc::new(ClaimedSizeExec::new(Arc::clone(input), bytes)))
    }
}
