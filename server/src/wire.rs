//! Rows as they travel: the columns that were promised, in the layouts that every client reads.
//!
//! Text and bytes go as plain `Utf8` and `Binary`, dictionaries as their values. A view would carry whole buffers of which a batch may use a few bytes, and
//! drivers in use do not read views everywhere. Every column may be null and has no metadata but that of extension types, so that what is promised when a
//! statement is planned and what is sent when it runs cannot differ in what DataFusion worked out on the way.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_flight::{IpcMessage, SchemaAsIpc};
use bytes::Bytes;
use tonic::Status;

/// Bytes of text in one column of a batch; plain text counts them in 32 bits.
const COLUMN_BYTES_MAX: usize = 1 << 30;

/// The columns that clients see of a result with these.
pub(crate) fn schema(columns: &Schema) -> SchemaRef {
    let fields = columns.fields().iter().map(|field| {
        let extension = field.metadata().iter().filter(|(key, _)| key.starts_with("ARROW:extension:"));
        let extension = extension.map(|(key, value)| (key.clone(), value.clone())).collect();
        Field::new(field.name(), layout(field.data_type()), true).with_metadata(extension)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A batch with the promised columns, in several parts where its text is too long for one.
pub(crate) fn conform(batch: &RecordBatch, promised: &SchemaRef) -> Result<Vec<RecordBatch>, ArrowError> {
    if batch.num_columns() != promised.fields().len() {
        let problem = format!("{} columns were promised, {} came", promised.fields().len(), batch.num_columns());
        return Err(ArrowError::SchemaError(problem));
    }
    if batch.num_rows() > 1 && batch.columns().iter().any(|column| text_bytes(column) > COLUMN_BYTES_MAX) {
        let half = batch.num_rows() / 2;
        let mut parts = conform(&batch.slice(0, half), promised)?;
        parts.extend(conform(&batch.slice(half, batch.num_rows() - half), promised)?);
        return Ok(parts);
    }
    let columns = batch.columns().iter().zip(promised.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() { Ok(Arc::clone(column)) } else { cast(column, field.data_type()) }
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(vec![RecordBatch::try_new_with_options(Arc::clone(promised), columns, &options)?])
}

fn text_bytes(column: &ArrayRef) -> usize {
    match column.data_type() {
        DataType::Utf8View => column.as_string_view().lengths().map(|length| length as usize).sum(),
        DataType::BinaryView => column.as_binary_view().lengths().map(|length| length as usize).sum(),
        DataType::LargeUtf8 => span(column.as_string::<i64>().value_offsets()),
        DataType::LargeBinary => span(column.as_binary::<i64>().value_offsets()),
        _ => 0,
    }
}

fn span(offsets: &[i64]) -> usize {
    let (first, last) = (offsets.first().copied().unwrap_or(0), offsets.last().copied().unwrap_or(0));
    usize::try_from(last - first).unwrap_or(0)
}

fn layout(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, value) => layout(value),
        DataType::RunEndEncoded(_, value) => layout(value.data_type()),
        DataType::List(item) | DataType::ListView(item) => DataType::List(nested(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => DataType::LargeList(nested(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(nested(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(nested).collect()),
        DataType::Map(entries, sorted) => DataType::Map(nested(entries), *sorted),
        other => other.clone(),
    }
}

fn nested(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), layout(field.data_type()), field.is_nullable()))
}

/// A schema in the form of a message.
pub(crate) fn schema_bytes(schema: &Schema) -> Result<Bytes, Status> {
    let options = arrow::ipc::writer::IpcWriteOptions::default();
    let message: Result<IpcMessage, ArrowError> = SchemaAsIpc::new(schema, &options).try_into();
    message.map(|message| message.0).map_err(|error| Status::internal(format!("a schema cannot be sent: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, StringViewArray, StructArray};

    #[test]
    fn views_and_dictionaries_become_plain_at_any_depth() {
        let view = Arc::new(Field::new("v", DataType::Utf8View, false));
        let columns = Schema::new(vec![
            Field::new("s", DataType::Struct(vec![Arc::clone(&view)].into()), false),
            Field::new("d", DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8View)), false),
            Field::new("l", DataType::List(view), true).with_metadata([("comment".to_string(), "x".to_string())].into()),
        ]);
        let promised = schema(&columns);
        let types: Vec<String> = promised.fields().iter().map(|field| field.data_type().to_string()).collect();
        assert!(types.iter().all(|t| !t.contains("View") && !t.contains("Dictionary")), "{types:?}");
        assert!(promised.fields().iter().all(|field| field.is_nullable() && field.metadata().is_empty()));
        assert_eq!(schema(&promised), promised);
    }

    #[test]
    fn batches_get_the_promised_columns() {
        let text: ArrayRef = Arc::new(StringViewArray::from(vec![Some("short"), None, Some("a text that is longer than twelve bytes")]));
        let inner = StructArray::from(vec![(Arc::new(Field::new("t", DataType::Utf8View, true)), Arc::clone(&text))]);
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_from_iter([("n", numbers), ("t", text), ("s", Arc::new(inner) as ArrayRef)]).unwrap();
        let promised = schema(&batch.schema());
        let parts = conform(&batch, &promised).unwrap();
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].schema(), promised);
        assert_eq!(parts[0].column(1).as_string::<i32>().value(2), "a text that is longer than twelve bytes");
        assert!(conform(&batch.project(&[0]).unwrap(), &promised).is_err());
    }
}
