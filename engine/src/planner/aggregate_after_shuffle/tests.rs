//! Which aggregations take one step, and that their rows stay what they were.

use datafusion::common::Result;

use crate::planner::testing::{assert_same_rows, ours, plan_of, rows_of};

#[tokio::test]
async fn several_distinct_counts_take_one_step() -> Result<()> {
    let sql = "SELECT user_id, count(DISTINCT brand), count(DISTINCT kind), count(*), sum(price),
            count(DISTINCT brand) FILTER (WHERE kind = 'view'), min(at) FROM events GROUP BY user_id";
    let plan = plan_of(sql).await?;
    assert!(plan.contains("AggregateExec: mode=SinglePartitioned"), "{plan}");
    assert!(!plan.contains("mode=Partial"), "{plan}");
    assert_same_rows(sql).await
}

#[tokio::test]
async fn distinct_counts_of_everything_agree() -> Result<()> {
    assert_same_rows("SELECT count(DISTINCT brand), count(DISTINCT user_id), count(DISTINCT at), max(price) FROM events").await
}

#[tokio::test]
async fn other_aggregations_keep_two_steps() -> Result<()> {
    let plan = plan_of("SELECT kind, count(*), sum(price) FROM events GROUP BY kind").await?;
    assert!(plan.contains("mode=Partial") && plan.contains("mode=FinalPartitioned"), "{plan}");
    Ok(())
}

#[tokio::test]
async fn grouping_sets_keep_two_steps() -> Result<()> {
    let sql = "SELECT kind, brand, count(DISTINCT user_id), count(DISTINCT at) FROM events GROUP BY ROLLUP (kind, brand)";
    let plan = plan_of(sql).await?;
    assert!(plan.contains("mode=Partial"), "{plan}");
    assert_same_rows(sql).await
}

#[tokio::test]
async fn events_are_shuffled_once_as_what_the_funnel_looks_at() -> Result<()> {
    let sql = "SELECT user_id % 500 AS key, funnel(at, INTERVAL '2' MINUTE, kind = 'view', kind = 'cart' OR brand = 'brand 7', kind = 'purchase') AS depth,
        sequence_count('(?1)(?2)', at, kind = 'view', kind = 'purchase') AS times, count(*) FILTER (WHERE price > 100) AS dear
      FROM events GROUP BY user_id % 500";
    let plan = plan_of(sql).await?;
    assert!(plan.contains("AggregateExec: mode=SinglePartitioned") && !plan.contains("mode=Partial"), "{plan}");
    let (above, below) = plan.split_once("partitioning=Hash").unwrap();
    assert!(!above.contains("kind@") && below.contains("kind@") && below.contains("price@"), "{plan}");
    let (ours, one) = (ours().await?, ours().await?);
    one.sql("SET datafusion.execution.target_partitions = 1").await?;
    let rows = rows_of(&ours, sql).await?;
    assert_eq!(rows.len(), 500);
    assert_eq!(rows, rows_of(&one, sql).await?);
    Ok(())
}
