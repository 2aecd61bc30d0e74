//! Which windows are taken for numberings of all rows; what becomes of them is tested with the session.

use datafusion::common::Result;

use super::find_numbering;
use crate::planner::testing::ours;

async fn is_found(sql: &str) -> Result<bool> {
    let state = ours().await?.state();
    let plan = state.optimize(&state.create_logical_plan(sql).await?)?;
    Ok(find_numbering(&plan).is_some())
}

#[tokio::test]
async fn windows_that_number_all_rows_are_found() -> Result<()> {
    for sql in [
        "SELECT id, row_number() OVER () FROM events",
        "SELECT row_number() OVER () AS n FROM (SELECT kind, count(*) FROM events GROUP BY kind)",
        "SELECT sum(n) FROM (SELECT id, row_number() OVER () AS n FROM events WHERE price > 3) WHERE id < 10",
        "SELECT n FROM (SELECT id, row_number() OVER () AS n FROM (SELECT * FROM events ORDER BY id LIMIT 10) JOIN (VALUES (1)) ON true)",
    ] {
        assert!(is_found(sql).await?, "{sql}");
    }
    Ok(())
}

#[tokio::test]
async fn others_are_not() -> Result<()> {
    for sql in [
        "SELECT id, row_number() OVER (ORDER BY id) FROM events",
        "SELECT id, row_number() OVER (PARTITION BY kind) FROM events",
        "SELECT id, count(*) OVER () FROM events",
        "SELECT id, row_number() OVER (), count(*) OVER (ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM events",
        // Numbers are expected to follow an order that is there.
        "SELECT row_number() OVER () AS n FROM (SELECT id FROM events ORDER BY price LIMIT 1000)",
    ] {
        assert!(!is_found(sql).await?, "{sql}");
    }
    Ok(())
}
