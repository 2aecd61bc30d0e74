//! Which subplans are found, what is kept of them, and that the rows are those of the plan as written.

use std::sync::Arc;

use arrow::util::display::array_value_to_string;
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::SessionContext;

use super::find::find_common_subplans;
use super::{Sources, TakenOut, analyze, optimize, read_from, take_out};
use crate::planner::testing::{ours, rows_of};

const SESSIONS: &str = "WITH s AS (SELECT user_id, kind, count(*) AS n, sum(price) AS paid FROM events GROUP BY user_id, kind)";

async fn analyzed(context: &SessionContext, sql: &str) -> Result<LogicalPlan> {
    analyze(&context.state(), context.sql(sql).await?.logical_plan())
}

/// The common subplans of a query, as text.
async fn found(sql: &str) -> Result<Vec<String>> {
    let plan = analyzed(&ours().await?, sql).await?;
    Ok(find_common_subplans(&plan)?.iter().map(|plan| plan.display_indent().to_string()).collect())
}

async fn taken_out(context: &SessionContext, sql: &str) -> Result<TakenOut> {
    let plan = analyzed(context, sql).await?;
    let common = find_common_subplans(&plan)?;
    assert!(!common.is_empty(), "nothing is found in {sql}");
    take_out(&context.state(), &plan, &common)
}

fn columns(plan: &LogicalPlan) -> Vec<&str> {
    plan.schema().fields().iter().map(|field| field.name().as_str()).collect()
}

/// The rows of a query whose common subplans are computed once, as sorted lines.
async fn rows_computed_once(context: &SessionContext, sql: &str) -> Result<Vec<String>> {
    let state = context.state();
    let TakenOut { main, subplans } = taken_out(context, sql).await?;
    let mut sources = Sources::new();
    for subplan in subplans {
        let plan = optimize(&state, read_from(&subplan.plan, &sources)?)?;
        let physical = state.query_planner().create_physical_plan(&plan, &state).await?;
        let schema = physical.schema();
        let batches = datafusion::physical_plan::collect(physical, state.task_ctx()).await?;
        sources.insert(subplan.name, Arc::new(MemTable::try_new(schema, vec![batches])?));
    }
    let plan = optimize(&state, read_from(&main, &sources)?)?;
    let physical = state.query_planner().create_physical_plan(&plan, &state).await?;
    let mut lines = Vec::new();
    for batch in datafusion::physical_plan::collect(physical, state.task_ctx()).await? {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| Ok(array_value_to_string(column, row)?));
            lines.push(cells.collect::<Result<Vec<_>>>()?.join("|"));
        }
    }
    lines.sort();
    Ok(lines)
}

#[tokio::test]
async fn a_name_mentioned_twice_is_found_once() {
    let sql = format!("{SESSIONS} SELECT max(n) FROM s UNION ALL SELECT min(n) FROM s");
    let found = found(&sql).await.unwrap();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("SubqueryAlias: s"), "{}", found[0]);
}

#[tokio::test]
async fn a_subquery_written_twice_is_found_once() {
    let distinct = "SELECT DISTINCT user_id FROM events WHERE kind = 'cart'";
    let sql = format!("SELECT count(*) FROM events WHERE user_id IN ({distinct}) OR id IN ({distinct})");
    assert_eq!(found(&sql).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_largest_common_part_is_found() {
    let sql = format!("{SESSIONS} SELECT sum(n) FROM s WHERE kind = 'view' UNION ALL SELECT sum(n) FROM s WHERE kind = 'view'");
    let found = found(&sql).await.unwrap();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("sum(s.n)"), "{}", found[0]);
}

#[tokio::test]
async fn self_joins_read_one_result() {
    let sql = format!("{SESSIONS} SELECT count(*) FROM s a JOIN s b ON a.user_id = b.user_id AND a.kind < b.kind");
    let found = found(&sql).await.unwrap();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("SubqueryAlias: s"), "{}", found[0]);
}

#[tokio::test]
async fn common_subplans_stand_in_each_other() {
    let sql = format!(
        "{SESSIONS}, u AS (SELECT kind, max(n) AS most FROM s GROUP BY kind)
         SELECT kind, most FROM u UNION ALL SELECT kind, -most FROM u UNION ALL SELECT kind, n FROM s"
    );
    let context = ours().await.unwrap();
    let taken_out = taken_out(&context, &sql).await.unwrap();
    assert_eq!(taken_out.subplans.len(), 2);
    // The one that the other reads is computed first.
    let second = taken_out.subplans[1].plan.display_indent().to_string();
    assert!(second.contains(&format!("TableScan: {}", taken_out.subplans[0].name)), "{second}");
}

#[tokio::test]
async fn cheap_plans_are_left_alone() {
    for sql in [
        "WITH s AS (SELECT user_id, price FROM events WHERE price > 3) SELECT max(price) FROM s UNION ALL SELECT min(price) FROM s",
        "WITH s AS (SELECT * FROM events LIMIT 10) SELECT max(price) FROM s UNION ALL SELECT min(price) FROM s",
        "WITH s AS (SELECT a.id, b.price FROM events a JOIN events b ON a.id = b.id) SELECT max(price) FROM s UNION ALL SELECT min(id) FROM s",
        "WITH s AS (SELECT a, count(*) AS n FROM (VALUES (1), (2)) AS v(a) GROUP BY a) SELECT max(n) FROM s UNION ALL SELECT min(n) FROM s",
        "SELECT count(*) FROM events",
    ] {
        assert_eq!(found(sql).await.unwrap(), [""; 0], "{sql}");
    }
}

#[tokio::test]
async fn what_changes_is_computed_at_each_mention() {
    for changing in ["random()", "uuid()"] {
        let sql = format!(
            "WITH s AS (SELECT user_id, max({changing}) AS x FROM events GROUP BY user_id) SELECT max(x) FROM s UNION ALL SELECT min(x) FROM s"
        );
        assert_eq!(found(&sql).await.unwrap(), [""; 0], "{sql}");
    }
}

#[tokio::test]
async fn what_depends_on_the_row_around_it_is_left_alone() {
    let of = "(SELECT max(price) FROM events i WHERE i.user_id = o.user_id)";
    let sql = format!("SELECT id FROM events o WHERE price = {of} OR price + 1 = {of}");
    assert_eq!(found(&sql).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn ordered_rows_are_not_kept_but_what_they_are_sorted_from() {
    let sql = "WITH s AS (SELECT user_id, count(*) AS n FROM events GROUP BY user_id ORDER BY n DESC LIMIT 5)
               SELECT user_id FROM s UNION ALL SELECT n FROM s";
    let found = found(sql).await.unwrap();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(!found[0].contains("Sort"), "{}", found[0]);
}

#[tokio::test]
async fn recursive_queries_are_left_alone() {
    let sql = "WITH RECURSIVE r AS (
                 SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < (SELECT count(DISTINCT kind) FROM events) )
               SELECT max(n) FROM r UNION ALL SELECT min(n) FROM r";
    assert_eq!(found(sql).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn tables_of_one_name_are_told_apart() {
    let context = ours().await.unwrap();
    let sql = "SELECT user_id, count(*) AS n FROM events GROUP BY user_id";
    let first = context.sql(sql).await.unwrap().into_unoptimized_plan();
    let other = context.sql("SELECT * FROM events WHERE id < 100").await.unwrap().collect().await.unwrap();
    let other = MemTable::try_new(other[0].schema(), vec![other]).unwrap();
    context.deregister_table("events").unwrap();
    context.register_table("events", Arc::new(other)).unwrap();
    let second = context.sql(sql).await.unwrap().into_unoptimized_plan();
    let both = |a: &LogicalPlan, b: &LogicalPlan| LogicalPlanBuilder::from(a.clone()).union(b.clone()).unwrap().build().unwrap();
    let common = |plan: LogicalPlan| find_common_subplans(&analyze(&context.state(), &plan).unwrap()).unwrap().len();
    assert_eq!(common(both(&first, &second)), 0);
    assert_eq!(common(both(&second, &second)), 1);
}

#[tokio::test]
async fn the_columns_of_all_mentions_are_kept_and_no_others() {
    let context = ours().await.unwrap();
    let sql = format!("{SESSIONS} SELECT max(n) FROM s UNION ALL SELECT count(DISTINCT user_id) FROM s");
    let taken_out = taken_out(&context, &sql).await.unwrap();
    assert_eq!(columns(&taken_out.subplans[0].plan), ["user_id", "n"]);
}

#[tokio::test]
async fn the_rows_of_all_mentions_are_kept_and_no_others() {
    let context = ours().await.unwrap();
    let of = |one: &str, other: &str| format!("{SESSIONS} SELECT max(n) FROM s {one} UNION ALL SELECT min(n) FROM s {other}");
    let subplan = async |sql: String| {
        let plan = taken_out(&context, &sql).await.unwrap().subplans.remove(0).plan;
        optimize(&context.state(), plan).unwrap().display_indent().to_string()
    };
    let plan = subplan(of("WHERE user_id = 7", "WHERE user_id = 8 AND n > 1")).await;
    assert!(plan.contains("events.user_id = Int64(7) OR events.user_id = Int64(8)"), "{plan}");
    let plan = subplan(of("WHERE user_id = 7", "")).await;
    assert!(!plan.contains("Filter") && !plan.contains("Int64(7)"), "{plan}");
}

#[tokio::test]
async fn rows_are_those_of_the_plan_as_written() {
    let context = ours().await.unwrap();
    for query in [
        "SELECT user_id, n FROM s UNION ALL SELECT user_id, n FROM s",
        "SELECT kind, sum(n) FROM s WHERE user_id < 100 GROUP BY kind UNION ALL SELECT kind, count(*) FROM s WHERE user_id > 6900 GROUP BY kind",
        "SELECT a.user_id, a.n, b.paid FROM s a LEFT JOIN s b ON a.user_id = b.user_id + 1 AND a.kind = b.kind",
        "SELECT user_id, paid FROM s WHERE paid > (SELECT avg(paid) FROM s)",
        "SELECT count(*) FROM s UNION ALL SELECT count(*) FROM s s2",
        "SELECT kind, n, row_number() OVER (PARTITION BY kind ORDER BY n, user_id) FROM s WHERE user_id IN (SELECT user_id FROM s WHERE n > 2)",
        "SELECT kind, sum(n) FROM (SELECT kind, n FROM s UNION ALL SELECT kind, n FROM s) GROUP BY kind",
    ] {
        let sql = format!("{SESSIONS} {query}");
        let (once, plain) = (rows_computed_once(&context, &sql).await.unwrap(), rows_of(&context, &sql).await.unwrap());
        assert!(!plain.is_empty(), "{sql}");
        assert!(once == plain, "{sql}: {} rows against {}", once.len(), plain.len());
    }
}

#[tokio::test]
async fn columns_without_names_of_their_own_are_kept() {
    let context = ours().await.unwrap();
    let grouped = "SELECT kind, count(*), count(price), \"max\"(id) AS \"Kind\" FROM events GROUP BY kind";
    let sql = format!("SELECT * FROM ({grouped}) UNION ALL SELECT * FROM ({grouped})");
    assert_eq!(rows_computed_once(&context, &sql).await.unwrap(), rows_of(&context, &sql).await.unwrap());
}
