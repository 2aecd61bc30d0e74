//! The plans of windows in `GROUP BY` and in `FROM`, and their rows against a reference that compares every row with every window.

use std::collections::BTreeMap;

use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use datafusion::prelude::SessionContext;
use proptest::prelude::*;

use crate::dialect::{Statement, parse, split};
use crate::planner::testing::ours;

/// A query of the dialect on a context, as the session plans it.
async fn rows(context: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    let plan = plan(context, sql).await;
    context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap()
}

async fn plan(context: &SessionContext, sql: &str) -> datafusion::logical_expr::LogicalPlan {
    let Statement::Query(query) = parse(&split(sql).unwrap()[0].tokens).unwrap() else { panic!("{sql} is no query") };
    let statement = datafusion::sql::sqlparser::ast::Statement::Query(query);
    context.state().statement_to_plan(datafusion::sql::parser::Statement::Statement(Box::new(statement))).await.unwrap()
}

async fn optimized(sql: &str) -> String {
    let context = ours().await.unwrap();
    let plan = plan(&context, sql).await;
    context.state().optimize(&plan).unwrap().display_indent().to_string()
}

#[tokio::test]
async fn groups_are_formed_by_the_start_alone() {
    let plan = optimized("SELECT kind, window.start, count(*) FROM events GROUP BY kind, window(at, '1 hour')").await;
    assert!(plan.contains("groupBy=[[events.kind, __window_start]]"), "{plan}");
    assert!(!plan.contains("Unnest"), "{plan}");
}

#[tokio::test]
async fn hopping_rows_are_multiplied_without_their_other_columns() {
    let plan = optimized("SELECT window.start, count(*) FROM events GROUP BY window(at, '1 hour', '15 minutes')").await;
    assert!(plan.contains("Unnest"), "{plan}");
    assert!(plan.contains("projection=[at]"), "{plan}");
}

#[tokio::test]
async fn rows_of_sessions_are_sorted_once_too() {
    let context = ours().await.unwrap();
    let table = "SESSION(TABLE events PARTITION BY user_id, DESCRIPTOR(at), INTERVAL '1' HOUR)";
    let logical = plan(&context, &format!("SELECT id, window_start, window_end FROM {table}")).await;
    let physical = context.state().create_physical_plan(&logical).await.unwrap();
    let text = datafusion::physical_plan::displayable(physical.as_ref()).indent(false).to_string();
    assert_eq!(text.matches("SortExec").count(), 1, "{text}");
}

#[tokio::test]
async fn sessions_do_not_sort_the_rows() {
    let context = ours().await.unwrap();
    let logical =
        plan(&context, "SELECT user_id, session_window.start, count(*) FROM events GROUP BY user_id, session_window(at, '1 hour')").await;
    let physical = context.state().create_physical_plan(&logical).await.unwrap();
    let text = datafusion::physical_plan::displayable(physical.as_ref()).indent(false).to_string();
    assert!(text.contains("SessionizeExec") && !text.contains("SortExec"), "{text}");
}

/// An event: who, when in minutes, how long its gap is.
type Event = (Option<u8>, Option<i64>, i64);

const MINUTE: i64 = 60_000_000;

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = (prop::option::weighted(0.9, 0..3u8), prop::option::weighted(0.9, -60..60i64), -1..12i64);
    prop::collection::vec(event, 0..60)
}

async fn context_of(events: &[Event]) -> SessionContext {
    let context = ours().await.unwrap();
    let who: ArrayRef = std::sync::Arc::new(events.iter().map(|e| e.0.map(|who| who.to_string())).collect::<StringArray>());
    let at = events.iter().map(|e| e.1.map(|at| at * MINUTE)).collect::<TimestampMicrosecondArray>().with_timezone("UTC");
    let gap: ArrayRef = std::sync::Arc::new(events.iter().map(|e| Some(format!("{} minutes", e.2))).collect::<StringArray>());
    let id: ArrayRef = std::sync::Arc::new(Int64Array::from_iter_values(0..events.len() as i64));
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("who", who, true),
        ("at", std::sync::Arc::new(at) as ArrayRef, true),
        ("gap", gap, true),
        ("id", id, true),
    ]);
    context.register_batch("visits", batch.unwrap()).unwrap();
    context
}

/// Groups as the query gives them: key, start and end in minutes, the sum of the ids.
type Groups = BTreeMap<(Option<String>, i64, i64), i64>;

fn groups_of(batches: &[RecordBatch]) -> Groups {
    let mut groups = Groups::new();
    for batch in batches {
        let edge = |at: usize| batch.column(at).as_primitive::<TimestampMicrosecondType>().values().to_vec();
        let (who, starts, ends, sums) = (batch.column(0).as_string::<i32>(), edge(1), edge(2), batch.column(3).as_primitive::<Int64Type>());
        for row in 0..batch.num_rows() {
            let key = (who.is_valid(row).then(|| who.value(row).to_string()), starts[row] / MINUTE, ends[row] / MINUTE);
            assert!(groups.insert(key, sums.value(row)).is_none(), "a window comes twice");
        }
    }
    groups
}

/// Every window that could hold a row, asked of every row.
fn reference_windows(events: &[Event], size: i64, slide: i64, offset: i64) -> Groups {
    let mut groups = Groups::new();
    for (id, (who, at, _)) in events.iter().enumerate() {
        let Some(at) = at else { continue };
        for start in -300..300i64 {
            if (start - offset).rem_euclid(slide) == 0 && (start..start + size).contains(at) {
                *groups.entry((who.map(|who| who.to_string()), start, start + size)).or_default() += id as i64;
            }
        }
    }
    groups
}

/// Intervals of the same key are merged as long as two of them touch.
fn reference_sessions(events: &[Event], gap: impl Fn(&Event) -> i64) -> Groups {
    let mut sessions: Vec<(Option<u8>, i64, i64, i64)> = Vec::new();
    for (id, event) in events.iter().enumerate() {
        let (Some(at), gap) = (event.1, gap(event)) else { continue };
        if gap <= 0 {
            continue;
        }
        let mut session = (event.0, at, at + gap, id as i64);
        while let Some(other) = sessions.iter().position(|s| s.0 == session.0 && s.1 <= session.2 && session.1 <= s.2) {
            let other = sessions.remove(other);
            session = (session.0, session.1.min(other.1), session.2.max(other.2), session.3 + other.3);
        }
        sessions.push(session);
    }
    sessions.into_iter().map(|(who, start, end, sum)| ((who.map(|who| who.to_string()), start, end), sum)).collect()
}

fn check(events: &[Event], sql: &str, expected: &Groups) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let found = runtime.block_on(async { groups_of(&rows(&context_of(events).await, sql).await) });
    assert_eq!(&found, expected, "{sql}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn windows_hold_the_rows_between_their_edges(events in events(), slide in 1..20i64, more in 0..40i64, offset in -30..30i64) {
        let size = slide + more;
        let expected = reference_windows(&events, size, slide, offset);
        let window = format!("window(at, '{size} minutes', '{slide} minutes', '{offset} minutes')");
        check(&events, &format!("SELECT who, window.start, window.end, sum(id) FROM visits GROUP BY who, {window}"), &expected);
        let hop = format!("HOP(visits, at, '{slide} minutes', '{size} minutes', '{offset} minutes')");
        check(&events, &format!("SELECT who, window_start, window_end, sum(id) FROM {hop} GROUP BY ALL"), &expected);
    }

    #[test]
    fn sessions_hold_the_rows_whose_gaps_touch(events in events(), gap in 1..20i64) {
        let expected = reference_sessions(&events, |_| gap);
        let window = format!("session_window(at, '{gap} minutes')");
        check(&events, &format!("SELECT who, session_window.start, session_window.end, sum(id) FROM visits GROUP BY who, {window}"), &expected);
        let table = format!("SESSION(TABLE visits PARTITION BY who, DESCRIPTOR(at), INTERVAL '{gap}' MINUTE)");
        check(&events, &format!("SELECT who, window_start, window_end, sum(id) FROM {table} GROUP BY ALL"), &expected);
    }

    #[test]
    fn gaps_may_be_the_rows_own(events in events()) {
        let expected = reference_sessions(&events, |event| event.2);
        let sql = "SELECT who, session_window.start, session_window.end, sum(id) FROM visits GROUP BY who, session_window(at, gap)";
        check(&events, sql, &expected);
    }
}
