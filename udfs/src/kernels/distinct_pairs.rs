//! The distinct values of every group, all in one table: the memory of `count(DISTINCT x)`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, BooleanArray, UInt32Array, make_array, new_empty_array,
};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{ArrowNativeType, DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use super::interner::Interner;
use super::pair_set::{PackedPair, PairSet};

/// Rows whose pairs are packed before they are looked up.
const CHUNK_ROWS: usize = 256;
/// Strings of groups that are gone, tolerated however few pairs there are.
const LEAST_UNUSED_STRINGS: usize = 8192;

/// Pairs of group and value. Floats count as in SQL's `GROUP BY`: both zeros are one value, and so is every NaN.
pub struct DistinctPairs {
    data_type: DataType,
    pairs: Pairs,
    counts: Vec<i64>,
}

enum Pairs {
    /// The value's bits beside its group.
    Words(PairSet<u128>),
    /// Text or binary: the number of the interned value beside its group.
    Strings(PairSet<u64>, Interner),
    /// Any other type, interned in Arrow's row format.
    Rows(PairSet<u64>, Interner, RowConverter),
}

impl DistinctPairs {
    /// An empty set of pairs with values of `data_type`.
    ///
    /// # Errors
    /// If values of this type cannot be compared for equality.
    pub fn try_new(data_type: &DataType) -> Result<Self, ArrowError> {
        let pairs = match data_type {
            DataType::Boolean => Pairs::Words(PairSet::default()),
            DataType::Interval(_) | DataType::Float16 => Self::rows(data_type)?,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                Pairs::Strings(PairSet::default(), Interner::default())
            }
            other => match other.primitive_width() {
                Some(1 | 2 | 4 | 8) => Pairs::Words(PairSet::default()),
                _ => Self::rows(other)?,
            },
        };
        Ok(Self { data_type: data_type.clone(), pairs, counts: Vec::new() })
    }

    fn rows(data_type: &DataType) -> Result<Pairs, ArrowError> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        Ok(Pairs::Rows(PairSet::default(), Interner::default(), converter))
    }

    /// Adds `values[i]` to group `groups[i]`, leaving out nulls and the rows where `keep` is false.
    ///
    /// # Errors
    /// If there are four billion groups or different values.
    pub fn insert(
        &mut self,
        values: &ArrayRef,
        groups: &[usize],
        keep: Option<&BooleanBuffer>,
        total_groups: usize,
    ) -> Result<(), ArrowError> {
        if total_groups >= u32::MAX as usize {
            return Err(ArrowError::ComputeError(format!("count(DISTINCT) over {total_groups} groups: the limit is four billion")));
        }
        self.counts.resize(total_groups.max(self.counts.len()), 0);
        let counts = &mut self.counts;
        let valid = values.logical_nulls().filter(|nulls| nulls.null_count() > 0).map(|nulls| nulls.into_inner());
        let kept = match (keep, valid) {
            (None, valid) => valid,
            (Some(keep), None) => Some(keep.clone()),
            (Some(keep), Some(valid)) => Some(keep & &valid),
        };
        let kept = kept.as_ref();
        match &mut self.pairs {
            Pairs::Words(set) => insert_words(set, values, groups, kept, counts),
            Pairs::Strings(set, interner) => with_byte_strings!(values, array => {
                insert_pairs(set, groups, kept, counts, |row| number_of(interner, array.value(row)))
            }, Err(ArrowError::InvalidArgumentError(format!("expected text, got {}", values.data_type())))),
            Pairs::Rows(set, interner, converter) => {
                let rows = converter.convert_columns(std::slice::from_ref(values))?;
                insert_pairs(set, groups, kept, counts, |row| number_of(interner, rows.row(row).as_ref()))
            }
        }
    }

    /// Takes the first `groups` groups out: the number of values of each. The other groups move down.
    pub fn take_counts(&mut self, groups: usize) -> Vec<i64> {
        self.counts.resize(groups.max(self.counts.len()), 0);
        let rest = self.counts.split_off(groups);
        let counts = std::mem::replace(&mut self.counts, rest);
        if self.counts.is_empty() {
            self.forget_everything();
            return counts;
        }
        match &mut self.pairs {
            Pairs::Words(set) => set.remove_first_groups(groups as u32),
            Pairs::Strings(set, interner) | Pairs::Rows(set, interner, _) => {
                set.remove_first_groups(groups as u32);
                if interner.len() > 2 * set.len() + LEAST_UNUSED_STRINGS {
                    forget_unused_strings(set, interner);
                }
            }
        }
        counts
    }

    /// Takes the first `groups` groups out: the number of values of each, and all their values, group by group.
    pub fn take_values(&mut self, groups: usize) -> Result<(Vec<i64>, ArrayRef), ArrowError> {
        self.counts.resize(groups.max(self.counts.len()), 0);
        let counts = &self.counts[..groups];
        let everything = groups == self.counts.len();
        let values = match &mut self.pairs {
            Pairs::Words(set) => restore_words(&gather(set, counts), &self.data_type)?,
            Pairs::Strings(set, interner) => {
                let numbers = UInt32Array::from(gather(set, counts));
                restore_strings(interner, &numbers, everything, &self.data_type)?
            }
            Pairs::Rows(set, interner, converter) => {
                let numbers = gather(set, counts);
                let parser = converter.parser();
                let encoded: Vec<Vec<u8>> = numbers.iter().map(|number| interner.with(*number, <[u8]>::to_vec)).collect();
                let columns = converter.convert_rows(encoded.iter().map(|bytes| parser.parse(bytes)))?;
                columns.into_iter().next().unwrap_or_else(|| new_empty_array(&self.data_type))
            }
        };
        Ok((self.take_counts(groups), values))
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        let pairs = match &self.pairs {
            Pairs::Words(set) => set.allocated_bytes(),
            Pairs::Strings(set, interner) => set.allocated_bytes() + interner.allocated_bytes(),
            Pairs::Rows(set, interner, converter) => set.allocated_bytes() + interner.allocated_bytes() + converter.size(),
        };
        pairs + self.counts.capacity() * size_of::<i64>()
    }

    fn forget_everything(&mut self) {
        self.counts = Vec::new();
        match &mut self.pairs {
            Pairs::Words(set) => *set = PairSet::default(),
            Pairs::Strings(set, interner) | Pairs::Rows(set, interner, _) => {
                *set = PairSet::default();
                *interner = Interner::default();
            }
        }
    }
}

fn number_of(interner: &mut Interner, bytes: impl AsRef<[u8]>) -> Result<u32, ArrowError> {
    interner
        .intern(bytes.as_ref())
        .ok_or_else(|| ArrowError::ComputeError("count(DISTINCT) over more than four billion different values".into()))
}

fn insert_words(
    set: &mut PairSet<u128>,
    values: &ArrayRef,
    groups: &[usize],
    kept: Option<&BooleanBuffer>,
    counts: &mut [i64],
) -> Result<(), ArrowError> {
    fn bits<W: ArrowNativeType + Into<u64>>(
        set: &mut PairSet<u128>,
        values: &ArrayRef,
        groups: &[usize],
        kept: Option<&BooleanBuffer>,
        counts: &mut [i64],
    ) -> Result<(), ArrowError> {
        let data = values.to_data();
        let bits = data.buffer::<W>(0);
        insert_pairs(set, groups, kept, counts, |row| Ok(bits[row].into()))
    }
    match values.data_type() {
        DataType::Boolean => {
            let values = values.as_boolean().values();
            insert_pairs(set, groups, kept, counts, |row| Ok(u64::from(values.value(row))))
        }
        DataType::Float32 => {
            let values = values.as_primitive::<Float32Type>().values();
            insert_pairs(set, groups, kept, counts, |row| Ok(u64::from(same_bits_f32(values[row]))))
        }
        DataType::Float64 => {
            let values = values.as_primitive::<Float64Type>().values();
            insert_pairs(set, groups, kept, counts, |row| Ok(same_bits_f64(values[row])))
        }
        other => match other.primitive_width() {
            Some(1) => bits::<u8>(set, values, groups, kept, counts),
            Some(2) => bits::<u16>(set, values, groups, kept, counts),
            Some(4) => bits::<u32>(set, values, groups, kept, counts),
            _ => bits::<u64>(set, values, groups, kept, counts),
        },
    }
}

fn same_bits_f32(value: f32) -> u32 {
    if value == 0.0 {
        0
    } else if value.is_nan() {
        f32::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

fn same_bits_f64(value: f64) -> u64 {
    if value == 0.0 {
        0
    } else if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

/// Packing a chunk of pairs before looking them up lets the processor have several cache misses under way at once.
fn insert_pairs<P: PackedPair>(
    set: &mut PairSet<P>,
    groups: &[usize],
    kept: Option<&BooleanBuffer>,
    counts: &mut [i64],
    mut value_at: impl FnMut(usize) -> Result<P::Value, ArrowError>,
) -> Result<(), ArrowError> {
    let mut chunk = [P::default(); CHUNK_ROWS];
    let mut filled = 0;
    let mut flush = |pairs: &[P]| {
        set.reserve(pairs.len());
        for pair in pairs {
            counts[pair.unpack().0 as usize] += i64::from(set.insert(*pair));
        }
    };
    let mut add = |row: usize| {
        chunk[filled] = P::pack(groups[row] as u32, value_at(row)?);
        filled += 1;
        if filled == CHUNK_ROWS {
            flush(&chunk);
            filled = 0;
        }
        Ok::<_, ArrowError>(())
    };
    match kept {
        None => (0..groups.len()).try_for_each(&mut add)?,
        Some(kept) => kept.set_indices().try_for_each(&mut add)?,
    }
    flush(&chunk[..filled]);
    Ok(())
}

/// The values of the groups that `counts` covers, group by group.
fn gather<P: PackedPair<Value: Default>>(set: &PairSet<P>, counts: &[i64]) -> Vec<P::Value> {
    let mut next = Vec::with_capacity(counts.len());
    let mut total = 0;
    for count in counts {
        next.push(total);
        total += *count as usize;
    }
    let mut values = vec![P::Value::default(); total];
    for (group, value) in set.iter() {
        if let Some(at) = next.get_mut(group as usize) {
            values[*at] = value;
            *at += 1;
        }
    }
    values
}

fn restore_words(words: &[u64], data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if *data_type == DataType::Boolean {
        return Ok(Arc::new(BooleanArray::from(words.iter().map(|word| *word == 1).collect::<Vec<_>>())));
    }
    let buffer = match data_type.primitive_width() {
        Some(1) => Buffer::from_vec(words.iter().map(|word| *word as u8).collect::<Vec<_>>()),
        Some(2) => Buffer::from_vec(words.iter().map(|word| *word as u16).collect::<Vec<_>>()),
        Some(4) => Buffer::from_vec(words.iter().map(|word| *word as u32).collect::<Vec<_>>()),
        _ => Buffer::from_vec(words.to_vec()),
    };
    Ok(make_array(ArrayData::builder(data_type.clone()).len(words.len()).add_buffer(buffer).build()?))
}

/// Interns the strings of the remaining pairs anew, so that emitting group after group of a sorted input needs no memory
/// for the groups that are gone.
fn forget_unused_strings(set: &mut PairSet<u64>, interner: &mut Interner) {
    let mut used = Interner::default();
    let mut renumbered = PairSet::default();
    renumbered.reserve(set.len());
    for (group, number) in set.iter() {
        if let Some(number) = interner.with(number, |bytes| used.intern(bytes)) {
            renumbered.insert(u64::pack(group, number));
        }
    }
    *set = renumbered;
    *interner = used;
}

/// The strings of `numbers`; with `everything` the interner gives its memory away and is left empty.
pub(super) fn restore_strings(
    interner: &mut Interner,
    numbers: &UInt32Array,
    everything: bool,
    data_type: &DataType,
) -> Result<ArrayRef, ArrowError> {
    let values: ArrayRef = if everything {
        let (views, blocks) = interner.take();
        take(&BinaryViewArray::try_new(views, blocks, None)?, numbers, None)?
    } else {
        let mut strings = BinaryViewBuilder::with_capacity(numbers.len());
        for number in numbers.values() {
            interner.with(*number, |bytes| strings.append_value(bytes));
        }
        Arc::new(strings.finish())
    };
    let is_text = matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let values: ArrayRef = if is_text { Arc::new(values.as_binary_view().clone().to_string_view()?) } else { values };
    if values.data_type() == data_type { Ok(values) } else { cast(&values, data_type) }
}

#[cfg(test)]
mod tests;
