//! Every store against a vector of single-row arrays, over random writes, for every kind of type.

use arrow::array::*;
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Int32Type, IntervalMonthDayNano};
use proptest::prelude::*;

use super::*;

/// Columns of every kind of store, `rows` long, with nulls.
fn columns(rows: usize) -> Vec<ArrayRef> {
    let some = |row: usize| row % 5 != 3;
    let text = |row: usize| some(row).then(|| "long enough to leave the view ".repeat(row % 3) + &row.to_string());
    let numbers = || (0..rows).map(move |row| some(row).then_some(row as i64 * 7 - 3));
    let utf8 = StringArray::from_iter((0..rows).map(text));
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>((0..rows).map(|row| some(row).then(|| vec![Some(row as i32); row % 4])));
    let fields = vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8, true)];
    let children: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter(numbers())), Arc::new(utf8.clone())];
    let structs = StructArray::new(fields.into(), children, Some((0..rows).map(|row| row % 7 != 2).collect()));
    vec![
        Arc::new(Int8Array::from_iter(numbers().map(|v| v.map(|v| v as i8)))),
        Arc::new(Float32Array::from_iter(numbers().map(|v| v.map(|v| v as f32)))),
        Arc::new(Int64Array::from_iter(numbers())),
        Arc::new(TimestampMicrosecondArray::from_iter(numbers()).with_timezone("UTC")),
        Arc::new(Decimal128Array::from_iter(numbers().map(|v| v.map(i128::from))).with_precision_and_scale(20, 2).unwrap()),
        Arc::new(BooleanArray::from_iter(numbers().map(|v| v.map(|v| v % 2 == 0)))),
        Arc::new(IntervalMonthDayNanoArray::from_iter(numbers().map(|v| v.map(|v| IntervalMonthDayNano::new(1, 2, v))))),
        Arc::new(StringViewArray::from_iter((0..rows).map(text))),
        Arc::new(LargeStringArray::from_iter((0..rows).map(text))),
        Arc::new(BinaryArray::from_iter((0..rows).map(|row| text(row).map(String::into_bytes)))),
        Arc::new(utf8),
        Arc::new(lists),
        Arc::new(structs),
        new_null_array(&DataType::Null, rows),
    ]
}

fn gathered(parts: &[ArrayRef], data_type: &DataType) -> ArrayRef {
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    if parts.is_empty() { new_null_array(data_type, 0) } else { concat(&parts).unwrap() }
}

fn check(batches: &[Vec<Move>], groups: usize, taken: usize) {
    for column in columns(10) {
        let mut store = new_value_store(column.data_type());
        let mut expected = vec![new_null_array(column.data_type(), 1); groups];
        for moves in batches {
            store.write(&column, moves, groups).unwrap();
            for (row, group) in moves {
                expected[*group as usize] = column.slice(*row as usize, 1);
            }
        }
        let rest = expected.split_off(taken);
        assert_eq!(&store.take_first(taken).unwrap(), &gathered(&expected, column.data_type()));
        let first = batches.first().cloned().unwrap_or_default();
        let moves: Vec<Move> = first.into_iter().filter(|(_, group)| (*group as usize) < rest.len()).collect();
        let mut rest = rest;
        store.write(&column, &moves, rest.len()).unwrap();
        for (row, group) in moves {
            rest[group as usize] = column.slice(row as usize, 1);
        }
        assert_eq!(&store.take_first(rest.len()).unwrap(), &gathered(&rest, column.data_type()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn holds_the_last_value_written(
        batches in prop::collection::vec(prop::collection::vec((0u32..10, 0u32..6), 0..20), 0..6),
        taken in 0usize..=6,
    ) {
        check(&batches, 6, taken);
    }
}

#[test]
fn chunks_of_replaced_rows_are_dropped() {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>((0..1000).map(|row| Some(vec![Some(row); 10])));
    let column: ArrayRef = Arc::new(lists);
    let mut store = new_value_store(column.data_type());
    let moves: Vec<Move> = (0..1000).map(|row| (row, row % 3)).collect();
    for _ in 0..200 {
        store.write(&column, &moves, 3).unwrap();
    }
    assert!(store.allocated_bytes() < 4 << 20, "{}", store.allocated_bytes());
    assert_eq!(store.take_first(3).unwrap().as_list::<i32>().value(0).as_primitive::<Int32Type>().value(0), 999);
}

#[test]
fn groups_never_written_are_null() {
    for column in columns(1) {
        let mut store = new_value_store(column.data_type());
        store.write(&column, &[], 4).unwrap();
        assert_eq!(store.take_first(2).unwrap().logical_null_count(), 2);
        assert_eq!(store.take_first(3).unwrap().logical_null_count(), 3);
    }
}
