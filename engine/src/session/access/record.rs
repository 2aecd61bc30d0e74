//! What a user's statements led to, for the audit. The embedded engine, where nobody has logged in, is not audited.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use futures::{Stream, StreamExt as _};

use crate::access::{Access, AuditEntry, call_address};
use crate::dialect::{Statement, StatementText};
use crate::session::{Outcome, Session};
use crate::{Blame, Error, Result};

/// A statement that has begun.
pub(in crate::session) struct Begun {
    access: Access,
    entry: AuditEntry,
    started: Instant,
    is_noted: bool,
}

impl Session {
    /// Begins to note a statement; `None` in the embedded engine. `only` says what is done with it if it is not carried out.
    pub(in crate::session) fn begin_record(&self, statement: &Statement, text: &StatementText, only: Option<&str>) -> Option<Begun> {
        let guard = self.names.guard();
        let principal = guard.principal()?;
        let kind = statement.kind();
        let kind = only.map_or_else(|| kind.to_string(), |only| format!("{kind} ({only})"));
        let entry = AuditEntry {
            user: Some(principal.user().to_string()),
            address: Some(call_address().unwrap_or_else(|| principal.address().to_string())),
            session: self.session_name.clone(),
            statement: Some(match statement {
                // The value may be a password that a later statement uses.
                Statement::SetVariable { name, .. } => format!("SET {name} = …"),
                _ => text.text.clone(),
            }),
            ..AuditEntry::new(kind, "succeeded")
        };
        Some(Begun { access: guard.access().clone(), entry, started: Instant::now(), is_noted: false })
    }
}

impl Begun {
    /// Notes the outcome of a statement; of a query, when its rows have been read or nobody wants them any more.
    pub fn end(mut self, objects: Vec<String>, outcome: Result<Outcome>) -> Result<Outcome> {
        self.entry.objects = objects;
        match outcome {
            Ok(Outcome::Rows(rows)) => Ok(Outcome::Rows(Box::pin(Counted { rows, count: 0, begun: Some(self) }))),
            Ok(outcome) => {
                let rows = if let Outcome::Written { outcome, .. } = &outcome { Some(outcome.rows) } else { None };
                self.note(rows, None);
                Ok(outcome)
            }
            Err(error) => {
                self.note(None, Some(&error));
                Err(error)
            }
        }
    }

    /// Notes the outcome of what gives no rows.
    pub fn end_without_rows(mut self, objects: Vec<String>, error: Option<&Error>) {
        self.entry.objects = objects;
        self.note(None, error);
    }

    fn note(mut self, rows: Option<u64>, error: Option<&Error>) {
        self.tell(rows, error);
    }

    fn tell(&mut self, rows: Option<u64>, error: Option<&Error>) {
        self.is_noted = true;
        self.entry.time = chrono::Utc::now();
        self.entry.rows = rows;
        self.entry.duration_us = u64::try_from(self.started.elapsed().as_micros()).ok();
        if let Some(error) = error {
            let outcome = match error.blame {
                Blame::Rights => "refused",
                Blame::Interrupted => "cancelled",
                _ => "failed",
            };
            self.entry.outcome = outcome.to_string();
            self.entry.error = Some(error.message.clone());
        }
        let entry = std::mem::replace(&mut self.entry, AuditEntry::new("", ""));
        self.access.audit(entry);
    }
}

impl Drop for Begun {
    /// Whoever asked for it is gone, or it ended in a defect: it is written down all the same.
    fn drop(&mut self) {
        if !self.is_noted {
            self.tell(None, Some(&Error::interrupted()));
        }
    }
}

/// Rows on their way to the user, counted.
struct Counted {
    rows: SendableRecordBatchStream,
    count: u64,
    begun: Option<Begun>,
}

impl Stream for Counted {
    type Item = Result<RecordBatch, DataFusionError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.rows.poll_next_unpin(context);
        match &polled {
            Poll::Ready(Some(Ok(batch))) => self.count += batch.num_rows() as u64,
            Poll::Ready(Some(Err(error))) => {
                let error = Error::new(Blame::Data, error.strip_backtrace());
                let count = self.count;
                if let Some(begun) = self.begun.take() {
                    begun.note(Some(count), Some(&error));
                }
            }
            Poll::Ready(None) => {
                let count = self.count;
                if let Some(begun) = self.begun.take() {
                    begun.note(Some(count), None);
                }
            }
            Poll::Pending => {}
        }
        polled
    }
}

impl RecordBatchStream for Counted {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(begun) = self.begun.take() {
            begun.note(Some(self.count), Some(&Error::interrupted()));
        }
    }
}
