//! [`Names`] as DataFusion's planner asks for them: catalogs and schemas without waiting, tables with waiting.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use orrery_lakehouse::TableName;

use super::catalog::Names;

impl CatalogProviderList for Names {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![self.current().0]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        let names = self.state().and_then(Weak::upgrade)?;
        let list = Arc::clone(names.read().catalog_list());
        Some(Arc::new(Catalog { list, name: name.to_string() }))
    }
}

#[derive(Debug)]
struct Catalog {
    list: Arc<dyn CatalogProviderList>,
    name: String,
}

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        Some(Arc::new(Schema { list: Arc::clone(&self.list), catalog: self.name.clone(), name: name.to_string() }))
    }
}

#[derive(Debug)]
struct Schema {
    list: Arc<dyn CatalogProviderList>,
    catalog: String,
    name: String,
}

#[async_trait]
impl SchemaProvider for Schema {
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        let name = TableName::new(&self.catalog, &self.name, name);
        find(Arc::clone(&self.list), name).await
    }

    fn table_exist(&self, _: &str) -> bool {
        true
    }
}

fn find(list: Arc<dyn CatalogProviderList>, name: TableName) -> BoxFuture<'static, DataFusionResult<Option<Arc<dyn TableProvider>>>> {
    async move {
        let Some(names) = list.downcast_ref::<Names>() else {
            return Err(DataFusionError::Internal("the session's catalog was replaced".to_string()));
        };
        names.relation(&name).await.map_err(|e| DataFusionError::External(Box::new(e)))
    }
    .boxed()
}
