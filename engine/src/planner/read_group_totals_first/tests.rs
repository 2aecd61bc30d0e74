//! That joined totals are those of the window, for nulls among the keys too, and that other windows stay.

use datafusion::common::Result;
use datafusion::prelude::SessionContext;

use crate::planner::testing::{ours, same_without_hint};

/// Whether the hint changes the plan, which must not change the rows.
async fn is_rewritten(context: &SessionContext, sql: &str) -> Result<bool> {
    Ok(same_without_hint(context, sql).await?.contains("__totals"))
}

#[tokio::test]
async fn joined_totals_are_those_of_the_window() -> Result<()> {
    let context = ours().await?;
    for sql in [
        "SELECT /*+ SKEW('events', 'brand') */ id, brand, sum(price) OVER (PARTITION BY brand) AS s FROM events WHERE id < 3000",
        "SELECT /*+ SKEW('e') */ id, count(*) OVER w, max(at) OVER w, count(*) OVER w + 1 FROM events AS e WHERE id % 9 = 0 WINDOW w AS (PARTITION BY kind, brand)",
        "SELECT kind, count(*) FROM (SELECT /*+ SKEW('events', 'kind') */ kind, id, avg(id) OVER (PARTITION BY kind) AS mean FROM events)
            WHERE id > mean GROUP BY kind",
    ] {
        assert!(is_rewritten(&context, sql).await?, "{sql} keeps its window");
    }
    Ok(())
}

#[tokio::test]
async fn other_windows_stay() -> Result<()> {
    let context = ours().await?;
    for sql in [
        "SELECT id, sum(price) OVER (PARTITION BY brand) FROM events WHERE id < 3000",
        "SELECT /*+ SKEW('events', 'kind') */ id, sum(price) OVER (PARTITION BY brand) FROM events WHERE id < 3000",
        "SELECT /*+ SKEW('events') */ id, sum(price) OVER (PARTITION BY kind ORDER BY id) FROM events WHERE id < 3000",
        "SELECT /*+ SKEW('events') */ id, sum(price) OVER (PARTITION BY id % 3) FROM events WHERE id < 3000",
    ] {
        assert!(!is_rewritten(&context, sql).await?, "{sql} is joined");
    }
    Ok(())
}
