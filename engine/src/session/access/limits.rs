//! Limits where statements are carried out: their turn, their time, and the size of their results. The embedded engine, where nobody has logged in, has none.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytesize::ByteSize;
use datafusion::arrow::array::{Array as _, ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use datafusion::sql::sqlparser::ast::Expr;
use futures::{FutureExt as _, Stream, StreamExt as _};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::Guard;
use crate::access::{Bound, Slot};
use crate::dialect::Statement;
use crate::session::{Mode, Outcome};
use crate::{Blame, Error, Result};

/// What a statement may take, and its turn, which it has until this is dropped.
#[derive(Debug, Default)]
pub(in crate::session) struct Allowance {
    slot: Option<Slot>,
    deadline: Option<Deadline>,
    result_bytes: Option<Bound<u64>>,
}

#[derive(Debug)]
struct Deadline {
    at: Instant,
    limit: Bound<Duration>,
}

impl Deadline {
    fn message(&self) -> String {
        format!("the statement ran for {} s, the longest time of {}", self.limit.value.as_secs(), self.limit.principal)
    }
}

/// Whether a statement runs a plan, for which it waits its turn; others are done at once.
fn runs_plan(statement: &Statement) -> bool {
    match statement {
        Statement::Query(_)
        | Statement::CreateTable(_)
        | Statement::Insert(_)
        | Statement::Cache { .. }
        | Statement::Summarize(_)
        | Statement::Assert { .. }
        | Statement::Vacuum(_)
        | Statement::CreateModel(_)
        | Statement::DataFusion(_) => true,
        // Sampling and training are explained by what they find.
        Statement::Explain { .. } => true,
        Statement::SetVariable { value, .. } => !matches!(**value, Expr::Value(_) | Expr::UnaryOp { .. }),
        _ => false,
    }
}

impl Guard {
    /// Waits for a statement's turn.
    ///
    /// # Errors
    /// There was no room for too long, or the statement was stopped.
    pub(in crate::session) async fn allow(&self, statement: &Statement, mode: Mode, stop: &CancellationToken) -> Result<Allowance> {
        let Some(reader) = self.reader() else { return Ok(Allowance::default()) };
        let limits = self.rights().limits_of(&reader);
        if let Some(pool) = self.pool() {
            self.access().count_memory(&limits.shares, pool);
        }
        if mode == Mode::Check || !runs_plan(statement) {
            return Ok(Allowance::default());
        }
        let slot = tokio::select! {
            biased;
            slot = self.access().enter(&reader.name, &limits.shares) => slot?,
            () = stop.cancelled() => return Err(Error::interrupted()),
        };
        let deadline = limits.run_time.and_then(|limit| Some(Deadline { at: Instant::now().checked_add(limit.value)?, limit }));
        Ok(Allowance { slot: Some(slot), deadline, result_bytes: limits.result_bytes })
    }
}

impl Allowance {
    /// Carries a statement out in its time. `stop` ends it, after which it still cleans up.
    ///
    /// # Errors
    /// It took too long; and what the work says.
    pub async fn within<T>(&self, work: impl Future<Output = Result<T>>, stop: &CancellationToken) -> Result<T> {
        let Some(deadline) = &self.deadline else { return work.await };
        let mut work = pin!(work);
        tokio::select! {
            biased;
            result = &mut work => return result,
            () = tokio::time::sleep_until(deadline.at) => stop.cancel(),
        }
        match work.await {
            Err(error) if error.blame == Blame::Interrupted => Err(Error::new(Blame::Resources, deadline.message())),
            other => other,
        }
    }

    /// Holds rows to the rest of the time and to the size that a result may have.
    pub fn ration(self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Rows(rows) if self.slot.is_some() => {
                let sleep = self.deadline.as_ref().map(|deadline| Box::pin(tokio::time::sleep_until(deadline.at)));
                Outcome::Rows(Box::pin(Rationed { rows, allowance: Some(self), sleep, bytes: 0 }))
            }
            other => other,
        }
    }
}

/// Rows on their way to a user with limits.
struct Rationed {
    rows: SendableRecordBatchStream,
    /// Until the last row.
    allowance: Option<Allowance>,
    sleep: Option<Pin<Box<Sleep>>>,
    bytes: u64,
}

impl Rationed {
    fn end(&mut self, message: String) -> Poll<Option<Result<RecordBatch, DataFusionError>>> {
        self.allowance = None;
        self.sleep = None;
        Poll::Ready(Some(Err(DataFusionError::ResourcesExhausted(message))))
    }
}

impl Stream for Rationed {
    type Item = Result<RecordBatch, DataFusionError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(allowance) = &this.allowance else { return Poll::Ready(None) };
        if let (Some(sleep), Some(deadline)) = (&mut this.sleep, &allowance.deadline)
            && sleep.poll_unpin(context).is_ready()
        {
            let message = deadline.message();
            return self.end(message);
        }
        let polled = this.rows.poll_next_unpin(context);
        match &polled {
            Poll::Ready(Some(Ok(batch))) => {
                if let Some(limit) = &allowance.result_bytes {
                    this.bytes += bytes(batch);
                    if this.bytes > limit.value {
                        let message = format!("the result is larger than {}, the largest of {}", ByteSize(limit.value), limit.principal);
                        return self.end(message);
                    }
                }
            }
            Poll::Ready(_) => self.allowance = None,
            Poll::Pending => {}
        }
        polled
    }
}

impl RecordBatchStream for Rationed {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}

/// What a batch takes by itself: not the buffers that it is a part of.
fn bytes(batch: &RecordBatch) -> u64 {
    let of = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0);
    batch.columns().iter().map(|column| of(column) as u64).sum()
}
