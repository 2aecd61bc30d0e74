//! Numbers all rows of a query without gathering them in one task: `row_number() OVER ()`.
//!
//! A task knows nothing of how many rows the others have. So the rows are written down, each with the task that wrote it and its place among that task's rows;
//! then the tasks' rows are counted, and what is above the window reads the rows back with their numbers:
//!
//! ```text
//! Projection: …, first row of __task + __row + 1
//!   TableScan: numbered_rows1            in as many tasks as the rest of the plan likes
//!
//! numbered_rows1:  the window's rows, by NumberRowsExec (`operators::number_rows`)
//! ```
//!
//! Numbers come from rows that are there to stay, so a task that is repeated reads the same ones. Rows that come in an order keep DataFusion's plan, as their
//! numbers are expected to follow it. Running the rows and keeping them is the session's business.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, Result};
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::expr_fn::{count, max};
use datafusion::logical_expr::expr::{Case, WindowFunction};
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, Projection, TableScanBuilder, Window, WindowFunctionDefinition, cast, lit,
};

use super::compute_once::find::is_same;
use super::compute_once::{replace, stored_names};
use crate::operators::number_rows::{ROW, TASK};

/// The innermost window of a plan, outside of subqueries, that does nothing but number all rows in whatever order.
pub(crate) fn find_numbering(plan: &LogicalPlan) -> Option<&Window> {
    // The terms of a recursive query run again and again over a table that only they know.
    if matches!(plan, LogicalPlan::RecursiveQuery(_)) {
        return None;
    }
    let within = plan.inputs().into_iter().find_map(find_numbering);
    within.or(match plan {
        LogicalPlan::Window(window) if window.window_expr.iter().all(is_numbering) && !comes_in_order(&window.input) => Some(window),
        _ => None,
    })
}

fn is_numbering(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_numbering(&alias.expr),
        Expr::WindowFunction(call) => {
            let WindowFunction { fun: WindowFunctionDefinition::WindowUDF(function), params } = call.as_ref() else { return false };
            let is_over_everything = params.partition_by.is_empty() && params.order_by.is_empty() && params.filter.is_none();
            function.name() == "row_number" && is_over_everything
        }
        _ => false,
    }
}

/// Whether the rows are sorted by what is directly below.
fn comes_in_order(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Extension(_) => plan.inputs().into_iter().all(comes_in_order),
        _ => false,
    }
}

/// The rows that a window numbers, their columns under names that a table can have.
///
/// # Errors
/// None but those of building the plan.
pub(crate) fn rows_to_number(window: &Window) -> Result<LogicalPlan> {
    let schema = window.input.schema();
    let columns = schema.columns().into_iter().zip(stored_names(schema)).map(|(column, stored)| Expr::Column(column).alias(stored));
    Ok(LogicalPlan::Projection(Projection::try_new(columns.collect(), Arc::clone(&window.input))?))
}

/// The columns of a table that keeps such rows, given those of the rows.
pub(crate) fn with_places(rows: &Schema) -> Schema {
    let places = [TASK, ROW].map(|name| Arc::new(Field::new(name, DataType::Int64, true)));
    Schema::new(rows.fields().iter().cloned().chain(places).collect::<Vec<_>>())
}

/// How many rows each task has written, and the place of its last one: `__task`, `rows`, `last`, all Int64.
///
/// # Errors
/// None but those of building the plan.
pub(crate) fn count_rows(name: &str, kept: Arc<dyn TableProvider>) -> Result<LogicalPlan> {
    let column = |column: &str| Expr::Column(Column::new(Some(name), column));
    let counts = vec![count(lit(1_i64)).alias("rows"), max(column(ROW)).alias("last")];
    LogicalPlanBuilder::scan(name, provider_as_source(kept), None)?.aggregate(vec![column(TASK)], counts)?.build()
}

/// The plan with its rows and their numbers from `kept`; `firsts` holds for each task how many rows stand before its first one.
///
/// # Errors
/// None but those of building the plan.
pub(crate) fn read_numbered(
    plan: LogicalPlan,
    window: &Window,
    name: &str,
    kept: &Arc<dyn TableProvider>,
    firsts: &[(i64, i64)],
) -> Result<LogicalPlan> {
    let wanted = LogicalPlan::Window(window.clone());
    let read = |node: &LogicalPlan| -> Result<Option<LogicalPlan>> {
        if is_same(node, &wanted)? { numbered_scan(window, name, kept, firsts).map(Some) } else { Ok(None) }
    };
    Ok(replace(plan, &read)?.data)
}

fn numbered_scan(window: &Window, name: &str, kept: &Arc<dyn TableProvider>, firsts: &[(i64, i64)]) -> Result<LogicalPlan> {
    let scan = TableScanBuilder::new(name, provider_as_source(Arc::clone(kept))).build()?;
    let column = |column: &str| Expr::Column(Column::new(Some(name), column));
    let rows = window.input.schema();
    let mut columns = Vec::with_capacity(window.schema.fields().len());
    for ((qualifier, field), stored) in rows.iter().zip(stored_names(rows)) {
        let is_as_stored = kept.schema().field_with_name(&stored)?.data_type() == field.data_type();
        let value = if is_as_stored { column(&stored) } else { cast(column(&stored), field.data_type().clone()) };
        columns.push(value.alias_qualified(qualifier.cloned(), field.name()));
    }
    let place = match first_row(column(TASK), firsts) {
        Some(first) => first + column(ROW),
        None => column(ROW),
    };
    for (qualifier, field) in window.schema.iter().skip(rows.fields().len()) {
        let number = cast(place.clone() + lit(1_i64), field.data_type().clone());
        columns.push(number.alias_qualified(qualifier.cloned(), field.name()));
    }
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(LogicalPlan::TableScan(scan)))?))
}

fn first_row(task: Expr, firsts: &[(i64, i64)]) -> Option<Expr> {
    let choices: Vec<_> = firsts.iter().map(|(task, first)| (Box::new(lit(*task)), Box::new(lit(*first)))).collect();
    (!choices.is_empty()).then(|| Expr::Case(Case::new(Some(Box::new(task)), choices, None)))
}

#[cfg(test)]
mod tests;
