//! Versions and whole models go: first the row, by which a version exists, then what belonged to it.

use std::collections::BTreeSet;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use orrery_lakehouse::TableName;

use super::Registry;
use super::tables::{VersionEntry, model_rows, version_entries};
use crate::models::Selector;
use crate::stored_table::columns::to_batch;
use crate::stored_table::{Change, Rows};
use crate::{Error, Result};

impl Registry {
    /// Drops one version with its file.
    ///
    /// # Errors
    /// There is no such model or version, an alias points to it, or the registry cannot be written.
    pub async fn drop_version(&self, name: &TableName, version: u64) -> Result<()> {
        let record = self.resolve(name, &Selector::Version(version)).await?;
        let full = name.to_string();
        let aliases = self.aliases_of(name).await?;
        if let Some(alias) = aliases.iter().find(|row| row.version == version) {
            return Err(Error::sql(format!("version {version} of {name} cannot be dropped: the alias '{}' points to it", alias.alias))
                .hint(format!("ALTER MODEL {name} DROP ALIAS {0}, or ALTER MODEL {name} SET ALIAS {0} = VERSION another", alias.alias)));
        }
        // Before the row goes, so that its number is never given again.
        self.change_model(&full, |row| {
            row.last_version = row.last_version.max(version);
            row.newest_version = row.newest_version.max(version);
        })
        .await?;
        let left = self.remove_rows(|entry| entry.model == full && entry.version == version).await?;
        let newest = left.iter().filter(|entry| entry.model == full).map(|entry| entry.version).max();
        self.remove_file(&record.reference.url).await;
        match newest {
            Some(newest) => self.change_model(&full, |row| row.newest_version = newest).await,
            None => self.forget(&|model| model == full).await,
        }
    }

    /// Drops a model with all versions, files and aliases. Its runs stay on record.
    ///
    /// # Errors
    /// There is no such model, or the registry cannot be written.
    pub async fn drop_model(&self, name: &TableName) -> Result<()> {
        self.resolve(name, &Selector::Latest).await?;
        let full = name.to_string();
        self.remove_rows(|entry| entry.model == full).await?;
        self.forget(&|model| model == full).await?;
        Ok(self.warehouse.remove_model_files(name).await?)
    }

    /// Forgets the models of a schema, whose files are gone with it.
    ///
    /// # Errors
    /// The registry cannot be written.
    pub async fn forget_schema(&self, catalog: &str, schema: Option<&str>) -> Result<()> {
        let prefix = schema.map_or_else(|| format!("{catalog}."), |schema| format!("{catalog}.{schema}."));
        let gone = |model: &str| model.starts_with(&prefix);
        let rows = self.versions.read(self.place()).await?;
        if version_entries(&rows.batch).iter().any(|entry| gone(&entry.model)) {
            self.remove_rows(|entry| gone(&entry.model)).await?;
            self.forget(&gone).await?;
        }
        Ok(())
    }

    /// Removes rows of `model_versions`; returns those that are left.
    async fn remove_rows(&self, gone: impl Fn(&VersionEntry) -> bool) -> Result<Vec<VersionEntry>> {
        let mut left = Vec::new();
        let changed = self.versions.change(self.place(), |base| {
            let (doomed, kept): (Vec<VersionEntry>, Vec<VersionEntry>) = version_entries(&base.batch).into_iter().partition(&gone);
            left = kept;
            Ok(if doomed.is_empty() { None } else { Some(Change::Replace(without(base, &doomed)?)) })
        });
        changed.await?;
        Ok(left)
    }

    /// Removes models from the tables beside `model_versions`.
    async fn forget(&self, gone: &(dyn Fn(&str) -> bool + Sync)) -> Result<()> {
        let (models, aliases) = futures::join!(self.forget_rows(gone), self.forget_aliases(gone));
        models.and(aliases)
    }

    async fn forget_rows(&self, gone: &(dyn Fn(&str) -> bool + Sync)) -> Result<()> {
        let changed = self.models.change(self.place(), |base| {
            let mut rows = model_rows(&base.batch);
            let count = rows.len();
            rows.retain(|row| !gone(&row.model));
            Ok(if rows.len() == count { None } else { Some(Change::Replace(to_batch(self.models.schema(), &rows)?)) })
        });
        changed.await
    }
}

fn without(base: &Rows, doomed: &[VersionEntry]) -> Result<arrow::array::RecordBatch> {
    let doomed: BTreeSet<usize> = doomed.iter().map(|entry| entry.row).collect();
    let kept: BooleanArray = (0..base.batch.num_rows()).map(|row| Some(!doomed.contains(&row))).collect();
    Ok(filter_record_batch(&base.batch, &kept)?)
}
