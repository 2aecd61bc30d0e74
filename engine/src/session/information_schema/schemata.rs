//! `information_schema.schemata`: the schemas of the catalog.

use datafusion::arrow::array::RecordBatch;

use crate::Result;
use crate::session::catalog::Names;
use crate::session::rows::{Cells, table};

pub(super) async fn rows(names: &Names, catalog: &str) -> Result<RecordBatch> {
    let schemas = names.list_schemas(catalog).await?;
    table(vec![("catalog_name", Cells::text(schemas.iter().map(|_| catalog))), ("schema_name", Cells::text(schemas.iter().cloned()))])
}
