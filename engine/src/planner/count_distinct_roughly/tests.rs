//! That distinct counts are approximate where that is asked for, about right, and exact everywhere else.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::datasource::ViewTable;
use datafusion::physical_plan::displayable;
use datafusion::prelude::SessionContext;

use crate::planner::barrier;
use crate::planner::options::OrreryOptions;
use crate::planner::testing::{ours, rows_of};

async fn asking() -> Result<SessionContext> {
    let context = ours().await?;
    context.state_ref().write().config_mut().options_mut().set("orrery.approximate_distinct", "true")?;
    Ok(context)
}

async fn plan_of(context: &SessionContext, sql: &str) -> Result<String> {
    let plan = context.sql(sql).await?.create_physical_plan().await?;
    Ok(displayable(plan.as_ref()).indent(false).to_string())
}

#[tokio::test]
async fn sessions_that_do_not_ask_count_exactly() -> Result<()> {
    let context = ours().await?;
    assert!(context.state().config_options().extensions.get::<OrreryOptions>().is_some());
    assert_eq!(rows_of(&context, "SELECT count(DISTINCT id) FROM events").await?, ["60000"]);
    Ok(())
}

#[tokio::test]
async fn counts_are_about_right_and_keep_name_and_type() -> Result<()> {
    let context = asking().await?;
    let sql = "SELECT kind, count(DISTINCT id), count(DISTINCT brand) AS brands, count(DISTINCT user_id) FILTER (WHERE id < 100), approx_distinct(id),
            count(*) FROM events GROUP BY kind HAVING count(DISTINCT id) > 10";
    let plan = plan_of(&context, sql).await?;
    assert!(plan.contains("approx_distinct") && !plan.contains("DISTINCT events.id)]"), "{plan}");
    let exact = ours().await?.sql(sql).await?;
    let rough = context.sql(sql).await?;
    let names_and_types = |frame: &datafusion::prelude::DataFrame| -> Vec<_> {
        frame.schema().fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
    };
    assert_eq!(names_and_types(&exact), names_and_types(&rough));
    for line in rows_of(&context, sql).await? {
        let cells: Vec<f64> = line.split('|').skip(1).map(|cell| cell.parse().unwrap()).collect();
        assert!((cells[0] / 20_000.0 - 1.0).abs() < 0.05 && (cells[1] - 97.0).abs() <= 3.0 && (cells[2] - 33.0).abs() <= 2.0, "{line}");
        assert_eq!(cells[0], cells[3]);
        assert_eq!(cells[4], 20_000.0);
    }
    Ok(())
}

#[tokio::test]
async fn subqueries_and_grouping_sets_count_roughly_too() -> Result<()> {
    let context = asking().await?;
    let plan = plan_of(&context, "SELECT id FROM events WHERE id < (SELECT count(DISTINCT user_id) FROM events)").await?;
    assert!(plan.contains("approx_distinct"), "{plan}");
    let sql = "SELECT kind, grouping(kind) AS g, count(DISTINCT user_id) AS n FROM events GROUP BY ROLLUP (kind)";
    assert_eq!(rows_of(&context, sql).await?.len(), 4);
    Ok(())
}

#[tokio::test]
async fn floats_and_several_values_are_counted_exactly() -> Result<()> {
    let context = asking().await?;
    let plan = plan_of(&context, "SELECT count(DISTINCT CAST(id AS DOUBLE)) FROM events").await?;
    assert!(!plan.contains("approx_distinct"), "{plan}");
    assert_eq!(rows_of(&context, "SELECT count(DISTINCT CAST(id AS DOUBLE)) FROM events").await?, ["60000"]);
    Ok(())
}

#[tokio::test]
async fn what_is_behind_a_barrier_is_counted_exactly() -> Result<()> {
    let context = asking().await?;
    let counts = context.sql("SELECT kind, count(DISTINCT user_id) AS n FROM events GROUP BY kind").await?.into_unoptimized_plan();
    context.register_table("counts", Arc::new(ViewTable::new(barrier::over(counts), None)))?;
    let plan = plan_of(&context, "SELECT n FROM counts").await?;
    assert!(!plan.contains("approx_distinct"), "{plan}");
    let plan = plan_of(&context, "SELECT count(DISTINCT n) FROM counts").await?;
    assert!(plan.contains("approx_distinct"), "what is read from there is counted as asked for: {plan}");
    Ok(())
}

#[tokio::test]
async fn the_function_has_a_second_name() -> Result<()> {
    let sql = |name: &str| format!("SELECT kind, {name}(user_id) FROM events GROUP BY kind");
    let context = ours().await?;
    assert_eq!(rows_of(&context, &sql("approx_count_distinct")).await?, rows_of(&context, &sql("approx_distinct")).await?);
    Ok(())
}
