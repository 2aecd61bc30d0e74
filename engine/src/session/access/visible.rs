//! What of the warehouse the session's user may know of: the names that he has any right in.

use std::sync::Arc;

use orrery_lakehouse::{RelationEntry, TableName};

use super::Guard;
use crate::access::{Privilege, Securable};
use crate::models::{ModelRecord, Selector};
use crate::session::catalog::Names;
use crate::session::planning;
use crate::{Error, Result};

use super::Verdict;

impl Guard {
    /// Whether the session's user may know of an object that exists.
    pub fn sees(&self, on: &Securable) -> bool {
        self.reader().is_none_or(|reader| self.rights().sees(&reader, on))
    }
}

impl Names {
    /// Catalogs that the user may know of, sorted.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub(crate) async fn visible_catalogs(&self) -> Result<Vec<String>> {
        let mut catalogs = self.warehouse().catalogs().await?;
        catalogs.retain(|catalog| self.guard().sees(&Securable::catalog(catalog)));
        Ok(catalogs)
    }

    /// Whether there is a catalog that the user may know of.
    ///
    /// # Errors
    /// The name cannot be a catalog's, or the warehouse cannot be read.
    pub(crate) async fn catalog_exists(&self, catalog: &str) -> Result<bool> {
        Ok(self.warehouse().catalog_exists(catalog).await? && self.guard().sees(&Securable::catalog(catalog)))
    }

    /// Schemas of a catalog that the user may know of, sorted; none of a catalog that he may not know of.
    ///
    /// # Errors
    /// The catalog does not exist, or the warehouse cannot be read.
    pub(crate) async fn visible_schemas(&self, catalog: &str) -> Result<Vec<String>> {
        if !self.guard().sees(&Securable::catalog(catalog)) {
            return Ok(Vec::new());
        }
        let mut schemas = self.warehouse().schemas(catalog).await?;
        schemas.retain(|schema| self.guard().sees(&Securable::schema(catalog, schema)));
        Ok(schemas)
    }

    /// Whether there is a schema that the user may know of.
    ///
    /// # Errors
    /// The name cannot be a schema's, or the warehouse cannot be read.
    pub(crate) async fn schema_exists(&self, catalog: &str, schema: &str) -> Result<bool> {
        Ok(self.warehouse().schema_exists(catalog, schema).await? && self.guard().sees(&Securable::schema(catalog, schema)))
    }

    /// Tables and views of a schema that the user may know of, sorted.
    ///
    /// # Errors
    /// The schema does not exist, or the warehouse cannot be read.
    pub(crate) async fn visible_relations(&self, catalog: &str, schema: &str) -> Result<Vec<RelationEntry>> {
        let mut relations = self.warehouse().relations(catalog, schema).await?;
        relations.retain(|relation| self.guard().sees(&Securable::table(&TableName::new(catalog, schema, &relation.name))));
        Ok(relations)
    }

    /// The version of a model that whoever acts may use.
    ///
    /// # Errors
    /// There is no such model, version or alias, or none that he may know of; he lacks the right; the registry cannot be read.
    pub(crate) async fn model(&self, name: &TableName, selector: &Selector) -> Result<Arc<ModelRecord>> {
        self.require_model(name, Privilege::Execute).await?;
        self.model_version(name, selector).await
    }

    /// Whether whoever acts has a privilege on a model.
    ///
    /// # Errors
    /// There is no such model, or none that he may know of; he lacks the right.
    pub(crate) async fn require_model(&self, name: &TableName, privilege: Privilege) -> Result<()> {
        // Who may make a model in a dry run may use it there.
        if self.guard().is_unrestricted() || self.is_planned_model(name) {
            return Ok(());
        }
        let on = Securable::model(name);
        let exists = self.registry().exists(name).await?;
        match self.guard().may(privilege, &on) {
            Verdict::Allowed if exists => {
                self.guard().note_read(privilege, &on);
                Ok(())
            }
            Verdict::Refused(error) if exists => Err(error),
            _ => Err(self.missing_model(name).await),
        }
    }

    /// The error for a model that does not exist, as far as the user may know.
    pub(crate) async fn missing_model(&self, name: &TableName) -> Error {
        let at_schema = planning::missing_relation(self, name).await;
        if !at_schema.message.starts_with("the table or view") {
            return at_schema;
        }
        let error = Error::sql(format!("the model '{name}' does not exist"));
        let listing = self.registry().listing(&name.catalog, &name.schema).await.unwrap_or_default();
        let known = listing.into_iter().map(|model| model.name);
        let known: Vec<String> =
            known.filter(|model| self.guard().sees(&Securable::model(&TableName::new(&name.catalog, &name.schema, model)))).collect();
        match planning::similar(&name.table, &known) {
            Some(nearest) => error.hint(format!("did you mean '{nearest}'?")),
            None if known.is_empty() => error.hint(format!("{}.{} has no models", name.catalog, name.schema)),
            None => error.hint(format!("{}.{} has the models {}", name.catalog, name.schema, known.join(", "))),
        }
    }
}
