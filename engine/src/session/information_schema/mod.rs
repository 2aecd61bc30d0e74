//! `information_schema` of every catalog: what there is, as tables that are made when they are read.

mod columns;
mod schemata;
mod tables;
mod views;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use orrery_lakehouse::{RelationEntry, RelationKind, TableName};

use super::catalog::Names;
use crate::{Error, Result};

/// The schema's name.
pub(crate) const NAME: &str = "information_schema";

/// Its tables.
const TABLES: [&str; 4] = ["columns", "schemata", "tables", "views"];

/// Relations that are looked at side by side.
const CONCURRENCY: usize = 16;

/// Its tables, as a listing shows them.
pub(super) fn relations() -> Vec<RelationEntry> {
    TABLES.into_iter().map(|name| RelationEntry { name: name.to_string(), kind: RelationKind::View }).collect()
}

/// One of its tables as it is now.
///
/// # Errors
/// The warehouse cannot be read, or there is no such table.
pub(super) fn relation<'a>(names: &'a Names, name: &'a TableName) -> BoxFuture<'a, Result<Arc<dyn TableProvider>>> {
    made(names, name).boxed()
}

async fn made(names: &Names, name: &TableName) -> Result<Arc<dyn TableProvider>> {
    let batch = match name.table.as_str() {
        "columns" => columns::rows(names, &name.catalog).await?,
        "schemata" => schemata::rows(names, &name.catalog).await?,
        "tables" => tables::rows(names, &name.catalog).await?,
        "views" => views::rows(names, &name.catalog).await?,
        other => return Err(Error::sql(format!("{NAME} has no table '{other}'")).hint(format!("it has: {}", TABLES.join(", ")))),
    };
    Ok(Arc::new(provider(batch)?))
}

fn provider(batch: RecordBatch) -> Result<MemTable> {
    Ok(MemTable::try_new(batch.schema(), vec![vec![batch]])?)
}

/// All tables and views of a catalog, by schema and name.
async fn all_relations(names: &Names, catalog: &str) -> Result<Vec<(TableName, RelationKind)>> {
    let schemas = names.list_schemas(catalog).await?;
    let listed = schemas.into_iter().map(|schema| async move {
        let entries = names.list_relations(catalog, &schema).await?;
        let named = entries.into_iter().map(|entry| (TableName::new(catalog, &schema, entry.name), entry.kind));
        Ok::<Vec<_>, Error>(named.collect())
    });
    let listed: Vec<Vec<_>> = futures::stream::iter(listed.collect::<Vec<_>>()).buffered(CONCURRENCY).try_collect().await?;
    Ok(listed.into_iter().flatten().collect())
}
