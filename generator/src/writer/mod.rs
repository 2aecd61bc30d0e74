//! Encodes raw rows into files. A file is a sequence of chunks; chunks are encoded by any thread ([`Encoder`]) and appended in order by one
//! ([`DataFile`]).

mod csv;
mod folder;
mod parquet;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use folder::{Folder, Opener};

use crate::events::Event;
use crate::options::Format;
use crate::rows::Renderer;

/// Where the bytes of one file go. Counts them.
pub(crate) struct Outlet {
    to: Box<dyn Write + Send>,
    bytes: Arc<AtomicU64>,
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.bytes.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// One file that is being written.
pub(crate) enum DataFile {
    /// A Parquet file; chunks are row groups.
    Parquet(Box<parquet::ParquetFile>),
    /// Comma-separated text, possibly compressed.
    Csv(csv::CsvFile),
}

/// Encodes one chunk of a file, on any thread.
pub(crate) enum Encoder {
    /// For a Parquet file.
    Parquet(parquet::ChunkEncoder),
    /// For a text file.
    Csv(csv::ChunkEncoder),
}

/// An encoded chunk on its way to its file.
pub(crate) enum Encoded {
    /// For a Parquet file.
    Parquet(parquet::EncodedChunk),
    /// For a text file.
    Csv(csv::EncodedChunk),
}

impl DataFile {
    /// Begins a file of the format; its bytes are added to `bytes`.
    pub fn begin(format: Format, to: Box<dyn Write + Send>, bytes: &Arc<AtomicU64>) -> io::Result<Self> {
        let outlet = Outlet { to, bytes: Arc::clone(bytes) };
        Ok(match format {
            Format::Parquet => DataFile::Parquet(Box::new(parquet::ParquetFile::begin(outlet)?)),
            Format::Csv => DataFile::Csv(csv::CsvFile::begin(outlet, false)?),
            Format::CsvGz => DataFile::Csv(csv::CsvFile::begin(outlet, true)?),
        })
    }

    /// The encoder of the file's chunk with this number.
    pub fn encoder(&self, chunk: usize) -> io::Result<Encoder> {
        Ok(match self {
            DataFile::Parquet(file) => Encoder::Parquet(file.encoder(chunk)?),
            DataFile::Csv(file) => Encoder::Csv(file.encoder(chunk)),
        })
    }

    /// Appends the next chunk.
    pub fn append(&mut self, chunk: Encoded) -> io::Result<()> {
        match (self, chunk) {
            (DataFile::Parquet(file), Encoded::Parquet(chunk)) => file.append(chunk),
            (DataFile::Csv(file), Encoded::Csv(chunk)) => file.append(&chunk),
            _ => Err(io::Error::other("a chunk of one format came to a file of another")),
        }
    }

    /// Ends the file after its last chunk.
    pub fn finish(self) -> io::Result<()> {
        match self {
            DataFile::Parquet(file) => file.finish(),
            DataFile::Csv(file) => file.finish(),
        }
    }
}

impl Encoder {
    /// Encodes events, of which the first is the row with this number.
    pub fn encode(self, renderer: &Renderer, first_row: u64, events: &[Event]) -> io::Result<Encoded> {
        Ok(match self {
            Encoder::Parquet(encoder) => Encoded::Parquet(encoder.encode(renderer, first_row, events)?),
            Encoder::Csv(encoder) => Encoded::Csv(encoder.encode(renderer, first_row, events)?),
        })
    }
}

/// The name of a file, from its number.
pub(crate) fn file_name(number: usize, format: Format) -> String {
    format!("events-{number:05}.{format}")
}

/// Opens a file on the local file system, anew.
pub(crate) fn open_local(path: &Path) -> io::Result<Box<dyn Write + Send>> {
    Ok(Box::new(std::fs::File::create(path)?))
}
