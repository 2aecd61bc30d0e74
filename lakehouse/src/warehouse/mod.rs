//! The warehouse: a folder on an object store in which catalogs, schemas, tables and views live.
//!
//! ```text
//! <root>/<catalog>/_catalog.json                 the catalog exists, even when empty
//! <root>/<catalog>/<schema>/_schema.json         the schema exists, even when empty
//! <root>/<catalog>/<schema>/_views/<view>.json   a view
//! <root>/<catalog>/<schema>/_models/<model>/     files of a model's versions
//! <root>/<catalog>/<schema>/<table>/_delta_log/  a table
//! <root>/<catalog>/<schema>/<table>/_dropped     the table is being dropped: it no longer exists
//! ```
//!
//! There is no other registry: a table folder copied here by another engine is a table.

mod drop;
mod listing;
mod location;
mod models;
mod namespaces;
mod relations;
mod vacuum;
mod views;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use object_store::ObjectStore;
use object_store::path::Path;
use url::Url;

use crate::error::{Error, Result};
use crate::log::TableLog;
use crate::names::TableName;
use crate::table::Table;

pub use models::ModelFileEntry;
pub use relations::{Relation, RelationEntry, RelationKind};
pub use vacuum::{Vacuum, VacuumedFile};

/// A handle to a warehouse; cheap to clone. Snapshots are cached behind it.
#[derive(Debug, Clone)]
pub struct Warehouse {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    location: location::Location,
    /// Newest snapshot seen of each table; checked against the store before every use.
    snapshots: Mutex<HashMap<TableName, Arc<Table>>>,
}

impl Warehouse {
    /// Opens the warehouse at a local path or an object store's URL (`file`, `memory`, `s3`, `gs`, `az`, `abfss`). Credentials come from the usual
    /// environment variables (`AWS_…`, `AZURE_…`, `GOOGLE_…`), then from `options`, whose keys are those of the `object_store` crate. Nothing is read or
    /// written yet; a local folder is created by the first write.
    pub async fn open(location: &str, options: HashMap<String, String>) -> Result<Warehouse> {
        let location = location::open(location, options)?;
        Ok(Warehouse { inner: Arc::new(Inner { location, snapshots: Mutex::default() }) })
    }

    /// URL of the warehouse's folder, ending with a slash.
    pub fn root(&self) -> &Url {
        &self.inner.location.root
    }

    /// The object store that holds the warehouse; paths are relative to [`store_url`](Self::store_url), not to the root.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.inner.location.store)
    }

    /// The URL under which scans and writes find the store in a `RuntimeEnv`.
    pub fn store_url(&self) -> ObjectStoreUrl {
        self.inner.location.store_url.clone()
    }

    /// Makes the store known to a runtime, so that this warehouse's scans and writes run there.
    pub fn register_with(&self, runtime: &RuntimeEnv) {
        runtime.register_object_store(self.inner.location.store_url.as_ref(), self.store());
    }

    pub(crate) fn is_local(&self) -> bool {
        self.inner.location.local
    }

    /// Path of `<root>/<part>/<part>…` in the store. Parts have been checked as identifiers.
    pub(crate) fn path(&self, parts: &[&str]) -> Result<Path> {
        let mut path = self.inner.location.prefix.as_ref().to_string();
        for part in parts {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(part);
        }
        Path::parse(&path).map_err(|error| Error::Invalid(format!("{path:?} is not a path: {error}")))
    }

    pub(crate) fn table_path(&self, name: &TableName) -> Result<Path> {
        name.check()?;
        self.path(&[&name.catalog, &name.schema, &name.table])
    }

    /// URL of a table's folder, ending with a slash.
    pub(crate) fn table_url(&self, name: &TableName) -> Result<Url> {
        let mut url = self.root().clone();
        url.path_segments_mut().map_err(|()| Error::Invalid(format!("{} cannot hold tables", self.root())))?.pop_if_empty().extend([
            name.catalog.as_str(),
            name.schema.as_str(),
            name.table.as_str(),
            "",
        ]);
        Ok(url)
    }

    pub(crate) fn table_log(&self, name: &TableName) -> Result<TableLog> {
        Ok(TableLog::new(name.clone(), self.store(), self.table_path(name)?, &self.table_url(name)?))
    }

    pub(crate) fn cached(&self, name: &TableName) -> Option<Arc<Table>> {
        self.snapshots().get(name).cloned()
    }

    pub(crate) fn remember(&self, table: Option<&Arc<Table>>, name: &TableName) {
        match table {
            Some(table) => self.snapshots().insert(name.clone(), Arc::clone(table)),
            None => self.snapshots().remove(name),
        };
    }

    fn snapshots(&self) -> std::sync::MutexGuard<'_, HashMap<TableName, Arc<Table>>> {
        // A panic elsewhere cannot leave the map half-changed, so its content is still good.
        self.inner.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
