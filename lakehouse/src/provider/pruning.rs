//! Which files a scan can leave out: by the values of partition columns exactly, by the log's bounds on the safe side.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array};
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Volatility};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

use super::scan::ScanColumns;
use crate::table::DataFile;

/// Whether a filter is decided by partition values alone, the same way for every row of a file.
pub(super) fn decided_by_partition(filter: &Expr, partition_columns: &[String]) -> bool {
    let mut columns = 0_usize;
    let mut decided = true;
    let walked = filter.apply(|expr| {
        decided &= match expr {
            Expr::Column(column) => {
                columns += 1;
                partition_columns.contains(&column.name)
            }
            Expr::ScalarFunction(function) => function.func.signature().volatility == Volatility::Immutable,
            Expr::Literal(..)
            | Expr::Alias(_)
            | Expr::Not(_)
            | Expr::IsNotNull(_)
            | Expr::IsNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::IsNotUnknown(_)
            | Expr::Negative(_)
            | Expr::Cast(_)
            | Expr::TryCast(_)
            | Expr::BinaryExpr(_)
            | Expr::Between(_)
            | Expr::Like(_)
            | Expr::SimilarTo(_)
            | Expr::InList(_)
            | Expr::Case(_) => true,
            _ => false,
        };
        Ok(if decided { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.is_ok() && decided && columns > 0
}

/// Removes files that cannot hold a row for which all `filters` are true. Returns whether the filters are thereby fully applied.
pub(super) fn prune(
    files: &mut Vec<&DataFile>,
    columns: &ScanColumns,
    partition_columns: &[String],
    state: &dyn Session,
    filters: &[Expr],
) -> Result<bool> {
    let (decided, others): (Vec<Expr>, Vec<Expr>) =
        filters.iter().cloned().partition(|filter| decided_by_partition(filter, partition_columns));
    let schema = DFSchema::try_from(Arc::clone(&columns.schema))?;
    if let Some(filter) = conjunction(decided).filter(|_| !files.is_empty()) {
        let filter = state.create_physical_expr(filter, &schema)?;
        let verdict = filter.evaluate(&partition_batch(files, columns)?)?.into_array(files.len())?;
        retain(files, &verdict.as_boolean().iter().map(|keep| keep == Some(true)).collect::<Vec<_>>());
    }
    let applied = others.is_empty();
    if let Some(filter) = conjunction(others).filter(|_| !files.is_empty()) {
        let filter = state.create_physical_expr(filter, &schema)?;
        let predicate = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&columns.schema)).try_build(filter);
        // A filter that says nothing about bounds cannot skip files, which is no error.
        if let Ok(predicate) = predicate
            && !predicate.always_true()
        {
            let keep = predicate.prune(&FileBounds { files, columns })?;
            retain(files, &keep);
        }
    }
    Ok(applied)
}

fn retain(files: &mut Vec<&DataFile>, keep: &[bool]) {
    let mut index = 0;
    files.retain(|_| {
        index += 1;
        keep[index - 1]
    });
}

/// One row per file with the partition values; the other columns are null and not looked at.
fn partition_batch(files: &[&DataFile], columns: &ScanColumns) -> Result<RecordBatch> {
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.schema.fields().len());
    for (place, field) in columns.schema.fields().iter().enumerate() {
        arrays.push(match place.checked_sub(columns.in_files()) {
            Some(partition) => {
                let values = files.iter().map(|file| file.partition_values[partition].cast_to(field.data_type()));
                ScalarValue::iter_to_array(values.collect::<Result<Vec<_>>>()?)?
            }
            None => arrow::array::new_null_array(field.data_type(), files.len()),
        });
    }
    let nullable: Vec<_> = columns.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(files.len()));
    Ok(RecordBatch::try_new_with_options(Arc::new(arrow::datatypes::Schema::new(nullable)), arrays, &options)?)
}

/// The log's bounds in the form that DataFusion's pruning asks for: one container per file.
struct FileBounds<'a> {
    files: &'a [&'a DataFile],
    columns: &'a ScanColumns,
}

impl FileBounds<'_> {
    fn values(&self, column: &Column, upper: bool) -> Option<ArrayRef> {
        let place = self.columns.schema.index_of(&column.name).ok()?;
        let data_type = self.columns.schema.field(place).data_type();
        let mut known = false;
        let values = self.files.iter().map(|file| {
            let value = match place.checked_sub(self.columns.in_files()) {
                Some(partition) => Some(&file.partition_values[partition]),
                None => {
                    let bounds = &file.bounds[place];
                    if upper { bounds.max.as_ref() } else { bounds.min.as_ref() }.map(|bound| &bound.value)
                }
            };
            known |= value.is_some();
            value.map_or_else(|| ScalarValue::try_from(data_type), |value| value.cast_to(data_type))
        });
        let values = values.collect::<Result<Vec<_>>>().ok()?;
        ScalarValue::iter_to_array(values).ok().filter(|_| known)
    }
}

impl PruningStatistics for FileBounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, false)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, true)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let place = self.columns.schema.index_of(&column.name).ok()?;
        let counts = self.files.iter().map(|file| match place.checked_sub(self.columns.in_files()) {
            Some(partition) if file.partition_values[partition].is_null() => file.num_rows,
            Some(_) => Some(0),
            None => file.bounds[place].null_count,
        });
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(|file| file.num_rows).collect::<UInt64Array>()))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
