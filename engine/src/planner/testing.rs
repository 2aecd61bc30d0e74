//! What the tests of the rewrites share: one table of events, sessions with and without our rules, plans and rows as text.

use arrow::util::display::array_value_to_string;
use datafusion::common::Result;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::displayable;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as ParsedStatement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;

use crate::dialect::{Statement, parse, split};
use crate::planner::hints::outcomes;

/// 60,000 events of 7,000 users; `id` is unique, a (`user_id`, `at`) pair occurs once, rarely twice.
const EVENTS: &str = "CREATE TABLE events AS SELECT
    value AS id,
    value % 7000 AS user_id,
    arrow_cast(1570000000000000 + (value - CASE WHEN value % 1000 = 999 THEN 7000 ELSE 0 END) / 7000 * 60000000,
        'Timestamp(Microsecond, Some(\"UTC\"))') AS at,
    CASE WHEN value % 5 = 0 THEN NULL ELSE 'brand ' || (value * 31 % 97) END AS brand,
    CASE value % 3 WHEN 0 THEN 'view' WHEN 1 THEN 'cart' ELSE 'purchase' END AS kind,
    CAST(value % 1000 AS DECIMAL(10, 2)) AS price
  FROM generate_series(0, 59999)";

fn builder() -> SessionStateBuilder {
    let config = SessionConfig::new().with_target_partitions(3).with_information_schema(true);
    SessionStateBuilder::new().with_default_features().with_config(config)
}

/// A session with our rules and functions and the table `events`.
pub(crate) async fn ours() -> Result<SessionContext> {
    with_events(SessionContext::new_with_state(super::register(builder()).build())).await
}

/// The same, planning as for a cluster, where `events` is too large to be collected.
pub(crate) async fn across_tasks() -> Result<SessionContext> {
    let rules = super::across_tasks(super::physical_rules());
    let mut builder = super::register(builder()).with_physical_optimizer_rules(rules);
    builder.config().get_or_insert_default().options_mut().optimizer.hash_join_single_partition_threshold = 64 << 10;
    with_events(SessionContext::new_with_state(builder.build())).await
}

/// A session as DataFusion gives it, with the same table.
pub(crate) async fn plain() -> Result<SessionContext> {
    with_events(SessionContext::new_with_state(builder().build())).await
}

async fn with_events(context: SessionContext) -> Result<SessionContext> {
    context.sql(EVENTS).await?.collect().await?;
    Ok(context)
}

/// The physical plan of a query under our rules, indented.
pub(crate) async fn plan_of(sql: &str) -> Result<String> {
    let plan = ours().await?.sql(sql).await?.create_physical_plan().await?;
    Ok(displayable(plan.as_ref()).indent(false).to_string())
}

/// The optimized plan of a query in our dialect, and what became of its hints until then.
pub(crate) async fn hinted(context: &SessionContext, sql: &str) -> Result<(LogicalPlan, Vec<String>)> {
    let Statement::Query(query) = parse(&split(sql)?[0].tokens)? else { panic!("{sql} is no query") };
    let state = context.state();
    let plan = state.statement_to_plan(ParsedStatement::Statement(Box::new(SqlStatement::Query(query)))).await?;
    let optimized = state.optimize(&plan)?;
    Ok((optimized, outcomes(&plan)?))
}

/// The rows of a plan as sorted lines.
async fn lines_of_plan(context: &SessionContext, plan: &LogicalPlan) -> Result<Vec<String>> {
    lines_of(context.execute_logical_plan(plan.clone()).await?).await
}

/// Runs a hinted query with its hint and without, asserts that the rows are the same, and gives the plan of the hinted one.
pub(crate) async fn same_without_hint(context: &SessionContext, sql: &str) -> Result<String> {
    let (plan, _) = hinted(context, sql).await?;
    let (plain, _) = hinted(context, &sql.replace("/*+", "/*")).await?;
    let (rows, expected) = (lines_of_plan(context, &plan).await?, lines_of_plan(context, &plain).await?);
    assert!(!expected.is_empty(), "{sql} has no rows, which proves nothing");
    assert_eq!(rows, expected, "{sql}");
    Ok(plan.display_indent().to_string())
}

/// The rows of a query as sorted lines.
pub(crate) async fn rows_of(context: &SessionContext, sql: &str) -> Result<Vec<String>> {
    lines_of(context.sql(sql).await?).await
}

async fn lines_of(rows: DataFrame) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for batch in rows.collect().await? {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| Ok(array_value_to_string(column, row)?));
            lines.push(cells.collect::<Result<Vec<_>>>()?.join("|"));
        }
    }
    lines.sort();
    Ok(lines)
}

/// Asserts that a query, whose answer must be the same on every partitioning, gives the same rows with our rules as without.
pub(crate) async fn assert_same_rows(sql: &str) -> Result<()> {
    let (ours, plain) = (rows_of(&ours().await?, sql).await?, rows_of(&plain().await?, sql).await?);
    assert!(!plain.is_empty(), "{sql} has no rows, which proves nothing");
    assert_eq!(ours.len(), plain.len(), "{sql}");
    if let Some((ours, plain)) = ours.iter().zip(&plain).find(|(ours, plain)| ours != plain) {
        panic!("{sql}\n  with our rules: {ours}\n  without:        {plain}");
    }
    Ok(())
}
