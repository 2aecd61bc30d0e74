//! `information_schema.tables`: the tables and views of the catalog.

use datafusion::arrow::array::RecordBatch;
use futures::StreamExt as _;
use orrery_lakehouse::{Relation, RelationKind, TableName};

use super::{CONCURRENCY, all_relations};
use crate::Result;
use crate::session::catalog::Names;
use crate::session::rows::{Cells, table};

pub(super) async fn rows(names: &Names, catalog: &str) -> Result<RecordBatch> {
    let relations = all_relations(names, catalog).await?;
    let comments = relations.iter().map(|(name, _)| comment(names, name));
    let comments: Vec<Option<String>> = futures::stream::iter(comments.collect::<Vec<_>>()).buffered(CONCURRENCY).collect().await;
    table(vec![
        ("table_catalog", Cells::text(relations.iter().map(|(name, _)| name.catalog.clone()))),
        ("table_schema", Cells::text(relations.iter().map(|(name, _)| name.schema.clone()))),
        ("table_name", Cells::text(relations.iter().map(|(name, _)| name.table.clone()))),
        ("table_type", Cells::text(relations.iter().map(|(_, kind)| if *kind == RelationKind::View { "VIEW" } else { "BASE TABLE" }))),
        ("comment", Cells::Text(comments)),
    ])
}

/// What a relation is for; nothing where that cannot be read.
async fn comment(names: &Names, name: &TableName) -> Option<String> {
    match names.warehouse().relation(name).await.ok()?? {
        Relation::Table(table) => table.comment().map(str::to_string),
        Relation::View(view) => view.comment,
    }
}
