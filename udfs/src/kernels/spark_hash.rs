//! Spark's `xxhash64` over Arrow columns: the same number for the same values as Spark computes, null for null.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type, i256,
};

use super::xxhash64::{hash_bytes, hash_u32, hash_u64};

/// Largest number of decimal digits that Spark keeps in (and hashes as) a 64-bit integer.
const MAX_LONG_DIGITS: u8 = 18;

/// True if [`hash_column`] accepts columns of this type.
pub fn is_hashable(data_type: &DataType) -> bool {
    use DataType::*;
    match data_type {
        Null
        | Boolean
        | Utf8
        | LargeUtf8
        | Utf8View
        | Binary
        | LargeBinary
        | BinaryView
        | FixedSizeBinary(_)
        | Date32
        | Date64
        | Timestamp(_, _) => true,
        Decimal32(_, _) | Decimal64(_, _) | Decimal128(_, _) | Decimal256(_, _) => true,
        Dictionary(_, value) => is_hashable(value),
        other => other.is_integer() || other.is_floating(),
    }
}

/// Folds a column into the running hashes, one per row: `hashes[i]` is the seed for row `i` and becomes its hash. A null
/// leaves the hash as it is.
///
/// Types that Spark lacks are widened to the next type it has: unsigned integers to the next larger signed one (64-bit
/// ones keep their bits), half floats to single ones, timestamps of any unit to microseconds.
///
/// # Errors
/// Names the type, if it is nested or otherwise not hashable.
pub fn hash_column(column: &dyn Array, hashes: &mut [u64]) -> Result<(), String> {
    use DataType::*;
    debug_assert_eq!(column.len(), hashes.len());
    match column.data_type() {
        Null => {}
        Boolean => fold_booleans(column.as_boolean(), hashes),
        Int8 => fold::<Int8Type>(column, hashes, |v, h| hash_u32(i32::from(v) as u32, h)),
        Int16 => fold::<Int16Type>(column, hashes, |v, h| hash_u32(i32::from(v) as u32, h)),
        Int32 => fold::<Int32Type>(column, hashes, |v, h| hash_u32(v as u32, h)),
        Date32 => fold::<Date32Type>(column, hashes, |v, h| hash_u32(v as u32, h)),
        Date64 => fold::<Date64Type>(column, hashes, |v, h| hash_u32(v.div_euclid(86_400_000) as u32, h)),
        UInt8 => fold::<UInt8Type>(column, hashes, |v, h| hash_u32(u32::from(v), h)),
        UInt16 => fold::<UInt16Type>(column, hashes, |v, h| hash_u32(u32::from(v), h)),
        Int64 => fold::<Int64Type>(column, hashes, |v, h| hash_u64(v as u64, h)),
        UInt32 => fold::<UInt32Type>(column, hashes, |v, h| hash_u64(u64::from(v), h)),
        UInt64 => fold::<UInt64Type>(column, hashes, hash_u64),
        Timestamp(TimeUnit::Microsecond, _) => fold::<TimestampMicrosecondType>(column, hashes, |v, h| hash_u64(v as u64, h)),
        Timestamp(TimeUnit::Second, _) => fold::<TimestampSecondType>(column, hashes, |v, h| hash_u64(v.wrapping_mul(1_000_000) as u64, h)),
        Timestamp(TimeUnit::Millisecond, _) => {
            fold::<TimestampMillisecondType>(column, hashes, |v, h| hash_u64(v.wrapping_mul(1000) as u64, h))
        }
        Timestamp(TimeUnit::Nanosecond, _) => {
            fold::<TimestampNanosecondType>(column, hashes, |v, h| hash_u64(v.div_euclid(1000) as u64, h))
        }
        Float16 => fold::<Float16Type>(column, hashes, |v, h| hash_f32(v.to_f32(), h)),
        Float32 => fold::<Float32Type>(column, hashes, hash_f32),
        Float64 => fold::<Float64Type>(column, hashes, hash_f64),
        Decimal32(_, _) => fold::<Decimal32Type>(column, hashes, |v, h| hash_u64(i64::from(v) as u64, h)),
        Decimal64(_, _) => fold::<Decimal64Type>(column, hashes, |v, h| hash_u64(v as u64, h)),
        Decimal128(p, _) if *p <= MAX_LONG_DIGITS => fold::<Decimal128Type>(column, hashes, |v, h| hash_u64(v as u64, h)),
        Decimal128(_, _) => fold::<Decimal128Type>(column, hashes, |v, h| hash_big_integer(&v.to_be_bytes(), h)),
        Decimal256(p, _) if *p <= MAX_LONG_DIGITS => fold::<Decimal256Type>(column, hashes, |v, h| hash_u64(v.as_i128() as u64, h)),
        Decimal256(_, _) => fold::<Decimal256Type>(column, hashes, |v: i256, h| hash_big_integer(&v.to_be_bytes(), h)),
        Utf8 => fold_bytes(column.as_string::<i32>().iter().map(|v| v.map(str::as_bytes)), hashes),
        LargeUtf8 => fold_bytes(column.as_string::<i64>().iter().map(|v| v.map(str::as_bytes)), hashes),
        Utf8View => fold_bytes(column.as_string_view().iter().map(|v| v.map(str::as_bytes)), hashes),
        Binary => fold_bytes(column.as_binary::<i32>().iter(), hashes),
        LargeBinary => fold_bytes(column.as_binary::<i64>().iter(), hashes),
        BinaryView => fold_bytes(column.as_binary_view().iter(), hashes),
        FixedSizeBinary(_) => fold_bytes(column.as_fixed_size_binary().iter(), hashes),
        Dictionary(_, value) => {
            let plain: ArrayRef = cast(column, value).map_err(|e| e.to_string())?;
            hash_column(&plain, hashes)?;
        }
        other => return Err(format!("xxhash64 cannot hash values of type {other}; pass columns of its fields instead")),
    }
    Ok(())
}

fn fold<T: ArrowPrimitiveType>(column: &dyn Array, hashes: &mut [u64], hash: impl Fn(T::Native, u64) -> u64) {
    let column: &PrimitiveArray<T> = column.as_primitive();
    match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => {
            for (seed, value) in hashes.iter_mut().zip(column.values()) {
                *seed = hash(*value, *seed);
            }
        }
        Some(nulls) => {
            for at in nulls.valid_indices() {
                hashes[at] = hash(column.value(at), hashes[at]);
            }
        }
    }
}

fn fold_booleans(column: &BooleanArray, hashes: &mut [u64]) {
    for (seed, value) in hashes.iter_mut().zip(column.iter()) {
        if let Some(value) = value {
            *seed = hash_u32(u32::from(value), *seed);
        }
    }
}

fn fold_bytes<'a>(column: impl Iterator<Item = Option<&'a [u8]>>, hashes: &mut [u64]) {
    for (seed, value) in hashes.iter_mut().zip(column) {
        if let Some(value) = value {
            *seed = hash_bytes(value, *seed);
        }
    }
}

/// Both zeros are one value, and so is every NaN.
fn hash_f32(value: f32, seed: u64) -> u64 {
    let bits = if value == 0.0 {
        0
    } else if value.is_nan() {
        0x7FC0_0000
    } else {
        value.to_bits()
    };
    hash_u32(bits, seed)
}

/// Both zeros are one value, and so is every NaN.
fn hash_f64(value: f64, seed: u64) -> u64 {
    let bits = if value == 0.0 {
        0
    } else if value.is_nan() {
        0x7FF8_0000_0000_0000
    } else {
        value.to_bits()
    };
    hash_u64(bits, seed)
}

/// Hashes the shortest big-endian two's complement form, as Java's `BigInteger.toByteArray` gives it.
fn hash_big_integer(bytes: &[u8], seed: u64) -> u64 {
    let sign = if bytes[0] >= 0x80 { 0xFF } else { 0 };
    let mut start = 0;
    while start + 1 < bytes.len() && bytes[start] == sign && (bytes[start + 1] ^ sign) < 0x80 {
        start += 1;
    }
    hash_bytes(&bytes[start..], seed)
}

#[cfg(test)]
mod tests;
