//! A key of one whole number and its salt as one number, `key * 2^32 + salt`: joins compare one column of numbers much faster than two columns of anything.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, Decimal128Array, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, UInt64Type};
use datafusion::common::Result;

/// The name of the column of such numbers.
pub(crate) const SALTED_KEY: &str = "__salted_key";
/// Their type: 128 bits.
pub(super) const TYPE: DataType = DataType::Decimal128(38, 0);

const SALT_BITS: u32 = 32;
/// Stands for a null: no key of 64 bits comes that far.
const NULL_KEY: i128 = 1 << 100;

/// What becomes of keys that are null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nulls {
    /// A number like others, which a shuffle can spread.
    AsKey,
    /// Null, which equals nothing on the other side.
    Kept,
}

/// Whether keys of these types are packed.
pub(crate) fn packs<'a>(mut types: impl Iterator<Item = &'a DataType>) -> bool {
    let is_whole = |data_type: &DataType| data_type.is_integer() || matches!(data_type, DataType::Date32 | DataType::Timestamp(..));
    match (types.next(), types.next()) {
        (Some(only), None) => is_whole(only),
        _ => false,
    }
}

/// Packs keys with their salts, row by row.
///
/// # Errors
/// Keys of a type that is not packed.
pub(crate) fn pack(keys: &ArrayRef, salts: &UInt32Array, nulls: Nulls) -> Result<ArrayRef> {
    let of = |key: i128, salt: u32| key << SALT_BITS | i128::from(salt);
    let is_null = |row: usize| keys.is_null(row);
    let values: Vec<i128> = if *keys.data_type() == DataType::UInt64 {
        let numbers = keys.as_primitive::<UInt64Type>().values();
        numbers.iter().zip(salts.values()).map(|(key, salt)| of(i128::from(*key), *salt)).collect()
    } else {
        let numbers = cast(keys, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<Int64Type>().values();
        numbers.iter().zip(salts.values()).map(|(key, salt)| of(i128::from(*key), *salt)).collect()
    };
    let packed = match (keys.nulls(), nulls) {
        (None, _) => Decimal128Array::from(values),
        (Some(present), Nulls::Kept) => Decimal128Array::new(values.into(), Some(present.clone())),
        (Some(_), Nulls::AsKey) => {
            let rows = values.into_iter().zip(salts.values()).enumerate();
            rows.map(|(row, (value, salt))| if is_null(row) { NULL_KEY | i128::from(*salt) } else { value }).collect::<Vec<_>>().into()
        }
    };
    Ok(Arc::new(packed.with_data_type(TYPE)))
}

/// The salt within a packed number.
#[cfg(test)]
pub(super) fn salt_of(packed: i128) -> u32 {
    packed as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, Int64Array, UInt64Array};
    use arrow::datatypes::Decimal128Type;

    fn packed(keys: ArrayRef, salts: Vec<u32>, nulls: Nulls) -> Vec<Option<i128>> {
        assert!(packs(std::iter::once(keys.data_type())));
        pack(&keys, &UInt32Array::from(salts), nulls).unwrap().as_primitive::<Decimal128Type>().iter().collect()
    }

    #[test]
    fn no_two_keys_and_salts_are_one_number() {
        let keys = [i64::MIN, -1, 0, 1, i64::MAX];
        let salts = [0, 1, u32::MAX];
        let all: Vec<(i64, u32)> = keys.iter().flat_map(|key| salts.map(|salt| (*key, salt))).collect();
        let array: ArrayRef = Arc::new(Int64Array::from_iter_values(all.iter().map(|(key, _)| *key)));
        let mut numbers = packed(array, all.iter().map(|(_, salt)| *salt).collect(), Nulls::Kept);
        let large: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX, u64::MAX]));
        numbers.extend(packed(large, vec![0, u32::MAX], Nulls::Kept));
        let nulls: ArrayRef = Arc::new(Int32Array::from(vec![None, None]));
        numbers.extend(packed(Arc::clone(&nulls), vec![0, 7], Nulls::AsKey));
        let distinct: std::collections::BTreeSet<_> = numbers.iter().collect();
        assert!(numbers.iter().all(Option::is_some));
        assert_eq!(distinct.len(), numbers.len());
        assert_eq!(packed(nulls, vec![0, 7], Nulls::Kept), [None, None]);
    }

    #[test]
    fn only_one_whole_number_is_packed() {
        assert!(packs([DataType::Date32].iter()));
        for types in [&[DataType::Utf8View][..], &[DataType::Float64], &[DataType::Int64, DataType::Int64], &[]] {
            assert!(!packs(types.iter()), "{types:?}");
        }
    }
}
