//! What the operator stands for: rows sorted by key and time, and the window operator over them.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::windows::WindowAggExec;
use futures::StreamExt as _;
use parking_lot::Mutex;

use crate::operators::window_partitions::WindowPartitionsExec;

/// The rows of `window` over the rows that came and those that are still to come.
pub(super) fn by_sorting(
    window: &Arc<dyn ExecutionPlan>,
    came: Vec<RecordBatch>,
    to_come: SendableRecordBatchStream,
    context: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    let Some(exprs) = window.downcast_ref::<WindowAggExec>().map(WindowAggExec::window_expr) else { return internal_err!("no window") };
    let schema = to_come.schema();
    let all = futures::stream::iter(came.into_iter().map(Ok)).chain(to_come);
    let all: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), all));
    let rows = Arc::new(Once { schema: Arc::clone(&schema), rows: Mutex::new(Some(all)) });
    let rows = Arc::new(StreamingTableExec::try_new(schema, vec![rows], None, [], false, None)?);
    let first = exprs.first().ok_or_else(|| internal_datafusion_err!("a window without functions"))?;
    let keys = first.partition_by().iter().map(|key| PhysicalSortExpr::new(Arc::clone(key), Default::default()));
    let Some(order) = LexOrdering::new(keys.chain(first.order_by().iter().cloned())) else { return internal_err!("no keys") };
    let sorted = Arc::new(SortExec::new(order, rows).with_preserve_partitioning(true));
    WindowPartitionsExec::new(replace_children_if_necessary(Arc::clone(window), vec![sorted])?).execute(0, context)
}

/// Rows that can be read once.
struct Once {
    schema: SchemaRef,
    rows: Mutex<Option<SendableRecordBatchStream>>,
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Once")
    }
}

impl PartitionStream for Once {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows.lock().take();
        rows.unwrap_or_else(|| {
            let again = futures::stream::iter([internal_err!("rows that are read twice")]);
            Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), again))
        })
    }
}
