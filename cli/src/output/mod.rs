//! Rows → standard output, as a table, CSV, JSON lines or Parquet.

mod plans;
mod table;

use std::io::{self, Write};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::json::LineDelimitedWriter;
use orrery_engine::{Blame, Error, Result};
use parquet::arrow::ArrowWriter;

use crate::args::{Display, Format};
use plans::PlanText;
use table::TableText;

/// Where the rows of a statement go; reused for statement after statement.
pub(crate) struct Output {
    format: Format,
    max_rows: usize,
    current: Current,
    results: usize,
}

enum Current {
    None,
    Table(Box<TableText>),
    Plans(PlanText),
    Csv(Box<csv::Writer<io::Stdout>>),
    Json(Box<LineDelimitedWriter<io::Stdout>>),
    Parquet(Box<ArrowWriter<io::Stdout>>),
}

impl Output {
    pub(crate) fn new(display: &Display) -> Self {
        Self { format: display.format, max_rows: display.max_rows, current: Current::None, results: 0 }
    }

    /// A result with these columns begins.
    pub(crate) fn schema(&mut self, schema: &SchemaRef) -> Result<()> {
        self.results += 1;
        if schema.fields().is_empty() {
            self.current = Current::None;
            return Ok(());
        }
        self.current = match self.format {
            Format::Table if PlanText::is_for(schema) => Current::Plans(PlanText::default()),
            Format::Table => Current::Table(Box::new(TableText::new(schema, self.max_rows))),
            Format::Csv => Current::Csv(Box::new(csv::WriterBuilder::new().with_header(true).build(io::stdout()))),
            Format::Json => Current::Json(Box::new(LineDelimitedWriter::new(io::stdout()))),
            Format::Parquet if self.results > 1 => {
                return Err(
                    Error::sql("--format parquet writes one result, and this is the second").hint("run one query per Parquet output")
                );
            }
            Format::Parquet => {
                Current::Parquet(Box::new(ArrowWriter::try_new(io::stdout(), SchemaRef::clone(schema), None).map_err(failed)?))
            }
        };
        Ok(())
    }

    /// Some of its rows.
    pub(crate) fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        match &mut self.current {
            Current::None => Ok(()),
            Current::Table(table) => table.add(batch),
            Current::Plans(plans) => plans.add(batch),
            Current::Csv(writer) => writer.write(batch).map_err(failed),
            Current::Json(writer) => writer.write(batch).map_err(failed),
            Current::Parquet(writer) => writer.write(batch).map_err(failed),
        }
    }

    /// The result is complete.
    pub(crate) fn finish(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.current, Current::None) {
            Current::None => return Ok(()),
            Current::Table(table) => writeln!(io::stdout(), "{table}").map_err(failed)?,
            Current::Plans(plans) => writeln!(io::stdout(), "{plans}").map_err(failed)?,
            Current::Csv(_) => {}
            Current::Json(mut writer) => writer.finish().map_err(failed)?,
            Current::Parquet(writer) => {
                writer.close().map_err(failed)?;
            }
        }
        io::stdout().flush().map_err(failed)
    }
}

/// Standard output was closed or is full. A closed pipe (`… | head`) is the reader's choice, not an error to report.
fn failed(error: impl std::fmt::Display) -> Error {
    let text = error.to_string();
    if text.contains("Broken pipe") {
        std::process::exit(i32::from(crate::exit::DONE));
    }
    Error::new(Blame::Storage, format!("cannot write to standard output: {text}"))
}
