//! That the two steps give what the one gives, and are taken only where they are asked for and can be.

use datafusion::common::Result;
use datafusion::prelude::SessionContext;

use crate::planner::testing::{hinted, ours, same_without_hint};

/// Whether the hint changes the plan, which must not change the rows.
async fn is_rewritten(context: &SessionContext, sql: &str) -> Result<bool> {
    Ok(same_without_hint(context, sql).await?.contains("__by_value"))
}

#[tokio::test]
async fn two_steps_give_the_same_groups() -> Result<()> {
    let context = ours().await?;
    for sql in [
        "SELECT /*+ SKEW('events', 'kind') */ kind, count(DISTINCT user_id), count(*), count(brand) FROM events GROUP BY kind",
        "SELECT /*+ SKEW('events') */ kind, brand, count(DISTINCT user_id) AS n, sum(price), min(at), max(brand) FROM events GROUP BY kind, brand",
        "SELECT /*+ SKEW('e', 'kind') */ kind, count(DISTINCT brand), count(DISTINCT brand) AS again, count(*) FILTER (WHERE brand IS NULL), sum(price) FROM events AS e GROUP BY kind",
        "SELECT /*+ SKEW('events') */ id % 3 AS part, count(DISTINCT brand || 'x'), bool_and(id > 5), bool_or(id > 59990), count(*) FROM events WHERE id > 4 GROUP BY id % 3",
        "SELECT /*+ SKEW('events') */ kind, count(*), count(DISTINCT user_id) AS n FROM events GROUP BY kind HAVING count(DISTINCT user_id) > 10 ORDER BY n",
    ] {
        assert!(is_rewritten(&context, sql).await?, "{sql} is not spread");
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_merged_or_is_not_asked_for_stays() -> Result<()> {
    let context = ours().await?;
    for sql in [
        "SELECT kind, count(DISTINCT user_id), count(*) FROM events GROUP BY kind",
        "SELECT /*+ SKEW('events', 'brand') */ kind, count(DISTINCT user_id), count(*) FROM events GROUP BY kind",
        "SELECT /*+ SKEW('events') */ kind, count(DISTINCT user_id), count(DISTINCT brand) FROM events GROUP BY kind",
        "SELECT /*+ SKEW('events') */ kind, count(DISTINCT user_id) FILTER (WHERE id > 3), count(*) FROM events GROUP BY kind",
        "SELECT /*+ SKEW('events') */ kind, count(*), median(price) FROM events GROUP BY kind",
        "SELECT /*+ SKEW('events') */ count(DISTINCT user_id), count(*) FROM events",
    ] {
        assert!(!is_rewritten(&context, sql).await?, "{sql} is spread");
    }
    Ok(())
}

#[tokio::test]
async fn the_hint_is_told() -> Result<()> {
    let context = ours().await?;
    let sql = "SELECT /*+ SKEW('events', 'kind') */ kind, count(DISTINCT user_id), count(*) FROM events GROUP BY kind";
    let (_, outcomes) = hinted(&context, sql).await?;
    assert_eq!(outcomes, ["SKEW(events, kind) applied: distinct values are counted in two steps"]);
    Ok(())
}
