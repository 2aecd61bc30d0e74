//! One snapshot of one table.

mod detail;
mod file_stats;
mod files;
mod history;
mod versions;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use deltalake_core::kernel::EagerSnapshot;
use serde_json::Value;
use url::Url;

use crate::error::{Error, Result};
use crate::log::{CommitFile, Protocol, TableLog, TableUse, unreadable};
use crate::names::TableName;
use crate::provider::{DeltaTableProvider, ScanOptions};
use crate::schema::{SchemaError, TableColumns, parse_schema};

pub(crate) use file_stats::{Bound, EXACT_MARK, ExactMark};
pub(crate) use files::DataFile;

/// One version of one Delta table.
#[derive(Debug)]
pub struct Table {
    log: TableLog,
    snapshot: EagerSnapshot,
    /// The commit file of this version when the snapshot was read; a different one now means another table under the same name.
    commit: Option<CommitFile>,
    columns: TableColumns,
    partition_columns: Vec<String>,
    protocol: Protocol,
    metadata: Value,
    properties: HashMap<String, String>,
    num_files: u64,
    size_bytes: u64,
    files: OnceLock<Result<Arc<Vec<DataFile>>, String>>,
}

impl Table {
    /// The newest snapshot of a table at the moment of asking, read from the store or brought up to date from `cached`; `None` if the log has no commits.
    pub(crate) async fn load(log: TableLog, cached: Option<Arc<Table>>) -> Result<Option<Arc<Table>>> {
        if let Some(cached) = cached {
            let commits = log.commits(cached.version()).await?;
            if commits.first().is_some_and(|base| base.version == cached.version() && Some(base) == cached.commit.as_ref()) {
                if commits.len() == 1 {
                    return Ok(Some(cached));
                }
                let snapshot = log.refreshed(cached.snapshot.clone(), newest(&commits)).await?;
                return Self::new(log, snapshot, &commits).map(|table| Some(Arc::new(table)));
            }
        }
        // Listed before reading, and read at the version listed: should the table be replaced by another in between, the commit file will not match
        // later and it is read again.
        let commits = log.commits(0).await?;
        if commits.is_empty() && log.checkpoint_versions().await?.is_empty() {
            return Ok(None);
        }
        let snapshot = log.snapshot(newest(&commits)).await?;
        Self::new(log, snapshot, &commits).map(|table| Some(Arc::new(table)))
    }

    fn new(log: TableLog, snapshot: EagerSnapshot, commits: &[CommitFile]) -> Result<Table> {
        let version = snapshot.version();
        let damaged = |reason: String| log.damaged(&log.commit_path(version), reason);
        let protocol = serde_json::to_value(snapshot.protocol()).map_err(|error| damaged(error.to_string()))?;
        let metadata = serde_json::to_value(snapshot.metadata()).map_err(|error| damaged(error.to_string()))?;
        let schema_text = metadata.get("schemaString").and_then(Value::as_str).unwrap_or_default();
        let columns = parse_schema(schema_text).map_err(|error| match error {
            SchemaError::Malformed(reason) => damaged(reason),
            SchemaError::Unsupported(what) => log.unsupported(what),
        })?;
        let listed = metadata.get("partitionColumns").and_then(Value::as_array);
        let partition_columns: Vec<String> = listed.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_string)).collect();
        if let Some(missing) = partition_columns.iter().find(|name| columns.schema.index_of(name).is_err()) {
            return Err(damaged(format!("the partition column {missing:?} is not in the schema")));
        }
        let configured = metadata.get("configuration").and_then(Value::as_object);
        let properties =
            configured.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_string()))).collect();
        let files = snapshot.try_log_data().map_err(|error| damaged(error.to_string()))?;
        let num_files = files.num_files() as u64;
        let size_bytes = files.iter().map(|file| u64::try_from(file.size()).unwrap_or(0)).sum();
        Ok(Table {
            commit: commits.iter().find(|commit| commit.version == version).cloned(),
            protocol: Protocol::from_json(&protocol),
            log,
            snapshot,
            columns,
            partition_columns,
            metadata,
            properties,
            num_files,
            size_bytes,
            files: OnceLock::new(),
        })
    }

    /// The table's full name.
    pub fn name(&self) -> &TableName {
        self.log.name()
    }

    /// URL of the table's folder.
    pub fn location(&self) -> &Url {
        self.log.location()
    }

    /// The version this snapshot shows.
    pub fn version(&self) -> u64 {
        self.snapshot.version()
    }

    /// Columns in the table's order, partition columns included, as stored (plain `Utf8` and `Binary`). Column comments are in the field metadata
    /// under `comment`.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.columns.schema)
    }

    /// Names of the partition columns, in order.
    pub fn partition_columns(&self) -> &[String] {
        &self.partition_columns
    }

    /// The table's properties (`TBLPROPERTIES`).
    pub fn properties(&self) -> &HashMap<String, String> {
        &self.properties
    }

    /// The table's comment.
    pub fn comment(&self) -> Option<&str> {
        self.metadata.get("description").and_then(Value::as_str)
    }

    /// Number of data files.
    pub fn num_files(&self) -> u64 {
        self.num_files
    }

    /// Number of rows; absent when a file's row count is not in the log.
    pub fn num_rows(&self) -> Option<u64> {
        self.files().ok()?.iter().map(|file| file.num_rows).sum()
    }

    /// Bytes of all data files.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The snapshot as a DataFusion table. Its schema shows strings and binaries as views, which is how Parquet is read fastest.
    pub fn provider(self: &Arc<Self>) -> Arc<dyn TableProvider> {
        self.provider_with(ScanOptions::default())
    }

    /// The snapshot as a DataFusion table, read as `options` say.
    pub fn provider_with(self: &Arc<Self>, options: ScanOptions) -> Arc<dyn TableProvider> {
        Arc::new(DeltaTableProvider::new(Arc::clone(self), options))
    }

    /// Refuses tables that cannot be read exactly. Scans check this too; calling it earlier gives the error while a statement is being planned.
    pub fn check_readable(&self) -> Result<()> {
        if let Some(what) = unreadable(&self.table_use()) {
            return Err(self.log.unsupported(what));
        }
        match self.files()?.iter().find(|file| file.has_deletion_vector) {
            Some(file) => Err(self.log.unsupported(format!("deletion vectors (file {})", file.location.filename().unwrap_or_default()))),
            None => Ok(()),
        }
    }

    pub(crate) fn table_use(&self) -> TableUse<'_> {
        TableUse { protocol: &self.protocol, columns: &self.columns, properties: &self.properties }
    }

    pub(crate) fn log(&self) -> &TableLog {
        &self.log
    }

    pub(crate) fn snapshot(&self) -> &EagerSnapshot {
        &self.snapshot
    }

    pub(crate) fn commit_file(&self) -> Option<&CommitFile> {
        self.commit.as_ref()
    }

    pub(crate) fn columns(&self) -> &TableColumns {
        &self.columns
    }

    pub(crate) fn metadata(&self) -> &Value {
        &self.metadata
    }

    pub(crate) fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// The active data files with their statistics, sorted by path; parsed from the log once per snapshot.
    pub(crate) fn files(&self) -> Result<&Arc<Vec<DataFile>>> {
        let parsed = self.files.get_or_init(|| files::parse(self).map(Arc::new));
        parsed.as_ref().map_err(|reason| self.log.damaged(&self.log.commit_path(self.version()), reason.clone()))
    }

    fn invalid_time(&self, message: String) -> Error {
        Error::NotFound(format!("table {} {message}", self.name()))
    }
}

/// The version that a listing shows as the newest; `None` leaves it to the checkpoint.
fn newest(commits: &[CommitFile]) -> Option<u64> {
    commits.last().map(|commit| commit.version)
}
