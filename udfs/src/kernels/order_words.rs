//! Fixed-width values as 128-bit words that compare as unsigned integers in the order of a SQL `ORDER BY`, and back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::*;
use arrow::error::ArrowError;

/// Words of values that need at most 64 bits carry this bit, so that there is room for nulls below and above.
const VALUE_BIT: u128 = 1 << 64;
const SIGN_128: u128 = 1 << 127;

/// Calls a macro with the Arrow type, how one of its values becomes an ordered integer, and how to go back.
macro_rules! for_word_type {
    ($data_type:expr, $apply:ident, $otherwise:expr) => {
        match $data_type {
            DataType::Int8 => $apply!(Int8Type, |v: i8| from_signed(i64::from(v)), |k: u64| to_signed(k) as i8),
            DataType::Int16 => $apply!(Int16Type, |v: i16| from_signed(i64::from(v)), |k: u64| to_signed(k) as i16),
            DataType::Int32 => $apply!(Int32Type, |v: i32| from_signed(i64::from(v)), |k: u64| to_signed(k) as i32),
            DataType::Int64 => $apply!(Int64Type, from_signed, to_signed),
            DataType::UInt8 => $apply!(UInt8Type, |v: u8| u64::from(v), |k: u64| k as u8),
            DataType::UInt16 => $apply!(UInt16Type, |v: u16| u64::from(v), |k: u64| k as u16),
            DataType::UInt32 => $apply!(UInt32Type, |v: u32| u64::from(v), |k: u64| k as u32),
            DataType::UInt64 => $apply!(UInt64Type, |v: u64| v, |k: u64| k),
            DataType::Float32 => $apply!(Float32Type, |v: f32| from_f32(v), |k: u64| to_f32(k)),
            DataType::Float64 => $apply!(Float64Type, |v: f64| from_f64(v), |k: u64| to_f64(k)),
            DataType::Date32 => $apply!(Date32Type, |v: i32| from_signed(i64::from(v)), |k: u64| to_signed(k) as i32),
            DataType::Date64 => $apply!(Date64Type, from_signed, to_signed),
            DataType::Decimal32(_, _) => $apply!(Decimal32Type, |v: i32| from_signed(i64::from(v)), |k: u64| to_signed(k) as i32),
            DataType::Decimal64(_, _) => $apply!(Decimal64Type, from_signed, to_signed),
            DataType::Time32(TimeUnit::Second) => {
                $apply!(Time32SecondType, |v: i32| from_signed(i64::from(v)), |k: u64| to_signed(k) as i32)
            }
            DataType::Time32(_) => $apply!(Time32MillisecondType, |v: i32| from_signed(i64::from(v)), |k: u64| to_signed(k) as i32),
            DataType::Time64(TimeUnit::Microsecond) => $apply!(Time64MicrosecondType, from_signed, to_signed),
            DataType::Time64(_) => $apply!(Time64NanosecondType, from_signed, to_signed),
            DataType::Timestamp(TimeUnit::Second, _) => $apply!(TimestampSecondType, from_signed, to_signed),
            DataType::Timestamp(TimeUnit::Millisecond, _) => $apply!(TimestampMillisecondType, from_signed, to_signed),
            DataType::Timestamp(TimeUnit::Microsecond, _) => $apply!(TimestampMicrosecondType, from_signed, to_signed),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => $apply!(TimestampNanosecondType, from_signed, to_signed),
            _ => $otherwise,
        }
    };
}

/// True if values of this type have words.
pub fn has_words(data_type: &DataType) -> bool {
    macro_rules! yes {
        ($t:ty, $to:expr, $from:expr) => {
            true
        };
    }
    for_word_type!(data_type, yes, matches!(data_type, DataType::Boolean | DataType::Decimal128(_, _)))
}

/// Writes the word of every row of `column` to `words`, in place of what it holds. The type must have words.
pub fn write_words(column: &ArrayRef, options: SortOptions, words: &mut Vec<u128>) {
    words.clear();
    // Reversing the order of 64 ordered bits, or of all 128, is negating them.
    let (flip, flip_wide) = if options.descending { (u64::MAX, u128::MAX) } else { (0, 0) };
    macro_rules! write {
        ($t:ty, $to:expr, $from:expr) => {{
            let to = $to;
            words.extend(column.as_primitive::<$t>().values().iter().map(|v| VALUE_BIT | u128::from(to(*v) ^ flip)))
        }};
    }
    for_word_type!(
        column.data_type(),
        write,
        match column.data_type() {
            DataType::Boolean => words.extend(column.as_boolean().values().iter().map(|v| VALUE_BIT | u128::from(u64::from(v) ^ flip))),
            // A decimal's 38 digits need less than 127 bits: both ends of the range are free for nulls.
            _ => words.extend(column.as_primitive::<Decimal128Type>().values().iter().map(|v| (*v as u128 ^ SIGN_128) ^ flip_wide)),
        }
    );
    if let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0) {
        let null = null_word(options);
        for (word, valid) in words.iter_mut().zip(nulls.iter()) {
            *word = if valid { *word } else { null };
        }
    }
}

/// The column that `words` were written from.
///
/// # Errors
/// If `data_type` has no words.
pub fn restore_column(words: &[u128], options: SortOptions, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    let (flip, flip_wide) = if options.descending { (u64::MAX, u128::MAX) } else { (0, 0) };
    let null = null_word(options);
    let nulls = Some(words.iter().map(|word| *word != null).collect::<NullBuffer>()).filter(|nulls| nulls.null_count() > 0);
    macro_rules! restore {
        ($t:ty, $to:expr, $from:expr) => {{
            let from = $from;
            let values: Vec<_> = words.iter().map(|word| from(*word as u64 ^ flip)).collect();
            Arc::new(PrimitiveArray::<$t>::try_new(values.into(), nulls)?.with_data_type(data_type.clone())) as ArrayRef
        }};
    }
    Ok(for_word_type!(
        data_type,
        restore,
        match data_type {
            DataType::Boolean => Arc::new(BooleanArray::new(words.iter().map(|word| (*word as u64 ^ flip) == 1).collect(), nulls)),
            DataType::Decimal128(_, _) => {
                let values: Vec<_> = words.iter().map(|word| ((*word ^ flip_wide) ^ SIGN_128) as i128).collect();
                Arc::new(PrimitiveArray::<Decimal128Type>::try_new(values.into(), nulls)?.with_data_type(data_type.clone()))
            }
            other => return Err(ArrowError::InvalidArgumentError(format!("no ordered words for type {other}"))),
        }
    ))
}

fn null_word(options: SortOptions) -> u128 {
    if options.nulls_first { 0 } else { u128::MAX }
}

fn from_signed(value: i64) -> u64 {
    value as u64 ^ (1 << 63)
}

fn to_signed(key: u64) -> i64 {
    (key ^ (1 << 63)) as i64
}

/// IEEE total order: the bits of a negative number run backwards.
fn from_f64(value: f64) -> u64 {
    let bits = value.to_bits() as i64;
    from_signed(bits ^ (((bits >> 63) as u64) >> 1) as i64)
}

fn to_f64(key: u64) -> f64 {
    let bits = to_signed(key);
    f64::from_bits((bits ^ (((bits >> 63) as u64) >> 1) as i64) as u64)
}

fn from_f32(value: f32) -> u64 {
    let bits = value.to_bits() as i32;
    from_signed(i64::from(bits ^ (((bits >> 31) as u32) >> 1) as i32))
}

fn to_f32(key: u64) -> f32 {
    let bits = to_signed(key) as i32;
    f32::from_bits((bits ^ (((bits >> 31) as u32) >> 1) as i32) as u32)
}

#[cfg(test)]
mod tests {
    use arrow::array::*;
    use arrow::compute::sort_to_indices;
    use proptest::prelude::*;

    use super::*;

    const ALL_OPTIONS: [SortOptions; 4] = [
        SortOptions { descending: false, nulls_first: false },
        SortOptions { descending: false, nulls_first: true },
        SortOptions { descending: true, nulls_first: false },
        SortOptions { descending: true, nulls_first: true },
    ];

    /// Sorting by words gives the values in Arrow's order, and the words give the values back.
    fn check(column: ArrayRef) {
        for options in ALL_OPTIONS {
            let mut words = vec![99];
            write_words(&column, options, &mut words);
            assert_eq!(words.len(), column.len());
            assert_eq!(restore_column(&words, options, column.data_type()).unwrap().to_data(), column.to_data());

            let mut order: Vec<u32> = (0..column.len() as u32).collect();
            order.sort_by_key(|row| words[*row as usize]);
            let by_words = arrow::compute::take(&column, &UInt32Array::from(order), None).unwrap();
            let by_arrow = arrow::compute::take(&column, &sort_to_indices(&column, Some(options), None).unwrap(), None).unwrap();
            assert_eq!(by_words.to_data(), by_arrow.to_data(), "{options:?}");
        }
    }

    proptest! {
        #[test]
        fn signed_integers(values in prop::collection::vec(any::<Option<i64>>(), 0..50)) {
            check(Arc::new(Int8Array::from_iter(values.iter().map(|v| v.map(|v| v as i8)))));
            check(Arc::new(Int32Array::from_iter(values.iter().map(|v| v.map(|v| v as i32)))));
            check(Arc::new(Int64Array::from(values.clone())));
            check(Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")));
        }

        #[test]
        fn unsigned_integers(values in prop::collection::vec(any::<Option<u64>>(), 0..50)) {
            check(Arc::new(UInt16Array::from_iter(values.iter().map(|v| v.map(|v| v as u16)))));
            check(Arc::new(UInt64Array::from(values)));
        }

        #[test]
        fn floats(values in prop::collection::vec(prop::option::of(prop::num::f64::ANY), 0..50)) {
            check(Arc::new(Float32Array::from_iter(values.iter().map(|v| v.map(|v| v as f32)))));
            check(Arc::new(Float64Array::from(values)));
        }

        #[test]
        fn decimals_and_booleans(values in prop::collection::vec(prop::option::of(-99_999_999_999_999_999_999_999_999_999_999_999_999i128..=99_999_999_999_999_999_999_999_999_999_999_999_999), 0..50)) {
            check(Arc::new(BooleanArray::from_iter(values.iter().map(|v| v.map(|v| v % 2 == 0)))));
            check(Arc::new(Decimal64Array::from_iter(values.iter().map(|v| v.map(|v| v as i64))).with_precision_and_scale(18, 2).unwrap()));
            check(Arc::new(Decimal128Array::from(values).with_precision_and_scale(38, 3).unwrap()));
        }
    }
}
