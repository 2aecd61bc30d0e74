//! Which queries are rewritten, and that the rows stay what they were.

use datafusion::common::Result;

use crate::planner::testing::{assert_same_rows, plan_of};

const FIRST_OF_KEY: &str = "SELECT * FROM (
    SELECT *, row_number() OVER (PARTITION BY user_id, at ORDER BY id DESC) AS n FROM events) WHERE ";

#[tokio::test]
async fn first_rows_come_from_two_reads() -> Result<()> {
    for condition in ["n = 1", "n <= 1", "n < 2", "1 = n", "2 > n"] {
        let sql = format!("{FIRST_OF_KEY}{condition}");
        let plan = plan_of(&sql).await?;
        assert!(plan.contains("DeduplicateExec: keys=[user_id@1, at@2]"), "{condition}:\n{plan}");
        assert!(!plan.contains("SortExec"), "{condition}:\n{plan}");
        assert_same_rows(&sql).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_first_read_takes_the_keys_alone() -> Result<()> {
    let plan = plan_of(&format!("{FIRST_OF_KEY}n = 1")).await?;
    assert!(plan.contains("ProjectionExec: expr=[user_id@0 as key_0, at@1 as key_1]"), "{plan}");
    Ok(())
}

#[tokio::test]
async fn qualify_is_the_same_query() -> Result<()> {
    let sql = "SELECT user_id, at, brand FROM events QUALIFY row_number() OVER (PARTITION BY user_id, at ORDER BY id) = 1";
    assert!(plan_of(sql).await?.contains("DeduplicateExec"));
    assert_same_rows(sql).await
}

#[tokio::test]
async fn other_conditions_stay() -> Result<()> {
    let sql = format!("{FIRST_OF_KEY}n = 1 AND kind = 'view' AND brand IS NOT NULL");
    assert!(plan_of(&sql).await?.contains("DeduplicateExec"));
    assert_same_rows(&sql).await
}

#[tokio::test]
async fn other_numbers_and_functions_are_left_alone() -> Result<()> {
    for condition in ["n = 2", "n <= 2", "n > 1", "n = 1 OR kind = 'view'"] {
        let sql = format!("{FIRST_OF_KEY}{condition}");
        let plan = plan_of(&sql).await?;
        assert!(plan.contains("WindowAggExec"), "{condition}:\n{plan}");
        assert_same_rows(&sql).await?;
    }
    let ranked = "SELECT id FROM events QUALIFY rank() OVER (PARTITION BY user_id ORDER BY at) = 1";
    assert!(plan_of(ranked).await?.contains("WindowAggExec"));
    Ok(())
}

#[tokio::test]
async fn an_input_that_costs_is_read_once() -> Result<()> {
    let sql = "SELECT l.id, r.brand FROM events l JOIN events r ON l.id = r.id
        QUALIFY row_number() OVER (PARTITION BY l.user_id, l.at ORDER BY l.id) = 1";
    let plan = plan_of(sql).await?;
    assert!(!plan.contains("DeduplicateExec") && !plan.contains("WindowAggExec"), "{plan}");
    assert!(plan.contains("aggr=[first_row]"), "{plan}");
    assert_same_rows(sql).await
}

#[tokio::test]
async fn many_repetitions_are_right_too() -> Result<()> {
    // Nine rows of ten are dropped: the operator hands everything to its plan for repeated rows.
    let sql = "SELECT * FROM events QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY id DESC) = 1";
    assert!(plan_of(sql).await?.contains("DeduplicateExec"));
    assert_same_rows(sql).await
}

#[tokio::test]
async fn null_keys_are_one_key() -> Result<()> {
    assert_same_rows("SELECT * FROM events QUALIFY row_number() OVER (PARTITION BY brand ORDER BY id) = 1").await
}

#[tokio::test]
async fn keys_that_change_or_have_two_zeros_are_left_alone() -> Result<()> {
    for key in ["CAST(random() * 1000 AS INT)", "CAST(price AS DOUBLE)", "struct(CAST(price AS DOUBLE))"] {
        let plan = plan_of(&format!("SELECT id FROM events QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY id) = 1")).await?;
        assert!(plan.contains("WindowAggExec"), "{key}:\n{plan}");
    }
    assert_same_rows(
        "SELECT count(*) FROM (SELECT id, CASE WHEN id % 2 = 0 THEN 0.0 ELSE -0.0 END AS z FROM events
        QUALIFY row_number() OVER (PARTITION BY z ORDER BY id) = 1)",
    )
    .await
}

#[tokio::test]
async fn rows_without_columns_are_counted() -> Result<()> {
    assert_same_rows("SELECT count(*) FROM (SELECT id FROM events QUALIFY row_number() OVER (PARTITION BY user_id, at ORDER BY id) = 1)")
        .await
}

#[tokio::test]
async fn few_rows_are_left_alone() -> Result<()> {
    let sql = "SELECT * FROM (SELECT * FROM events LIMIT 100) QUALIFY row_number() OVER (PARTITION BY brand ORDER BY id) = 1";
    assert!(plan_of(sql).await?.contains("WindowAggExec"));
    Ok(())
}
