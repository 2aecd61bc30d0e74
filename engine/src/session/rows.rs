//! Small results that the session makes itself: listings, descriptions, plans.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::memory::MemoryStream;

use crate::Result;

/// A column of a small result.
pub(super) enum Cells {
    Text(Vec<Option<String>>),
    Flags(Vec<bool>),
    Whole(Vec<Option<i64>>),
}

impl Cells {
    pub(super) fn text<T: Into<String>>(values: impl IntoIterator<Item = T>) -> Self {
        Self::Text(values.into_iter().map(|v| Some(v.into())).collect())
    }
}

/// Named columns as one batch.
pub(super) fn table(columns: Vec<(&str, Cells)>) -> Result<RecordBatch> {
    let mut fields = Vec::with_capacity(columns.len());
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len());
    for (name, cells) in columns {
        let (data_type, array): (DataType, ArrayRef) = match cells {
            Cells::Text(values) => (DataType::Utf8, Arc::new(StringArray::from(values))),
            Cells::Whole(values) => (DataType::Int64, Arc::new(Int64Array::from(values))),
            Cells::Flags(values) => (DataType::Boolean, Arc::new(BooleanArray::from(values))),
        };
        fields.push(Field::new(name, data_type, true));
        arrays.push(array);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

/// A batch as a stream.
pub(super) fn stream(batch: RecordBatch) -> Result<SendableRecordBatchStream> {
    let schema = batch.schema();
    Ok(Box::pin(MemoryStream::try_new(vec![batch], schema, None)?))
}
