//! The session functions as SQL runs them, against a loop over sorted rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::*;
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use proptest::prelude::*;

use crate::aggregate::tests::{Run, all_runs, lines, session};

/// A row: user, instant, gap.
type Row = (i64, Option<i64>, i64);

fn table(rows: &[Row]) -> RecordBatch {
    let instants: ArrayRef = Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.1)));
    let time = |unit, zone: Option<&str>| cast(&instants, &DataType::Timestamp(unit, zone.map(Into::into))).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("place", Arc::new(Int64Array::from_iter_values(0..rows.len() as i64))),
        ("u", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)))),
        ("t", Arc::clone(&instants)),
        ("seconds", time(TimeUnit::Second, None)),
        ("micros", time(TimeUnit::Microsecond, Some("Europe/Berlin"))),
        ("nanos", time(TimeUnit::Nanosecond, Some("UTC"))),
        ("day", cast(&instants, &DataType::Date32).unwrap()),
        ("gap", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2)))),
        ("text", Arc::new(StringArray::from_iter_values(rows.iter().map(|_| "2020-01-01")))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

/// `place|start|index` of every row, sorted as text.
fn naive(rows: &[Row], gap_of: impl Fn(&Row) -> i64, max_length: Option<i64>) -> Vec<String> {
    let mut by_user: BTreeMap<i64, BTreeMap<i64, (i64, Vec<usize>)>> = BTreeMap::new();
    let mut found = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        match row.1 {
            None => found.push(format!("{place}||")),
            Some(instant) => {
                let at = by_user.entry(row.0).or_default().entry(instant).or_insert((0, Vec::new()));
                at.0 = at.0.max(gap_of(row));
                at.1.push(place);
            }
        }
    }
    for instants in by_user.values() {
        let (mut last, mut start, mut index) = (None, 0, 0);
        for (instant, (gap, places)) in instants {
            let goes_on =
                last.is_some_and(|(latest, gap)| instant - latest <= gap) && max_length.is_none_or(|most| instant - start <= most);
            if !goes_on {
                (start, index) = (*instant, index + 1);
            }
            last = Some((*instant, *gap));
            found.extend(places.iter().map(|place| format!("{place}|{start}|{index}")));
        }
    }
    found.sort();
    found
}

const OVER: &str = "OVER (PARTITION BY u ORDER BY t)";

fn check(rows: &[Row], max_length: Option<i64>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let length = max_length.map_or("NULL".to_string(), |length| length.to_string());
    let literal = |over: &str| format!("SELECT place, session_start(t, 5, {length}) {over}, session_index(t, 5, {length}) {over} FROM t");
    let own = format!("SELECT place, session_start(t, gap, {length}) {OVER}, session_index(t, gap, {length}) {OVER} FROM t");
    let ids = format!(
        "SELECT count(*) FROM (SELECT t, session_id(t, 5, {length}, u) {OVER} AS id, xxhash64(u, session_start(t, 5, {length}) {OVER}) AS hash FROM t) \
         WHERE (t IS NULL AND id IS NOT NULL) OR (t IS NOT NULL AND id IS DISTINCT FROM hash)"
    );
    let (table, expected) = (table(rows), naive(rows, |_| 5, max_length));
    for run in all_runs() {
        let context = session(&table, &run, true).unwrap();
        let answer = |sql: &str| runtime.block_on(lines(&context, sql)).unwrap();
        assert_eq!(answer(&literal(OVER)), expected);
        assert_eq!(answer(&literal("OVER (PARTITION BY u)")), expected, "without an order");
        assert_eq!(answer(&literal("OVER (PARTITION BY u ORDER BY t DESC)")), expected, "backwards");
        assert_eq!(answer(&own), naive(rows, |row| row.2, max_length));
        assert_eq!(answer(&ids), ["0"]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn sessions_equal_a_loop(
        rows in prop::collection::vec((0i64..4, prop::option::weighted(0.9, 0i64..60), 1i64..9), 0..50),
        max_length in prop::option::of(1i64..20),
    ) {
        check(&rows, max_length);
    }
}

fn few() -> RecordBatch {
    table(&[(1, Some(0), 1), (1, Some(30), 1), (1, Some(61), 1), (2, Some(40), 1), (2, None, 1)])
}

async fn answer(sql: &str) -> Vec<String> {
    lines(&session(&few(), &Run::default(), true).unwrap(), sql).await.unwrap()
}

#[tokio::test]
async fn every_type_of_instant_keeps_its_type() {
    for (column, gap) in
        [("t", "30"), ("seconds", "INTERVAL '30 seconds'"), ("micros", "INTERVAL '30 microseconds'"), ("day", "INTERVAL '30 days'")]
    {
        let sql = format!(
            "SELECT place, session_index({column}, {gap}) {OVER}, session_start({column}, {gap}) {OVER} = first_value({column}) OVER (PARTITION BY u ORDER BY t), arrow_typeof(session_start({column}, {gap}) {OVER}) = arrow_typeof({column}) FROM t"
        );
        assert_eq!(answer(&sql).await, ["0|1|true|true", "1|1|true|true", "2|2|false|true", "3|1|true|true", "4|||true"], "{column}");
    }
}

#[tokio::test]
async fn spans_are_rounded_down_to_the_unit_of_the_instants() {
    // 30.9 seconds join what is 30 apart and not what is 31 apart; 719 hours are a little less than 30 days.
    for (column, gap, last) in [
        ("seconds", "INTERVAL '30.9 seconds'", 2),
        ("day", "INTERVAL '719 hours'", 3),
        ("nanos", "INTERVAL '1 microsecond'", 1),
        ("seconds", "INTERVAL '31 seconds'", 1),
        ("seconds", "INTERVAL '200000 days'", 1),
    ] {
        let sql = format!("SELECT max(i) FROM (SELECT session_index({column}, {gap}) {OVER} AS i FROM t)");
        assert_eq!(answer(&sql).await, [last.to_string()], "{column} {gap}");
    }
}

#[tokio::test]
async fn an_id_depends_on_keys_and_start_only() {
    let sql = format!("SELECT count(DISTINCT id) FROM (SELECT session_id(t, 30, NULL, u, 'shop') {OVER} AS id FROM t)");
    assert_eq!(answer(&sql).await, ["3"]);
    let without_keys = format!(
        "SELECT count(*) FROM (SELECT session_id(t, 30) {OVER} AS id, xxhash64(session_start(t, 30) {OVER}) AS hash FROM t) WHERE id = hash"
    );
    assert_eq!(answer(&without_keys).await, ["4"]);
}

#[tokio::test]
async fn wrong_calls_are_errors_that_name_the_argument() {
    for (call, named) in [
        (
            "session_index(text, INTERVAL '1 day')",
            "session_index: argument 1, ts, must be a TIMESTAMP, DATE or BIGINT, not Utf8: convert it with try_to_timestamp",
        ),
        ("session_start(1.5, 1)", "argument 1, ts"),
        ("session_index(seconds, 30)", "argument 2, gap, must be an INTERVAL"),
        ("session_index(t, INTERVAL '1 day')", "argument 2, gap, must be an integer"),
        ("session_index(seconds, INTERVAL '1 month')", "argument 2, gap, must not be in months"),
        ("session_index(seconds, INTERVAL '1' YEAR)", "argument 2, gap, must not be in months or years"),
        ("session_index(seconds, INTERVAL '0 days')", "argument 2, gap, must be greater than 0"),
        ("session_index(seconds, INTERVAL '1 day' - INTERVAL '2 days')", "argument 2, gap, must be greater than 0"),
        ("session_index(t, -5)", "argument 2, gap, must be greater than 0, not -5"),
        ("session_index(t, NULL)", "argument 2, gap, must not be NULL"),
        ("session_index(seconds, CAST(NULL AS INTERVAL))", "argument 2, gap, must not be NULL"),
        ("session_index(t, 5, 0)", "argument 3, max_length, must be greater than 0"),
        ("session_index(t, 5, gap)", "argument 3, max_length, must be a literal"),
        ("session_index(t)", "session_index takes"),
        ("session_index(t, 5, 5, u)", "session_index takes"),
        ("session_id(t, 5, 5, make_array(u))", "session_id: argument 4"),
    ] {
        let context = session(&few(), &Run::default(), true).unwrap();
        let planned = async { context.sql(&format!("SELECT {call} {OVER} FROM t")).await?.create_physical_plan().await };
        let error = planned.await.expect_err(call).to_string();
        assert!(error.contains(named), "{call}: {error}");
    }
}

#[tokio::test]
async fn wrong_gaps_in_rows_are_errors_when_they_are_met() {
    for (gap, named) in [
        ("gap - place", "argument 2, gap, must be greater than 0, not 0"),
        ("CASE WHEN place <> 1 THEN 1 END", "argument 2, gap, must not be NULL"),
    ] {
        let context = session(&few(), &Run { partitions: 1, ..Run::default() }, true).unwrap();
        let error = lines(&context, &format!("SELECT session_index(t, {gap}) {OVER} FROM t")).await.expect_err(gap).to_string();
        assert!(error.contains(named), "{gap}: {error}");
        // Where there is no instant a gap is not asked for.
        let gap = "CASE WHEN t IS NOT NULL THEN 30 END";
        assert_eq!(
            lines(&context, &format!("SELECT max(i) FROM (SELECT session_index(t, {gap}) {OVER} AS i FROM t)")).await.unwrap(),
            ["2"]
        );
    }
}
