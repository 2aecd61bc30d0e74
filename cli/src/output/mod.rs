//! Rows → standard output, as a table, CSV, JSON lines or Parquet.

mod plans;
mod table;

use std::io::{self, Write};
use std::sync::Arc;

use datafusion::arrow::array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::json::writer::LineDelimited;
use datafusion::arrow::json::{LineDelimitedWriter, WriterBuilder};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
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
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new().with_header(true).build(io::stdout());
                // The header stands above no rows, too.
                writer.write(&flat(&RecordBatch::new_empty(SchemaRef::clone(schema)))?).map_err(failed)?;
                Current::Csv(Box::new(writer))
            }
            Format::Json => Current::Json(Box::new(WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(io::stdout()))),
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
            Current::Csv(writer) => writer.write(&flat(batch)?).map_err(failed),
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

/// Lists, structs and maps as text, since CSV has none.
fn flat(batch: &RecordBatch) -> Result<RecordBatch> {
    let options = FormatOptions::default();
    let text = |column: &ArrayRef| -> Result<ArrayRef> {
        if !column.data_type().is_nested() {
            return Ok(ArrayRef::clone(column));
        }
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
        let cell = |row| (!column.is_null(row)).then(|| formatter.value(row).to_string());
        Ok(Arc::new((0..column.len()).map(cell).collect::<StringArray>()))
    };
    let names = batch.schema();
    let columns = names.fields().iter().zip(batch.columns()).map(|(field, column)| Ok((field.name().clone(), text(column)?)));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let fields: Vec<Field> = columns.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), true)).collect();
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)?)
}

/// Standard output was closed or is full. A closed pipe (`… | head`) is the reader's choice, not an error to report.
fn failed(error: impl std::fmt::Display) -> Error {
    let text = error.to_string();
    if text.contains("Broken pipe") {
        std::process::exit(i32::from(crate::exit::DONE));
    }
    Error::new(Blame::Storage, format!("cannot write to standard output: {text}"))
}
