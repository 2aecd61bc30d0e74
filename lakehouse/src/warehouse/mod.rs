//! The warehouse: a folder on an object store in which catalogs, schemas, tables and views live.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use object_store::ObjectStore;
use url::Url;

use crate::error::{Error, Result};
use crate::names::TableName;
use crate::table::Table;
use crate::view::ViewDefinition;

/// A handle to a warehouse; cheap to clone. Snapshots are cached behind it.
#[derive(Debug, Clone)]
pub struct Warehouse {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: Url,
    store: Arc<dyn ObjectStore>,
    store_url: ObjectStoreUrl,
}

/// What a name in a schema stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RelationKind {
    /// A Delta table.
    Table,
    /// A stored query.
    View,
}

/// One entry of a schema's listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelationEntry {
    /// Last level of the name.
    pub name: String,
    /// Table or view.
    pub kind: RelationKind,
}

/// A table or a view.
#[derive(Debug, Clone)]
pub enum Relation {
    /// A table at its newest version.
    Table(Arc<Table>),
    /// A stored query.
    View(ViewDefinition),
}

fn unbuilt<T>(what: &str) -> Result<T> {
    Err(Error::NotFound(format!("{what} does not exist")))
}

impl Warehouse {
    /// Opens the warehouse at a local path or an object store's URL (`file`, `s3`, `gs`, `az`, `memory`). Credentials come from the usual environment
    /// variables, then from `options`, whose keys are those of the `object_store` crate. A local folder is created by the first write.
    pub async fn open(location: &str, options: HashMap<String, String>) -> Result<Warehouse> {
        let _ = options;
        unbuilt(location)
    }

    /// URL of the warehouse's folder.
    pub fn root(&self) -> &Url {
        &self.inner.root
    }

    /// The object store that holds the warehouse; paths are relative to [`store_url`](Self::store_url), not to the root.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.inner.store)
    }

    /// The URL under which scans and writes find the store in a `RuntimeEnv`.
    pub fn store_url(&self) -> ObjectStoreUrl {
        self.inner.store_url.clone()
    }

    /// Makes the store known to a runtime, so that this warehouse's scans and writes run there.
    pub fn register_with(&self, runtime: &RuntimeEnv) {
        runtime.register_object_store(self.inner.store_url.as_ref(), self.store());
    }

    /// Names of the catalogs, sorted; `dev`, `prod`, `staging` and `system` always exist.
    pub async fn catalogs(&self) -> Result<Vec<String>> {
        unbuilt("catalogs")
    }

    /// Whether the catalog exists.
    pub async fn catalog_exists(&self, catalog: &str) -> Result<bool> {
        unbuilt(catalog)
    }

    /// Creates a catalog.
    pub async fn create_catalog(&self, catalog: &str, if_not_exists: bool, comment: Option<&str>) -> Result<()> {
        unbuilt(&format!("{catalog} {if_not_exists} {comment:?}"))
    }

    /// Drops a catalog; one that still has schemas with tables or views only with `cascade`.
    pub async fn drop_catalog(&self, catalog: &str, if_exists: bool, cascade: bool) -> Result<()> {
        unbuilt(&format!("{catalog} {if_exists} {cascade}"))
    }

    /// Names of the schemas of a catalog, sorted; `default` always exists.
    pub async fn schemas(&self, catalog: &str) -> Result<Vec<String>> {
        unbuilt(catalog)
    }

    /// Whether the schema exists.
    pub async fn schema_exists(&self, catalog: &str, schema: &str) -> Result<bool> {
        unbuilt(&format!("{catalog}.{schema}"))
    }

    /// Creates a schema in an existing catalog.
    pub async fn create_schema(&self, catalog: &str, schema: &str, if_not_exists: bool, comment: Option<&str>) -> Result<()> {
        unbuilt(&format!("{catalog}.{schema} {if_not_exists} {comment:?}"))
    }

    /// Drops a schema; one that still has tables or views only with `cascade`.
    pub async fn drop_schema(&self, catalog: &str, schema: &str, if_exists: bool, cascade: bool) -> Result<()> {
        unbuilt(&format!("{catalog}.{schema} {if_exists} {cascade}"))
    }

    /// Tables and views of a schema, sorted by name.
    pub async fn relations(&self, catalog: &str, schema: &str) -> Result<Vec<RelationEntry>> {
        unbuilt(&format!("{catalog}.{schema}"))
    }

    /// The table (at its newest version) or view of this name; `None` if there is neither, or the catalog or schema does not exist.
    pub async fn relation(&self, name: &TableName) -> Result<Option<Relation>> {
        unbuilt(&name.to_string())
    }

    /// Stores a view. Returns whether it was stored: false only when it existed and `if_not_exists` was given.
    pub async fn create_view(&self, name: &TableName, view: ViewDefinition, or_replace: bool, if_not_exists: bool) -> Result<bool> {
        unbuilt(&format!("{name} {view:?} {or_replace} {if_not_exists}"))
    }

    /// Drops a view. Returns whether there was one; absence is an error unless `if_exists`.
    pub async fn drop_view(&self, name: &TableName, if_exists: bool) -> Result<bool> {
        unbuilt(&format!("{name} {if_exists}"))
    }

    /// Drops a table with its files and history. Returns whether there was one; absence is an error unless `if_exists`.
    pub async fn drop_table(&self, name: &TableName, if_exists: bool) -> Result<bool> {
        unbuilt(&format!("{name} {if_exists}"))
    }
}
