//! `DESCRIBE DETAIL`: one row about a table.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListBuilder, MapBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use serde_json::Value;

use super::Table;
use crate::error::{Error, Result};

impl Table {
    /// One row about the table, in the columns of Spark's `DESCRIBE DETAIL` and two more: format, id, name, description, location, createdAt, lastModified,
    /// partitionColumns, numFiles, sizeInBytes, numRows (null if the log does not say), properties, minReaderVersion, minWriterVersion, tableFeatures,
    /// version.
    pub async fn detail(&self) -> Result<RecordBatch> {
        self.detail_batch().map_err(|error| Error::Engine(DataFusionError::from(error)))
    }

    fn detail_batch(&self) -> Result<RecordBatch, ArrowError> {
        let text = |value: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![value])) };
        let number = |value: Option<u64>| -> ArrayRef { Arc::new(Int64Array::from(vec![value.and_then(|v| i64::try_from(v).ok())])) };
        let time = |micros: Option<i64>| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC")) };
        let created = self.metadata.get("createdTime").and_then(Value::as_i64).and_then(|millis| millis.checked_mul(1000));
        let modified = self.commit.as_ref().map(|commit| commit.modified.timestamp_micros());
        let name = self.name().to_string();
        RecordBatch::try_from_iter_with_nullable([
            ("format", text(Some("delta")), false),
            ("id", text(self.metadata.get("id").and_then(Value::as_str)), true),
            ("name", text(Some(&name)), true),
            ("description", text(self.comment()), true),
            ("location", text(Some(self.location().as_str())), false),
            ("createdAt", time(created), true),
            ("lastModified", time(modified), true),
            ("partitionColumns", list(&self.partition_columns), false),
            ("numFiles", number(Some(self.num_files())), false),
            ("sizeInBytes", number(Some(self.size_bytes())), false),
            ("numRows", number(self.num_rows()), true),
            ("properties", self.properties_column()?, false),
            ("minReaderVersion", number(u64::try_from(self.protocol.reader_version).ok()), true),
            ("minWriterVersion", number(u64::try_from(self.protocol.writer_version).ok()), true),
            ("tableFeatures", list(&self.features()), false),
            ("version", number(Some(self.version())), false),
        ])
    }

    fn properties_column(&self) -> Result<ArrayRef, ArrowError> {
        let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for (key, value) in self.properties.iter().collect::<BTreeMap<_, _>>() {
            builder.keys().append_value(key);
            builder.values().append_value(value);
        }
        builder.append(true)?;
        Ok(Arc::new(builder.finish()))
    }

    fn features(&self) -> Vec<String> {
        let mut features: Vec<String> = self.protocol.reader_features.iter().chain(&self.protocol.writer_features).cloned().collect();
        features.sort();
        features.dedup();
        features
    }
}

fn list(values: &[String]) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    values.iter().for_each(|value| builder.values().append_value(value));
    builder.append(true);
    Arc::new(builder.finish())
}
