//! Splitting batches by partition values, and the folder names those values give.

use std::collections::HashMap;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::sync::Arc;

use super::spec::WriteSpec;
use crate::error::Error;
use crate::partition_value;

/// Folder name that stands for null in Hive's layout.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// Characters of a value that a folder name cannot have on every store and in every tool.
const NOT_IN_FOLDERS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'\'')
    .add(b'*')
    .add(b'/')
    .add(b':')
    .add(b'=')
    .add(b'?')
    .add(b'\\')
    .add(b'{')
    .add(b'}')
    .add(b'[')
    .add(b']')
    .add(b'^')
    .add(b'<')
    .add(b'>')
    .add(b'|')
    .add(b'`')
    .add(b'~')
    .add(b'+')
    .add(b'&')
    .add(b'$')
    .add(b'@')
    .add(b',')
    .add(b';');

/// The partition values of one group of rows.
#[derive(Debug, Clone, Default)]
pub(super) struct PartitionValues {
    /// Column name and the log's text for its value, in partition order.
    columns: Vec<(String, Option<String>)>,
}

impl PartitionValues {
    /// Path from the table's folder to a file of these values.
    pub fn path_of(&self, file_name: &str) -> String {
        let mut path = String::new();
        for (name, value) in &self.columns {
            let value = value.as_deref().map_or(NULL_FOLDER.into(), |value| utf8_percent_encode(value, NOT_IN_FOLDERS).to_string());
            path.push_str(&format!("{}={value}/", utf8_percent_encode(name, NOT_IN_FOLDERS)));
        }
        path + file_name
    }

    /// As the `add` action has them.
    pub fn for_log(&self) -> HashMap<String, Option<String>> {
        self.columns.iter().cloned().collect()
    }
}

/// Splits batches into one per combination of partition values.
pub(super) struct PartitionSplitter {
    columns: Vec<usize>,
    names: Vec<String>,
    converter: RowConverter,
}

/// The key of a combination of values, the values, and the rows that have them.
pub(super) type Group = (Box<[u8]>, PartitionValues, RecordBatch);

impl PartitionSplitter {
    /// `None` for a table that is not partitioned.
    pub fn new(spec: &WriteSpec) -> Result<Option<Self>> {
        if spec.partition_columns.is_empty() {
            return Ok(None);
        }
        let fields = spec.partition_columns.iter().map(|&index| spec.columns.field(index));
        let names = fields.clone().map(|field| field.name().clone()).collect();
        let converter = RowConverter::new(fields.map(|field| SortField::new(field.data_type().clone())).collect())?;
        Ok(Some(Self { columns: spec.partition_columns.clone(), names, converter }))
    }

    /// Groups in the order of their first rows.
    pub fn split(&mut self, batch: &RecordBatch) -> Result<Vec<Group>> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|&index| Arc::clone(batch.column(index))).collect();
        let rows = self.converter.convert_columns(&columns)?;
        let mut order: Vec<(u32, Vec<u32>)> = Vec::new();
        let mut places: hashbrown::HashMap<&[u8], usize> = hashbrown::HashMap::new();
        let mut last: Option<(&[u8], usize)> = None;
        for index in 0..rows.num_rows() {
            let key = rows.row(index).data();
            // Neighbours mostly agree, and comparing is cheaper than hashing.
            let place = match last {
                Some((previous, place)) if previous == key => place,
                _ => *places.entry(key).or_insert_with(|| {
                    order.push((index as u32, Vec::new()));
                    order.len() - 1
                }),
            };
            last = Some((key, place));
            order[place].1.push(index as u32);
        }
        let single = order.len() == 1;
        let mut groups = Vec::with_capacity(order.len());
        for (first, members) in order {
            let values = self.values(&columns, first as usize)?;
            let part = if single { batch.clone() } else { compact(take_record_batch(batch, &UInt32Array::from(members))?)? };
            groups.push((rows.row(first as usize).data().into(), values, part));
        }
        Ok(groups)
    }

    fn values(&self, columns: &[ArrayRef], row: usize) -> Result<PartitionValues> {
        let mut values = Vec::with_capacity(columns.len());
        for (name, column) in self.names.iter().zip(columns) {
            let value = ScalarValue::try_from_array(column, row)?;
            let text = partition_value::format(&value)
                .map_err(|reason| DataFusionError::from(Error::Invalid(format!("partition column {name:?}: {reason}"))))?;
            values.push((name.clone(), text));
        }
        Ok(PartitionValues { columns: values })
    }
}

/// Rows that wait must not keep the whole batch they came from in memory, as views would.
fn compact(batch: RecordBatch) -> Result<RecordBatch> {
    let arrays = batch.columns().iter().map(|array| -> ArrayRef {
        match array.data_type() {
            DataType::Utf8View => Arc::new(array.as_string_view().gc()),
            DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
            _ => Arc::clone(array),
        }
    });
    Ok(RecordBatch::try_new(batch.schema(), arrays.collect())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, Option<&str>)]) -> PartitionValues {
        PartitionValues { columns: pairs.iter().map(|(name, value)| (name.to_string(), value.map(str::to_string))).collect() }
    }

    #[test]
    fn folders_are_escaped() {
        let path = values(&[("day", Some("2019-10-01")), ("who", Some("a/b %=é")), ("none", None)]).path_of("f.parquet");
        assert_eq!(path, "day=2019-10-01/who=a%2Fb%20%25%3D%C3%A9/none=__HIVE_DEFAULT_PARTITION__/f.parquet");
        assert!(object_store::path::Path::parse(&path).is_ok());
    }
}
