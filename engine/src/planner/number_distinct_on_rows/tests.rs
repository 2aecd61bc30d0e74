//! That `DISTINCT ON` gives the rows it gave before, by way of the plan for numbered rows.

use datafusion::common::Result;

use crate::planner::testing::{assert_same_rows, ours, plan_of};

#[tokio::test]
async fn the_plan_is_that_of_numbered_rows() -> Result<()> {
    let sql = "SELECT DISTINCT ON (user_id, at) user_id, at, brand, id FROM events ORDER BY user_id, at, id DESC";
    let plan = plan_of(sql).await?;
    assert!(plan.contains("DeduplicateExec"), "{plan}");
    assert_same_rows(sql).await
}

#[tokio::test]
async fn expressions_and_aliases_are_kept() -> Result<()> {
    assert_same_rows("SELECT DISTINCT ON (user_id % 10) user_id % 10 AS digit, upper(brand) AS b FROM events ORDER BY user_id % 10, id")
        .await?;
    let names = ours().await?.sql("SELECT DISTINCT ON (kind) kind AS k, id + 1 FROM events ORDER BY kind, id").await?;
    let names: Vec<_> = names.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["k", "events.id + Int64(1)"]);
    Ok(())
}

#[tokio::test]
async fn without_an_order_one_row_of_each_key_comes() -> Result<()> {
    assert_same_rows("SELECT count(*), count(DISTINCT kind) FROM (SELECT DISTINCT ON (kind) kind, id FROM events)").await
}

#[tokio::test]
async fn the_result_is_sorted_by_the_keys() -> Result<()> {
    let batches = ours().await?.sql("SELECT DISTINCT ON (kind) kind FROM events ORDER BY kind DESC, id").await?.collect().await?;
    let text = arrow::util::pretty::pretty_format_batches(&batches)?.to_string();
    let at = |kind| text.find(kind).unwrap_or(usize::MAX);
    assert!(at("view") < at("purchase") && at("purchase") < at("cart"), "{text}");
    Ok(())
}
