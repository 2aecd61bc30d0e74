//! One data file being written: batches are encoded on the task's own thread, finished row groups leave for the store meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use deltalake_core::kernel::Add;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::dictionary;
use super::faults::store_fault;
use super::file_stats::{FloatBounds, stats_json};
use super::live::LiveTask;
use super::spec::{Leaf, leaves};
use super::upload::Upload;

/// Rows per row group: large enough for compression, small enough that a scan can skip, and spread evenly over cores.
const ROW_GROUP_ROWS: usize = 1 << 18;
/// Encoded bytes per row group, which bounds the memory of a file being written.
const ROW_GROUP_BYTES: usize = 96 << 20;
/// Fastest level: higher ones cost more time than the bytes they save.
const COMPRESSION_LEVEL: i32 = 1;
/// Bounds of strings longer than this are shortened, in the footer, the page index and the log.
const BOUND_BYTES: usize = 64;

/// What all files of a write have in common.
#[derive(Debug)]
pub(super) struct FileFormat {
    pub schema: SchemaRef,
    leaves: Vec<Leaf>,
    stats_columns: Vec<String>,
    /// Top-level float columns by column index, with their leaf index.
    floats: Vec<(usize, usize)>,
    properties: WriterPropertiesBuilder,
}

impl FileFormat {
    pub fn new(schema: SchemaRef, stats_columns: Vec<String>) -> Result<Self> {
        let leaves = leaves(&schema);
        let is_float = |leaf: &Leaf| matches!(leaf.data_type, DataType::Float32 | DataType::Float64);
        let floats = leaves.iter().enumerate().filter(|(_, leaf)| is_float(leaf) && leaf.path.len() == 1);
        let floats = floats.filter_map(|(index, leaf)| Some((schema.index_of(&leaf.path[0]).ok()?, index))).collect();
        let level = ZstdLevel::try_new(COMPRESSION_LEVEL)?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(format!("orrery {}", env!("CARGO_PKG_VERSION")))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .set_statistics_truncate_length(Some(BOUND_BYTES))
            .set_column_index_truncate_length(Some(BOUND_BYTES));
        // Parquet's bounds leave NaN out, which sorts above every number here: a scan would skip rows that match. The log's own bounds know better.
        for leaf in leaves.iter().filter(|leaf| is_float(leaf)) {
            properties = properties.set_column_statistics_enabled(ColumnPath::new(leaf.path.clone()), EnabledStatistics::None);
        }
        Ok(Self { schema, leaves, stats_columns, floats, properties })
    }

    /// Options of a file that begins with the rows of `first`.
    fn options(&self, first: &RecordBatch) -> ArrowWriterOptions {
        let mut properties = self.properties.clone();
        for (field, column) in self.schema.fields().iter().zip(first.columns()) {
            if !dictionary::is_worthwhile(column, ROW_GROUP_ROWS) {
                properties = properties.set_column_dictionary_enabled(ColumnPath::from(field.name().as_str()), false);
            }
        }
        ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true)
    }
}

/// A data file being written.
pub(super) struct ParquetFile {
    format: Arc<FileFormat>,
    writer: ArrowWriter<Vec<u8>>,
    upload: Upload,
    floats: BTreeMap<usize, FloatBounds>,
    rows: u64,
}

/// A data file that is complete.
pub(super) struct FinishedFile {
    pub add: Add,
    pub rows: u64,
    pub bytes: u64,
}

impl ParquetFile {
    /// A file whose first rows will be those of `first`, which is not written yet.
    pub fn create(format: Arc<FileFormat>, first: &RecordBatch, store: Arc<dyn ObjectStore>, path: Path, live: LiveTask) -> Result<Self> {
        let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&format.schema), format.options(first))?;
        let floats = format.floats.iter().map(|(_, leaf)| (*leaf, FloatBounds::default())).collect();
        Ok(Self { format, writer, upload: Upload::new(store, path, live), floats, rows: 0 })
    }

    /// Encodes a batch of the file's schema.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        for (column, leaf) in &self.format.floats {
            self.floats.entry(*leaf).or_default().add(batch.column(*column));
        }
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch).map_err(DataFusionError::from)
    }

    /// Ends the current row group, which frees most of the memory the file holds.
    pub fn end_row_group(&mut self) -> Result<()> {
        self.writer.flush().map_err(DataFusionError::from)
    }

    /// Hands encoded bytes to the store; returns how many.
    pub async fn send(&mut self) -> Result<u64> {
        let bytes = std::mem::take(self.writer.inner_mut());
        let sent = bytes.len() as u64;
        let pushed = self.upload.push(Bytes::from(bytes)).await;
        pushed.map_err(|error| store_fault(self.upload.path(), error)).map(|()| sent)
    }

    /// Bytes the file will have about, were it closed now.
    pub fn size(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.writer.memory_size() + self.writer.inner().capacity() + self.upload.buffered()
    }

    /// Writes the footer and completes the object. `relative` is the path from the table's folder; `partition_values` belong to the log's entry.
    pub async fn finish(
        mut self,
        relative: String,
        partition_values: std::collections::HashMap<String, Option<String>>,
    ) -> Result<(FinishedFile, u64)> {
        let metadata = self.writer.finish()?;
        let bytes = self.writer.bytes_written() as u64;
        let sent = self.send().await?;
        let path = self.upload.path().clone();
        self.upload.finish().await.map_err(|error| store_fault(&path, error))?;
        let add = Add {
            path: relative,
            partition_values,
            size: i64::try_from(bytes).unwrap_or(i64::MAX),
            modification_time: chrono::Utc::now().timestamp_millis(),
            data_change: true,
            stats: Some(stats_json(&metadata, &self.format.leaves, &self.format.stats_columns, &self.floats)),
            ..Add::default()
        };
        Ok((FinishedFile { add, rows: self.rows, bytes }, sent))
    }
}
