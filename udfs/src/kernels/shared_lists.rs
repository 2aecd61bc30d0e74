//! Lists that many rows share: what is learned of a column stands beside every row, mostly as one list in a dictionary.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray};
use arrow::datatypes::{DataType, Int32Type};
use arrow::error::ArrowError;

/// Calls `each` for every run of rows that have the same list, with the list (`None`: NULL). The column holds lists, or a dictionary of them.
///
/// # Errors
/// A column of another type; what `each` reports.
pub fn for_each_run<E: From<ArrowError>>(
    column: &ArrayRef,
    mut each: impl FnMut(Range<usize>, Option<ArrayRef>) -> Result<(), E>,
) -> Result<(), E> {
    let wrong = |data_type: &DataType| ArrowError::CastError(format!("{data_type} is no list"));
    match column.data_type() {
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            for row in 0..lists.len() {
                each(row..row + 1, lists.is_valid(row).then(|| lists.value(row)))?;
            }
            Ok(())
        }
        DataType::Dictionary(key, item) if **key == DataType::Int32 && matches!(item.as_ref(), DataType::List(_)) => {
            let dictionary: &DictionaryArray<Int32Type> = column.as_dictionary();
            let lists = dictionary.values().as_list::<i32>();
            let mut start = 0;
            while start < dictionary.len() {
                let key = dictionary.key(start);
                let end = (start..dictionary.len()).find(|row| dictionary.key(*row) != key).unwrap_or(dictionary.len());
                each(start..end, key.filter(|key| lists.is_valid(*key)).map(|key| lists.value(key)))?;
                start = end;
            }
            Ok(())
        }
        other => Err(wrong(other).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, ListArray};

    use super::*;

    #[test]
    fn rows_of_one_key_are_one_run() {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), None, Some(vec![Some(2), Some(3)])]);
        let keys = Int32Array::from(vec![Some(0), Some(0), Some(2), Some(1), None]);
        let shared: ArrayRef = Arc::new(DictionaryArray::try_new(keys, Arc::new(lists.clone())).unwrap());
        let runs = |column: &ArrayRef| {
            let mut found = Vec::new();
            for_each_run::<ArrowError>(column, |rows, list| {
                found.push((rows, list.map(|l| l.len())));
                Ok(())
            })
            .unwrap();
            found
        };
        assert_eq!(runs(&shared), [(0..2, Some(1)), (2..3, Some(2)), (3..4, None), (4..5, None)]);
        let plain: ArrayRef = Arc::new(lists);
        assert_eq!(runs(&plain), [(0..1, Some(1)), (1..2, None), (2..3, Some(2))]);
        let other: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        assert!(for_each_run::<ArrowError>(&other, |_, _| Ok(())).is_err());
    }
}
