//! The registry: which models there are, their versions, aliases, and the attempts to train them.
//!
//! ```text
//! <warehouse>/<catalog>/<schema>/_models/<model>/<uuid>.safetensors   a version's file: immutable, known by its SHA-256
//! system.ml.model_versions   the truth: a version exists when its row does
//! system.ml.models           a row per model: description, labels, the highest number given
//! system.ml.aliases          names for versions
//! system.ml.runs             every attempt to train, whatever came of it
//! ```
//!
//! A version is registered in three steps: its file is stored under a name of its own, its row is committed, the other tables follow. The second step is the
//! one that counts: it only lands on the version of the table from which the number was worked out, so that no number is given twice. What fails before it
//! leaves a file that nobody knows, which is removed; what fails after it leaves a version that is whole.

mod aliases;
mod drop;
mod register;
mod resolve;
mod tables;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use datafusion::prelude::SessionContext;
use orrery_lakehouse::{TableName, Warehouse};
use orrery_models::Model;

pub(crate) use self::register::already_exists;
pub use self::register::{IfExists, NewVersion, Registered};
pub(crate) use self::resolve::missing_alias;
pub use self::tables::{AliasRow, ModelRow, RunRow, RunStatus};
use super::{ModelRecord, ModelReference, cache};
use crate::stored_table::columns::to_batch;
use crate::stored_table::{Place, StoredTable};
use crate::{Blame, Error, Result};

/// The registry of a warehouse; see the module documentation.
pub struct Registry {
    warehouse: Warehouse,
    place: OnceLock<Place>,
    versions: StoredTable,
    models: StoredTable,
    aliases: StoredTable,
    runs: StoredTable,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("warehouse", &self.warehouse.root().as_str()).finish_non_exhaustive()
    }
}

/// A model as `SHOW MODELS` lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelListing {
    /// Last level of its name.
    pub name: String,
    /// Numbers of the versions that exist, ascending.
    pub versions: Vec<u64>,
    /// The newest of them.
    pub newest: ModelRecord,
    /// Names for versions.
    pub aliases: Vec<AliasRow>,
    /// What is known of it as a whole.
    pub row: Option<ModelRow>,
}

impl Registry {
    /// The registry of a warehouse. Nothing is read yet.
    pub fn new(warehouse: Warehouse) -> Self {
        cache::process().learn_stores(&warehouse);
        Self {
            warehouse,
            place: OnceLock::new(),
            versions: tables::model_versions(),
            models: tables::models(),
            aliases: tables::aliases(),
            runs: tables::runs(),
        }
    }

    fn place(&self) -> &Place {
        self.place.get_or_init(|| {
            let context = SessionContext::new();
            self.warehouse.register_with(&context.runtime_env());
            Place { warehouse: self.warehouse.clone(), context }
        })
    }

    /// The tables of the registry by full name, whether they are there or not, with their columns.
    pub(crate) fn schemas(&self) -> Vec<(TableName, SchemaRef)> {
        let tables = [&self.models, &self.versions, &self.aliases, &self.runs];
        tables.iter().map(|table| (table.full_name().clone(), Arc::clone(table.schema()))).collect()
    }

    /// Reads what registering a version looks at, so that it is in memory when it does: meant to run beside the training. What fails here fails there again.
    pub(crate) async fn read_ahead(&self) {
        let place = self.place();
        let (versions, models, runs) = futures::join!(self.versions.read(place), self.models.read(place), self.runs.table(place));
        for error in [versions.err(), models.err(), runs.err()].into_iter().flatten() {
            tracing::debug!(error = %error.message, "the registry cannot be read ahead of its use");
        }
    }

    /// Whether there is a model of this name.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn exists(&self, name: &TableName) -> Result<bool> {
        // Nearly always there is not, which one look at its folder tells.
        if !self.warehouse.has_model_files(name).await? {
            return Ok(false);
        }
        let (rows, name) = (self.versions.read(self.place()).await?, name.to_string());
        Ok(tables::version_entries(&rows.batch).iter().any(|entry| entry.model == name))
    }

    /// Records of all versions of a model that exist, oldest first; none: there is no such model.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn versions_of(&self, name: &TableName) -> Result<Vec<ModelRecord>> {
        let (rows, name) = (self.versions.read(self.place()).await?, name.to_string());
        let entries = tables::version_entries(&rows.batch);
        entries.iter().filter(|entry| entry.model == name).map(|entry| tables::record_of(&rows.batch, entry)).collect()
    }

    /// Any model of a schema, or of a catalog.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn any_model_in(&self, catalog: &str, schema: Option<&str>) -> Result<Option<String>> {
        let rows = self.versions.read(self.place()).await?;
        let prefix = schema.map_or_else(|| format!("{catalog}."), |schema| format!("{catalog}.{schema}."));
        Ok(tables::version_entries(&rows.batch).into_iter().map(|entry| entry.model).find(|model| model.starts_with(&prefix)))
    }

    /// The models of a schema, by name.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn listing(&self, catalog: &str, schema: &str) -> Result<Vec<ModelListing>> {
        let place = self.place();
        let (versions, models, aliases) = futures::join!(self.versions.read(place), self.models.read(place), self.aliases.read(place));
        let (versions, models, aliases) = (versions?, tables::model_rows(&models?.batch), tables::alias_rows(&aliases?.batch));
        let prefix = format!("{catalog}.{schema}.");
        let mut listed: Vec<(tables::VersionEntry, Vec<u64>)> = Vec::new();
        for entry in tables::version_entries(&versions.batch) {
            match listed.last_mut() {
                Some((newest, numbers)) if newest.model == entry.model => {
                    numbers.push(entry.version);
                    *newest = entry;
                }
                _ if entry.model.starts_with(&prefix) => listed.push((entry.clone(), vec![entry.version])),
                _ => {}
            }
        }
        let listing = |(newest, numbers): (tables::VersionEntry, Vec<u64>)| {
            Ok(ModelListing {
                name: newest.model.strip_prefix(&prefix).unwrap_or(&newest.model).to_string(),
                versions: numbers,
                newest: tables::record_of(&versions.batch, &newest)?,
                aliases: aliases.iter().filter(|row| row.model == newest.model).cloned().collect(),
                row: models.iter().find(|row| row.model == newest.model).cloned(),
            })
        };
        listed.into_iter().map(listing).collect()
    }

    /// What is known of models as a whole, by name.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn model_rows(&self) -> Result<Vec<ModelRow>> {
        Ok(tables::model_rows(&self.models.read(self.place()).await?.batch))
    }

    /// The aliases of a model.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub async fn aliases_of(&self, name: &TableName) -> Result<Vec<AliasRow>> {
        let (rows, name) = (self.aliases.read(self.place()).await?, name.to_string());
        Ok(tables::alias_rows(&rows.batch).into_iter().filter(|row| row.model == name).collect())
    }

    /// Adds an attempt to `system.ml.runs`.
    ///
    /// # Errors
    /// The table cannot be written.
    pub async fn note_run(&self, run: RunRow) -> Result<()> {
        let rows = to_batch(self.runs.schema(), &[run])?;
        self.runs.append(self.place(), &rows).await
    }

    /// The bytes of a version's file, found to be those that were registered.
    ///
    /// # Errors
    /// The file is missing, damaged or cannot be read.
    pub async fn file_of(&self, reference: &ModelReference) -> Result<bytes::Bytes> {
        let missing = |error: orrery_lakehouse::Error| match error {
            orrery_lakehouse::Error::NotFound(_) => {
                Error::new(Blame::Storage, format!("the file of {reference} is missing: {}", reference.url))
                    .hint("restore the file, or drop the version and train the model anew")
            }
            other => other.into(),
        };
        let bytes = self.warehouse.read_model_file(&reference.url).await.map_err(missing)?;
        let found = orrery_models::model_file::checksum(&bytes);
        if found == reference.checksum {
            return Ok(bytes);
        }
        let problem = format!(
            "the file of {reference} is damaged: {} has the SHA-256 {found}, and {} was registered",
            reference.url, reference.checksum
        );
        Err(Error::new(Blame::Storage, problem).hint("restore the file, or drop the version and train the model anew"))
    }

    /// The model of a version, from memory if it is there.
    ///
    /// # Errors
    /// Its file is missing, damaged or cannot be read.
    pub async fn load(&self, reference: &ModelReference) -> Result<Arc<dyn Model>> {
        Ok(cache::process().load(reference).await?)
    }

    /// Microseconds since 1970 UTC.
    fn now() -> i64 {
        chrono::Utc::now().timestamp_micros()
    }
}
