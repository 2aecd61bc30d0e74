//! Catalogs and schemas. Each is a folder with a marker object, so that an empty one exists on stores without folders; some exist without a marker.

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions, PutPayload};
use serde_json::json;

use super::Warehouse;
use super::listing::{delete_objects, folders, holds_objects, object_exists};
use crate::error::{Error, Result, storage_error};
use crate::names::{TableName, check_identifier};

/// Catalogs that exist in every warehouse.
const BUILT_IN_CATALOGS: [&str; 4] = ["dev", "prod", "staging", "system"];
/// The schema that exists in every catalog.
const DEFAULT_SCHEMA: &str = "default";
const CATALOG_MARKER: &str = "_catalog.json";
const SCHEMA_MARKER: &str = "_schema.json";
/// Folders looked into at the same time when a listing needs more than one request.
const LISTING_CONCURRENCY: usize = 16;

impl Warehouse {
    /// Names of the catalogs, sorted; `dev`, `prod`, `staging` and `system` always exist.
    pub async fn catalogs(&self) -> Result<Vec<String>> {
        let mut names = self.filled_folders(&[]).await?;
        names.extend(BUILT_IN_CATALOGS.map(str::to_string));
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Whether the catalog exists.
    pub async fn catalog_exists(&self, catalog: &str) -> Result<bool> {
        check_identifier("catalog", catalog)?;
        Ok(BUILT_IN_CATALOGS.contains(&catalog) || self.is_there(&[catalog], CATALOG_MARKER).await?)
    }

    /// Creates a catalog.
    pub async fn create_catalog(&self, catalog: &str, if_not_exists: bool, comment: Option<&str>) -> Result<()> {
        if !self.catalog_exists(catalog).await? && self.put_marker(&self.path(&[catalog, CATALOG_MARKER])?, comment).await? || if_not_exists
        {
            return Ok(());
        }
        Err(Error::AlreadyExists(format!("catalog {catalog} already exists")))
    }

    /// Drops a catalog; one that still has schemas besides `default`, or tables or views in that one, only with `cascade`.
    pub async fn drop_catalog(&self, catalog: &str, if_exists: bool, cascade: bool) -> Result<()> {
        check_identifier("catalog", catalog)?;
        if BUILT_IN_CATALOGS.contains(&catalog) {
            return Err(Error::Invalid(format!("catalog {catalog} is built in and cannot be dropped; drop its schemas instead")));
        }
        if !self.catalog_exists(catalog).await? {
            return if if_exists { Ok(()) } else { Err(Error::NotFound(format!("catalog {catalog} does not exist"))) };
        }
        let schemas = self.schemas(catalog).await?;
        if !cascade {
            if let Some(schema) = schemas.iter().find(|schema| *schema != DEFAULT_SCHEMA) {
                return Err(Error::Invalid(format!(
                    "catalog {catalog} is not empty: it has the schema {schema}; add CASCADE to drop everything in it"
                )));
            }
            self.require_empty_schema(catalog, DEFAULT_SCHEMA).await?;
        }
        for schema in &schemas {
            self.clear_schema(catalog, schema).await?;
        }
        delete_objects(self.store().as_ref(), &self.path(&[catalog])?, |_| true).await?;
        self.remove_empty_folders(&[catalog]).await
    }

    /// Names of the schemas of a catalog, sorted; `default` always exists. The catalog has to exist.
    pub async fn schemas(&self, catalog: &str) -> Result<Vec<String>> {
        self.require_catalog(catalog).await?;
        let mut names = self.filled_folders(&[catalog]).await?;
        names.push(DEFAULT_SCHEMA.to_string());
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Whether the schema exists; false also when its catalog does not.
    pub async fn schema_exists(&self, catalog: &str, schema: &str) -> Result<bool> {
        check_identifier("catalog", catalog)?;
        check_identifier("schema", schema)?;
        if schema == DEFAULT_SCHEMA {
            return self.catalog_exists(catalog).await;
        }
        self.is_there(&[catalog, schema], SCHEMA_MARKER).await
    }

    /// Whether a folder has its marker or, without one, anything else. The marker nearly always tells, where a listing of a local folder looks through all of it.
    async fn is_there(&self, folder: &[&str], marker: &str) -> Result<bool> {
        let store = self.store();
        let marker = self.path(&[folder, &[marker]].concat())?;
        Ok(object_exists(store.as_ref(), &marker).await? || holds_objects(store.as_ref(), &self.path(folder)?).await?)
    }

    /// Creates a schema in an existing catalog.
    pub async fn create_schema(&self, catalog: &str, schema: &str, if_not_exists: bool, comment: Option<&str>) -> Result<()> {
        self.require_catalog(catalog).await?;
        let exists = self.schema_exists(catalog, schema).await?;
        if !exists && self.put_marker(&self.path(&[catalog, schema, SCHEMA_MARKER])?, comment).await? || if_not_exists {
            return Ok(());
        }
        Err(Error::AlreadyExists(format!("schema {catalog}.{schema} already exists")))
    }

    /// Drops a schema; one that still has tables or views only with `cascade`.
    pub async fn drop_schema(&self, catalog: &str, schema: &str, if_exists: bool, cascade: bool) -> Result<()> {
        if schema == DEFAULT_SCHEMA {
            return Err(Error::Invalid(format!(
                "schema {catalog}.{schema} is built in and cannot be dropped; drop its tables and views instead"
            )));
        }
        if !self.schema_exists(catalog, schema).await? {
            return if if_exists { Ok(()) } else { Err(Error::NotFound(format!("schema {catalog}.{schema} does not exist"))) };
        }
        if !cascade {
            self.require_empty_schema(catalog, schema).await?;
        }
        self.clear_schema(catalog, schema).await
    }

    pub(crate) async fn require_catalog(&self, catalog: &str) -> Result<()> {
        if self.catalog_exists(catalog).await? {
            return Ok(());
        }
        Err(Error::NotFound(format!("catalog {catalog} does not exist; create it with CREATE CATALOG {catalog}")))
    }

    pub(crate) async fn require_schema(&self, catalog: &str, schema: &str) -> Result<()> {
        if self.schema_exists(catalog, schema).await? {
            return Ok(());
        }
        self.require_catalog(catalog).await?;
        Err(Error::NotFound(format!("schema {catalog}.{schema} does not exist; create it with CREATE SCHEMA {catalog}.{schema}")))
    }

    async fn require_empty_schema(&self, catalog: &str, schema: &str) -> Result<()> {
        match self.relations(catalog, schema).await?.first() {
            None => Ok(()),
            Some(entry) => Err(Error::Invalid(format!(
                "schema {catalog}.{schema} is not empty: it has the {} {}; add CASCADE to drop everything in it",
                entry.kind, entry.name
            ))),
        }
    }

    /// Drops all tables one by one, so that an interruption leaves whole tables, then everything else and the marker.
    async fn clear_schema(&self, catalog: &str, schema: &str) -> Result<()> {
        let prefix = self.path(&[catalog, schema])?;
        for table in folders(self.store().as_ref(), &prefix).await? {
            self.erase_table(&TableName::new(catalog, schema, table)).await?;
        }
        let marker = self.path(&[catalog, schema, SCHEMA_MARKER])?;
        delete_objects(self.store().as_ref(), &prefix, |path| *path != marker).await?;
        delete_objects(self.store().as_ref(), &prefix, |_| true).await?;
        self.remove_empty_folders(&[catalog, schema]).await
    }

    /// Writes a marker; false when it was there before.
    async fn put_marker(&self, path: &Path, comment: Option<&str>) -> Result<bool> {
        let text = json!({ "comment": comment, "createdAt": chrono::Utc::now() }).to_string();
        match self.store().put_opts(path, PutPayload::from(text), PutOptions { mode: PutMode::Create, ..PutOptions::default() }).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(storage_error(path.as_ref(), error)),
        }
    }

    /// Folders under `parts` that hold any object.
    async fn filled_folders(&self, parts: &[&str]) -> Result<Vec<String>> {
        let store = self.store();
        let names = folders(store.as_ref(), &self.path(parts)?).await?;
        let checks: Vec<_> = names
            .into_iter()
            .map(|name| {
                let path = self.path(&[parts, &[name.as_str()]].concat());
                let store = store.as_ref();
                async move { Ok::<_, Error>((holds_objects(store, &path?).await?, name)) }
            })
            .collect();
        let checked: Vec<(bool, String)> = futures::stream::iter(checks).buffered(LISTING_CONCURRENCY).try_collect().await?;
        Ok(checked.into_iter().filter_map(|(filled, name)| filled.then_some(name)).collect())
    }
}
