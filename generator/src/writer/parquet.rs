//! Parquet: a row group per chunk, encoded column by column away from the file.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder, Int64Builder, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use super::Outlet;
use crate::events::Event;
use crate::rows::Renderer;

/// Session ids are long and repeat a few times only: the dictionary of a chunk must have room for all of them, or each is stored in full.
const DICTIONARY_LIMIT_BYTES: usize = 16 << 20;

/// The nine raw columns, all nullable.
pub(crate) fn schema() -> SchemaRef {
    let columns = [
        ("event_time", DataType::Utf8),
        ("event_type", DataType::Utf8),
        ("product_id", DataType::Int64),
        ("category_id", DataType::Int64),
        ("category_code", DataType::Utf8),
        ("brand", DataType::Utf8),
        ("price", DataType::Float64),
        ("user_id", DataType::Int64),
        ("user_session", DataType::Utf8),
    ];
    Arc::new(Schema::new(columns.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec()))
}

/// A Parquet file that is being written.
pub(crate) struct ParquetFile {
    writer: SerializedFileWriter<Outlet>,
    row_groups: ArrowRowGroupWriterFactory,
}

/// Encodes one row group.
pub(crate) struct ChunkEncoder {
    columns: Vec<ArrowColumnWriter>,
}

/// An encoded row group.
pub(crate) struct EncodedChunk {
    columns: Vec<ArrowColumnChunk>,
}

impl ParquetFile {
    /// Writes the head of a file.
    pub fn begin(outlet: Outlet) -> io::Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_dictionary_page_size_limit(DICTIONARY_LIMIT_BYTES)
            .set_created_by(concat!("orrery-generator version ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = ArrowWriter::try_new(outlet, schema(), Some(properties)).map_err(unwrapped)?;
        let (writer, row_groups) = writer.into_serialized_writer().map_err(unwrapped)?;
        Ok(ParquetFile { writer, row_groups })
    }

    /// The encoder of a row group.
    pub fn encoder(&self, chunk: usize) -> io::Result<ChunkEncoder> {
        Ok(ChunkEncoder { columns: self.row_groups.create_column_writers(chunk).map_err(unwrapped)? })
    }

    /// Appends a row group.
    pub fn append(&mut self, chunk: EncodedChunk) -> io::Result<()> {
        let mut row_group = self.writer.next_row_group().map_err(unwrapped)?;
        for column in chunk.columns {
            column.append_to_row_group(&mut row_group).map_err(unwrapped)?;
        }
        row_group.close().map_err(unwrapped)?;
        Ok(())
    }

    /// Writes the foot of the file.
    pub fn finish(self) -> io::Result<()> {
        self.writer.into_inner().map_err(unwrapped)?.flush()
    }
}

impl ChunkEncoder {
    /// Renders, encodes and compresses events.
    pub fn encode(self, renderer: &Renderer, first_row: u64, events: &[Event]) -> io::Result<EncodedChunk> {
        let arrays = columns(renderer, first_row, events);
        let mut encoded = Vec::with_capacity(arrays.len());
        for ((mut writer, array), field) in self.columns.into_iter().zip(arrays).zip(schema().fields()) {
            for leaf in compute_leaves(field, &array).map_err(unwrapped)? {
                writer.write(&leaf).map_err(unwrapped)?;
            }
            encoded.push(writer.close().map_err(unwrapped)?);
        }
        Ok(EncodedChunk { columns: encoded })
    }
}

fn columns(renderer: &Renderer, first_row: u64, events: &[Event]) -> [ArrayRef; 9] {
    let rows = events.len();
    let text = |bytes_each: usize| StringBuilder::with_capacity(rows, rows * bytes_each);
    let numbers = || Int64Builder::with_capacity(rows);
    let (mut event_time, mut event_type, mut product_id, mut category_id) = (text(23), text(5), numbers(), numbers());
    let (mut category_code, mut brand, mut price) = (text(20), text(6), Float64Builder::with_capacity(rows));
    let (mut user_id, mut user_session) = (numbers(), text(36));
    renderer.render(first_row, events, |row| {
        event_time.append_value(row.event_time);
        event_type.append_value(row.event_type);
        product_id.append_option(row.product_id);
        category_id.append_value(row.category_id);
        category_code.append_option(row.category_code);
        brand.append_option(row.brand);
        price.append_value(row.price_cents as f64 / 100.0);
        user_id.append_option(row.user_id);
        user_session.append_option(row.user_session);
    });
    [
        Arc::new(event_time.finish()),
        Arc::new(event_type.finish()),
        Arc::new(product_id.finish()),
        Arc::new(category_id.finish()),
        Arc::new(category_code.finish()),
        Arc::new(brand.finish()),
        Arc::new(price.finish()),
        Arc::new(user_id.finish()),
        Arc::new(user_session.finish()),
    ]
}

/// The file system's error inside a Parquet error, so that a full disk is reported as one.
fn unwrapped(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => source.downcast::<io::Error>().map_or_else(io::Error::other, |source| *source),
        other => io::Error::other(other),
    }
}
