//! That `NOT IN` beside other conditions keeps the rows that it keeps in SQL.

use datafusion::common::Result;
use datafusion::prelude::SessionContext;

use crate::planner::testing::{across_tasks, ours, rows_of};

const TABLES: [&str; 3] = [
    "CREATE TABLE numbers AS SELECT CASE WHEN value = 0 THEN NULL ELSE value END AS a, value AS id FROM generate_series(0, 5)",
    "CREATE TABLE holes AS SELECT CASE WHEN value = 3 THEN NULL ELSE value END AS k FROM generate_series(2, 4)",
    "CREATE TABLE strict AS SELECT value AS s FROM generate_series(1, 3)",
];

async fn ids(context: &SessionContext, condition: &str) -> Result<String> {
    Ok(rows_of(context, &format!("SELECT id FROM numbers WHERE {condition}")).await?.join(""))
}

#[tokio::test]
async fn nulls_are_minded_beside_other_conditions() -> Result<()> {
    for context in [ours().await?, across_tasks().await?] {
        for table in TABLES {
            context.sql(table).await?.collect().await?;
        }
        for (condition, expected) in [
            ("a NOT IN (SELECT k FROM holes) OR id = 1", "1"),
            ("a NOT IN (SELECT k FROM holes WHERE k > 2) OR id = 4", "12345"),
            ("NOT (a IN (SELECT k FROM holes WHERE k > 2)) OR id = 4", "12345"),
            ("a NOT IN (SELECT k FROM holes WHERE k > 9) OR id = 4", "012345"),
            ("a NOT IN (SELECT s FROM strict) OR id = 2", "245"),
            ("id NOT IN (SELECT k FROM holes) OR id = 2", "2"),
            ("id NOT IN (SELECT s FROM strict) OR id = 2", "0245"),
            ("(a NOT IN (SELECT s FROM strict) AND id > 4) OR (a NOT IN (SELECT k FROM holes) AND id < 5)", "5"),
            ("(a NOT IN (SELECT s FROM strict) OR id = 1) AND a NOT IN (SELECT k FROM holes WHERE k > 2)", "15"),
            ("a IN (SELECT k FROM holes) OR id = 1", "124"),
            ("nullif(id, 5) NOT IN (SELECT s FROM strict)", "04"),
            ("nullif(id, 5) NOT IN (SELECT s FROM strict WHERE s > 7)", "012345"),
            ("7 NOT IN (SELECT k FROM holes) OR id = 3", "3"),
            ("CAST(NULL AS INT) NOT IN (SELECT s FROM strict)", ""),
        ] {
            assert_eq!(ids(&context, condition).await?, expected, "{condition}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_null_needs_no_guard() -> Result<()> {
    let context = ours().await?;
    for table in TABLES {
        context.sql(table).await?.collect().await?;
    }
    let plan = context.sql("SELECT id FROM numbers WHERE id NOT IN (SELECT s FROM strict) OR a = 2").await?.into_optimized_plan()?;
    let plan = plan.display_indent().to_string();
    assert!(!plan.contains("__not_in"), "{plan}");
    Ok(())
}
