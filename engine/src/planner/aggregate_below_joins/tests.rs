//! Which aggregations go below a join, that far fewer rows reach the join then, and that the groups stay what they were.

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::{ExecutionPlan as _, collect, displayable};
use datafusion::prelude::SessionContext;

use crate::planner::testing::{across_tasks, ours, plain, rows_of};

/// Dimensions of the events' kinds, with one that no event has and one too few, and of their brands, with every brand twice.
const TABLES: [&str; 3] = [
    "CREATE TABLE kinds AS SELECT * FROM (VALUES ('view', 'seen', 1), ('cart', 'wanted', 2), ('refund', 'wanted', 3)) AS v(kind, label, rank)",
    "CREATE TABLE brands AS SELECT 'brand ' || (value % 97) AS brand, 'group ' || (value % 5) AS family FROM generate_series(0, 193)",
    "CREATE TABLE users AS SELECT value AS user_id, 'country ' || (value % 7) AS country FROM generate_series(0, 6999)",
];

async fn with_tables(context: SessionContext) -> Result<SessionContext> {
    for table in TABLES {
        context.sql(table).await?.collect().await?;
    }
    Ok(context)
}

async fn plan_of(sql: &str) -> Result<String> {
    let plan = with_tables(ours().await?).await?.sql(sql).await?.create_physical_plan().await?;
    Ok(displayable(plan.as_ref()).indent(false).to_string())
}

async fn assert_rewritten(sql: &str) -> Result<()> {
    let plan = plan_of(sql).await?;
    assert!(plan.contains("as key_0"), "{plan}");
    assert_same_rows(sql).await
}

async fn assert_left_alone(sql: &str) -> Result<()> {
    let plan = plan_of(sql).await?;
    assert!(!plan.contains("key_0"), "{plan}");
    assert_same_rows(sql).await
}

async fn assert_same_rows(sql: &str) -> Result<()> {
    let expected = rows_of(&with_tables(plain().await?).await?, sql).await?;
    assert!(!expected.is_empty(), "{sql} has no rows, which proves nothing");
    assert_eq!(rows_of(&with_tables(ours().await?).await?, sql).await?, expected, "{sql}");
    assert_eq!(rows_of(&with_tables(across_tasks().await?).await?, sql).await?, expected, "{sql}");
    Ok(())
}

#[tokio::test]
async fn facts_are_added_up_by_key_before_they_are_joined() -> Result<()> {
    assert_rewritten(
        "SELECT label, count(*), count(brand), sum(price), avg(price), min(at), max(brand), sum(id), avg(id), stddev(id) > 0
         FROM events AS e JOIN kinds AS k ON e.kind = k.kind GROUP BY label",
    )
    .await?;
    assert_rewritten("SELECT label, rank + 1, count(*) FROM kinds AS k JOIN events AS e ON e.kind = k.kind GROUP BY label, rank + 1").await
}

#[tokio::test]
async fn keys_that_the_dimension_holds_twice_count_twice() -> Result<()> {
    assert_rewritten(
        "SELECT family, sum(id), count(*), avg(price), min(id) FROM events AS e JOIN brands AS b ON e.brand = b.brand GROUP BY family",
    )
    .await
}

#[tokio::test]
async fn facts_without_a_row_in_the_dimension_are_kept_by_outer_joins() -> Result<()> {
    assert_rewritten("SELECT label, count(*), sum(price) FROM events AS e LEFT JOIN kinds AS k ON e.kind = k.kind GROUP BY label").await?;
    assert_rewritten("SELECT label, count(*), sum(price) FROM kinds AS k RIGHT JOIN events AS e ON e.kind = k.kind GROUP BY label").await?;
    // Its rows without an event would have to be counted as one.
    assert_left_alone("SELECT label, count(*), sum(price) FROM kinds AS k LEFT JOIN events AS e ON e.kind = k.kind GROUP BY label").await?;
    assert_left_alone("SELECT label, count(*), sum(price) FROM kinds AS k FULL JOIN events AS e ON e.kind = k.kind GROUP BY label").await
}

#[tokio::test]
async fn filters_of_facts_go_with_them() -> Result<()> {
    assert_rewritten(
        "SELECT label, count(*) FILTER (WHERE price > 500), sum(price) FILTER (WHERE brand IS NULL), count(*)
         FROM events AS e JOIN kinds AS k ON e.kind = k.kind WHERE id % 3 > 0 GROUP BY label HAVING count(*) > 10",
    )
    .await?;
    assert_left_alone("SELECT label, sum(price) FILTER (WHERE rank > 1) FROM events AS e JOIN kinds AS k ON e.kind = k.kind GROUP BY label")
        .await
}

#[tokio::test]
async fn the_key_itself_may_be_grouped_by() -> Result<()> {
    assert_rewritten(
        "SELECT e.kind, label, count(*), sum(price) FROM events AS e JOIN kinds AS k ON e.kind = k.kind GROUP BY e.kind, label",
    )
    .await?;
    // Of the brands it is not known how many there are.
    assert_left_alone("SELECT e.brand, label, count(*) FROM events AS e JOIN kinds AS k ON e.kind = k.kind GROUP BY e.brand, label").await
}

#[tokio::test]
async fn joins_of_joins_are_taken_apart() -> Result<()> {
    let sql = "SELECT label, family, count(*), sum(price) FROM events AS e JOIN kinds AS k ON e.kind = k.kind JOIN brands AS b ON e.brand = b.brand
        GROUP BY label, family";
    let plan = plan_of(sql).await?;
    assert!(plan.contains("as key_1"), "{plan}");
    assert_same_rows(sql).await
}

#[tokio::test]
async fn what_the_dimension_gives_is_not_added_up_without_it() -> Result<()> {
    assert_left_alone("SELECT label, sum(rank), count(*) FROM events AS e JOIN kinds AS k ON e.kind = k.kind GROUP BY label").await?;
    assert_left_alone("SELECT label, sum(price * rank) FROM events AS e JOIN kinds AS k ON e.kind = k.kind GROUP BY label").await?;
    assert_left_alone("SELECT label, count(DISTINCT user_id) FROM events AS e JOIN kinds AS k ON e.kind = k.kind GROUP BY label").await?;
    assert_left_alone("SELECT label, count(*) FROM events AS e JOIN kinds AS k ON e.kind = k.kind AND e.id > k.rank GROUP BY label").await
}

#[tokio::test]
async fn too_many_keys_are_joined_as_they_come() -> Result<()> {
    assert_left_alone("SELECT country, count(*), sum(price) FROM events AS e JOIN users AS u ON e.user_id = u.user_id GROUP BY country")
        .await
}

#[tokio::test]
async fn a_part_of_a_dimension_is_joined_first() -> Result<()> {
    let sql = "SELECT label, count(*), sum(price) FROM events AS e JOIN (SELECT * FROM kinds WHERE rank > 1) AS k ON e.kind = k.kind GROUP BY label";
    assert_left_alone(sql).await
}

#[tokio::test]
async fn few_rows_reach_the_join() -> Result<()> {
    let sql = "SELECT label, count(*), sum(price) FROM events AS e JOIN kinds AS k ON e.kind = k.kind GROUP BY label";
    let mut rows = Vec::new();
    for context in [with_tables(ours().await?).await?, with_tables(plain().await?).await?] {
        let plan = context.sql(sql).await?.create_physical_plan().await?;
        collect(std::sync::Arc::clone(&plan), context.task_ctx()).await?;
        plan.apply(|node| {
            if let Some(join) = node.downcast_ref::<HashJoinExec>() {
                rows.extend(join.metrics().and_then(|metrics| metrics.sum_by_name("input_rows")).map(|rows| rows.as_usize()));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    let [ours, plain] = rows[..] else { panic!("{rows:?}") };
    assert!(ours <= 9 && plain > 10_000, "{rows:?}");
    Ok(())
}
