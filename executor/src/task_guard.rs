//! Stops the work of a task when the task ends before its time.
//!
//! Ballista writes a task's output in tasks of its own, which outlive a cancelled one: they would go on reading, computing and writing with nobody waiting.
//! A guard directly below the writer ends their input, which drops everything beneath it. Operators that make many rows out of few, such as joins, can keep
//! the one above them busy for minutes without ever waiting; a guard above each lets others run, and sees the cancellation, every few batches.
//!
//! ```text
//! ShuffleWriterExec
//!   TaskGuardExec        an error as soon as the task is cancelled
//!     AggregateExec
//!       TaskGuardExec
//!         HashJoinExec
//! ```

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ballista_core::error::BallistaError;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{Stream, StreamExt};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Batches after which others may run.
const BATCHES_PER_TURN: usize = 16;

/// See the module documentation. Lives on one executor only, so it has no codec.
#[derive(Debug)]
pub(crate) struct TaskGuardExec {
    input: Arc<dyn ExecutionPlan>,
    cancelled: CancellationToken,
}

impl TaskGuardExec {
    /// A stage under guards.
    pub fn guard(stage: Arc<dyn ExecutionPlan>, cancelled: &CancellationToken) -> Result<Arc<dyn ExecutionPlan>> {
        let wrap = |node| Arc::new(Self::new(node, cancelled.clone())) as Arc<dyn ExecutionPlan>;
        let guarded = stage.transform_up(|node| {
            if node.children().len() > 1 || node.is::<UnnestExec>() { Ok(Transformed::yes(wrap(node))) } else { Ok(Transformed::no(node)) }
        });
        Ok(wrap(guarded.data()?))
    }

    fn new(input: Arc<dyn ExecutionPlan>, cancelled: CancellationToken) -> Self {
        Self { input, cancelled }
    }
}

impl DisplayAs for TaskGuardExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskGuardExec")
    }
}

impl ExecutionPlan for TaskGuardExec {
    fn name(&self) -> &'static str {
        "TaskGuardExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::new(input, self.cancelled.clone()))),
            _ => internal_err!("TaskGuardExec has one child"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        Ok(Box::pin(Guarded {
            schema: input.schema(),
            input: Some(input),
            cancelled: Box::pin(self.cancelled.clone().cancelled_owned()),
            batches: 0,
        }))
    }
}

struct Guarded {
    schema: SchemaRef,
    /// Dropped, with all the work beneath, once the task is cancelled.
    input: Option<SendableRecordBatchStream>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    batches: usize,
}

impl Stream for Guarded {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(input) = &mut this.input else { return Poll::Ready(None) };
        if this.cancelled.as_mut().poll(cx).is_ready() {
            this.input = None;
            return Poll::Ready(Some(Err(BallistaError::Cancelled.into_datafusion())));
        }
        this.batches += 1;
        if this.batches.is_multiple_of(BATCHES_PER_TURN) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        input.poll_next_unpin(cx)
    }
}

impl RecordBatchStream for Guarded {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::Schema;
    use datafusion::physical_plan::empty::EmptyExec;

    #[tokio::test]
    async fn ends_its_input_when_cancelled() {
        let token = CancellationToken::new();
        let schema: SchemaRef = Arc::new(Schema::empty());
        let never = Guarded {
            schema: Arc::clone(&schema),
            input: Some(Box::pin(datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(schema, futures::stream::pending()))),
            cancelled: Box::pin(token.clone().cancelled_owned()),
            batches: 0,
        };
        let waiting = tokio::spawn(async move { never.collect::<Vec<_>>().await });
        tokio::task::yield_now().await;
        token.cancel();
        let items = waiting.await.unwrap();
        assert!(matches!(items.as_slice(), [Err(_)]), "{items:?}");
    }

    #[tokio::test]
    async fn lets_rows_through() {
        let input: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(Arc::new(Schema::empty())));
        let guard = TaskGuardExec::new(input, CancellationToken::new());
        let rows = guard.execute(0, Arc::new(TaskContext::default())).unwrap().collect::<Vec<_>>().await;
        assert!(rows.is_empty());
    }
}
