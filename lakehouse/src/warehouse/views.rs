//! Views as JSON objects: one put creates or replaces a view atomically on every store.

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::Warehouse;
use crate::error::{Error, Result, storage_error};
use crate::names::TableName;
use crate::view::ViewDefinition;

pub(super) const VIEWS_FOLDER: &str = "_views";

impl Warehouse {
    /// Stores a view. Returns whether it was stored: false only when it existed and `if_not_exists` was given. The schema has to exist, and a table of that
    /// name must not.
    pub async fn create_view(&self, name: &TableName, view: ViewDefinition, or_replace: bool, if_not_exists: bool) -> Result<bool> {
        let path = self.view_path(name)?;
        self.require_schema(&name.catalog, &name.schema).await?;
        if self.table_exists(name).await? {
            return Err(Error::AlreadyExists(format!("{name} is a table; a view cannot have the same name")));
        }
        let text = serde_json::to_vec_pretty(&view).map_err(|error| Error::Invalid(format!("view {name} cannot be stored: {error}")))?;
        let mode = if or_replace { PutMode::Overwrite } else { PutMode::Create };
        match self.store().put_opts(&path, PutPayload::from(text), PutOptions { mode, ..PutOptions::default() }).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) if if_not_exists => Ok(false),
            Err(object_store::Error::AlreadyExists { .. }) => {
                Err(Error::AlreadyExists(format!("view {name} already exists; use CREATE OR REPLACE VIEW to replace it")))
            }
            Err(error) => Err(storage_error(path.as_ref(), error)),
        }
    }

    /// Drops a view. Returns whether there was one; absence is an error unless `if_exists`.
    pub async fn drop_view(&self, name: &TableName, if_exists: bool) -> Result<bool> {
        let path = self.view_path(name)?;
        // Deleting is silent about absence on some stores, so look first.
        if super::listing::object_exists(self.store().as_ref(), &path).await? {
            return match self.store().delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(true),
                Err(error) => Err(storage_error(path.as_ref(), error)),
            };
        }
        if self.table_exists(name).await? {
            return Err(Error::Invalid(format!("{name} is a table, not a view; use DROP TABLE")));
        }
        if if_exists { Ok(false) } else { Err(Error::NotFound(format!("view {name} does not exist"))) }
    }

    /// The view of this name, if there is one.
    pub(super) async fn load_view(&self, name: &TableName) -> Result<Option<ViewDefinition>> {
        let path = self.view_path(name)?;
        let bytes = match self.store().get(&path).await {
            Ok(found) => found.bytes().await.map_err(|error| storage_error(path.as_ref(), error))?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(storage_error(path.as_ref(), error)),
        };
        let damaged = |error: serde_json::Error| Error::Damaged {
            table: name.to_string(),
            path: path.to_string(),
            reason: format!("the view's definition cannot be read: {error}"),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    pub(crate) async fn view_exists(&self, name: &TableName) -> Result<bool> {
        super::listing::object_exists(self.store().as_ref(), &self.view_path(name)?).await
    }

    fn view_path(&self, name: &TableName) -> Result<Path> {
        name.check()?;
        self.path(&[&name.catalog, &name.schema, VIEWS_FOLDER, &format!("{}.json", name.table)])
    }
}
