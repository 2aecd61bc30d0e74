//! Models that a dry run would have made: what is known of them without training, under their names, so that later statements of the script plan.
//!
//! A model that would be trained is kept with a record like that of a registered version and an [outline](orrery_models::Trainer::outline) that has the
//! right columns and no content. What statements would do to aliases and versions is followed too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::datasource::empty::EmptyTable;
use orrery_lakehouse::TableName;
use orrery_models::Model;
use parking_lot::RwLock;

use super::catalog::Names;
use crate::models::registry::{AliasRow, ModelListing, missing_alias};
use crate::models::{ModelRecord, Selector, cache};
use crate::{Error, Result};

/// What a dry run knows of models; see the module documentation.
#[derive(Default)]
pub(super) struct PlannedModels(RwLock<HashMap<TableName, Planned>>);

/// What would have become of one model.
#[derive(Default, Clone)]
struct Planned {
    /// Versions that would be there beside those of the registry.
    versions: Vec<(Arc<ModelRecord>, Arc<dyn Model>)>,
    /// Where aliases would point; `None`: nowhere.
    aliases: BTreeMap<String, Option<u64>>,
    /// The number of the version that would have been made last.
    last: u64,
    /// Versions of the registry that would be gone.
    dropped: BTreeSet<u64>,
    /// The whole model of the registry would be gone.
    is_dropped: bool,
}

impl Names {
    fn planned_model(&self, name: &TableName) -> Option<Planned> {
        self.planned_models.0.read().get(name).cloned()
    }

    fn change_planned(&self, name: &TableName, change: impl FnOnce(&mut Planned)) {
        change(self.planned_models.0.write().entry(name.clone()).or_default());
    }

    /// Whether there is a model of this name, or would be.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub(super) async fn model_exists(&self, name: &TableName) -> Result<bool> {
        match self.planned_model(name) {
            None => self.registry().exists(name).await,
            Some(_) => Ok(!self.model_versions(name).await?.is_empty()),
        }
    }

    /// The versions of a model that exist or would, oldest first.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub(super) async fn model_versions(&self, name: &TableName) -> Result<Vec<ModelRecord>> {
        let Some(planned) = self.planned_model(name) else { return self.registry().versions_of(name).await };
        let mut versions = if planned.is_dropped { Vec::new() } else { self.registry().versions_of(name).await? };
        versions.retain(|record| !planned.dropped.contains(&record.reference.version));
        versions.extend(planned.versions.iter().map(|(record, _)| ModelRecord::clone(record)));
        Ok(versions)
    }

    /// The aliases that a model has or would have.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub(super) async fn model_aliases(&self, name: &TableName) -> Result<Vec<AliasRow>> {
        let Some(planned) = self.planned_model(name) else { return self.registry().aliases_of(name).await };
        let mut aliases = if planned.is_dropped { Vec::new() } else { self.registry().aliases_of(name).await? };
        aliases.retain(|row| !planned.aliases.contains_key(&row.alias));
        let row = |(alias, version): (&String, &Option<u64>)| {
            version.map(|version| AliasRow { model: name.to_string(), alias: alias.clone(), version, changed_at: 0 })
        };
        aliases.extend(planned.aliases.iter().filter_map(row));
        Ok(aliases)
    }

    /// The models of a schema that exist or would, by name.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub(super) async fn list_models(&self, catalog: &str, schema: &str) -> Result<Vec<ModelListing>> {
        let mut models = self.registry().listing(catalog, schema).await?;
        let is_here = |name: &&TableName| name.catalog == catalog && name.schema == schema;
        let planned: Vec<TableName> = self.planned_models.0.read().keys().filter(is_here).cloned().collect();
        for name in planned {
            let known = models.iter().position(|model| model.name == name.table).map(|at| models.remove(at));
            let versions = self.model_versions(&name).await?;
            let Some(newest) = versions.last().cloned() else { continue };
            models.push(ModelListing {
                versions: versions.iter().map(|record| record.reference.version).collect(),
                newest,
                aliases: self.model_aliases(&name).await?,
                row: known.and_then(|model| model.row),
                name: name.table,
            });
        }
        models.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(models)
    }

    /// Whether the dry run knows more of a model than the registry does.
    pub(super) fn is_planned_model(&self, name: &TableName) -> bool {
        self.planned_model(name).is_some()
    }

    /// The version that a statement means, one that exists or would; rights are not asked for.
    ///
    /// # Errors
    /// There is no such model, version or alias, or the registry cannot be read.
    pub(super) async fn model_version(&self, name: &TableName, selector: &Selector) -> Result<Arc<ModelRecord>> {
        let Some(planned) = self.planned_model(name) else { return self.registry().resolve(name, selector).await };
        let versions = self.model_versions(name).await?;
        let version = match selector {
            Selector::Latest => versions.last().map(|record| record.reference.version),
            Selector::Version(version) => Some(*version),
            Selector::Alias(alias) => {
                let aliases = self.model_aliases(name).await?;
                match aliases.iter().find(|row| row.alias == *alias) {
                    Some(row) => Some(row.version),
                    None => return Err(missing_alias(name, alias, &aliases.iter().map(|row| row.alias.as_str()).collect::<Vec<_>>())),
                }
            }
        };
        if let Some((record, _)) = planned.versions.iter().find(|(record, _)| Some(record.reference.version) == version) {
            return Ok(Arc::clone(record));
        }
        let found = versions.into_iter().find(|record| Some(record.reference.version) == version);
        found.map(Arc::new).ok_or_else(|| match version {
            Some(version) => Error::sql(format!("{name} has no version {version} at this place of the script")),
            None => Error::sql(format!("the model '{name}' does not exist any more at this place of the script")),
        })
    }

    /// Remembers a version that would be made; its number is worked out.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub(super) async fn plan_model(&self, name: &TableName, mut record: ModelRecord, model: Arc<dyn Model>) -> Result<()> {
        let newest = self.model_versions(name).await?.last().map_or(0, |record| record.reference.version);
        record.reference.version = self.last_number(name, newest).await? + 1;
        record.reference.checksum = format!("planned {}", uuid::Uuid::new_v4());
        record.created_at_micros = chrono::Utc::now().timestamp_micros();
        cache::process().lend(&record.reference, &model);
        self.change_planned(name, |planned| {
            planned.last = record.reference.version;
            planned.versions.push((Arc::new(record), model));
        });
        for (table, schema) in self.registry().schemas() {
            if self.relation(&table).await?.is_none() {
                self.put_planned(table, Arc::new(EmptyTable::new(schema)));
            }
        }
        Ok(())
    }

    /// The greatest number that a model has given: those of versions that were dropped are not given again as long as there is a version.
    async fn last_number(&self, name: &TableName, newest: u64) -> Result<u64> {
        if newest == 0 {
            return Ok(0);
        }
        let (is_dropped, last) = self.planned_model(name).map_or((false, 0), |planned| (planned.is_dropped, planned.last));
        if is_dropped {
            return Ok(newest.max(last));
        }
        let (full, rows) = (name.to_string(), self.registry().model_rows().await?);
        let given = rows.iter().find(|row| row.model == full).map_or(0, |row| row.last_version);
        Ok(newest.max(last).max(given))
    }

    /// Remembers that an alias would point to a version.
    ///
    /// # Errors
    /// There is no such model or version.
    pub(super) async fn plan_alias(&self, name: &TableName, alias: &str, version: u64) -> Result<()> {
        self.model(name, &Selector::Version(version)).await?;
        self.change_planned(name, |planned| {
            planned.aliases.insert(alias.to_string(), Some(version));
        });
        Ok(())
    }

    /// Remembers that an alias would go.
    ///
    /// # Errors
    /// There is no such model or alias.
    pub(super) async fn plan_drop_alias(&self, name: &TableName, alias: &str) -> Result<()> {
        self.model(name, &Selector::Latest).await?;
        let aliases = self.model_aliases(name).await?;
        if !aliases.iter().any(|row| row.alias == alias) {
            return Err(missing_alias(name, alias, &aliases.iter().map(|row| row.alias.as_str()).collect::<Vec<_>>()));
        }
        self.change_planned(name, |planned| {
            planned.aliases.insert(alias.to_string(), None);
        });
        Ok(())
    }

    /// Remembers that a version would go, or the whole model.
    ///
    /// # Errors
    /// There is no such model or version, or an alias points to the version.
    pub(super) async fn plan_drop_model(&self, name: &TableName, version: Option<u64>) -> Result<()> {
        self.model(name, &version.map_or(Selector::Latest, Selector::Version)).await?;
        if let Some(version) = version {
            let aliases = self.model_aliases(name).await?;
            if let Some(row) = aliases.iter().find(|row| row.version == version) {
                let alias = &row.alias;
                return Err(Error::sql(format!("version {version} of {name} cannot be dropped: the alias '{alias}' points to it"))
                    .hint(format!("ALTER MODEL {name} DROP ALIAS {alias}, or ALTER MODEL {name} SET ALIAS {alias} = VERSION another")));
            }
        }
        self.change_planned(name, |planned| match version {
            None => *planned = Planned { is_dropped: true, ..Planned::default() },
            Some(version) => {
                planned.versions.retain(|(record, _)| record.reference.version != version);
                planned.dropped.insert(version);
            }
        });
        Ok(())
    }
}
