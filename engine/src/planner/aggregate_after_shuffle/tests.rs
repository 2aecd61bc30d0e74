//! Which aggregations take one step, and that their rows stay what they were.

use datafusion::common::Result;

use crate::planner::testing::{assert_same_rows, plan_of};

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
