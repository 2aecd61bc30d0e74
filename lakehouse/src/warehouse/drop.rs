//! Dropping tables so that an interruption never leaves half a table: a tombstone makes the table disappear at once, then its objects go, the tombstone
//! last. Whoever meets a tombstone later (a new `DROP` or `CREATE` of that name) finishes the work.

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use super::Warehouse;
use super::listing::delete_objects;
use crate::error::{Error, Result, storage_error};
use crate::names::TableName;

const TOMBSTONE: &str = "_dropped";

impl Warehouse {
    /// Drops a table with its files and history. Returns whether there was one; absence is an error unless `if_exists`. Works on damaged tables too.
    pub async fn drop_table(&self, name: &TableName, if_exists: bool) -> Result<bool> {
        if self.finish_drop(name).await? || !self.table_exists(name).await? {
            if self.view_exists(name).await? {
                return Err(Error::Invalid(format!("{name} is a view, not a table; use DROP VIEW")));
            }
            return if if_exists { Ok(false) } else { Err(Error::NotFound(format!("table {name} does not exist"))) };
        }
        self.erase_table(name).await?;
        Ok(true)
    }

    /// Removes a table's folder whatever is in it, also the files of a write that was not committed: for tables that nobody else knows.
    ///
    /// # Errors
    /// The store refuses; what is left can be removed by calling again.
    pub async fn remove_table(&self, name: &TableName) -> Result<()> {
        self.erase_table(name).await
    }

    /// Removes everything below the warehouse's root: for scratch warehouses that nobody shares.
    ///
    /// # Errors
    /// The store refuses; what is left can be removed by calling again.
    pub async fn remove_everything(&self) -> Result<()> {
        let prefix = self.path(&[])?;
        delete_objects(self.store().as_ref(), &prefix, |_| true).await?;
        if let Some(folder) = self.local_folder(&prefix) {
            match tokio::fs::remove_dir_all(&folder).await {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(storage_error(prefix.as_ref(), error)),
            }
        }
        Ok(())
    }

    /// Completes a drop that was interrupted. Returns whether there was one.
    pub(crate) async fn finish_drop(&self, name: &TableName) -> Result<bool> {
        let interrupted = self.is_dropped(name).await?;
        if interrupted {
            self.erase_table(name).await?;
        }
        Ok(interrupted)
    }

    pub(super) fn tombstone(&self, name: &TableName) -> Result<Path> {
        name.check()?;
        self.path(&[&name.catalog, &name.schema, &name.table, TOMBSTONE])
    }

    pub(super) async fn erase_table(&self, name: &TableName) -> Result<()> {
        self.remember(None, name);
        let (store, prefix, tombstone) = (self.store(), self.table_path(name)?, self.tombstone(name)?);
        store.put(&tombstone, PutPayload::from_static(b"{}")).await.map_err(|error| storage_error(tombstone.as_ref(), error))?;
        delete_objects(store.as_ref(), &prefix, |path| *path != tombstone).await?;
        self.remove_leftovers(&prefix).await?;
        match store.delete(&tombstone).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(storage_error(tombstone.as_ref(), error)),
        }
        self.remove_empty_folders(&[&name.catalog, &name.schema, &name.table]).await
    }

    /// Removes what a local store does not list: unfinished uploads of killed writers.
    async fn remove_leftovers(&self, prefix: &Path) -> Result<()> {
        let Some(folder) = self.local_folder(prefix) else { return Ok(()) };
        let removed = tokio::task::spawn_blocking(move || remove_all_but_tombstone(&folder)).await;
        match removed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(storage_error(prefix.as_ref(), error)),
            Err(error) => Err(storage_error(prefix.as_ref(), error)),
        }
    }

    /// Removes a local folder and the folders in it that are empty, down from the top; folders with files stay.
    pub(crate) async fn remove_empty_folders(&self, parts: &[&str]) -> Result<()> {
        let Some(folder) = self.local_folder(&self.path(parts)?) else { return Ok(()) };
        // A folder that another writer fills meanwhile refuses to go, which is right.
        let _ = tokio::task::spawn_blocking(move || remove_if_empty(&folder)).await;
        Ok(())
    }

    /// Removes the data files of an abandoned write, known by the id in their names, and the folders they leave empty.
    pub(crate) async fn remove_write(&self, name: &TableName, write_id: &str) -> Result<()> {
        let prefix = self.table_path(name)?;
        delete_objects(self.store().as_ref(), &prefix, |path| path.filename().is_some_and(|file| file.contains(write_id))).await?;
        self.remove_empty_folders(&[&name.catalog, &name.schema, &name.table]).await
    }

    pub(super) fn local_folder(&self, prefix: &Path) -> Option<std::path::PathBuf> {
        let mut url = url::Url::parse("file:///").ok().filter(|_| self.is_local())?;
        url.path_segments_mut().ok()?.pop_if_empty().extend(prefix.parts().map(|part| part.as_ref().to_string()));
        url.to_file_path().ok()
    }
}

fn remove_all_but_tombstone(folder: &std::path::Path) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name() == TOMBSTONE {
            continue;
        }
        let removed = if entry.file_type()?.is_dir() { std::fs::remove_dir_all(entry.path()) } else { std::fs::remove_file(entry.path()) };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Returns whether the folder is gone.
fn remove_if_empty(folder: &std::path::Path) -> bool {
    if let Ok(entries) = std::fs::read_dir(folder) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_if_empty(&entry.path());
            }
        }
    }
    std::fs::remove_dir(folder).is_ok()
}
