//! Which `NOT IN` become ordinary anti joins, what they read for it, and that their rows stay what they were.

use datafusion::common::Result;
use datafusion::physical_plan::displayable;
use datafusion::prelude::SessionContext;

use crate::planner::testing::{across_tasks, ours, plain, plan_of, rows_of};

/// Small tables with and without nulls: `a` and `b` nullable columns, `s` strict ones.
const TABLES: [&str; 5] = [
    "CREATE TABLE with_null AS SELECT * FROM (VALUES (1, 'a'), (2, 'b'), (NULL, 'c')) AS v(a, t)",
    "CREATE TABLE without_null AS SELECT CASE WHEN value > 9 THEN NULL ELSE value END AS a, 't' AS t FROM generate_series(2, 4)",
    "CREATE TABLE nothing AS SELECT * FROM with_null WHERE a > 100",
    "CREATE TABLE only_null AS SELECT CAST(NULL AS BIGINT) AS a, 'n' AS t",
    "CREATE TABLE strict AS SELECT value AS a, 's' AS t FROM generate_series(1, 3)",
];

async fn with_tables(context: SessionContext) -> Result<SessionContext> {
    for table in TABLES {
        context.sql(table).await?.collect().await?;
    }
    Ok(context)
}

async fn optimized(sql: &str) -> Result<String> {
    let context = with_tables(ours().await?).await?;
    Ok(context.sql(sql).await?.into_optimized_plan()?.display_indent().to_string())
}

#[tokio::test]
async fn nulls_and_missing_rows_on_either_side_count_as_they_do_in_sql() -> Result<()> {
    let ours = with_tables(ours().await?).await?;
    let plain = with_tables(plain().await?).await?;
    let across = with_tables(across_tasks().await?).await?;
    let names = ["with_null", "without_null", "nothing", "only_null", "strict"];
    let inner =
        |name: &str| ["", "WHERE a IS NOT NULL", "WHERE a > 100", "WHERE a IS NULL"].map(|filter| format!("SELECT a FROM {name} {filter}"));
    for outer in names {
        for inner in names.iter().flat_map(|name| inner(name)) {
            for key in ["a", "2"] {
                let sql = format!("SELECT a, t FROM {outer} WHERE {key} NOT IN ({inner})");
                let told = rows_of(&ours, &sql).await?;
                // DataFusion's own plan does not look at nulls beside a key that is no column.
                if key == "a" {
                    assert_eq!(told, rows_of(&plain, &sql).await?, "{sql}");
                    assert_eq!(told, rows_of(&across, &sql).await?, "{sql}");
                }
                assert_eq!(told, by_hand(&ours, outer, &inner, key).await?, "{sql}");
            }
        }
    }
    Ok(())
}

/// The same rows, by comparing every row with every other.
async fn by_hand(context: &SessionContext, outer: &str, inner: &str, key: &str) -> Result<Vec<String>> {
    let key = key.replace('a', "o.a");
    // Kept is what no comparison is true for, or unknown.
    let sql = format!(
        "SELECT o.a, o.t FROM {outer} AS o LEFT JOIN (SELECT a, true AS is_there FROM ({inner})) AS i ON coalesce({key} = i.a, true)
         GROUP BY o.a, o.t HAVING count(i.is_there) = 0"
    );
    rows_of(context, &sql).await
}

#[tokio::test]
async fn the_join_is_an_ordinary_one_and_the_subquery_is_counted() -> Result<()> {
    let plan = optimized("SELECT t FROM with_null WHERE a NOT IN (SELECT a FROM without_null)").await?;
    assert!(plan.contains("LeftAnti Join") && !plan.contains("null_aware"), "{plan}");
    assert!(plan.contains("count(Int64(1)), count(__correlated_sq_1.a)"), "{plan}");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_null_is_not_asked_for() -> Result<()> {
    let strict_rows = optimized("SELECT t FROM with_null WHERE a NOT IN (SELECT a FROM strict)").await?;
    assert!(strict_rows.contains("fetch=1") && !strict_rows.contains("_values"), "{strict_rows}");
    let strict_key = optimized("SELECT t FROM strict WHERE a NOT IN (SELECT a FROM with_null)").await?;
    assert!(strict_key.contains("__not_in_2_rows = __not_in_2.__not_in_2_values") || !strict_key.contains("= Int64(0)"), "{strict_key}");
    let neither = optimized("SELECT t FROM strict WHERE a NOT IN (SELECT a FROM strict)").await?;
    assert!(!neither.contains("count("), "{neither}");
    Ok(())
}

#[tokio::test]
async fn repeated_rows_of_the_subquery_are_not_taken_out_to_be_counted() -> Result<()> {
    let plan = optimized("SELECT t FROM with_null WHERE a NOT IN (SELECT DISTINCT a FROM without_null)").await?;
    assert!(plan.contains("count("), "{plan}");
    let grouped = plan.lines().filter(|line| line.contains("Aggregate: groupBy=[[without_null.a]]")).count();
    assert!(grouped <= 1, "{plan}");
    Ok(())
}

#[tokio::test]
async fn a_filter_above_goes_down_to_the_outer_rows() -> Result<()> {
    let plan = optimized("SELECT t FROM with_null WHERE a NOT IN (SELECT a FROM without_null) AND t = 'a'").await?;
    let (filter, scan) = (plan.find("with_null.t = Utf8"), plan.find("LeftAnti Join"));
    assert!(filter > scan, "{plan}");
    Ok(())
}

#[tokio::test]
async fn rows_that_may_differ_the_second_time_are_read_once() -> Result<()> {
    for subquery in
        ["SELECT a FROM with_null LIMIT 2", "SELECT a FROM with_null WHERE random() < 0.5", "SELECT first_value(a) FROM with_null"]
    {
        let plan = optimized(&format!("SELECT t FROM with_null WHERE a NOT IN ({subquery})")).await?;
        assert!(plan.contains("null_aware"), "{plan}");
    }
    Ok(())
}

#[tokio::test]
async fn the_outer_side_of_many_rows_is_read_by_all_tasks() -> Result<()> {
    let sql = "SELECT count(*) FROM events WHERE brand NOT IN (SELECT brand FROM events WHERE id < 50 AND brand IS NOT NULL)";
    let plan = plan_of(sql).await?;
    assert!(plan.contains("join_type=RightAnti") || plan.contains("mode=Partitioned"), "{plan}");
    let across = across_tasks().await?.sql(sql).await?.create_physical_plan().await?;
    let across = displayable(across.as_ref()).indent(false).to_string();
    assert!(!across.contains("null_aware"), "{across}");
    Ok(())
}
