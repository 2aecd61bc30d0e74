//! Lets rows into an operator that repeats them only if there is memory for a batch of the longest: what a join, a window or `unnest` puts out is in no memory
//! pool. One text of 200 MB that meets every row of another table is 1.6 TB per batch.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};
use futures::TryStreamExt as _;

use crate::operators::one_child::{hands_rows_on, has_statistics_of_child, one_child};
use crate::operators::row_bytes::{Views, longest_elements, repeated_bytes};

/// Which values are repeated, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repeated {
    /// The columns of the values.
    pub columns: Vec<usize>,
    /// Columns of lists, for each of whose elements a row is repeated; none: as often as a batch has rows.
    pub lists: Vec<usize>,
    /// Whether texts that are views are repeated with what they point to.
    pub views: Views,
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct RoomForRowsExec {
    input: Arc<dyn ExecutionPlan>,
    repeated: Arc<Repeated>,
}

impl RoomForRowsExec {
    pub fn new(input: Arc<dyn ExecutionPlan>, repeated: Arc<Repeated>) -> Self {
        Self { input, repeated }
    }
}

impl DisplayAs for RoomForRowsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.input.schema();
        let columns: Vec<&str> = self.repeated.columns.iter().map(|at| schema.field(*at).name().as_str()).collect();
        write!(f, "RoomForRowsExec: repeated=[{}]", columns.join(", "))
    }
}

impl ExecutionPlan for RoomForRowsExec {
    fn name(&self) -> &'static str {
        "RoomForRowsExec"
    }

    hands_rows_on!();

    one_child!(self, input => Self::new(input, Arc::clone(&self.repeated)));

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batch_rows = context.session_config().batch_size();
        let rows = self.input.execute(partition, context)?;
        let repeated = Arc::clone(&self.repeated);
        let checked = rows.and_then(move |batch| std::future::ready(repeated.ask_for(&batch, batch_rows).map(|()| batch)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), checked)))
    }

    has_statistics_of_child!();
}

impl Repeated {
    fn ask_for(&self, batch: &RecordBatch, batch_rows: usize) -> Result<()> {
        let longest_list = self.lists.iter().map(|at| longest_elements(batch.column(*at))).max().unwrap_or(0);
        let rows = longest_list.max(batch_rows);
        let bytes = self.columns.iter().map(|at| repeated_bytes(batch.column(*at), rows, self.views)).fold(0, usize::saturating_add);
        let what_for = || format!("{rows} rows as long as the longest of those that are joined, unnested or in a window");
        orrery_udfs::memory::ask(bytes as u64, what_for)
    }
}

pub(crate) mod codec {
    //! Whether views are copied, how many columns are repeated, these and those of lists, as numbers of eight bytes, little end first.

    use super::{Arc, ExecutionPlan, Repeated, Result, RoomForRowsExec, Views, internal_err};

    /// The operator's payload; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>) -> Option<Vec<u8>> {
        let repeated = &plan.downcast_ref::<RoomForRowsExec>()?.repeated;
        let head = [usize::from(repeated.views == Views::Copied), repeated.columns.len()];
        let words = head.iter().chain(&repeated.columns).chain(&repeated.lists);
        Some(words.flat_map(|word| (*word as u64).to_le_bytes()).collect())
    }

    /// The operator over its input.
    pub(crate) fn decode(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        let ([input], (words, [])) = (inputs, bytes.as_chunks::<8>()) else { return internal_err!("a RoomForRowsExec cannot be read") };
        let words: Vec<usize> = words.iter().map(|word| u64::from_le_bytes(*word) as usize).collect();
        let [views, count, columns @ ..] = words.as_slice() else { return internal_err!("a RoomForRowsExec cannot be read") };
        if *count > columns.len() || columns.iter().any(|at| *at >= input.schema().fields().len()) {
            return internal_err!("a RoomForRowsExec names columns that its input does not have");
        }
        let (columns, lists) = columns.split_at(*count);
        let views = if *views == 1 { Views::Copied } else { Views::Shared };
        let repeated = Repeated { columns: columns.to_vec(), lists: lists.to_vec(), views };
        Ok(Arc::new(RoomForRowsExec::new(Arc::clone(input), Arc::new(repeated))))
    }
}
