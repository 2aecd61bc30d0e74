//! `information_schema.columns`: the columns of all tables and views of the catalog.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use futures::StreamExt as _;
use orrery_lakehouse::{NOT_NULL, TableName};

use super::{CONCURRENCY, all_relations};
use crate::Result;
use crate::session::catalog::Names;
use crate::session::rows::{Cells, table};
use crate::session::sql_type_name;

pub(super) async fn rows(names: &Names, catalog: &str) -> Result<RecordBatch> {
    let mut relations = all_relations(names, catalog).await?;
    // These tables would have to be made to be described, this one among them.
    relations.retain(|(name, _)| name.schema != super::NAME);
    let described = relations.iter().map(|(name, _)| names.columns(name));
    let described: Vec<Option<SchemaRef>> = futures::stream::iter(described.collect::<Vec<_>>()).buffered(CONCURRENCY).collect().await;
    let mut columns: Vec<(&TableName, usize, &Field)> = Vec::new();
    for ((name, _), schema) in relations.iter().zip(&described) {
        let fields = schema.iter().flat_map(|schema| schema.fields().iter().enumerate());
        columns.extend(fields.map(|(i, field)| (name, i + 1, field.as_ref())));
    }
    let numbers =
        |digits: fn(&DataType) -> Option<i64>| Cells::Whole(columns.iter().map(|(_, _, field)| digits(field.data_type())).collect());
    table(vec![
        ("table_catalog", Cells::text(columns.iter().map(|(name, ..)| name.catalog.clone()))),
        ("table_schema", Cells::text(columns.iter().map(|(name, ..)| name.schema.clone()))),
        ("table_name", Cells::text(columns.iter().map(|(name, ..)| name.table.clone()))),
        ("column_name", Cells::text(columns.iter().map(|(.., field)| field.name().clone()))),
        ("ordinal_position", Cells::Whole(columns.iter().map(|(_, position, _)| i64::try_from(*position).ok()).collect())),
        ("column_default", Cells::Text(columns.iter().map(|_| None).collect())),
        ("is_nullable", Cells::text(columns.iter().map(|(.., field)| if may_be_null(field) { "YES" } else { "NO" }))),
        ("data_type", Cells::text(columns.iter().map(|(.., field)| sql_type_name(field.data_type())))),
        ("numeric_precision", numbers(precision)),
        ("numeric_scale", numbers(scale)),
        ("comment", Cells::Text(columns.iter().map(|(.., field)| field.metadata().get("comment").cloned()).collect())),
    ])
}

fn may_be_null(field: &Field) -> bool {
    field.is_nullable() && !field.metadata().contains_key(NOT_NULL)
}

/// Decimal digits of exact numbers.
fn precision(data_type: &DataType) -> Option<i64> {
    match data_type {
        DataType::Decimal32(p, _) | DataType::Decimal64(p, _) | DataType::Decimal128(p, _) | DataType::Decimal256(p, _) => {
            Some(i64::from(*p))
        }
        DataType::Int8 => Some(3),
        DataType::Int16 => Some(5),
        DataType::Int32 => Some(10),
        DataType::Int64 => Some(19),
        _ => None,
    }
}

/// Digits behind the point of exact numbers.
fn scale(data_type: &DataType) -> Option<i64> {
    match data_type {
        DataType::Decimal32(_, s) | DataType::Decimal64(_, s) | DataType::Decimal128(_, s) | DataType::Decimal256(_, s) => {
            Some(i64::from(*s))
        }
        t if t.is_integer() => Some(0),
        _ => None,
    }
}
