//! What a caller asks for and gets back.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::Error;

/// More events than this are refused: sessions are numbered in 32 bits and files in five digits.
pub const MAXIMUM_EVENTS: u64 = 10_000_000_000;

/// How the rows are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// Zstd-compressed Parquet: text as strings, ids as 64-bit integers, price as double; every column nullable.
    #[default]
    Parquet,
    /// Comma-separated text with a header; nulls are empty fields, prices have two decimals.
    Csv,
    /// The same text, gzip-compressed.
    CsvGz,
}

impl Format {
    /// Every format, in the order in which a help text should name them.
    pub const ALL: [Format; 3] = [Format::Parquet, Format::Csv, Format::CsvGz];

    /// The file name extension without its leading dot; also the format's name.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Parquet => "parquet",
            Format::Csv => "csv",
            Format::CsvGz => "csv.gz",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.extension())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Format::ALL
            .into_iter()
            .find(|format| format.extension() == text)
            .ok_or_else(|| Error::Options(format!("unknown format '{text}': expected parquet, csv or csv.gz")))
    }
}

/// What clickstream to generate, and where to.
#[derive(Debug, Clone, PartialEq)]
pub struct ClickstreamOptions {
    /// Exactly how many rows to write, from 1 to [`MAXIMUM_EVENTS`].
    pub events: u64,
    /// The same seed and options give the same bytes; another seed gives other users, products and sessions.
    pub seed: u64,
    /// How the rows are stored.
    pub format: Format,
    /// The directory for the files `events-00000.<format>`, `events-00001.<format>`, …; created if missing.
    pub out: PathBuf,
    /// The share of rows that are made bad, from 0 to 1.
    pub dirty_rate: f64,
    /// Remove the generated files that `out` holds already (in any format) before writing; without it they are an error.
    pub overwrite: bool,
    /// How many threads make and encode rows; `None` takes what the machine offers. The result does not depend on it.
    pub threads: Option<NonZeroUsize>,
}

impl ClickstreamOptions {
    /// `events` clean rows as Parquet into the directory `out`, with seed 42.
    pub fn new(events: u64, out: impl Into<PathBuf>) -> Self {
        ClickstreamOptions { events, seed: 42, format: Format::Parquet, out: out.into(), dirty_rate: 0.0, overwrite: false, threads: None }
    }

    /// Refuses values that cannot be meant.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        if !(1..=MAXIMUM_EVENTS).contains(&self.events) {
            return Err(Error::Options(format!("the number of events must be between 1 and {MAXIMUM_EVENTS}, not {}", self.events)));
        }
        if !(0.0..=1.0).contains(&self.dirty_rate) {
            return Err(Error::Options(format!("the dirty rate must be between 0 and 1, not {}", self.dirty_rate)));
        }
        Ok(())
    }
}

/// How far a generation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows handed to the file system.
    pub events_done: u64,
    /// Rows asked for.
    pub events_total: u64,
    /// Bytes handed to the file system.
    pub bytes_written: u64,
}

/// What a finished generation wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Rows over all files.
    pub events: u64,
    /// The files, in the order of their rows.
    pub files: Vec<PathBuf>,
    /// Their size together.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_read_back_from_their_names() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse::<Format>().unwrap(), format);
        }
        let error = "orc".parse::<Format>().unwrap_err().to_string();
        assert_eq!(error, "unknown format 'orc': expected parquet, csv or csv.gz");
    }

    #[test]
    fn absurd_values_are_refused_by_name() {
        let options = ClickstreamOptions::new(0, "x");
        assert!(options.validate().unwrap_err().to_string().contains("number of events"));
        for rate in [-0.1, 1.1, f64::NAN] {
            let options = ClickstreamOptions { dirty_rate: rate, ..ClickstreamOptions::new(1, "x") };
            assert!(options.validate().unwrap_err().to_string().contains("dirty rate"));
        }
    }
}
