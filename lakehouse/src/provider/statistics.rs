//! What the log knows, in the optimizer's terms. Exact means exact: the optimizer answers `count`, `min` and `max` from it without reading a file.

use std::cmp::Ordering;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};

use super::scan::ScanColumns;
use crate::table::{DataFile, Table};

/// Arrow bytes in memory per byte of Parquet, roughly; only an estimate for the optimizer.
const EXPANSION: u64 = 4;

/// Statistics of the whole table, columns in the order of `schema`.
pub(super) fn of_table(table: &Table, schema: &Schema) -> Option<Statistics> {
    let columns = ScanColumns::new(table, schema);
    let files: Vec<&DataFile> = table.files().ok()?.iter().collect();
    let merged = of_files(&files, &columns);
    let column_statistics = schema.fields().iter().filter_map(|field| {
        let place = columns.schema.index_of(field.name()).ok()?;
        Some(merged.column_statistics[place].clone())
    });
    Some(Statistics { num_rows: merged.num_rows, total_byte_size: merged.total_byte_size, column_statistics: column_statistics.collect() })
}

/// Statistics of one file, columns in scan order.
pub(super) fn of_file(file: &DataFile, columns: &ScanColumns) -> Statistics {
    of_files(&[file], columns)
}

/// Statistics of several files together, columns in scan order.
pub(super) fn of_files(files: &[&DataFile], columns: &ScanColumns) -> Statistics {
    let rows: Option<u64> = files.iter().map(|file| file.num_rows).sum();
    let bytes: u64 = files.iter().map(|file| file.size).sum();
    let fields = columns.schema.fields().iter().enumerate();
    Statistics {
        num_rows: rows.map_or(Precision::Absent, |rows| Precision::Exact(rows as usize)),
        total_byte_size: Precision::Inexact(bytes.saturating_mul(EXPANSION) as usize),
        column_statistics: fields.map(|(place, field)| of_column(files, place, field.data_type(), columns)).collect(),
    }
}

/// A bound of one column in one file: its value and whether it occurs; `None` when unknown.
type FileBound = Option<(ScalarValue, bool)>;

fn of_column(files: &[&DataFile], place: usize, data_type: &DataType, columns: &ScanColumns) -> ColumnStatistics {
    let mut statistics = ColumnStatistics::new_unknown();
    let mut nulls = Some(0_u64);
    let (mut min, mut max) = (Side::new(Ordering::Less), Side::new(Ordering::Greater));
    for file in files {
        let (file_nulls, file_min, file_max) = file_column(file, place, columns);
        nulls = nulls.zip(file_nulls).map(|(sum, count)| sum + count);
        // A file without values has no bounds, and that says nothing against those of the others.
        if file.num_rows.is_some() && file_nulls >= file.num_rows {
            continue;
        }
        min.add(file_min);
        max.add(file_max);
    }
    statistics.null_count = nulls.map_or(Precision::Absent, |count| Precision::Exact(count as usize));
    // Floats are never exact: NaN and the two zeros order differently elsewhere.
    let certain = !matches!(data_type, DataType::Float32 | DataType::Float64);
    statistics.min_value = min.precision(data_type, certain);
    statistics.max_value = max.precision(data_type, certain);
    statistics
}

fn file_column(file: &DataFile, place: usize, columns: &ScanColumns) -> (Option<u64>, FileBound, FileBound) {
    match place.checked_sub(columns.in_files()) {
        Some(partition) => {
            let value = &file.partition_values[partition];
            let nulls = if value.is_null() { file.num_rows } else { Some(0) };
            let bound = (!value.is_null()).then(|| (value.clone(), true));
            (nulls, bound.clone(), bound)
        }
        None => {
            let bounds = &file.bounds[place];
            let side = |bound: &Option<crate::table::Bound>| bound.as_ref().map(|bound| (bound.value.clone(), bound.exact));
            (bounds.null_count, side(&bounds.min), side(&bounds.max))
        }
    }
}

/// The least or greatest of the files' bounds.
struct Side {
    wanted: Ordering,
    best: FileBound,
    unknown: bool,
}

impl Side {
    fn new(wanted: Ordering) -> Self {
        Self { wanted, best: None, unknown: false }
    }

    fn add(&mut self, bound: FileBound) {
        let Some((value, exact)) = bound else {
            self.unknown = true;
            return;
        };
        match &mut self.best {
            None => self.best = Some((value, exact)),
            Some((best, best_exact)) => match value.partial_cmp(best) {
                Some(order) if order == self.wanted => self.best = Some((value, exact)),
                // Where one file has the value itself, it does not matter that another's bound is only a bound.
                Some(Ordering::Equal) => *best_exact |= exact,
                Some(_) => {}
                None => self.unknown = true,
            },
        }
    }

    fn precision(self, data_type: &DataType, certain: bool) -> Precision<ScalarValue> {
        let Some((value, exact)) = self.best.filter(|_| !self.unknown) else { return Precision::Absent };
        match value.cast_to(data_type) {
            Ok(value) if exact && certain => Precision::Exact(value),
            Ok(value) => Precision::Inexact(value),
            Err(_) => Precision::Absent,
        }
    }
}
