//! Columns of stored tables, and rows between Arrow and serde.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::json::ReaderBuilder;
use arrow::json::writer::{JsonArray, WriterBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Blame, Error, Result};

pub(crate) fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

/// A list of texts.
pub(crate) fn texts(name: &str) -> Field {
    Field::new(name, DataType::List(Arc::new(Field::new("element", DataType::Utf8, true))), true)
}

pub(crate) fn whole(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

pub(crate) fn number(name: &str) -> Field {
    Field::new(name, DataType::Float64, true)
}

pub(crate) fn flag(name: &str) -> Field {
    Field::new(name, DataType::Boolean, true)
}

/// Microseconds, UTC.
pub(crate) fn moment(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)
}

/// Rows of serde's as a batch.
pub(crate) fn to_batch<T: Serialize>(schema: &SchemaRef, rows: &[T]) -> Result<RecordBatch> {
    let mut decoder = ReaderBuilder::new(Arc::clone(schema)).build_decoder()?;
    decoder.serialize(rows)?;
    Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(schema))))
}

/// A batch as rows of serde's. Nulls are left out, so what may be null is an `Option`.
pub(crate) fn rows_of<T: DeserializeOwned>(batch: &RecordBatch) -> Result<Vec<T>> {
    if batch.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let mut writer = WriterBuilder::new().build::<_, JsonArray>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    serde_json::from_slice(&writer.into_inner())
        .map_err(|error| Error::new(Blame::Storage, format!("a table of the program's own holds rows that cannot be read: {error}")))
}

/// Columns of a batch by name; the tables' schemas say which there are.
pub(crate) struct Columns<'a>(pub &'a RecordBatch);

impl Columns<'_> {
    pub fn text(&self, name: &str, row: usize) -> Option<&str> {
        let column = self.0.column_by_name(name)?.as_string_opt::<i32>()?;
        (!column.is_null(row)).then(|| column.value(row))
    }

    pub fn whole(&self, name: &str, row: usize) -> Option<i64> {
        let column = self.0.column_by_name(name)?.as_primitive_opt::<Int64Type>()?;
        (!column.is_null(row)).then(|| column.value(row))
    }

    pub fn moment(&self, name: &str, row: usize) -> Option<i64> {
        let column = self.0.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        (!column.is_null(row)).then(|| column.value(row))
    }

    pub fn version(&self, name: &str, row: usize) -> u64 {
        self.whole(name, row).and_then(|v| u64::try_from(v).ok()).unwrap_or(0)
    }

    pub fn texts(&self, name: &str, row: usize) -> BTreeMap<String, String> {
        let column = self.0.column_by_name(name).and_then(|column| column.as_map_opt()).filter(|column| !column.is_null(row));
        let Some(entries) = column.map(|column| column.value(row)) else { return BTreeMap::new() };
        let (Some(keys), Some(values)) = (entries.column(0).as_string_opt::<i32>(), entries.column(1).as_string_opt::<i32>()) else {
            return BTreeMap::new();
        };
        keys.iter().zip(values).filter_map(|(key, value)| Some((key?.to_string(), value?.to_string()))).collect()
    }
}
