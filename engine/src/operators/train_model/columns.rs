//! The rows as a trainer wants them: every column in the type that the training was prepared for, whatever encoding the plan gives it.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{Result, internal_err};
use orrery_models::InputColumn;

/// Casts batches.
#[derive(Debug, Clone)]
pub(super) struct TrainingColumns {
    schema: SchemaRef,
}

impl TrainingColumns {
    pub fn new(columns: &[InputColumn]) -> Self {
        let fields = columns.iter().map(|column| Field::new(&column.name, column.data_type.clone(), true));
        Self { schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())) }
    }

    /// A batch of the plan, whose columns are taken in their order.
    pub fn of(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        if batch.num_columns() != self.schema.fields().len() {
            return internal_err!("a training of {} columns got {}", self.schema.fields().len(), batch.num_columns());
        }
        let columns = batch.columns().iter().zip(self.schema.fields()).map(|(column, field)| {
            if column.data_type() == field.data_type() { Ok(Arc::clone(column)) } else { cast(column, field.data_type()) }
        });
        let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}
