//! Pairs against a tree of row-encoded values, over random batches, for every kind of type.

use std::collections::BTreeSet;

use arrow::array::*;
use arrow::datatypes::{Field, Int32Type};
use proptest::prelude::*;

use super::*;

fn columns(values: &[Option<i64>]) -> Vec<ArrayRef> {
    let numbers = || values.iter().copied();
    let text = || values.iter().map(|v| v.map(|v| format!("{v} {}", "and more of it".repeat(v as usize % 3))));
    let structs = StructArray::new(
        vec![Field::new("n", DataType::Int64, true)].into(),
        vec![Arc::new(Int64Array::from_iter(numbers()))],
        Some(values.iter().map(Option::is_some).collect()),
    );
    vec![
        Arc::new(Int64Array::from_iter(numbers())),
        Arc::new(UInt8Array::from_iter(numbers().map(|v| v.map(|v| v as u8)))),
        Arc::new(Int16Array::from_iter(numbers().map(|v| v.map(|v| v as i16 - 3)))),
        Arc::new(Date32Array::from_iter(numbers().map(|v| v.map(|v| v as i32 - 3)))),
        Arc::new(TimestampMicrosecondArray::from_iter(numbers()).with_timezone("UTC")),
        Arc::new(BooleanArray::from_iter(numbers().map(|v| v.map(|v| v % 2 == 0)))),
        Arc::new(Float64Array::from_iter(numbers().map(|v| v.map(|v| v as f64 / 2.0)))),
        Arc::new(Decimal128Array::from_iter(numbers().map(|v| v.map(i128::from))).with_precision_and_scale(20, 2).unwrap()),
        Arc::new(StringArray::from_iter(text())),
        Arc::new(StringViewArray::from_iter(text())),
        Arc::new(LargeBinaryArray::from_iter(text().map(|v| v.map(String::into_bytes)))),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(values.iter().map(|v| v.map(|v| vec![Some(v as i32)])))),
        Arc::new(structs),
    ]
}

/// Encodes values so that they can be compared in a tree.
fn encoded(values: &ArrayRef) -> Vec<Vec<u8>> {
    let converter = RowConverter::new(vec![SortField::new(values.data_type().clone())]).unwrap();
    let rows = converter.convert_columns(std::slice::from_ref(values)).unwrap();
    rows.iter().map(|row| row.as_ref().to_vec()).collect()
}

/// Checks the first `groups` groups of `pairs`, and removes them from both.
fn check_first(pairs: &mut DistinctPairs, expected: &mut Vec<BTreeSet<Vec<u8>>>, groups: usize) {
    let (counts, values) = pairs.take_values(groups).unwrap();
    let mut encoded = encoded(&values).into_iter();
    let rest = expected.split_off(groups);
    for (count, set) in counts.iter().zip(expected.iter()) {
        let group: BTreeSet<_> = encoded.by_ref().take(*count as usize).collect();
        assert_eq!(*count as usize, set.len());
        assert_eq!(&group, set);
    }
    assert_eq!(encoded.next(), None);
    *expected = rest;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn equal_a_set_per_group(
        rows in prop::collection::vec((0usize..5, prop::option::weighted(0.8, 0i64..12), any::<bool>()), 0..80),
        split in 0usize..80,
        emitted in 0usize..=5,
        filtered: bool,
    ) {
        let values: Vec<_> = rows.iter().map(|row| row.1).collect();
        for column in columns(&values) {
            let mut pairs = DistinctPairs::try_new(column.data_type()).unwrap();
            let mut expected = vec![BTreeSet::new(); 5];
            let split = split.min(rows.len());
            for (start, end) in [(0, split), (split, rows.len())] {
                let batch = column.slice(start, end - start);
                let groups: Vec<usize> = rows[start..end].iter().map(|row| row.0).collect();
                let keep: Option<BooleanBuffer> = filtered.then(|| rows[start..end].iter().map(|row| row.2).collect());
                pairs.insert(&batch, &groups, keep.as_ref(), 5).unwrap();
            }
            for ((group, value, keep), bytes) in rows.iter().zip(encoded(&column)) {
                if value.is_some() && (*keep || !filtered) {
                    expected[*group].insert(bytes);
                }
            }
            check_first(&mut pairs, &mut expected, emitted);
            let remaining = expected.len();
            check_first(&mut pairs, &mut expected, remaining);
        }
    }
}

#[test]
fn zeros_are_one_value_and_so_are_nans() {
    let values: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 1.0]));
    let mut pairs = DistinctPairs::try_new(values.data_type()).unwrap();
    pairs.insert(&values, &[0; 5], None, 1).unwrap();
    assert_eq!(pairs.take_counts(1), vec![3]);
}

#[test]
fn groups_that_are_gone_need_no_memory() {
    let mut pairs = DistinctPairs::try_new(&DataType::Utf8).unwrap();
    for batch in 0..100 {
        let values: ArrayRef =
            Arc::new(StringArray::from_iter_values((0..10_000).map(|row| format!("a long value {row} of batch {batch}"))));
        let groups: Vec<usize> = (0..10_000).map(|row| row / 1000).collect();
        pairs.insert(&values, &groups, None, 10).unwrap();
        assert_eq!(
            pairs.take_counts(9),
            vec![1000; 9].into_iter().enumerate().map(|(g, c)| if g == 0 && batch > 0 { c + 1000 } else { c }).collect::<Vec<_>>()
        );
    }
    assert!(pairs.allocated_bytes() < 8 << 20, "{}", pairs.allocated_bytes());
}
