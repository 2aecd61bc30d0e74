//! The audit: who did what, from where, and what came of it. Entries are written in batches, beside what is going on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use orrery_lakehouse::Warehouse;
use parking_lot::Mutex;
use serde::Serialize;

use super::Access;
use super::tables::{PLACE, audit_schema};
use crate::Result;
use crate::session::append_system_rows;
use crate::stored_table::columns::to_batch;

const TABLE: &str = "audit";
/// How long entries gather.
const GATHER: Duration = Duration::from_secs(1);
/// How long to wait after a failure to write.
const RETRY: Duration = Duration::from_secs(10);
/// Entries that wait at most; while the table cannot be written, the oldest are only logged.
const WAITING_MAX: usize = 100_000;
/// Longest statement kept, in characters.
const STATEMENT_CHARACTERS: usize = 20_000;

tokio::task_local! {
    /// Where the call comes from that is being answered.
    static CALL_ADDRESS: String;
}

/// Carries out work for a call from this address: the audit says that the call's statements came from there. Of other statements it says where their user has
/// logged in.
pub fn called_from<F: Future>(address: String, work: F) -> impl Future<Output = F::Output> {
    CALL_ADDRESS.scope(address, work)
}

/// Where the call comes from that is being answered, if somebody has said so.
pub(crate) fn call_address() -> Option<String> {
    CALL_ADDRESS.try_with(Clone::clone).ok()
}

/// One thing that was done or tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditEntry {
    /// When it ended.
    pub time: DateTime<Utc>,
    /// Who; absent if nobody knows.
    #[serde(rename = "user_name")]
    pub user: Option<String>,
    /// From where.
    pub address: Option<String>,
    /// The session, by whatever name the server has for it.
    pub session: Option<String>,
    /// `LOGIN`, or the kind of statement, such as `INSERT INTO`.
    pub kind: String,
    /// The statement's text, without secrets.
    pub statement: Option<String>,
    /// Full names of the objects that it reads or changes.
    pub objects: Vec<String>,
    /// `succeeded`, `failed`, `refused` (for want of a right) or `cancelled`.
    pub outcome: String,
    /// What went wrong.
    pub error: Option<String>,
    /// Rows that came back or were written.
    pub rows: Option<u64>,
    /// From its begin to its end.
    pub duration_us: Option<u64>,
}

impl AuditEntry {
    /// An entry of this moment of which nothing else is known.
    pub fn new(kind: impl Into<String>, outcome: impl Into<String>) -> Self {
        Self {
            time: Utc::now(),
            user: None,
            address: None,
            session: None,
            kind: kind.into(),
            statement: None,
            objects: Vec::new(),
            outcome: outcome.into(),
            error: None,
            rows: None,
            duration_us: None,
        }
    }
}

/// Entries on their way to the table.
pub(super) struct Audit {
    shared: Arc<Shared>,
}

struct Shared {
    warehouse: Warehouse,
    waiting: Mutex<Vec<AuditEntry>>,
    /// One writes at a time.
    writing: tokio::sync::Mutex<()>,
    is_coming: AtomicBool,
}

impl Audit {
    pub fn new(warehouse: Warehouse) -> Self {
        let shared =
            Shared { warehouse, waiting: Mutex::default(), writing: tokio::sync::Mutex::new(()), is_coming: AtomicBool::new(false) };
        Self { shared: Arc::new(shared) }
    }
}

impl Shared {
    /// Writes what waits; a failure leaves it waiting.
    async fn write(&self) -> Result<()> {
        let _turn = self.writing.lock().await;
        let entries = std::mem::take(&mut *self.waiting.lock());
        if entries.is_empty() {
            return Ok(());
        }
        let key = uuid::Uuid::new_v4().to_string();
        let written = async {
            let rows = to_batch(&audit_schema(), &entries)?;
            append_system_rows(&self.warehouse, PLACE.0, TABLE, "Who did what, from where, and what came of it", rows, &key).await
        };
        let outcome = written.await;
        if outcome.is_err() {
            let mut waiting = self.waiting.lock();
            let newer = std::mem::replace(&mut *waiting, entries);
            waiting.extend(newer);
            drop_oldest(&mut waiting);
        }
        outcome.map(|_| ())
    }

    async fn write_soon(self: Arc<Self>) {
        let mut wait = GATHER;
        loop {
            tokio::time::sleep(wait).await;
            // Before it is written: what comes now is written by who comes next.
            self.is_coming.store(false, Ordering::SeqCst);
            match self.write().await {
                Ok(()) => return,
                Err(error) => tracing::error!(%error, "the audit cannot be written"),
            }
            if self.is_coming.swap(true, Ordering::SeqCst) {
                return;
            }
            wait = RETRY;
        }
    }
}

fn drop_oldest(waiting: &mut Vec<AuditEntry>) {
    let Some(excess) = waiting.len().checked_sub(WAITING_MAX).filter(|excess| *excess > 0) else { return };
    for lost in waiting.drain(..excess) {
        tracing::error!(time = %lost.time, user = lost.user, kind = lost.kind, outcome = lost.outcome, "an entry of the audit is lost");
    }
}

impl Access {
    /// Notes what was done or tried. It is in `system.access.audit` about a second later.
    pub fn audit(&self, mut entry: AuditEntry) {
        for text in [&mut entry.statement, &mut entry.error, &mut entry.user].into_iter().flatten() {
            if let Some((end, _)) = text.char_indices().nth(STATEMENT_CHARACTERS) {
                text.truncate(end);
                text.push('…');
            }
        }
        let shared = &self.inner.audit.shared;
        {
            let mut waiting = shared.waiting.lock();
            waiting.push(entry);
            drop_oldest(&mut waiting);
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !shared.is_coming.swap(true, Ordering::SeqCst)
        {
            runtime.spawn(Arc::clone(shared).write_soon());
        }
    }

    /// Writes the entries of the audit that wait; for a server that ends, and for tests.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn flush_audit(&self) -> Result<()> {
        self.inner.audit.shared.write().await
    }
}
