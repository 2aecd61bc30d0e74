//! Small cases with known answers, and functions that DataFusion lacks.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::*;
use proptest::prelude::*;

use super::{Run, all_runs, lines, session};

fn table(rows: &[(i64, Option<i64>, Option<i64>)]) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("g", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)))),
        ("x", Arc::new(StringViewArray::from_iter(rows.iter().map(|row| row.1.map(|x| format!("value {x} of a row")))))),
        ("y", Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.2)))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

async fn answer(rows: &[(i64, Option<i64>, Option<i64>)], sql: &str) -> Vec<String> {
    lines(&session(&table(rows), &Run::default(), true).unwrap(), sql).await.unwrap()
}

#[tokio::test]
async fn max_by_and_min_by_pass_over_null_orderings() {
    let rows = [(1, Some(1), Some(5)), (1, Some(2), None), (1, None, Some(9)), (1, Some(3), Some(2)), (2, Some(4), None)];
    let sql = "SELECT g, max_by(x, y), min_by(x, y), max_by(x, y) FILTER (WHERE y < 9) FROM t GROUP BY g";
    assert_eq!(answer(&rows, sql).await, ["1||value 3 of a row|value 1 of a row", "2|||"]);
    assert_eq!(answer(&rows, "SELECT max_by(x, y), min_by(y, x) FROM t").await, ["|5"]);
    assert_eq!(answer(&[], "SELECT max_by(x, y), min_by(x, y) FROM t").await, ["|"]);
}

#[tokio::test]
async fn max_by_works_over_windows() {
    let rows = [(1, Some(1), Some(5)), (1, Some(2), Some(7)), (1, Some(3), Some(6)), (2, Some(4), None)];
    let sql = "SELECT g, y, max_by(x, y) OVER (PARTITION BY g ORDER BY x) FROM t";
    let expected = ["1|5|value 1 of a row", "1|6|value 2 of a row", "1|7|value 2 of a row", "2||"];
    assert_eq!(answer(&rows, sql).await, expected);
}

#[tokio::test]
async fn any_value_is_a_value_of_the_group_and_not_null() {
    let rows = [(1, None, None), (1, Some(2), None), (2, None, None), (3, Some(3), None)];
    assert_eq!(answer(&rows, "SELECT g, any_value(x) FROM t GROUP BY g").await, ["1|value 2 of a row", "2|", "3|value 3 of a row"]);
}

#[tokio::test]
async fn without_an_ordering_some_row_of_the_group_is_taken() {
    let rows = [(1, Some(1), None), (1, Some(1), None), (2, None, None)];
    let sql = "SELECT g, first_value(x), last_value(x) FROM t GROUP BY g";
    assert_eq!(answer(&rows, sql).await, ["1|value 1 of a row|value 1 of a row", "2||"]);
}

#[tokio::test]
async fn wrong_calls_are_errors() {
    let context = session(&table(&[]), &Run::default(), true).unwrap();
    for (sql, named) in [("SELECT max_by(x) FROM t", "max_by"), ("SELECT min_by(x, y, g) FROM t", "min_by")] {
        let error = lines(&context, sql).await.unwrap_err().to_string();
        assert!(error.contains(named), "{sql}: {error}");
    }
}

#[tokio::test]
async fn counting_everything_still_needs_no_scan() {
    let context = session(&table(&[(1, None, None)]), &Run::default(), true).unwrap();
    let plan = lines(&context, "EXPLAIN SELECT count(*) FROM t").await.unwrap().join("\n");
    assert!(plan.contains("PlaceholderRowExec"), "{plan}");
}

#[tokio::test]
async fn one_distinct_count_alone_is_still_two_groupings() {
    let context = session(&table(&[(1, None, None)]), &Run::default(), true).unwrap();
    let plan = lines(&context, "EXPLAIN SELECT g, count(DISTINCT x) FROM t GROUP BY g").await.unwrap().join("\n");
    assert!(plan.contains("alias1"), "{plan}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    #[test]
    fn max_by_equals_a_loop(rows in prop::collection::vec((0i64..4, prop::option::weighted(0.8, 0i64..100)), 0..60)) {
        // Distinct orderings, so that there is one answer.
        let rows: Vec<_> = rows.into_iter().enumerate().map(|(at, (g, x))| (g, x, (at % 7 != 3).then_some((at as i64 * 37) % 101))).collect();
        let mut best: BTreeMap<i64, Option<(i64, Option<i64>)>> = BTreeMap::new();
        for (g, x, y) in &rows {
            let held = best.entry(*g).or_default();
            if let Some(y) = y && held.is_none_or(|(most, _)| *y > most) {
                *held = Some((*y, *x));
            }
        }
        let text = |x: Option<i64>| x.map_or(String::new(), |x| format!("value {x} of a row"));
        let expected: Vec<String> = best.iter().map(|(g, held)| format!("{g}|{}", text(held.and_then(|(_, x)| x)))).collect();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for run in all_runs() {
            let context = session(&table(&rows), &run, true).unwrap();
            let actual = runtime.block_on(lines(&context, "SELECT g, max_by(x, y) FROM t GROUP BY g")).unwrap();
            prop_assert_eq!(&actual, &expected);
        }
    }
}
