//! A table's transaction log: its commit files, its snapshots, and what is wrong when it cannot be read.

mod diagnosis;
mod features;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::EagerSnapshot;
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::table::state::DeltaTableState;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use url::Url;

use crate::error::{Error, Result, storage_error};
use crate::names::TableName;

pub(crate) use diagnosis::store_error_within;
pub(crate) use features::{Protocol, TableUse, unreadable, unwritable};

const LOG_FOLDER: &str = "_delta_log";
/// Width of the version in the name of a commit file.
const VERSION_DIGITS: usize = 20;

/// Access to one table's log.
#[derive(Clone)]
pub(crate) struct TableLog {
    name: TableName,
    store: Arc<dyn ObjectStore>,
    /// The table's folder in `store`.
    table_path: Path,
    log_path: Path,
    delta: LogStoreRef,
}

impl std::fmt::Debug for TableLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableLog").field("name", &self.name).field("table_path", &self.table_path).finish_non_exhaustive()
    }
}

/// A commit file as the store lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitFile {
    pub version: u64,
    pub size: u64,
    pub modified: DateTime<Utc>,
    e_tag: Option<String>,
}

impl TableLog {
    pub fn new(name: TableName, store: Arc<dyn ObjectStore>, table_path: Path, table_url: &Url) -> Self {
        let prefixed = Arc::new(PrefixStore::new(Arc::clone(&store), table_path.clone()));
        let delta = default_logstore(prefixed, Arc::clone(&store), table_url, &StorageConfig::default());
        let log_path = table_path.clone().join(LOG_FOLDER);
        Self { name, store, table_path, log_path, delta }
    }

    pub fn name(&self) -> &TableName {
        &self.name
    }

    pub fn table_path(&self) -> &Path {
        &self.table_path
    }

    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    pub fn delta(&self) -> &LogStoreRef {
        &self.delta
    }

    pub fn location(&self) -> &Url {
        self.delta.root_url()
    }

    pub fn commit_path(&self, version: u64) -> Path {
        self.log_path.clone().join(format!("{version:0VERSION_DIGITS$}.json"))
    }

    /// Whether the log has any commit or checkpoint.
    pub async fn exists(&self) -> Result<bool> {
        let mut listed = self.store.list(Some(&self.log_path));
        while let Some(object) = listed.next().await {
            match object {
                Ok(object)
                    if self.log_file_name(&object).is_some_and(|name| commit_version(name).is_some() || name.contains(".checkpoint.")) =>
                {
                    return Ok(true);
                }
                Ok(_) => {}
                Err(object_store::Error::NotFound { .. }) => return Ok(false),
                Err(error) => return Err(storage_error(self.log_path.as_ref(), error)),
            }
        }
        Ok(false)
    }

    /// Commit files from version `from` on, ascending.
    pub async fn commits(&self, from: u64) -> Result<Vec<CommitFile>> {
        let objects = self.list(from).await?;
        let mut commits: Vec<CommitFile> = objects.iter().filter_map(|object| self.as_commit(object)).collect();
        commits.sort_by_key(|commit| commit.version);
        if let Some(empty) = commits.iter().find(|commit| commit.size == 0) {
            return Err(self.damaged(&self.commit_path(empty.version), "the commit file is empty"));
        }
        Ok(commits)
    }

    /// Versions of which a complete or partial checkpoint exists, ascending.
    pub async fn checkpoint_versions(&self) -> Result<Vec<u64>> {
        let objects = self.list(0).await?;
        let names = objects.iter().filter_map(|object| self.log_file_name(object));
        let mut versions: Vec<u64> = names.filter(|name| name.contains(".checkpoint.")).filter_map(leading_version).collect();
        versions.sort_unstable();
        versions.dedup();
        Ok(versions)
    }

    async fn list(&self, from: u64) -> Result<Vec<ObjectMeta>> {
        let mut listed = if from == 0 {
            self.store.list(Some(&self.log_path))
        } else {
            // Sorts just before the commit file of `from`.
            let offset = self.log_path.clone().join(format!("{from:0VERSION_DIGITS$}."));
            self.store.list_with_offset(Some(&self.log_path), &offset)
        };
        let mut objects = Vec::new();
        while let Some(object) = listed.next().await {
            match object {
                Ok(object) => objects.push(object),
                Err(object_store::Error::NotFound { .. }) => break,
                Err(error) => return Err(storage_error(self.log_path.as_ref(), error)),
            }
        }
        Ok(objects)
    }

    /// Name of an object that lies directly in the log's folder.
    fn log_file_name<'a>(&self, object: &'a ObjectMeta) -> Option<&'a str> {
        let depth = object.location.prefix_match(&self.log_path)?.count();
        object.location.filename().filter(|_| depth == 1)
    }

    fn as_commit(&self, object: &ObjectMeta) -> Option<CommitFile> {
        let version = commit_version(self.log_file_name(object)?)?;
        Some(CommitFile { version, size: object.size, modified: object.last_modified, e_tag: object.e_tag.clone() })
    }

    /// The content of a commit file.
    pub async fn read_commit(&self, version: u64) -> Result<Bytes> {
        let path = self.commit_path(version);
        match self.store.get(&path).await {
            Ok(found) => found.bytes().await.map_err(|error| storage_error(path.as_ref(), error)),
            Err(object_store::Error::NotFound { .. }) => Err(self.damaged(&path, "the commit file is missing")),
            Err(error) => Err(storage_error(path.as_ref(), error)),
        }
    }

    /// Reads a snapshot from the store; the newest when no version is given.
    pub async fn snapshot(&self, version: Option<u64>) -> Result<EagerSnapshot> {
        let loading = EagerSnapshot::try_new(self.delta.as_ref(), version);
        self.guarded(loading).await
    }

    /// Brings a snapshot up to a version, the newest when none is given, reading only what is new.
    pub async fn refreshed(&self, snapshot: EagerSnapshot, version: Option<u64>) -> Result<EagerSnapshot> {
        let mut state = DeltaTableState::new(snapshot);
        let updating = async move {
            state.update(self.delta.as_ref(), version).await?;
            Ok(state.snapshot().clone())
        };
        self.guarded(updating).await
    }

    /// Runs the log reader; turns its errors, and its panics over logs it did not expect, into errors that name the table and the damaged file.
    async fn guarded<T>(&self, reading: impl Future<Output = Result<T, DeltaTableError>>) -> Result<T> {
        match AssertUnwindSafe(reading).catch_unwind().await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.diagnose(error).await),
            Err(_) => Err(self.diagnose(DeltaTableError::generic("the log cannot be interpreted")).await),
        }
    }

    pub fn damaged(&self, path: &Path, reason: impl Into<String>) -> Error {
        Error::Damaged { table: self.name.to_string(), path: path.to_string(), reason: reason.into() }
    }

    pub fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::Unsupported { what: what.into(), table: self.name.to_string() }
    }
}

fn leading_version(name: &str) -> Option<u64> {
    let digits = name.get(..VERSION_DIGITS)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn commit_version(name: &str) -> Option<u64> {
    (name.get(VERSION_DIGITS..)? == ".json").then(|| leading_version(name)).flatten()
}
