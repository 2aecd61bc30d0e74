//! Aggregations that do not fit into the memory pool go to disk and come back with the same rows.

use std::sync::Arc;

use arrow::array::*;
use datafusion::physical_plan::collect;

use super::{Run, lines, session};

fn table(rows: i64) -> RecordBatch {
    let mixed = |row: i64| row.wrapping_mul(0x5DEE_CE66D).rem_euclid(1 << 31);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("g", Arc::new(Int64Array::from_iter_values((0..rows).map(|row| mixed(row) % (rows / 3))))),
        (
            "x",
            Arc::new(StringViewArray::from_iter_values(
                (0..rows).map(|row| format!("a text that is long enough {}", mixed(row + 1) % 1000)),
            )),
        ),
        ("y", Arc::new(Int64Array::from_iter_values((0..rows).map(|row| mixed(row + 2) % 50)))),
        ("place", Arc::new(Int64Array::from_iter_values(0..rows))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

const SQL: &str = "SELECT g, count(DISTINCT x), count(DISTINCT y), count(*), first_value(x ORDER BY y, place), last_value(y ORDER BY x, place) FROM t GROUP BY g";

const EVENTS: &str = "SELECT g, sessionize(place, 9000), sessionize(place, y + 1, 50000), funnel(place, 60000, y % 2 = 0, y % 3 = 0), path(place, x, 5), retention(y = 1, y = 2), sequence_count('(?1).*(?2)', place, y < 9, y > 9) FROM t GROUP BY g";

#[tokio::test(flavor = "multi_thread")]
async fn spilled_groups_come_back() {
    comes_back(SQL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spilled_events_come_back() {
    comes_back(EVENTS).await;
}

async fn comes_back(sql: &str) {
    let table = table(120_000);
    let expected = lines(&session(&table, &Run::default(), true).unwrap(), sql).await.unwrap();
    for partitions in [1, 3] {
        let context = session(&table, &Run { partitions, batch_size: 1024, memory: Some(12 << 20), ..Run::default() }, true).unwrap();
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
        let mut spilled = 0;
        let mut nodes = vec![plan];
        while let Some(node) = nodes.pop() {
            spilled += node.metrics().and_then(|m| m.spill_count()).unwrap_or(0);
            nodes.extend(node.children().into_iter().cloned());
        }
        assert!(spilled > 0, "nothing was spilled in {partitions} partitions");
        assert_eq!(lines(&context, sql).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn memory_is_accounted_for() {
    use datafusion::logical_expr::GroupsAccumulator;
    let rows = 50_000;
    let table = table(rows);
    let groups: Vec<usize> = (0..rows as usize).collect();
    let mut distinct = super::super::distinct_count::DistinctCount::try_new(table.column(1).data_type()).unwrap();
    let empty = distinct.size();
    distinct.update_batch(&[Arc::clone(table.column(1))], &groups, None, rows as usize).unwrap();
    // A pair takes at least its eight bytes.
    assert!(distinct.size() > empty + rows as usize * 8);
    distinct.evaluate(datafusion::logical_expr::EmitTo::All).unwrap();
    assert!(distinct.size() < empty + 1024, "{} bytes are still held", distinct.size());
}
