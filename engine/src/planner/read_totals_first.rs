//! Computes `sum(x) OVER ()` by an aggregation of its own, and puts its one row beside every row.
//!
//! A window over everything gathers all rows in one task, which keeps them until it has seen the last. Where the rows come straight from tables, reading them
//! twice costs less: once for the totals, by all tasks, and once for the rows, which stay where they are and are not kept.
//!
//! ```text
//! Projection: the rows' columns, the totals
//!   Cross Join
//!     Aggregate: sum(x), count(*)        one row
//!     the rows
//! ```
//!
//! `row_number() OVER ()` is none of these: its numbers depend on the rows before, and tasks know nothing of each other's.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Window, WindowFrame, WindowFrameBound, WindowFunctionDefinition};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::same_rows_again::{comes_straight_from_tables, gives_same_rows_again, is_orderless_function};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct ReadTotalsFirst {}

impl OptimizerRule for ReadTotalsFirst {
    fn name(&self) -> &str {
        "read_totals_first"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Window(window) = plan else { return Ok(Transformed::no(plan)) };
        let totals: Option<Vec<Expr>> = window.window_expr.iter().map(|call| total_by(call, &[])).collect();
        match totals {
            Some(totals) if comes_straight_from_tables(&window.input) && gives_same_rows_again(&window.input)? => {
                let name = config.alias_generator().next("__totals");
                beside_rows(&window, totals, &name).map(Transformed::yes)
            }
            _ => Ok(Transformed::no(LogicalPlan::Window(window))),
        }
    }
}

/// The aggregate that gives what a window function gives every row of a group by `keys`; `None` if rows get different values.
pub(super) fn total_by(window: &Expr, keys: &[Expr]) -> Option<Expr> {
    let Expr::WindowFunction(call) = window else { return None };
    let WindowFunction { fun: WindowFunctionDefinition::AggregateUDF(function), params } = call.as_ref() else { return None };
    let is_over_everything = params.partition_by == keys && params.order_by.is_empty() && is_unbounded(&params.window_frame);
    if !is_over_everything || !is_orderless_function(function.name()) || window.is_volatile() || window.contains_outer() {
        return None;
    }
    let params = params.clone();
    let filter = params.filter;
    Some(Expr::AggregateFunction(AggregateFunction::new_udf(
        function.clone(),
        params.args,
        params.distinct,
        filter,
        Vec::new(),
        params.null_treatment,
    )))
}

fn is_unbounded(frame: &WindowFrame) -> bool {
    matches!(&frame.start_bound, WindowFrameBound::Preceding(rows) if rows.is_null())
        && matches!(&frame.end_bound, WindowFrameBound::Following(rows) if rows.is_null())
}

fn beside_rows(window: &Window, totals: Vec<Expr>, name: &str) -> Result<LogicalPlan> {
    // Calls that differ in nothing but how their frames are written are one aggregate.
    let mut aggregates: Vec<Expr> = Vec::new();
    let mut places = Vec::with_capacity(totals.len());
    for total in totals {
        let place = aggregates.iter().position(|other| *other == total).unwrap_or(aggregates.len());
        if place == aggregates.len() {
            aggregates.push(total);
        }
        places.push(place);
    }
    let named_total = |at: usize| format!("{name}_{at}");
    let named: Vec<Expr> = aggregates
        .iter()
        .enumerate()
        .map(|(at, aggregate)| Expr::Column(Column::from_name(aggregate.schema_name().to_string())).alias(named_total(at)))
        .collect();
    let rows = window.input.as_ref().clone();
    let one_row = LogicalPlanBuilder::from(rows.clone()).aggregate(Vec::<Expr>::new(), aggregates)?.project(named)?.alias(name)?.build()?;

    let of_rows = rows.schema().columns().into_iter().map(Expr::Column);
    let fields = window.schema.iter().skip(rows.schema().fields().len());
    let of_totals = places.into_iter().zip(fields).map(|(place, (qualifier, field))| {
        Expr::Column(Column::new(Some(name), named_total(place))).alias_qualified(qualifier.cloned(), field.name())
    });
    let columns: Vec<Expr> = of_rows.chain(of_totals).collect();
    // The one row is on the left, the side that is collected.
    LogicalPlanBuilder::from(one_row).cross_join(rows)?.project(columns)?.build()
}

#[cfg(test)]
mod tests;
