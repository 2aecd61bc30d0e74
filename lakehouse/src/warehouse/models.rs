//! Files of models: immutable objects below their schema. Which of them are versions of a model is not known here.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};
use url::Url;

use super::Warehouse;
use super::listing::{delete_objects, holds_objects};
use crate::error::{Error, Result, storage_error};
use crate::names::TableName;

const MODELS_FOLDER: &str = "_models";

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFileEntry {
    /// URL of the object.
    pub url: String,
    /// When it was written.
    pub modified: DateTime<Utc>,
}

impl Warehouse {
    /// Stores bytes as a new file of a model and returns the object's URL. The schema has to exist.
    ///
    /// # Errors
    /// A name that cannot be one, a file of that name, or the store refuses.
    pub async fn put_model_file(&self, name: &TableName, file: &str, bytes: Bytes) -> Result<String> {
        let path = self.model_path(name)?.join(file);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = self.store().put_opts(&path, PutPayload::from(bytes), options).await;
        put.map_err(|error| storage_error(path.as_ref(), error))?;
        self.model_file_url(name, file)
    }

    /// The bytes of a file of this warehouse.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is gone; a URL of another place; or the store refuses.
    pub async fn read_model_file(&self, url: &str) -> Result<Bytes> {
        let path = self.path_of_url(url)?;
        match self.store().get(&path).await {
            Ok(found) => found.bytes().await.map_err(|error| storage_error(path.as_ref(), error)),
            Err(object_store::Error::NotFound { .. }) => Err(Error::NotFound(format!("the file {url} does not exist"))),
            Err(error) => Err(storage_error(path.as_ref(), error)),
        }
    }

    /// Removes a file of this warehouse; one that is gone already does not matter.
    ///
    /// # Errors
    /// A URL of another place, or the store refuses.
    pub async fn delete_model_file(&self, url: &str) -> Result<()> {
        let path = self.path_of_url(url)?;
        match self.store().delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(storage_error(path.as_ref(), error)),
        }
    }

    /// The files of a model, in no particular order.
    ///
    /// # Errors
    /// A name that cannot be one, or the store refuses.
    pub async fn model_files(&self, name: &TableName) -> Result<Vec<ModelFileEntry>> {
        let prefix = self.model_path(name)?;
        let mut listed = self.store().list(Some(&prefix));
        let mut files = Vec::new();
        loop {
            match listed.try_next().await {
                Ok(Some(object)) => {
                    let Some(file) = object.location.filename() else { continue };
                    files.push(ModelFileEntry { url: self.model_file_url(name, file)?, modified: object.last_modified });
                }
                Ok(None) | Err(object_store::Error::NotFound { .. }) => return Ok(files),
                Err(error) => return Err(storage_error(prefix.as_ref(), error)),
            }
        }
    }

    /// Whether there is any file under a model's name; cheaper than asking whether there is a model.
    ///
    /// # Errors
    /// A name that cannot be one, or the store refuses.
    pub async fn has_model_files(&self, name: &TableName) -> Result<bool> {
        holds_objects(self.store().as_ref(), &self.model_path(name)?).await
    }

    /// Removes all files of a model.
    ///
    /// # Errors
    /// The store refuses; what is left can be removed by calling again.
    pub async fn remove_model_files(&self, name: &TableName) -> Result<()> {
        delete_objects(self.store().as_ref(), &self.model_path(name)?, |_| true).await?;
        self.remove_empty_folders(&[&name.catalog, &name.schema, MODELS_FOLDER, &name.table]).await
    }

    fn model_path(&self, name: &TableName) -> Result<Path> {
        name.check()?;
        self.path(&[&name.catalog, &name.schema, MODELS_FOLDER, &name.table])
    }

    fn model_file_url(&self, name: &TableName, file: &str) -> Result<String> {
        let mut url = self.root().clone();
        url.path_segments_mut().map_err(|()| Error::Invalid(format!("{} cannot hold models", self.root())))?.pop_if_empty().extend([
            name.catalog.as_str(),
            name.schema.as_str(),
            MODELS_FOLDER,
            name.table.as_str(),
            file,
        ]);
        Ok(url.to_string())
    }

    /// The path in the store of an object below the warehouse's root.
    fn path_of_url(&self, url: &str) -> Result<Path> {
        let foreign = || Error::Invalid(format!("{url} is no file of the warehouse {}", self.root()));
        let parsed = Url::parse(url).map_err(|_| foreign())?;
        let below = parsed.as_str().strip_prefix(self.root().as_str()).ok_or_else(foreign)?;
        let below = Path::from_url_path(below).map_err(|_| foreign())?;
        Ok(self.path(&[])?.parts().chain(below.parts()).collect())
    }
}
