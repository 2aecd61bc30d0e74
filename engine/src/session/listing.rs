//! What there is to see for the session's user: catalogs, schemas, tables and views, for `information_schema` and for clients that browse.

use datafusion::arrow::datatypes::SchemaRef;
use orrery_lakehouse::{RelationEntry, TableName};

use super::Session;
use super::catalog::Names;
use super::information_schema;
use crate::Result;

impl Names {
    /// Schemas of a catalog by name, that of the listings themselves among them; none if there is no such catalog.
    pub(super) async fn list_schemas(&self, catalog: &str) -> Result<Vec<String>> {
        if !self.catalog_exists(catalog).await? {
            return Ok(Vec::new());
        }
        let mut schemas = self.visible_schemas(catalog).await?;
        schemas.push(information_schema::NAME.to_string());
        schemas.sort();
        Ok(schemas)
    }

    /// Tables and views of a schema by name; none if there is no such schema.
    pub(super) async fn list_relations(&self, catalog: &str, schema: &str) -> Result<Vec<RelationEntry>> {
        if schema == information_schema::NAME {
            return Ok(information_schema::relations());
        }
        if !self.catalog_exists(catalog).await? || !self.schema_exists(catalog, schema).await? {
            return Ok(Vec::new());
        }
        self.visible_relations(catalog, schema).await
    }

    /// The columns of a table or view; `None` if it is gone, or cannot be read as it is.
    pub(super) async fn columns(&self, name: &TableName) -> Option<SchemaRef> {
        match self.stored_relation(name).await {
            Ok(relation) => relation.map(|relation| relation.schema()),
            Err(error) => {
                tracing::debug!(%name, %error, "the columns of a relation cannot be told");
                None
            }
        }
    }
}

impl Session {
    /// Catalogs, by name.
    ///
    /// # Errors
    /// The rights or the warehouse cannot be read.
    pub async fn list_catalogs(&self) -> Result<Vec<String>> {
        self.with_rights(self.names.visible_catalogs()).await
    }

    /// Schemas of a catalog, by name; none if there is no such catalog.
    ///
    /// # Errors
    /// The rights or the warehouse cannot be read.
    pub async fn list_schemas(&self, catalog: &str) -> Result<Vec<String>> {
        self.with_rights(self.names.list_schemas(catalog)).await
    }

    /// Tables and views of a schema, by name; none if there is no such schema.
    ///
    /// # Errors
    /// The rights or the warehouse cannot be read.
    pub async fn list_relations(&self, catalog: &str, schema: &str) -> Result<Vec<RelationEntry>> {
        self.with_rights(self.names.list_relations(catalog, schema)).await
    }

    /// The columns of a table or view, as queries read them; `None` if it is gone, not the user's to read, or a view that cannot be planned any more.
    ///
    /// # Errors
    /// The rights cannot be read.
    pub async fn columns(&self, name: &TableName) -> Result<Option<SchemaRef>> {
        Box::pin(self.with_rights(async { Ok(self.names.columns(name).await) })).await
    }
}
