//! The end of a write: its files become visible in one transaction, or they go away.

use arrow::array::RecordBatch;
use delta_kernel::table_properties::TableProperties;
use deltalake_core::checkpoints::{cleanup_metadata, create_checkpoint};
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TableReference, TransactionError};
use deltalake_core::kernel::{EagerSnapshot, Metadata, Protocol, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError};
use serde_json::{Value, json};

use super::actions::WrittenFiles;
use super::pending::Change;
use super::{PendingWrite, WriteMode, WriteOutcome, properties};
use crate::error::{Error, Result, storage_error};
use crate::log::store_error_within;
use crate::table::Table;

/// Attempts of an append to get its place in the log while others append too.
const APPEND_RETRIES: usize = 100;

/// Id under which the log remembers that a run was committed.
pub(super) fn transaction_id(run_id: &str) -> String {
    format!("orrery/{run_id}")
}

/// The outcome of a run if it has been committed to the table. Sums are 0 if the commit's own log file has expired.
pub(super) async fn run_outcome(table: &Table, transaction: &str) -> Result<Option<WriteOutcome>> {
    let recorded = table.snapshot().transaction_version(table.log().delta().as_ref(), transaction).await;
    match recorded {
        Ok(None) => return Ok(None),
        Ok(Some(_)) => {}
        Err(error) => return Err(table.log().diagnose(error).await),
    }
    let commits = table.commit_summaries(None).await?;
    let Some(commit) = commits.into_iter().find(|commit| commit.transactions.iter().any(|id| id == transaction)) else {
        return Ok(Some(WriteOutcome { version: table.version(), rows: 0, bytes: 0, files: 0 }));
    };
    let metrics = commit.info.get("operationMetrics").cloned().unwrap_or_default();
    let number = |key: &str| metrics.get(key).and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok())).unwrap_or(0);
    Ok(Some(WriteOutcome {
        version: commit.version,
        rows: number("numOutputRows"),
        bytes: number("numOutputBytes"),
        files: number("numFiles"),
    }))
}

impl PendingWrite {
    /// Makes the files visible in one transaction. `files` are the rows that the write plan emitted; none is a valid commit. After an error the table has
    /// its previous version and the files are gone. [`Error::Conflict`] means that the statement can be run again.
    pub async fn commit(self, files: Vec<RecordBatch>) -> Result<WriteOutcome> {
        if let Change::Nothing(outcome) = self.change {
            self.remove_files().await?;
            return Ok(outcome);
        }
        let committed = self.try_commit(&files).await;
        match committed {
            Ok(outcome) => {
                self.maintain_log(outcome.version).await;
                Ok(outcome)
            }
            Err(error) => self.settle(error).await,
        }
    }

    /// Gives the write up and removes its files as far as possible. The table keeps its version.
    pub async fn abort(self) {
        if let Err(error) = self.remove_files().await {
            tracing::warn!(table = %self.request.name, %error, "files of an abandoned write could not be removed");
        }
    }

    async fn try_commit(&self, files: &[RecordBatch]) -> Result<WriteOutcome> {
        let written = WrittenFiles::parse(files, &self.write_id)?;
        self.check_base_is_current().await?;
        let actions = self.actions(&written)?;
        let operation = DeltaOperation::Write { mode: self.save_mode(), partition_by: Some(self.partition_by.clone()), predicate: None };
        // Only appends may land after commits that they have not seen: the others replace exactly the files they know.
        let may_follow = matches!(self.change, Change::Append(_)) && self.request.base_version.is_none();
        let retries = if may_follow { APPEND_RETRIES } else { 0 };
        let mut options = CommitProperties::default().with_max_retries(retries).with_create_checkpoint(false);
        if let Some(run_id) = &self.request.run_id {
            options = options.with_application_transaction(Transaction::new_with_last_update(
                transaction_id(run_id),
                0,
                Some(chrono::Utc::now().timestamp_millis()),
            ));
        }
        let base = self.change.base().map(|table| Base::new(table)).transpose()?;
        let reference = base.as_ref().map(|base| base as &dyn TableReference);
        let commit = CommitBuilder::from(options).with_actions(actions).build(reference, self.log.delta().clone(), operation);
        let prepared = commit.into_prepared_commit_future().await.map_err(|error| self.commit_error(error))?;
        // What follows a commit (checkpoint, expiry) is done by `maintain_log`: its failure must not look like a failed commit.
        let committed = prepared.await.map_err(|error| self.commit_error(error))?;
        Ok(WriteOutcome { version: committed.version, rows: written.rows, bytes: written.bytes, files: written.adds.len() as u64 })
    }

    /// A table that was dropped, or dropped and created anew, is not the one that the query was planned for.
    async fn check_base_is_current(&self) -> Result<()> {
        let gone = || Error::Conflict(format!("table {} was dropped or replaced while the statement ran; run it again", self.request.name));
        if self.warehouse.is_dropped(&self.request.name).await? {
            return Err(gone());
        }
        let Some(base) = self.change.base() else { return Ok(()) };
        let commits = self.log.commits(base.version()).await?;
        let current = commits.first().filter(|commit| commit.version == base.version());
        if current.is_some() && current == base.commit_file() { Ok(()) } else { Err(gone()) }
    }

    fn save_mode(&self) -> SaveMode {
        match self.request.mode {
            WriteMode::Append => SaveMode::Append,
            WriteMode::Overwrite | WriteMode::CreateOrReplace => SaveMode::Overwrite,
            WriteMode::Create | WriteMode::CreateIfNotExists => SaveMode::ErrorIfExists,
        }
    }

    fn commit_error(&self, error: DeltaTableError) -> Error {
        let name = &self.request.name;
        match &error {
            DeltaTableError::VersionAlreadyExists(_) => self.lost_race(),
            DeltaTableError::Transaction { source: TransactionError::MaxCommitAttempts(_) } => self.lost_race(),
            DeltaTableError::Transaction { source: TransactionError::CommitConflict(conflict) } => Error::Conflict(format!(
                "table {name} was changed by another writer at the same time ({conflict}); run the statement again"
            )),
            _ if store_error_within(&error).is_some() => storage_error(self.log.table_path().as_ref(), error),
            _ => self.log.damaged(self.log.table_path(), format!("its log cannot be committed to: {error}")),
        }
    }

    fn lost_race(&self) -> Error {
        let name = &self.request.name;
        match (&self.change, self.request.mode) {
            (Change::Create, WriteMode::Create | WriteMode::CreateIfNotExists) => {
                Error::AlreadyExists(format!("table {name} was created by another writer at the same time"))
            }
            _ => Error::Conflict(format!("table {name} was changed by another writer at the same time; run the statement again")),
        }
    }

    /// After a failed commit: the commit file may be there all the same (its acknowledgement got lost), or another attempt of the same run won.
    async fn settle(&self, error: Error) -> Result<WriteOutcome> {
        let outcome = match self.committed_anyway().await {
            Ok(Some(outcome)) => return Ok(outcome),
            Ok(None) => self.outcome_of_same_run().await,
            // Without knowing, the files must stay: the table may need them.
            Err(_) => return Err(error),
        };
        self.remove_files()
            .await
            .unwrap_or_else(|error| tracing::warn!(table = %self.request.name, %error, "files of a failed write could not be removed"));
        match (outcome, self.request.mode, &error) {
            (Some(outcome), _, _) => Ok(outcome),
            (None, WriteMode::CreateIfNotExists, Error::AlreadyExists(_)) => match self.warehouse.load_table(&self.request.name).await? {
                Some(table) => Ok(WriteOutcome { version: table.version(), rows: 0, bytes: 0, files: 0 }),
                None => Err(error),
            },
            _ => Err(error),
        }
    }

    /// The outcome of this very write if a commit file names its files.
    async fn committed_anyway(&self) -> Result<Option<WriteOutcome>> {
        let from = self.change.base().map_or(0, |table| table.version() + 1);
        for commit in self.log.commits(from).await? {
            let bytes = self.log.read_commit(commit.version).await?;
            let text = String::from_utf8_lossy(&bytes);
            if text.contains(&self.write_id) {
                let adds = text
                    .lines()
                    .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                    .filter_map(|action| action.get("add").cloned());
                let ours: Vec<Value> =
                    adds.filter(|add| add.get("path").and_then(Value::as_str).is_some_and(|path| path.contains(&self.write_id))).collect();
                let bytes = ours.iter().filter_map(|add| add.get("size").and_then(Value::as_u64)).sum();
                let stats = ours.iter().filter_map(|add| serde_json::from_str::<Value>(add.get("stats")?.as_str()?).ok());
                let rows = stats.filter_map(|stats| stats.get("numRecords").and_then(Value::as_u64)).sum();
                return Ok(Some(WriteOutcome { version: commit.version, rows, bytes, files: ours.len() as u64 }));
            }
        }
        Ok(None)
    }

    async fn outcome_of_same_run(&self) -> Option<WriteOutcome> {
        let run_id = self.request.run_id.as_ref()?;
        let table = self.warehouse.load_table(&self.request.name).await.ok()??;
        run_outcome(&table, &transaction_id(run_id)).await.ok()?
    }

    async fn remove_files(&self) -> Result<()> {
        if !self.live.ended().await {
            tracing::warn!(table = %self.request.name, "tasks of an abandoned write are still running; files they write now will stay");
        }
        self.warehouse.remove_write(&self.request.name, &self.write_id).await
    }

    /// Writes the checkpoint that is due and removes expired log files. Readers can do without either, so failures are only reported.
    async fn maintain_log(&self, version: u64) {
        let properties = self.properties();
        if version == 0 || !version.is_multiple_of(properties::checkpoint_interval(properties)) {
            return;
        }
        let checkpointed = async {
            let mut table = DeltaTable::new(self.log.delta().clone());
            table.load_version(version).await?;
            create_checkpoint(&table, None).await?;
            if properties::expires_log(properties) { cleanup_metadata(&table, None).await } else { Ok(0) }
        };
        if let Err(error) = checkpointed.await {
            tracing::warn!(table = %self.request.name, version, %error, "the checkpoint could not be written");
        }
    }
}

/// The snapshot a commit is based on. The protocol it shows is the plainest one: which features matter has been decided when the write began, by this
/// engine's own rules, and the log library would refuse some that are merely listed and not in use.
struct Base {
    snapshot: EagerSnapshot,
    protocol: Protocol,
}

impl Base {
    fn new(table: &Table) -> Result<Self> {
        let protocol = serde_json::from_value(json!({ "minReaderVersion": 1, "minWriterVersion": 1 }))
            .map_err(|error| Error::Conflict(error.to_string()))?;
        Ok(Self { snapshot: table.snapshot().clone(), protocol })
    }
}

impl TableReference for Base {
    fn config(&self) -> &TableProperties {
        self.snapshot.table_properties()
    }

    fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    fn metadata(&self) -> &Metadata {
        self.snapshot.metadata()
    }

    fn eager_snapshot(&self) -> &EagerSnapshot {
        &self.snapshot
    }
}
