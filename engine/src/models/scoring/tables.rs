//! `ml_table(0)`: a table about a model as one list of structs, so that a plan carries the reference of a model and not its contents.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, LargeListArray, RecordBatch, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::logical_expr::Expr;
use orrery_models::{Model, ModelTable};

use super::{ModelFunction, Scorer, Task, of_model};

/// Name of the values of a list.
const ITEM: &str = "item";

/// The columns of the table; `None` where the model type has no such table.
///
/// # Errors
/// The model cannot be loaded, or contradicts itself.
pub fn schema(scorer: &Scorer, table: ModelTable) -> Result<Option<SchemaRef>> {
    Ok(scorer.model()?.table(table).map_err(of_model)?.map(|batch| batch.schema()))
}

/// The call that gives all rows of the table for each row of `arg`.
pub fn call(scorer: &Scorer, table: ModelTable, schema: &SchemaRef, arg: Expr) -> Expr {
    ModelFunction::new(scorer.clone(), Task::Table(table), list_of(schema)).call(vec![arg])
}

/// Rows as one value: a list of structs.
pub(super) fn list_of(schema: &SchemaRef) -> DataType {
    DataType::LargeList(Arc::new(Field::new(ITEM, DataType::Struct(schema.fields().clone()), true)))
}

pub(super) fn rows(model: &dyn Model, table: ModelTable, times: usize) -> Result<ArrayRef> {
    let batch = model.table(table).map_err(of_model)?.ok_or_else(|| internal_datafusion_err!("the model has no such table"))?;
    as_lists(&vec![batch; times])
}

/// Each batch as one value of a list column.
pub(super) fn as_lists(batches: &[RecordBatch]) -> Result<ArrayRef> {
    let first = batches.first().ok_or_else(|| internal_datafusion_err!("a table of no row"))?;
    let all: StructArray = concat_batches(&first.schema(), batches)?.into();
    let offsets = OffsetBuffer::from_lengths(batches.iter().map(RecordBatch::num_rows));
    let item = Arc::new(Field::new(ITEM, all.data_type().clone(), true));
    Ok(Arc::new(LargeListArray::try_new(item, offsets, Arc::new(all), None)?))
}
