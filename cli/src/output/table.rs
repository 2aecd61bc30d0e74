//! Aligned columns for people: numbers to the right, NULL told from text, long results cut with a note.

use std::fmt;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use datafusion::arrow::array::{Array as _, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use orrery_engine::Result;

use crate::report::count;

/// Columns of a terminal below which tables keep their own width.
const NARROWEST: u16 = 40;

/// A result being laid out.
pub(crate) struct TableText {
    table: Table,
    right: Vec<bool>,
    shown: usize,
    max_rows: usize,
    rows: u64,
}

impl TableText {
    /// At most `max_rows` rows are kept; 0 keeps all.
    pub(crate) fn new(schema: &SchemaRef, max_rows: usize) -> Self {
        let mut table = Table::new();
        table.load_preset(UTF8_FULL_CONDENSED);
        // Fitting cells into a very narrow terminal would put one letter on a line.
        if table.width().is_some_and(|width| width >= NARROWEST) {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        let right: Vec<bool> = schema.fields().iter().map(|f| f.data_type().is_numeric()).collect();
        table.set_header(schema.fields().iter().zip(&right).map(|(f, r)| aligned(f.name(), *r)));
        Self { table, right, shown: 0, max_rows, rows: 0 }
    }

    /// Lays out more rows.
    pub(crate) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        let options = FormatOptions::default()
            .with_null("NULL")
            .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"))
            .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"));
        let room = if self.max_rows == 0 { usize::MAX } else { self.max_rows - self.shown };
        let take = batch.num_rows().min(room);
        let formatters = batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options)).collect::<Result<Vec<_>, _>>()?;
        for row in 0..take {
            let cells = batch.columns().iter().zip(&formatters).zip(&self.right).map(|((column, formatter), right)| {
                let text = if column.is_null(row) { "NULL".to_string() } else { formatter.value(row).to_string() };
                aligned(&text, *right)
            });
            let cells: Vec<Cell> = cells.collect();
            self.table.add_row(cells);
        }
        self.shown += take;
        Ok(())
    }
}

fn aligned(text: &str, right: bool) -> Cell {
    Cell::new(text).set_alignment(if right { CellAlignment::Right } else { CellAlignment::Left })
}

impl fmt::Display for TableText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.table)?;
        let hidden = self.rows - self.shown as u64;
        if hidden > 0 {
            write!(f, "\n… {} more rows (of {}; --max-rows 0 shows all)", count(hidden), count(self.rows))?;
        }
        Ok(())
    }
}
