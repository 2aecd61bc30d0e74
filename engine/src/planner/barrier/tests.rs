//! That nothing passes a barrier but what can tell nothing.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::datasource::ViewTable;
use datafusion::physical_plan::displayable;
use datafusion::prelude::SessionContext;

use super::over;
use crate::planner::testing::{ours, rows_of};

/// The events that are no purchases, behind a barrier.
async fn guarded() -> Result<SessionContext> {
    let context = ours().await?;
    let plan =
        context.sql("SELECT id, user_id, at, brand, kind, price FROM events WHERE kind <> 'purchase'").await?.into_unoptimized_plan();
    context.register_table("guarded", Arc::new(ViewTable::new(over(plan), None)))?;
    Ok(context)
}

/// What of the optimized plan stands above the barrier, and what below it.
async fn cut(sql: &str) -> Result<(String, String)> {
    let plan = guarded().await?.sql(sql).await?.into_optimized_plan()?.display_indent().to_string();
    let (above, below) = plan.split_once("Barrier").unwrap_or_else(|| panic!("no barrier: {plan}"));
    Ok((above.to_string(), below.to_string()))
}

#[tokio::test]
async fn only_safe_filters_pass() -> Result<()> {
    for (condition, passes) in [
        ("user_id = 7", true),
        ("user_id > 7 AND user_id <= 9", true),
        ("user_id = 7 OR brand IS NULL", true),
        ("brand IN ('brand 1', 'brand 2')", true),
        ("NOT (user_id = 7)", true),
        ("user_id BETWEEN 1 AND 5", true),
        ("10 / (user_id - 7) > 1", false),
        ("user_id = 7 OR 10 / (user_id - 7) > 1", false),
        ("upper(brand) = 'X'", false),
        ("CAST(brand AS INT) = 7", false),
        ("user_id + 1 = 7", false),
        ("brand LIKE 'x%'", false),
        // Of no column, so it tells of no row.
        ("random() < 2", true),
        ("random() < price", false),
    ] {
        let (above, below) = cut(&format!("SELECT id FROM guarded WHERE {condition}")).await?;
        assert_eq!(!above.contains("Filter:"), passes, "{condition}\n{above}Barrier{below}");
    }
    let (above, below) = cut("SELECT id FROM guarded AS g WHERE g.user_id = 7 AND 10 / (g.user_id - 8) <> 77").await?;
    assert!(above.contains("/") && !above.contains("Int64(7)"), "{above}");
    assert!(below.contains("Int64(7)") && !below.contains("/"), "{below}");
    Ok(())
}

#[tokio::test]
async fn columns_that_nobody_asks_for_are_not_read() -> Result<()> {
    let (_, below) = cut("SELECT max(id) FROM guarded").await?;
    assert!(below.contains("[id, kind]"), "{below}");
    Ok(())
}

#[tokio::test]
async fn limits_statistics_and_physical_filters_stay_above() -> Result<()> {
    let context = guarded().await?;
    for sql in
        ["SELECT id FROM guarded LIMIT 3", "SELECT count(*) FROM guarded", "SELECT max(id) FROM guarded WHERE 10 / (user_id + 1) > 1"]
    {
        let plan = context.sql(sql).await?.create_physical_plan().await?;
        let text = displayable(plan.as_ref()).indent(false).to_string();
        let (_, below) = text.split_once("BarrierExec").unwrap_or_else(|| panic!("{sql} has no barrier:\n{text}"));
        assert!(!below.contains("fetch=") && !below.contains("/") && !below.contains("Limit"), "{sql}\n{text}");
    }
    Ok(())
}

#[tokio::test]
async fn the_rows_are_the_same() -> Result<()> {
    let context = guarded().await?;
    for (condition, tail) in
        [("user_id < 40", ""), ("user_id < 40 AND 10 / (user_id + 1) > 1", "ORDER BY id LIMIT 5"), ("brand IN ('brand 7')", "")]
    {
        let guarded = rows_of(&context, &format!("SELECT id, price FROM guarded AS g WHERE {condition} {tail}")).await?;
        let plain = rows_of(&context, &format!("SELECT id, price FROM events WHERE kind <> 'purchase' AND {condition} {tail}")).await?;
        assert!(!plain.is_empty());
        assert_eq!(guarded, plain, "{condition}");
    }
    Ok(())
}
