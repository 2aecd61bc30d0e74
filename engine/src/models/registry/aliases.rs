//! Aliases and the description of a model: what may change of it.

use std::collections::BTreeMap;

use orrery_lakehouse::TableName;

use super::Registry;
use super::resolve::missing_alias;
use super::tables::{AliasRow, alias_rows};
use crate::Result;
use crate::models::Selector;
use crate::stored_table::Change;
use crate::stored_table::columns::to_batch;

impl Registry {
    /// Makes an alias stand for a version from now on; returns the version it stood for.
    ///
    /// # Errors
    /// There is no such model or version, or the registry cannot be written.
    pub async fn set_alias(&self, name: &TableName, alias: &str, version: u64) -> Result<Option<u64>> {
        self.resolve(name, &Selector::Version(version)).await?;
        let full = name.to_string();
        let mut before = None;
        self.change_aliases(|rows| {
            before = rows.iter().find(|row| row.model == full && row.alias == alias).map(|row| row.version);
            rows.retain(|row| row.model != full || row.alias != alias);
            rows.push(AliasRow { model: full.clone(), alias: alias.to_string(), version, changed_at: Self::now() });
            Ok(true)
        })
        .await?;
        Ok(before)
    }

    /// Removes an alias.
    ///
    /// # Errors
    /// There is no such model or alias, or the registry cannot be written.
    pub async fn drop_alias(&self, name: &TableName, alias: &str) -> Result<()> {
        self.resolve(name, &Selector::Latest).await?;
        let full = name.to_string();
        self.change_aliases(|rows| {
            let count = rows.len();
            let known: Vec<String> = rows.iter().filter(|row| row.model == full).map(|row| row.alias.clone()).collect();
            rows.retain(|row| row.model != full || row.alias != alias);
            if rows.len() == count {
                return Err(missing_alias(name, alias, &known.iter().map(String::as_str).collect::<Vec<_>>()));
            }
            Ok(true)
        })
        .await
    }

    /// Removes all aliases of models of which `gone` is true.
    pub(super) async fn forget_aliases(&self, gone: impl Fn(&str) -> bool) -> Result<()> {
        self.change_aliases(|rows| {
            let count = rows.len();
            rows.retain(|row| !gone(&row.model));
            Ok(rows.len() < count)
        })
        .await
    }

    /// Changes the table of aliases; `change` says whether there is anything to write.
    async fn change_aliases(&self, mut change: impl FnMut(&mut Vec<AliasRow>) -> Result<bool>) -> Result<()> {
        let changed = self.aliases.change(self.place(), |base| {
            let mut rows = alias_rows(&base.batch);
            Ok(if change(&mut rows)? { Some(Change::Replace(to_batch(self.aliases.schema(), &rows)?)) } else { None })
        });
        changed.await
    }

    /// Sets description and labels of a model; `None` keeps what it has.
    ///
    /// # Errors
    /// There is no such model, or the registry cannot be written.
    pub async fn describe(&self, name: &TableName, description: Option<&str>, labels: Option<&BTreeMap<String, String>>) -> Result<()> {
        let newest = self.resolve(name, &Selector::Latest).await?;
        self.change_model(&name.to_string(), |row| {
            if row.newest_version == 0 {
                row.newest_version = newest.reference.version;
                row.last_version = newest.reference.version;
                row.model_type.clone_from(&newest.model_type);
            }
            if let Some(description) = description {
                row.description = Some(description.to_string()).filter(|text| !text.is_empty());
            }
            if let Some(labels) = labels {
                row.labels.clone_from(labels);
            }
        })
        .await
    }
}
