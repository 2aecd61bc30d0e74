//! Which columns of a file are worth a dictionary, judged by its first batch.
//!
//! Parquet writers begin every column with a dictionary and give it up once it is full. For ids, instants and the like
//! it always fills up: looking every value up has then cost more than all other encoding together, and saved nothing.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use hashbrown::HashSet;
use parquet::file::properties::DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT;

/// Rows below which a sample says too little.
const LEAST_ROWS: usize = 1024;
/// Bytes that a string takes in a dictionary beside its characters.
const LENGTH_BYTES: f64 = 4.0;

/// True unless a dictionary of the column's values would be full before `rows` rows are written, as far as the sample
/// tells. The number of distinct values is taken to grow like a power of the number of rows (Heaps' law), with the
/// exponent that the two halves of the sample show.
pub(super) fn is_worthwhile(sample: &ArrayRef, rows: usize) -> bool {
    let seen = sample.len();
    let Some(value_bytes) = value_bytes(sample) else { return true };
    if seen < LEAST_ROWS {
        return true;
    }
    let mut hashes = vec![0; seen];
    if create_hashes([sample], &RandomState::with_seed(0), &mut hashes).is_err() {
        return true;
    }
    let mut values: HashSet<u64> = HashSet::with_capacity(seen);
    values.extend(hashes[..seen / 2].iter().copied());
    let in_half = values.len().max(1) as f64;
    values.extend(hashes[seen / 2..].iter().copied());
    let in_whole = values.len() as f64;

    let exponent = (in_whole / in_half).log2().clamp(0.0, 1.0);
    let expected = in_whole * (rows.max(seen) as f64 / seen as f64).powf(exponent);
    expected * value_bytes <= DEFAULT_DICTIONARY_PAGE_SIZE_LIMIT as f64
}

/// Bytes of one value in a dictionary, on average; `None` for types that are left to the writer.
fn value_bytes(sample: &ArrayRef) -> Option<f64> {
    let characters = |bytes: usize| LENGTH_BYTES + bytes as f64 / sample.len().max(1) as f64;
    match sample.data_type() {
        DataType::Utf8 => Some(characters(sample.as_string::<i32>().values().len())),
        DataType::Utf8View => Some(characters(sample.as_string_view().lengths().map(|length| length as usize).sum())),
        DataType::Int32 | DataType::Float32 | DataType::Date32 => Some(4.0),
        DataType::Int64 | DataType::Float64 | DataType::Timestamp(_, _) => Some(8.0),
        DataType::Decimal128(precision, _) if *precision <= 9 => Some(4.0),
        DataType::Decimal128(precision, _) if *precision <= 18 => Some(8.0),
        DataType::Decimal128(_, _) => Some(16.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;

    const ROWS: usize = 1 << 18;

    fn numbers(values: impl Iterator<Item = i64>) -> ArrayRef {
        Arc::new(values.collect::<Int64Array>())
    }

    #[test]
    fn keys_have_none() {
        assert!(!is_worthwhile(&numbers(0..8192), ROWS));
        let texts: StringArray = (0..8192).map(|at| Some(format!("session-{:032}", at / 2))).collect();
        assert!(!is_worthwhile(&(Arc::new(texts) as ArrayRef), ROWS));
    }

    #[test]
    fn few_values_have_one() {
        assert!(is_worthwhile(&numbers((0..8192).map(|at| at % 100)), ROWS));
        // Every value of the first half comes again in the second.
        assert!(is_worthwhile(&numbers((0..8192).map(|at| at % 4096)), ROWS));
        assert!(is_worthwhile(&numbers(std::iter::repeat_n(7, 8192)), ROWS));
    }

    #[test]
    fn small_samples_and_small_files_keep_theirs() {
        assert!(is_worthwhile(&numbers(0..100), ROWS));
        assert!(is_worthwhile(&numbers(0..8192), 8192));
        assert!(is_worthwhile(&numbers(std::iter::empty()), ROWS));
    }
}
