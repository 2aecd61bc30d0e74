//! How often each value of a column of any type occurs.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// Memory of an entry beside the bytes of its value.
const ENTRY_BYTES: usize = 32;

/// Counts by value. NULL is not counted.
#[derive(Debug)]
pub struct ValueCounts {
    converter: RowConverter,
    /// By the value's bytes, whose order is that of the values.
    counts: HashMap<Box<[u8]>, u64, RandomState>,
    bytes: usize,
}

impl ValueCounts {
    /// No values yet.
    ///
    /// # Errors
    /// A type whose values have no order.
    pub fn new(data_type: &DataType) -> Result<Self, ArrowError> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        Ok(Self { converter, counts: HashMap::default(), bytes: 0 })
    }

    /// Adds values, each as often as `times` tells for its place.
    ///
    /// # Errors
    /// Values of another type.
    pub fn add(&mut self, values: &ArrayRef, times: impl Fn(usize) -> u64) -> Result<(), ArrowError> {
        let rows = self.converter.convert_columns(std::slice::from_ref(values))?;
        for (at, row) in rows.iter().enumerate() {
            if values.is_null(at) {
                continue;
            }
            let bytes: &[u8] = row.as_ref();
            match self.counts.get_mut(bytes) {
                Some(count) => *count += times(at),
                None => {
                    self.bytes += bytes.len();
                    self.counts.insert(bytes.into(), times(at));
                }
            }
        }
        Ok(())
    }

    /// The values in ascending order with their counts.
    ///
    /// # Errors
    /// None that is known.
    pub fn ascending(&self) -> Result<(ArrayRef, Vec<u64>), ArrowError> {
        let mut entries: Vec<(&[u8], u64)> = self.counts.iter().map(|(bytes, count)| (bytes.as_ref(), *count)).collect();
        entries.sort_unstable();
        self.columns(&entries)
    }

    /// The most frequent values, at most so many and each at least so often, in ascending order. Of equally frequent ones the lesser are kept.
    ///
    /// # Errors
    /// None that is known.
    pub fn most_frequent(&self, at_most: usize, least_count: u64) -> Result<ArrayRef, ArrowError> {
        let entries = self.counts.iter().map(|(bytes, count)| (bytes.as_ref(), *count));
        let mut entries: Vec<(&[u8], u64)> = entries.filter(|(_, count)| *count >= least_count).collect();
        if entries.len() > at_most {
            entries.sort_unstable_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
            entries.truncate(at_most);
        }
        entries.sort_unstable();
        Ok(self.columns(&entries)?.0)
    }

    fn columns(&self, entries: &[(&[u8], u64)]) -> Result<(ArrayRef, Vec<u64>), ArrowError> {
        let parser = self.converter.parser();
        let mut columns = self.converter.convert_rows(entries.iter().map(|(bytes, _)| parser.parse(bytes)))?;
        let values = columns.pop().ok_or_else(|| ArrowError::ComputeError("a row without columns".to_string()))?;
        Ok((values, entries.iter().map(|(_, count)| *count).collect()))
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.bytes + self.counts.capacity() * ENTRY_BYTES + self.converter.size()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{AsArray, StringArray};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keeps_what_a_map_keeps(values in prop::collection::vec(prop::option::of("[a-d]{0,2}"), 0..80), top in 0usize..6, least in 0u64..4) {
            let mut counts = ValueCounts::new(&DataType::Utf8).unwrap();
            for part in values.chunks(7) {
                let column: ArrayRef = Arc::new(StringArray::from(part.to_vec()));
                counts.add(&column, |_| 1).unwrap();
            }
            let mut naive: BTreeMap<String, u64> = BTreeMap::new();
            for value in values.into_iter().flatten() {
                *naive.entry(value).or_default() += 1;
            }
            let (found, times) = counts.ascending().unwrap();
            let found: Vec<(String, u64)> = found.as_string::<i32>().iter().flatten().map(ToString::to_string).zip(times).collect();
            let all: Vec<(String, u64)> = naive.into_iter().collect();
            prop_assert_eq!(&found, &all);
            let mut kept: Vec<(String, u64)> = all.into_iter().filter(|(_, count)| *count >= least).collect();
            // Stable: equally frequent ones stay in ascending order.
            kept.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            kept.truncate(top);
            let mut kept: Vec<String> = kept.into_iter().map(|(value, _)| value).collect();
            kept.sort();
            let found = counts.most_frequent(top, least).unwrap();
            prop_assert_eq!(found.as_string::<i32>().iter().flatten().map(ToString::to_string).collect::<Vec<_>>(), kept);
        }
    }
}
