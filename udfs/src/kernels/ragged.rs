//! Lists of structs made of flat columns, and taken apart again: how a state with several rows per group travels.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, StructArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::error::ArrowError;

/// The type of a list of `item`.
pub fn list_type(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// Fields that can be null, by name and type.
pub fn fields(of: &[(&str, DataType)]) -> Fields {
    of.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect()
}

/// A list per group of `values`, which begin at `starts` (the last of which is their end).
///
/// # Errors
/// If there are more values than an Arrow list can hold.
pub fn lists(values: ArrayRef, starts: &[usize]) -> Result<ListArray, ArrowError> {
    if values.len() > i32::MAX as usize {
        return Err(ArrowError::ComputeError(format!("{} events in one batch of lists, the limit is 2^31", values.len())));
    }
    let offsets: ScalarBuffer<i32> = starts.iter().map(|start| *start as i32).collect();
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    ListArray::try_new(item, OffsetBuffer::new(offsets), values, None)
}

/// A list per group of structs of `columns`.
///
/// # Errors
/// As [`lists`].
pub fn struct_lists(fields: Fields, columns: Vec<ArrayRef>, starts: &[usize]) -> Result<ListArray, ArrowError> {
    lists(Arc::new(StructArray::try_new(fields, columns, None)?), starts)
}

/// The values of all lists, and for each the group of its list.
pub fn spread(lists: &ListArray, groups: &[usize]) -> (ArrayRef, Vec<usize>) {
    let offsets = lists.value_offsets();
    let start = offsets.first().copied().unwrap_or(0) as usize;
    let end = offsets.last().copied().unwrap_or(0) as usize;
    let mut of_value = Vec::with_capacity(end - start);
    for (bounds, group) in offsets.windows(2).zip(groups) {
        of_value.resize(of_value.len() + (bounds[1] - bounds[0]) as usize, *group);
    }
    (lists.values().slice(start, end - start), of_value)
}
