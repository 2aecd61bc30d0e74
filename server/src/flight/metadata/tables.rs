//! Tables, views and their columns.

use std::collections::HashMap;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Field, Schema};
use arrow_flight::sql::{CommandGetTableTypes, CommandGetTables};
use futures::StreamExt as _;
use orrery_engine::session::{Session, sql_type_name};
use orrery_engine::{NOT_NULL, RelationKind, TableName};
use tonic::Status;

use super::fault;
use super::names::in_scope;
use crate::status::of_error;
use crate::wire;

/// Relations whose columns are looked up side by side.
const CONCURRENCY: usize = 16;

/// Keys of a column's metadata by Flight SQL.
const TYPE_NAME: &str = "ARROW:FLIGHT:SQL:TYPE_NAME";
const REMARKS: &str = "ARROW:FLIGHT:SQL:REMARKS";

fn kind(kind: RelationKind) -> &'static str {
    match kind {
        RelationKind::Table => "TABLE",
        RelationKind::View => "VIEW",
    }
}

/// `GetTableTypes`.
pub(super) fn types(command: CommandGetTableTypes) -> Result<RecordBatch, Status> {
    let mut answer = command.into_builder();
    for relation in [RelationKind::Table, RelationKind::View] {
        answer.append(kind(relation));
    }
    answer.build().map_err(fault)
}

/// `GetTables`. Columns are looked up for those tables only that the filters leave.
pub(super) async fn tables(session: &Session, command: CommandGetTables) -> Result<RecordBatch, Status> {
    let nameless = CommandGetTables { include_schema: false, ..command.clone() };
    let mut answer = nameless.into_builder();
    for catalog in in_scope(session, command.catalog.as_deref()).await? {
        for schema in session.list_schemas(&catalog).await.map_err(|error| of_error(&error))? {
            for relation in session.list_relations(&catalog, &schema).await.map_err(|error| of_error(&error))? {
                answer.append(&catalog, &schema, &relation.name, kind(relation.kind), &Schema::empty()).map_err(fault)?;
            }
        }
    }
    let found = answer.build().map_err(fault)?;
    if !command.include_schema {
        return Ok(found);
    }
    let text = |column: usize, row: usize| found.column(column).as_string::<i32>().value(row).to_string();
    let named: Vec<_> = (0..found.num_rows()).map(|row| (TableName::new(text(0, row), text(1, row), text(2, row)), text(3, row))).collect();
    let described = named.iter().map(|(name, _)| session.columns(name));
    let described: Vec<_> = futures::stream::iter(described.collect::<Vec<_>>()).buffered(CONCURRENCY).collect().await;
    let mut answer = command.into_builder();
    for ((name, kind), columns) in named.into_iter().zip(described) {
        let columns = columns.map_err(|error| of_error(&error))?.map_or_else(Schema::empty, |columns| described_columns(&columns));
        answer.append(name.catalog, name.schema, name.table, kind, &columns).map_err(fault)?;
    }
    answer.build().map_err(fault)
}

/// Columns as queries give them, with what the table says of them.
fn described_columns(columns: &Schema) -> Schema {
    let sent = wire::schema(columns);
    let fields = sent.fields().iter().zip(columns.fields()).map(|(sent, stored)| {
        let mut metadata = HashMap::from([(TYPE_NAME.to_string(), sql_type_name(stored.data_type()).to_uppercase())]);
        if let Some(comment) = stored.metadata().get("comment") {
            metadata.insert(REMARKS.to_string(), comment.clone());
        }
        let may_be_null = stored.is_nullable() && !stored.metadata().contains_key(NOT_NULL);
        Field::new(sent.name(), sent.data_type().clone(), may_be_null).with_metadata(metadata)
    });
    Schema::new(fields.collect::<Vec<_>>())
}
