//! The active data files of a snapshot, from the log's `add` actions.

use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use object_store::path::Path;

use super::Table;
use super::file_stats::{ColumnBounds, FileStats};
use crate::partition_value;

/// One data file of a table.
#[derive(Debug, Clone)]
pub(crate) struct DataFile {
    /// Path in the warehouse's store.
    pub location: Path,
    pub size: u64,
    pub modified: DateTime<Utc>,
    /// Values in the order of the table's partition columns; strings as `Utf8`.
    pub partition_values: Vec<ScalarValue>,
    pub num_rows: Option<u64>,
    /// What the log knows about the columns that are in the file, in the table's order without partition columns.
    pub bounds: Vec<ColumnBounds>,
    pub has_deletion_vector: bool,
}

/// Parses the snapshot's files. The error says which file's entry is damaged.
pub(super) fn parse(table: &Table) -> Result<Vec<DataFile>, String> {
    let log_data = table.snapshot.try_log_data().map_err(|error| error.to_string())?;
    let schema = table.schema();
    let partition_fields: Vec<_> = table.partition_columns.iter().filter_map(|name| schema.index_of(name).ok()).collect();
    let stored: Vec<usize> = (0..schema.fields().len()).filter(|index| !partition_fields.contains(index)).collect();
    let mut files = Vec::with_capacity(log_data.num_files());
    for view in log_data.iter() {
        let relative = view.path().into_owned();
        if relative.contains("://") || relative.starts_with("file:") {
            return Err(format!("the file {relative} lies outside of the table's folder (a shallow clone?), which is not supported"));
        }
        let in_entry = |reason: String| format!("the entry of file {relative}: {reason}");
        let values = view.partition_values_map();
        let mut partition_values = Vec::with_capacity(partition_fields.len());
        for &index in &partition_fields {
            let text = values.get(&table.columns.physical[index]).and_then(|value| value.as_deref());
            let value = partition_value::parse(text, schema.field(index).data_type());
            partition_values.push(value.map_err(|reason| in_entry(format!("partition column {}: {reason}", schema.field(index).name())))?);
        }
        let stats = view.stats().map(|text| FileStats::parse(&text)).unwrap_or_default();
        let bounds = stored.iter().map(|&index| stats.bounds(&table.columns.physical[index], schema.field(index).data_type()));
        let location = Path::parse(format!("{}/{relative}", table.log.table_path())).map_err(|error| in_entry(error.to_string()))?;
        files.push(DataFile {
            location,
            size: u64::try_from(view.size()).map_err(|_| in_entry("its size is negative".into()))?,
            modified: DateTime::from_timestamp_millis(view.modification_time()).unwrap_or_default(),
            partition_values,
            num_rows: stats.num_rows(),
            bounds: bounds.collect(),
            has_deletion_vector: view.deletion_vector_descriptor().is_some(),
        });
    }
    files.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(files)
}
