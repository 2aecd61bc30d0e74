//! The aggregates over events against naive computations, over any partitioning and batch size.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::*;
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use proptest::prelude::*;

use super::{Run, all_runs, lines, session};
use crate::kernels::event_pattern::EventPattern;
use crate::kernels::funnel::StepEvent;

/// A row: group, instant, event, gap, filter.
type Row = (i64, Option<i64>, Option<u8>, i64, Option<bool>);

fn name(event: u8) -> String {
    format!("event {event}{}", " with a long name".repeat(event as usize % 2))
}

fn table(rows: &[Row]) -> RecordBatch {
    let instants: ArrayRef = Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.1)));
    let names: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|row| row.2.map(name))));
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("g", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)))),
        ("t", Arc::clone(&instants)),
        ("at", cast(&instants, &DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))).unwrap()),
        ("e", Arc::new(UInt8Array::from_iter(rows.iter().map(|row| row.2)))),
        ("view", cast(&names, &DataType::Utf8View).unwrap()),
        ("large", cast(&names, &DataType::LargeUtf8).unwrap()),
        ("dictionary", cast(&names, &dictionary).unwrap()),
        ("name", names),
        ("gap", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.3)))),
        ("keep", Arc::new(BooleanArray::from_iter(rows.iter().map(|row| row.4)))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

/// Events of a group that have an instant, in the order of time.
type Events = Vec<(i64, Option<u8>, i64)>;

fn by_group(rows: &[Row], filtered: bool) -> BTreeMap<i64, Events> {
    let mut groups: BTreeMap<i64, Events> = BTreeMap::new();
    for (g, t, e, gap, keep) in rows {
        let events = groups.entry(*g).or_default();
        if let (Some(t), true) = (t, !filtered || *keep == Some(true)) {
            events.push((*t, *e, *gap));
        }
    }
    groups.values_mut().for_each(|events| events.sort());
    groups
}

fn sessions(events: &Events, gap_of: impl Fn(i64) -> i64, max_length: Option<i64>) -> String {
    let mut sessions: Vec<(i64, i64, i64)> = Vec::new();
    for (t, ..) in events {
        let gap = |end: i64| events.iter().filter(|event| event.0 == end).map(|event| gap_of(event.2)).max().unwrap();
        match sessions.last_mut() {
            Some((start, end, count)) if *t == *end || (*t - *end <= gap(*end) && max_length.is_none_or(|most| *t - *start <= most)) => {
                (*end, *count) = (*t, *count + 1);
            }
            _ => sessions.push((*t, *t, 1)),
        }
    }
    let text = |(start, end, events): &(i64, i64, i64)| format!("{{start: {start}, end: {end}, events: {events}}}");
    format!("[{}]", sessions.iter().map(text).collect::<Vec<_>>().join(", "))
}

fn depth(events: &Events, window: i64, meets: [fn(u8) -> bool; 3]) -> usize {
    let met = |step: usize, event: Option<u8>| event.is_some_and(meets[step]);
    let mut deepest = 0;
    for (first, e, _) in events.iter().filter(|event| met(0, event.1)) {
        debug_assert!(met(0, *e));
        deepest = deepest.max(1);
        for (second, ..) in events.iter().filter(|event| met(1, event.1) && event.0 >= *first && event.0 <= first + window) {
            deepest = deepest.max(2);
            if events.iter().any(|event| met(2, event.1) && event.0 >= *second && event.0 <= first + window) {
                return 3;
            }
        }
    }
    deepest
}

fn path(events: &Events, most: usize) -> String {
    let mut named: Vec<(i64, String)> = events.iter().filter_map(|event| Some((event.0, name(event.1?)))).collect();
    named.sort();
    format!("[{}]", named.into_iter().take(most).map(|event| event.1).collect::<Vec<_>>().join(", "))
}

const STEPS: &str = "e = 1, e < 4, e % 2 = 1";
const MEETS: [fn(u8) -> bool; 3] = [|e| e == 1, |e| e < 4, |e| e % 2 == 1];

/// One line per group, with and without a filter.
fn expected(rows: &[Row], filtered: bool) -> Vec<String> {
    let line = |(g, events): (&i64, &Events)| {
        let cells = [
            sessions(events, |_| 5, None),
            sessions(events, |_| 5, Some(9)),
            sessions(events, |gap| gap, None),
            sessions(events, |gap| gap, Some(9)),
            depth(events, 10, MEETS).to_string(),
            path(events, usize::MAX),
            path(events, 2),
        ];
        format!("{g}|{}", cells.join("|"))
    };
    let mut lines: Vec<String> = by_group(rows, filtered).iter().map(line).collect();
    lines.sort();
    lines
}

fn calls(filter: &str) -> String {
    let calls = ["sessionize(t, 5)", "sessionize(t, 5, 9)", "sessionize(t, gap, NULL)", "sessionize(t, gap, 9)"];
    let calls =
        calls.map(String::from).into_iter().chain([format!("funnel(t, 10, {STEPS})"), "path(t, name)".into(), "path(t, view, 2)".into()]);
    calls.map(|call| format!("{call} {filter}")).collect::<Vec<_>>().join(", ")
}

fn check(rows: &[Row]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let table = table(rows);
    for run in all_runs() {
        let context = session(&table, &run, true).unwrap();
        let answer = |sql: String| runtime.block_on(lines(&context, &sql)).unwrap();
        let shown = format!("{} partitions, batches of {}", run.partitions, run.batch_size);
        assert_eq!(answer(format!("SELECT g, {} FROM t GROUP BY g", calls(""))), expected(rows, false), "{shown}");
        assert_eq!(answer(format!("SELECT g, {} FROM t GROUP BY g", calls("FILTER (WHERE keep)"))), expected(rows, true), "{shown}");
        let one: Vec<Row> = rows.iter().map(|row| (0, row.1, row.2, row.3, row.4)).collect();
        let whole = expected(&one, false).pop().unwrap_or_else(|| format!("0|{}", ["[]", "[]", "[]", "[]", "0", "[]", "[]"].join("|")));
        assert_eq!(answer(format!("SELECT 0, {} FROM t", calls(""))), [whole], "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5))]
    #[test]
    fn events_equal_loops(
        rows in prop::collection::vec(
            (0i64..4, prop::option::weighted(0.9, 0i64..50), prop::option::weighted(0.9, 0u8..6), 1i64..9, prop::option::weighted(0.9, any::<bool>())),
            0..50,
        )
    ) {
        check(&rows);
    }

    #[test]
    fn sequences_do_not_depend_on_partitions(
        rows in prop::collection::vec((0i64..3, prop::option::weighted(0.9, 0i64..30), prop::option::weighted(0.8, 0u8..4), Just(1i64), prop::option::of(any::<bool>())), 0..40)
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let text = "(?1)(?t<=4)(?2).*(?3)";
        let pattern = EventPattern::parse(text, 3).unwrap();
        let mut expected: Vec<String> = by_group(&rows, true).iter().map(|(g, events)| {
            let mut met: Vec<StepEvent> = events.iter().filter(|event| event.1.is_some_and(|e| e < 3))
                .map(|event| StepEvent { instant: event.0, steps: 1 << event.1.unwrap() }).collect();
            met.sort_by_key(|event| (event.instant, event.steps));
            let mut matcher = pattern.matcher();
            format!("{g}|{}|{}", matcher.find(&met).is_some(), matcher.count(&met))
        }).collect();
        expected.sort();
        let calls = ["match", "count"].map(|name| format!("sequence_{name}('{text}', t, e = 0, e = 1, e = 2) FILTER (WHERE keep)"));
        for run in all_runs() {
            let context = session(&table(&rows), &run, true).unwrap();
            let found = runtime.block_on(lines(&context, &format!("SELECT g, {} FROM t GROUP BY g", calls.join(", ")))).unwrap();
            prop_assert_eq!(&found, &expected);
        }
    }

    #[test]
    fn retention_equals_a_loop(rows in prop::collection::vec((0i64..4, Just(None), prop::option::weighted(0.8, 0u8..4), Just(1i64), Just(None)), 0..20)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut groups: BTreeMap<i64, [bool; 3]> = BTreeMap::new();
        for (g, _, e, ..) in &rows {
            let met = groups.entry(*g).or_default();
            e.iter().filter(|e| **e < 3).for_each(|e| met[*e as usize] = true);
        }
        let expected: Vec<String> = groups.iter().map(|(g, m)| format!("{g}|[{}, {}, {}]", m[0], m[0] && m[1], m[0] && m[2])).collect();
        for run in all_runs() {
            let context = session(&table(&rows), &run, true).unwrap();
            let found = runtime.block_on(lines(&context, "SELECT g, retention(e = 0, e = 1, e = 2) FROM t GROUP BY g")).unwrap();
            prop_assert_eq!(&found, &expected);
        }
    }
}

#[test]
fn many_groups_and_nothing() {
    check(&[]);
    check(&[(1, None, None, 1, None); 9]);
    check(&(0..400i64).map(|at| (at % 131, Some(at * 7 % 40), Some((at % 6) as u8), 1 + at % 8, Some(at % 3 != 0))).collect::<Vec<_>>());
}

fn few() -> RecordBatch {
    let rows = [(0, Some(1), 1), (30, Some(2), 1), (61, Some(1), 1), (61, Some(0), 1)];
    table(&rows.map(|(t, e, gap)| (1, Some(t), e, gap, Some(true))))
}

async fn answer(sql: &str) -> Vec<String> {
    lines(&session(&few(), &Run::default(), true).unwrap(), sql).await.unwrap()
}

#[tokio::test]
async fn results_keep_the_types_of_their_arguments() {
    let sql = "SELECT sessionize(at, INTERVAL '30 milliseconds'), funnel(at, INTERVAL '61 milliseconds', e = 1, e = 2, e = 0) FROM t";
    let sessions = "[{start: 1970-01-01T00:00:00Z, end: 1970-01-01T00:00:00.030Z, events: 2}, \
                    {start: 1970-01-01T00:00:00.061Z, end: 1970-01-01T00:00:00.061Z, events: 2}]|3";
    assert_eq!(answer(sql).await, [sessions]);
    let events = "[event 1 with a long name, event 2, event 0, event 1 with a long name]";
    for column in ["name", "view", "large", "dictionary"] {
        assert_eq!(answer(&format!("SELECT path(t, {column}) FROM t")).await, [events], "{column}");
    }
    assert_eq!(answer("SELECT path(t, NULL), funnel(t, 5, NULL), retention(NULL), sessionize(NULL, 5) FROM t").await.len(), 1);
}

#[tokio::test]
async fn patterns_count_in_seconds() {
    for (ts, seconds, found) in [
        ("t", 61, true),
        ("t", 60, false),
        ("arrow_cast(t, 'Timestamp(Second, None)')", 60, false),
        ("at", 1, true),
        ("arrow_cast(arrow_cast(t, 'Int32'), 'Date32')", 61 * 86_400 - 1, false),
        ("arrow_cast(arrow_cast(t, 'Int32'), 'Date32')", 61 * 86_400, true),
    ] {
        let sql = format!("SELECT sequence_match('(?1)(?t<={seconds})(?2)', {ts}, e = 1 AND t = 0, e = 0) FROM t");
        assert_eq!(answer(&sql).await, [found.to_string()], "{ts} {seconds}");
    }
}

#[tokio::test]
async fn growing_windows_see_more_and_more() {
    let sql = "SELECT t, funnel(t, 100, e = 1, e = 2, e = 0) OVER w, path(t, dictionary, 2) OVER w, sessionize(t, 30) OVER w FROM t WHERE e > 0 WINDOW w AS (ORDER BY t)";
    let first = "{start: 0, end: 0, events: 1}";
    let both = "{start: 0, end: 30, events: 2}";
    let expected = [
        format!("0|1|[event 1 with a long name]|[{first}]"),
        format!("30|2|[event 1 with a long name, event 2]|[{both}]"),
        format!("61|2|[event 1 with a long name, event 2]|[{both}, {{start: 61, end: 61, events: 1}}]"),
    ];
    assert_eq!(answer(sql).await, expected);
}

#[tokio::test]
async fn wrong_calls_are_errors_that_name_the_argument() {
    for (call, named) in [
        ("sessionize(name, INTERVAL '1 day')", "sessionize: argument 1, ts, must be a TIMESTAMP, DATE or BIGINT, not Utf8"),
        ("sessionize(t, 0)", "sessionize: argument 2, gap, must be greater than 0, not 0"),
        ("sessionize(at, INTERVAL '1 month')", "sessionize: argument 2, gap, must not be in months"),
        ("sessionize(t, 1, gap)", "sessionize: argument 3, max_length, must be a literal"),
        ("sessionize(DISTINCT t, 1)", "sessionize does not take DISTINCT"),
        ("funnel(t, gap, e = 1)", "funnel: argument 2, window, must be a literal"),
        ("funnel(t, NULL, e = 1)", "funnel: argument 2, window, must not be NULL"),
        ("funnel(at, 5, e = 1)", "funnel: argument 2, window, must be an INTERVAL"),
        ("funnel(t, 5, e = 1, e)", "funnel: argument 4, step2, must be BOOLEAN, not UInt8"),
        ("funnel(t, 5)", "funnel takes 1 to 32 conditions, not 0"),
        ("retention(keep, name)", "retention: argument 2, cond2, must be BOOLEAN, not Utf8"),
        ("path(t, e)", "path: argument 2, event, must be text, not UInt8"),
        ("path(t, name, 0)", "path: argument 3, max_steps, must be greater than 0, not 0"),
        ("path(t, name, e)", "path: argument 3, max_steps, must be a literal"),
        (
            "sequence_match('(?1)(?3)', t, e = 1, e = 2)",
            "sequence_match: argument 1, pattern: expected the number of a condition, 1 to 2, at character 7, not '3)'",
        ),
        ("sequence_count(name, t, e = 1)", "sequence_count: argument 1, pattern, must be a literal"),
        ("sequence_count('(?1)', name, e = 1)", "sequence_count: argument 2, ts, must be a TIMESTAMP"),
        ("sequence_match('(?1)', t, e)", "sequence_match: argument 3, cond1, must be BOOLEAN"),
        ("path(t, name ORDER BY t)", "path does not take ORDER BY"),
    ] {
        let context = session(&few(), &Run::default(), true).unwrap();
        let planned = async { context.sql(&format!("SELECT {call} FROM t")).await?.create_physical_plan().await };
        let error = planned.await.expect_err(call).to_string();
        assert!(error.contains(named), "{call}: {error}");
    }
    let steps = vec!["keep"; 33].join(", ");
    let context = session(&few(), &Run::default(), true).unwrap();
    let error = context.sql(&format!("SELECT funnel(t, 5, {steps}) FROM t")).await.unwrap_err().to_string();
    assert!(error.contains("funnel takes 1 to 32 conditions, not 33"), "{error}");
}
