//! Which windows over everything become totals, and that every row keeps what it had.

use datafusion::common::Result;

use crate::planner::testing::{across_tasks, assert_same_rows, ours, plan_of, rows_of};

async fn assert_rewritten(sql: &str) -> Result<()> {
    let plan = plan_of(sql).await?;
    assert!(plan.contains("JoinExec") && !plan.contains("Window"), "{plan}");
    assert_eq!(rows_of(&across_tasks().await?, sql).await?, rows_of(&ours().await?, sql).await?, "{sql}");
    assert_same_rows(sql).await
}

async fn assert_left_alone(sql: &str) -> Result<()> {
    let plan = plan_of(sql).await?;
    assert!(plan.contains("Window"), "{plan}");
    Ok(())
}

#[tokio::test]
async fn totals_are_read_before_the_rows() -> Result<()> {
    assert_rewritten("SELECT id, price / sum(price) OVER () AS share, count(*) OVER () AS n, max(brand) OVER () FROM events").await?;
    assert_rewritten("SELECT id, count(brand) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) FROM events WHERE id < 300")
        .await?;
    assert_rewritten("SELECT id, count(*) FILTER (WHERE kind = 'cart') OVER () AS carts, avg(price) OVER () AS mean FROM events AS e")
        .await?;
    assert_rewritten(
        "SELECT * FROM (SELECT id, count(*) OVER () AS n, count(*) OVER () + 1 AS m FROM events WHERE id % 7 = 0) WHERE id < n",
    )
    .await
}

#[tokio::test]
async fn no_rows_stay_no_rows() -> Result<()> {
    let sql = "SELECT id, count(*) OVER () FROM events WHERE price < 0";
    assert!(rows_of(&ours().await?, sql).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn values_that_differ_by_row_stay_windows() -> Result<()> {
    for window in [
        "row_number() OVER ()",
        "sum(price) OVER (PARTITION BY kind)",
        "sum(price) OVER (ORDER BY id)",
        "sum(price) OVER (ROWS BETWEEN 3 PRECEDING AND CURRENT ROW)",
        "first_value(id) OVER ()",
        "sum(price + random()) OVER ()",
    ] {
        assert_left_alone(&format!("SELECT id, {window} FROM events")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn rows_that_cost_more_than_a_scan_are_read_once() -> Result<()> {
    assert_left_alone("SELECT kind, sum(count(*)) OVER () FROM events GROUP BY kind").await?;
    assert_left_alone("SELECT id, count(*) OVER () FROM (SELECT id FROM events LIMIT 5)").await?;
    assert_left_alone("SELECT id, count(*) OVER () FROM events WHERE random() < 2").await?;
    assert_left_alone("SELECT e.id, count(*) OVER () FROM events AS e JOIN events AS f ON e.id = f.id").await
}
