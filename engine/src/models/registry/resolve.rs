//! From a model's name and selector to one version.

use std::sync::Arc;

use orrery_lakehouse::TableName;

use super::tables::{VersionEntry, record_of, version_entries};
use super::{ModelRecord, Registry};
use crate::models::Selector;
use crate::{Error, Result};

/// How alike a name has to be to be offered as "did you mean".
const SIMILAR_ENOUGH: f64 = 0.7;

impl Registry {
    /// The version that a statement means.
    ///
    /// # Errors
    /// There is no such model (with the nearest name), version (with those that exist) or alias (with those that exist), or the registry cannot be read.
    pub async fn resolve(&self, name: &TableName, selector: &Selector) -> Result<Arc<ModelRecord>> {
        let rows = self.versions.read(self.place()).await?;
        let full = name.to_string();
        let all = version_entries(&rows.batch);
        let versions: Vec<&VersionEntry> = all.iter().filter(|entry| entry.model == full).collect();
        let Some(newest) = versions.last() else { return Err(self.missing_model(name, &all).await) };
        let entry = match selector {
            Selector::Latest => newest,
            Selector::Version(version) => match versions.iter().find(|entry| entry.version == *version) {
                Some(entry) => entry,
                None => return Err(self.missing_version(name, *version, &versions).await),
            },
            Selector::Alias(alias) => {
                let aliases = self.aliases_of(name).await?;
                let Some(found) = aliases.iter().find(|row| row.alias == *alias) else {
                    let known: Vec<&str> = aliases.iter().map(|row| row.alias.as_str()).collect();
                    return Err(missing_alias(name, alias, &known));
                };
                match versions.iter().find(|entry| entry.version == found.version) {
                    Some(entry) => entry,
                    None => {
                        let problem = format!("the alias '{alias}' of {name} points to version {}, which was dropped", found.version);
                        return Err(Error::sql(problem).hint(format!("ALTER MODEL {name} SET ALIAS {alias} = VERSION {}", newest.version)));
                    }
                }
            }
        };
        record_of(&rows.batch, entry).map(Arc::new)
    }

    /// The error for a model that does not exist.
    pub(super) async fn missing_model(&self, name: &TableName, all: &[VersionEntry]) -> Error {
        if !self.warehouse.catalog_exists(&name.catalog).await.unwrap_or(true) {
            return Error::sql(format!("the catalog '{}' does not exist", name.catalog));
        }
        if !self.warehouse.schema_exists(&name.catalog, &name.schema).await.unwrap_or(true) {
            return Error::sql(format!("the schema '{}.{}' does not exist", name.catalog, name.schema));
        }
        if self.warehouse.relation(name).await.is_ok_and(|found| found.is_some()) {
            return Error::sql(format!("{name} is a table or view, not a model")).hint("SHOW MODELS lists models");
        }
        let error = Error::sql(format!("the model '{name}' does not exist"));
        let prefix = format!("{}.{}.", name.catalog, name.schema);
        let mut known: Vec<&str> = all.iter().filter_map(|entry| entry.model.strip_prefix(&prefix)).collect();
        known.dedup();
        let scored = known.iter().map(|known| (strsim::jaro_winkler(&name.table, known), *known));
        let nearest = scored.filter(|(score, _)| *score >= SIMILAR_ENOUGH).max_by(|a, b| a.0.total_cmp(&b.0));
        let elsewhere = all.iter().find(|entry| entry.model.rsplit('.').next() == Some(name.table.as_str()));
        match (nearest, elsewhere) {
            (Some((_, nearest)), _) => error.hint(format!("did you mean '{nearest}'?")),
            (None, Some(elsewhere)) => error.hint(format!("did you mean '{}'?", elsewhere.model)),
            (None, None) if known.is_empty() => error.hint(format!("{}.{} has no models", name.catalog, name.schema)),
            (None, None) => error.hint(format!("{}.{} has the models {}", name.catalog, name.schema, known.join(", "))),
        }
    }

    /// The error for a version that does not exist.
    pub(super) async fn missing_version(&self, name: &TableName, version: u64, versions: &[&VersionEntry]) -> Error {
        let (full, newest) = (name.to_string(), versions.last().map_or(0, |entry| entry.version));
        let given = self.model_rows().await.unwrap_or_default().iter().find(|row| row.model == full).map_or(0, |row| row.last_version);
        let problem = if (1..=given.max(newest)).contains(&version) {
            format!("version {version} of {name} was dropped")
        } else {
            format!("{name} has no version {version}")
        };
        Error::sql(problem).hint(format!("its versions are {}", numbers(versions)))
    }
}

/// The error for an alias that does not exist.
pub(crate) fn missing_alias(name: &TableName, alias: &str, known: &[&str]) -> Error {
    let error = Error::sql(format!("{name} has no alias '{alias}'"));
    if known.is_empty() {
        return error.hint(format!("it has no aliases; ALTER MODEL {name} SET ALIAS {alias} = VERSION number makes one"));
    }
    error.hint(format!("its aliases are {}", known.join(", ")))
}

/// `1, 2, 5`; long lists from their newest end.
fn numbers(versions: &[&VersionEntry]) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<String> = versions.iter().rev().take(SHOWN).rev().map(|entry| entry.version.to_string()).collect();
    let more = if versions.len() > SHOWN { "…, " } else { "" };
    format!("{more}{}", shown.join(", "))
}
