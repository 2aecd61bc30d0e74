//! Spark 4's answers for known values, and the rules that hold for any column.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{Int32Type, i256};

use super::*;
use crate::kernels::xxhash64::SPARK_SEED;

fn hash_of(columns: &[ArrayRef]) -> i64 {
    let mut hashes = vec![SPARK_SEED; columns[0].len()];
    for column in columns {
        hash_column(column, &mut hashes).unwrap();
    }
    hashes[0] as i64
}

fn hash(column: impl Array + 'static) -> i64 {
    hash_of(&[Arc::new(column)])
}

fn decimal(value: i128, precision: u8, scale: i8) -> Decimal128Array {
    Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale).unwrap()
}

#[test]
fn text_and_bytes_hash_as_in_spark() {
    assert_eq!(hash(StringArray::from(vec!["Spark"])), -4_294_468_057_691_064_905);
    assert_eq!(hash(StringViewArray::from(vec!["Spark"])), -4_294_468_057_691_064_905);
    assert_eq!(hash(LargeStringArray::from(vec![""])), -7_444_071_767_201_028_348);
    assert_eq!(hash(StringArray::from(vec!["ä€😀"])), 7_592_677_507_766_345_462);
    let long = "a string of more than thirty-two bytes, so that stripes count";
    assert_eq!(hash(StringViewArray::from(vec![long])), 3_693_216_909_851_130_096);
    assert_eq!(hash(BinaryArray::from(vec![[0u8, 255].as_slice()])), 879_945_414_100_663_330);
}

#[test]
fn numbers_hash_as_in_spark() {
    assert_eq!(hash(Int32Array::from(vec![1])), -6_698_625_589_789_238_999);
    assert_eq!(hash(Int64Array::from(vec![1])), -7_001_672_635_703_045_582);
    assert_eq!(hash(Int8Array::from(vec![-1])), 2_017_008_487_422_258_757);
    assert_eq!(hash(Int16Array::from(vec![-1])), 2_017_008_487_422_258_757);
    assert_eq!(hash(BooleanArray::from(vec![true])), -6_698_625_589_789_238_999);
    assert_eq!(hash(BooleanArray::from(vec![false])), 3_614_696_996_920_510_707);
    assert_eq!(hash(Float32Array::from(vec![1.5])), 6_163_473_420_726_370_430);
    assert_eq!(hash(Float64Array::from(vec![1.5])), 7_738_255_526_519_901_366);
    assert_eq!(hash(Float64Array::from(vec![-0.0])), -5_252_525_462_095_825_812);
    assert_eq!(hash(Float32Array::from(vec![-0.0])), 3_614_696_996_920_510_707);
    assert_eq!(hash(Float64Array::from(vec![-f64::NAN])), -3_127_944_061_524_951_246);
}

#[test]
fn decimals_hash_as_in_spark() {
    assert_eq!(hash(decimal(1234, 10, 2)), -3_802_813_071_951_760_351);
    assert_eq!(hash(decimal(-1234, 18, 2)), -1_614_697_014_534_150_208);
    assert_eq!(hash(decimal(1234, 20, 2)), 804_797_035_677_707_363);
    assert_eq!(hash(decimal(-123_400, 38, 4)), 2_121_425_335_321_020_756);
    assert_eq!(hash(decimal(0, 38, 4)), -8_959_994_473_701_255_385);
    assert_eq!(hash(decimal(-1, 38, 0)), -4_006_032_525_457_443_936);
    assert_eq!(hash(decimal(128, 38, 0)), 6_715_097_930_120_473_301);
    let large = decimal(12_345_678_901_234_567_890_123_456_789_123, 38, 3);
    assert_eq!(hash(large), 3_638_435_178_727_777_621);
    let wide = Decimal256Array::from(vec![i256::from_i128(128)]).with_precision_and_scale(40, 0).unwrap();
    assert_eq!(hash(wide), 6_715_097_930_120_473_301);
    let narrow = Decimal64Array::from(vec![1234]).with_precision_and_scale(10, 2).unwrap();
    assert_eq!(hash(narrow), -3_802_813_071_951_760_351);
}

#[test]
fn instants_hash_as_in_spark_whatever_their_unit() {
    let micros = 1_569_888_001_500_000;
    let expected = -6_604_615_524_156_048_428;
    assert_eq!(hash(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC")), expected);
    assert_eq!(hash(TimestampMillisecondArray::from(vec![micros / 1000])), expected);
    assert_eq!(hash(TimestampNanosecondArray::from(vec![micros * 1000 + 999])), expected);
    assert_eq!(hash(Date32Array::from(vec![18_170])), 3_938_781_059_392_862_390);
    assert_eq!(hash(Date64Array::from(vec![18_170 * 86_400_000])), 3_938_781_059_392_862_390);
}

#[test]
fn several_columns_chain_as_in_spark() {
    let key: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(vec![1_569_888_000_000_000]).with_timezone("UTC")),
        Arc::new(Int64Array::from(vec![541_312_140])),
        Arc::new(StringViewArray::from(vec!["44600062"])),
        Arc::new(StringArray::from(vec!["view"])),
        Arc::new(decimal(3579, 10, 2)),
    ];
    assert_eq!(hash_of(&key), 4_372_650_444_487_317_806);
    let with_null: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(vec!["a"])), Arc::new(StringArray::from(vec![None::<&str>])), Arc::new(Int32Array::from(vec![1]))];
    assert_eq!(hash_of(&with_null), -4_810_547_614_043_336_770);
    assert_eq!(hash(StringArray::from(vec![None::<&str>])), 42);
    assert_eq!(hash(NullArray::new(1)), 42);
}

#[test]
fn dictionaries_and_slices_hash_as_their_values() {
    let dictionary: DictionaryArray<Int32Type> = vec![Some("x"), None, Some("Spark")].into_iter().collect();
    assert_eq!(hash(dictionary.slice(2, 1)), -4_294_468_057_691_064_905);
    assert_eq!(hash(dictionary.slice(1, 1)), 42);
    assert_eq!(hash(Int64Array::from(vec![None, Some(1)]).slice(1, 1)), -7_001_672_635_703_045_582);
}

#[test]
fn nested_types_are_refused_by_name() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)])]);
    assert!(!is_hashable(list.data_type()));
    assert!(hash_column(&list, &mut [SPARK_SEED]).unwrap_err().contains("List"));
}
