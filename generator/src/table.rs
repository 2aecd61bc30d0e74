//! Data sets of one small table: what a caller asks for, and one file written whole or not at all.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::csv::WriterBuilder;
use arrow::datatypes::{Field, Schema};
use flate2::{Compression, GzBuilder};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::error::Error;
use crate::options::{Format, Summary};

/// Which table to generate, how large, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableOptions {
    /// How many rows to write, from 1 to [`MAXIMUM_ROWS`].
    pub rows: u64,
    /// The same seed and rows give the same bytes.
    pub seed: u64,
    /// How the rows are stored; types are those of the columns in Parquet, and text in CSV.
    pub format: Format,
    /// The directory for the one file; created if missing.
    pub out: PathBuf,
    /// Replace the file when it is there; without it that is an error.
    pub overwrite: bool,
}

/// More rows than this are refused: a table is made in memory.
pub const MAXIMUM_ROWS: u64 = 20_000_000;

impl TableOptions {
    /// `rows` rows as Parquet into the directory `out`, with seed 42.
    pub fn new(rows: u64, out: impl Into<PathBuf>) -> Self {
        Self { rows, seed: 42, format: Format::Parquet, out: out.into(), overwrite: false }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        if (1..=MAXIMUM_ROWS).contains(&self.rows) {
            return Ok(());
        }
        Err(Error::Options(format!("the number of rows must be between 1 and {MAXIMUM_ROWS}, not {}", self.rows)))
    }
}

/// The rows of named columns, all of which may hold nulls.
pub(crate) fn rows_of(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, Error> {
    let fields = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect::<Vec<_>>();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| Error::Internal(error.to_string()))
}

/// Writes a table to `<out>/<name>.<format>`: under another name first, so that a file of this name is always complete.
pub(crate) fn write(options: &TableOptions, name: &str, rows: &RecordBatch) -> Result<Summary, Error> {
    fs::create_dir_all(&options.out).map_err(|source| Error::storage("create", &options.out, source))?;
    let file_name = format!("{name}.{}", options.format);
    let path = options.out.join(&file_name);
    if path.exists() && !options.overwrite {
        return Err(Error::AlreadyGenerated { directory: options.out.clone(), count: 1, example: file_name });
    }
    let unfinished = options.out.join(format!(".{file_name}.unfinished"));
    let written = encode(options.format, &unfinished, rows)
        .and_then(|()| fs::rename(&unfinished, &path).map_err(|source| Error::storage("rename", &unfinished, source)));
    if let Err(error) = written {
        // The error that brought us here is the one to report.
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    let bytes = fs::metadata(&path).map_err(|source| Error::storage("read", &path, source))?.len();
    Ok(Summary { events: rows.num_rows() as u64, files: vec![path], bytes })
}

fn encode(format: Format, path: &Path, rows: &RecordBatch) -> Result<(), Error> {
    let failed = |source: std::io::Error| Error::storage("write", path, source);
    let file = BufWriter::new(File::create(path).map_err(|source| Error::storage("create", path, source))?);
    let mut file = match format {
        Format::Parquet => {
            let properties = WriterProperties::builder()
                .set_compression(ParquetCompression::ZSTD(ZstdLevel::default()))
                .set_created_by(concat!("orrery-generator version ", env!("CARGO_PKG_VERSION")).to_owned())
                .build();
            let other = |error: parquet::errors::ParquetError| failed(std::io::Error::other(error));
            let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).map_err(other)?;
            writer.write(rows).map_err(other)?;
            writer.into_inner().map_err(other)?
        }
        Format::Csv => csv(file, rows).map_err(failed)?,
        // No time in the head, so that equal seeds give equal bytes. Not the fastest level, which zlib-rs 0.6 flushes into an invalid stream.
        Format::CsvGz => {
            csv(GzBuilder::new().mtime(0).write(file, Compression::new(3)), rows).and_then(|gz| gz.finish()).map_err(failed)?
        }
    };
    file.flush().map_err(failed)
}

fn csv<W: Write>(to: W, rows: &RecordBatch) -> std::io::Result<W> {
    let mut writer = WriterBuilder::new().with_header(true).build(to);
    writer.write(rows).map_err(std::io::Error::other)?;
    Ok(writer.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate_customer_personality;

    #[test]
    fn a_file_is_whole_or_not_there() {
        let dir = tempfile::TempDir::new().unwrap();
        for format in Format::ALL {
            let options = TableOptions { format, ..TableOptions::new(10, dir.path()) };
            let summary = generate_customer_personality(&options).unwrap();
            assert_eq!((summary.events, summary.files.len()), (10, 1));
            let bytes = fs::read(&summary.files[0]).unwrap();
            assert_eq!(bytes.len() as u64, summary.bytes);
            assert!(matches!(generate_customer_personality(&options), Err(Error::AlreadyGenerated { .. })));
            generate_customer_personality(&TableOptions { overwrite: true, ..options }).unwrap();
            assert_eq!(fs::read(&summary.files[0]).unwrap(), bytes, "equal seeds, equal bytes");
        }
        let csv = fs::read_to_string(dir.path().join("customer_personality.csv")).unwrap();
        assert!(csv.starts_with("ID,Year_Birth,Education,"));
        assert_eq!(csv.lines().count(), 11);
        assert!(generate_customer_personality(&TableOptions::new(0, dir.path())).is_err());
    }
}
