//! Scratch storage: a warehouse of the session's own, in which rows are kept that it has computed, for its caches and for single statements. The rows are
//! written with the same operator as any table. That keeps them compressed, prunable and out of the memory budget, however many they are.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::datatypes::SchemaRef;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use orrery_lakehouse::{PendingWrite, TableName, Warehouse, WriteMode, WriteRequest};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use url::Url;

use super::Session;
use super::catalog::DEFAULT_SCHEMA;
use crate::{Blame, Error, Result};

/// The warehouse of a session's kept rows; its folder goes with the session.
pub(super) struct Scratch {
    /// Shared storage, or the local file system.
    url: Option<String>,
    opened: OnceCell<(Option<tempfile::TempDir>, Warehouse)>,
    made: AtomicU64,
}

impl Scratch {
    pub(super) fn new(url: Option<String>) -> Self {
        Self { url, opened: OnceCell::new(), made: AtomicU64::new(0) }
    }

    /// Removes what is on shared storage; a local folder goes by itself.
    pub(super) async fn remove(&self) {
        if let Some((None, warehouse)) = self.opened.get()
            && let Err(error) = warehouse.remove_everything().await
        {
            tracing::warn!(scratch = %warehouse.root(), %error, "scratch storage could not be removed");
        }
    }

    /// Whether a file of the object store is one of these rows.
    pub(super) fn holds(&self, file: &object_store::path::Path) -> bool {
        let root = self.opened.get().map(|(_, warehouse)| warehouse.root().path().trim_matches('/').to_string());
        root.is_some_and(|root| !root.is_empty() && file.as_ref().starts_with(&root))
    }

    async fn warehouse(&self, dir: &std::path::Path) -> Result<&Warehouse> {
        let (_, warehouse) = self
            .opened
            .get_or_try_init(|| async {
                if let Some(url) = &self.url {
                    let url = format!("{}/{}", url.trim_end_matches('/'), uuid::Uuid::new_v4().simple());
                    return Ok((None, Warehouse::open(&url, HashMap::new()).await?));
                }
                let folder = tempfile::Builder::new()
                    .prefix("orrery-cache-")
                    .tempdir_in(dir)
                    .map_err(|e| Error::new(Blame::Storage, format!("cannot make a folder for caches in {}: {e}", dir.display())))?;
                let warehouse = Warehouse::open(&folder.path().to_string_lossy(), HashMap::new()).await?;
                Ok::<_, Error>((Some(folder), warehouse))
            })
            .await?;
        Ok(warehouse)
    }
}

/// A new table of scratch storage, as long as it is not committed.
pub(super) struct ScratchWrite {
    pub(super) warehouse: Warehouse,
    pub(super) name: TableName,
    pub(super) pending: PendingWrite,
}

impl Session {
    /// Begins a table of scratch storage; `text` is what its history calls it.
    pub(super) async fn begin_scratch_table(&self, schema: SchemaRef, text: &str) -> Result<ScratchWrite> {
        self.begin_partitioned_scratch_table(schema, Vec::new(), text).await
    }

    /// The same, partitioned by columns.
    pub(super) async fn begin_partitioned_scratch_table(
        &self,
        schema: SchemaRef,
        partition_by: Vec<String>,
        text: &str,
    ) -> Result<ScratchWrite> {
        let warehouse = self.scratch.warehouse(&self.scratch_dir()).await?;
        warehouse.register_with(&self.context.runtime_env());
        let name = TableName::new("dev", DEFAULT_SCHEMA, format!("cache{}", self.scratch.made.fetch_add(1, Ordering::Relaxed)));
        let mut request = WriteRequest::new(name.clone(), WriteMode::Create, schema);
        request.partition_by = partition_by;
        text.clone_into(&mut request.statement);
        let pending = warehouse.begin_write(request).await?;
        Ok(ScratchWrite { warehouse: warehouse.clone(), name, pending })
    }

    /// A folder of scratch storage for objects that one statement needs.
    pub(super) async fn scratch_objects(&self) -> Result<ScratchObjects> {
        let warehouse = self.scratch.warehouse(&self.scratch_dir()).await?;
        warehouse.register_with(&self.context.runtime_env());
        let mut folder = warehouse.root().clone();
        let name = format!("objects{}", self.scratch.made.fetch_add(1, Ordering::Relaxed));
        let cannot = |_| Error::new(Blame::Storage, format!("{} cannot hold objects", warehouse.root()));
        folder.path_segments_mut().map_err(cannot)?.pop_if_empty().extend([name.as_str(), ""]);
        Ok(ScratchObjects { store: warehouse.store(), folder, written: BTreeSet::new() })
    }

    fn scratch_dir(&self) -> std::path::PathBuf {
        let paths = self.context.runtime_env().disk_manager.temp_dir_paths();
        paths.first().and_then(|p| p.parent()).map_or_else(std::env::temp_dir, std::path::Path::to_path_buf)
    }
}

/// Objects of scratch storage that one statement needs: they go with this.
pub(super) struct ScratchObjects {
    store: Arc<dyn ObjectStore>,
    folder: Url,
    written: BTreeSet<String>,
}

impl ScratchObjects {
    /// Where an object of a name is or will be. Whoever writes it, it goes with the others.
    pub(super) fn url(&mut self, name: &str) -> String {
        self.written.insert(name.to_string());
        format!("{}{name}", self.folder)
    }

    /// Writes an object.
    pub(super) async fn put(&mut self, name: &str, bytes: Vec<u8>) -> Result<String> {
        let url = self.url(name);
        let written = self.store.put(&self.path(name)?, bytes.into()).await;
        written.map_err(|error| Error::new(Blame::Storage, format!("scratch storage cannot be written: {error}")))?;
        Ok(url)
    }

    /// The bytes of an object, if it is there.
    pub(super) async fn get(&self, name: &str) -> Option<Vec<u8>> {
        let found = self.store.get(&self.path(name).ok()?).await.ok()?;
        found.bytes().await.ok().map(|bytes| bytes.to_vec())
    }

    fn path(&self, name: &str) -> Result<Path> {
        Path::from_url_path(format!("{}{name}", self.folder.path()))
            .map_err(|error| Error::new(Blame::Bug, format!("{name:?} cannot be an object of {}: {error}", self.folder)))
    }

    /// Removes one object, or tries to.
    pub(super) async fn remove_object(&mut self, name: &str) {
        self.written.remove(name);
        if let Ok(path) = self.path(name) {
            remove_object(self.store.as_ref(), &path).await;
        }
    }

    /// Removes all objects and waits until they are gone.
    pub(super) async fn remove(mut self) {
        if let Err(error) = tokio::spawn(self.removal()).await {
            tracing::debug!(%error, "the removal of scratch objects was stopped");
        }
    }

    fn removal(&mut self) -> impl Future<Output = ()> + Send + 'static {
        let paths: Vec<Path> = std::mem::take(&mut self.written).iter().filter_map(|name| self.path(name).ok()).collect();
        let store = Arc::clone(&self.store);
        async move {
            for path in paths {
                remove_object(store.as_ref(), &path).await;
            }
        }
    }
}

async fn remove_object(store: &dyn ObjectStore, path: &Path) {
    match store.delete(path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
        Err(error) => tracing::debug!(%error, %path, "a scratch object could not be removed; it goes with the session"),
    }
}

impl Drop for ScratchObjects {
    fn drop(&mut self) {
        if let (false, Ok(runtime)) = (self.written.is_empty(), Handle::try_current()) {
            runtime.spawn(self.removal());
        }
    }
}

/// A table of scratch storage that one statement needs: it goes with this, at the latest when this is dropped, also while it is being written.
pub(super) struct ScratchTable(Option<Remains>);

struct Remains {
    warehouse: Warehouse,
    name: TableName,
    /// The write, until it is committed.
    pending: Option<PendingWrite>,
}

impl ScratchTable {
    pub(super) fn new(write: ScratchWrite) -> Self {
        let ScratchWrite { warehouse, name, pending } = write;
        Self(Some(Remains { warehouse, name, pending: Some(pending) }))
    }

    /// The write that fills it.
    pub(super) fn pending(&mut self) -> Result<&mut Option<PendingWrite>> {
        self.0
            .as_mut()
            .map(|remains| &mut remains.pending)
            .ok_or_else(|| Error::new(Blame::Bug, "a scratch table is used after it was removed"))
    }

    /// The warehouse that it is in, and its name there.
    pub(super) fn place(&self) -> Option<(Warehouse, TableName)> {
        self.0.as_ref().map(|remains| (remains.warehouse.clone(), remains.name.clone()))
    }

    /// Removes it and waits until it is gone. Nothing stops a removal that has begun.
    pub(super) async fn remove(mut self) {
        if let Some(removal) = self.removal()
            && let Err(error) = tokio::spawn(removal).await
        {
            tracing::debug!(%error, "the removal of a scratch table was stopped");
        }
    }

    fn removal(&mut self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let Remains { warehouse, name, pending } = self.0.take()?;
        Some(async move {
            if let Some(pending) = pending {
                // Waits for the tasks that still write.
                pending.abort().await;
            }
            if let Err(error) = warehouse.remove_table(&name).await {
                tracing::debug!(%name, %error, "a scratch table could not be removed; it goes with the session");
            }
        })
    }
}

impl Drop for ScratchTable {
    fn drop(&mut self) {
        if let (Some(removal), Ok(runtime)) = (self.removal(), Handle::try_current()) {
            runtime.spawn(removal);
        }
    }
}
