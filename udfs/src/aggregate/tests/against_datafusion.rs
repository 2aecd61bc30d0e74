//! The same queries with DataFusion's accumulators must give the same rows.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Int32Type};
use proptest::prelude::*;

use super::{all_runs, lines, session};

/// A row: group, a value (or null), a filter; its place in the table makes orderings total.
type Row = (Option<u8>, Option<i16>, Option<bool>);

/// A table with columns of many types made from the values, and `place`, which is different in every row.
fn table(rows: &[Row]) -> RecordBatch {
    let values = || rows.iter().map(|row| row.1);
    let text = || values().map(|v| v.map(|v| format!("{v}{}", " is a long text".repeat(v as usize % 3))));
    let numbers = || values().map(|v| v.map(i64::from));
    let nested = StructArray::new(
        vec![Field::new("n", DataType::Int64, true)].into(),
        vec![Arc::new(Int64Array::from_iter(numbers()))],
        Some(NullBuffer::from_iter(values().map(|v| v.is_some()))),
    );
    let dictionary: DictionaryArray<Int32Type> = text().collect::<Vec<_>>().iter().map(|v| v.as_deref()).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("g", Arc::new(UInt8Array::from_iter(rows.iter().map(|row| row.0)))),
        ("keep", Arc::new(BooleanArray::from_iter(rows.iter().map(|row| row.2)))),
        ("place", Arc::new(Int64Array::from_iter_values((0..rows.len() as i64).map(|at| at * 7919 % 10_007)))),
        ("place_text", Arc::new(StringArray::from_iter_values((0..rows.len() as i64).map(|at| format!("{}", at * 7919 % 10_007))))),
        ("int", Arc::new(Int64Array::from_iter(numbers()))),
        ("small", Arc::new(Int8Array::from_iter(values().map(|v| v.map(|v| v as i8))))),
        ("double", Arc::new(Float64Array::from_iter(values().map(|v| v.map(|v| f64::from(v) / 4.0))))),
        ("money", Arc::new(Decimal128Array::from_iter(values().map(|v| v.map(i128::from))).with_precision_and_scale(10, 2).unwrap())),
        ("day", Arc::new(Date32Array::from_iter(values().map(|v| v.map(i32::from))))),
        ("instant", Arc::new(TimestampMicrosecondArray::from_iter(numbers()).with_timezone("UTC"))),
        ("flag", Arc::new(BooleanArray::from_iter(values().map(|v| v.map(|v| v % 2 == 0))))),
        ("text", Arc::new(StringArray::from_iter(text()))),
        ("view", Arc::new(StringViewArray::from_iter(text()))),
        ("bytes", Arc::new(BinaryArray::from_iter(text().map(|v| v.map(String::into_bytes))))),
        ("dictionary", Arc::new(dictionary)),
        ("nested", Arc::new(nested)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

const TYPES: [&str; 11] = ["int", "small", "double", "money", "day", "instant", "flag", "text", "view", "bytes", "nested"];

fn queries() -> Vec<String> {
    let each = |columns: &[&str], call: &dyn Fn(&str) -> String| {
        let calls: Vec<String> = columns.iter().map(|column| call(column)).collect();
        format!("SELECT g, {} FROM t GROUP BY g", calls.join(", "))
    };
    let counted = ["int", "small", "double", "money", "day", "instant", "flag", "text", "view", "bytes", "dictionary"];
    vec![
        each(&counted, &|c| format!("count(DISTINCT {c})")),
        each(&counted, &|c| format!("count(DISTINCT {c}) FILTER (WHERE keep), count({c})")),
        each(&TYPES, &|c| format!("first_value({c} ORDER BY place)")),
        each(&TYPES, &|c| format!("last_value({c} ORDER BY place_text DESC) FILTER (WHERE keep)")),
        each(&TYPES, &|c| format!("last_value({c} ORDER BY flag DESC NULLS FIRST, place)")),
        each(&TYPES, &|c| format!("first_value({c} ORDER BY small NULLS LAST, place DESC) IGNORE NULLS")),
        each(&TYPES, &|c| format!("first_value({c} IGNORE NULLS ORDER BY {c}, place) FILTER (WHERE NOT keep)")),
        "SELECT count(DISTINCT int), count(DISTINCT view), first_value(text ORDER BY place), count(*) FROM t".into(),
        "SELECT g, flag, count(DISTINCT int), last_value(view ORDER BY place) FROM t GROUP BY GROUPING SETS ((g, flag), (g), ())".into(),
        "SELECT count(DISTINCT int) FROM t".into(),
        "SELECT g, count(DISTINCT view) FROM t GROUP BY g".into(),
        "SELECT g, place, count(int) OVER (PARTITION BY g ORDER BY place), last_value(int) OVER (PARTITION BY g ORDER BY place) FROM t"
            .into(),
        "SELECT g, place, count(DISTINCT int) OVER (PARTITION BY g) FROM t".into(),
    ]
}

fn check(rows: &[Row]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let table = table(rows);
    for sql in queries() {
        let plain = session(&table, &super::Run::default(), false).unwrap();
        let expected = runtime.block_on(lines(&plain, &sql)).unwrap();
        for run in all_runs() {
            let ours = session(&table, &run, true).unwrap();
            let actual = runtime.block_on(lines(&ours, &sql)).unwrap();
            assert_eq!(
                actual, expected,
                "{sql} in {} partitions, batches of {}, converting: {}",
                run.partitions, run.batch_size, run.converts_rows
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]
    #[test]
    fn gives_the_same_rows(
        rows in prop::collection::vec((prop::option::weighted(0.9, 0u8..5), prop::option::weighted(0.8, 0i16..9), prop::option::weighted(0.9, any::<bool>())), 0..60)
    ) {
        check(&rows);
    }
}

#[test]
fn gives_the_same_rows_for_many_groups() {
    let rows: Vec<Row> = (0..300u16).map(|at| (Some((at % 251) as u8), Some((at % 13) as i16), Some(at % 3 == 0))).collect();
    check(&rows);
}

#[test]
fn gives_the_same_rows_for_nothing_and_for_nulls() {
    check(&[]);
    check(&[(None, None, None); 20]);
    check(&[(Some(1), None, Some(true)); 20]);
}
