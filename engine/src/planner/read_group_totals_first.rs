//! Computes `sum(x) OVER (PARTITION BY k)` by an aggregation of its own and a join with its rows, where the hint `SKEW` says that some keys are frequent.
//!
//! A window brings all rows of a key together and keeps them in order, which one task does for a frequent key. Totals of whole partitions need neither: they are
//! aggregated before they are shuffled, and joined with the rows, which stay where they are if there are few keys, and whose frequent keys are salted
//! (`salt_skewed_joins`) if there are many:
//!
//! ```text
//! Projection: the rows' columns, the totals
//!   Inner Join: k IS NOT DISTINCT FROM k
//!     Aggregate: groupBy=[k], aggr=[sum(x)]
//!     Hint: SKEW over the rows
//! ```

use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::{Column, JoinType, NullEquality, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Window};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::hints::{HintNode, skew_hint_of};
use super::read_totals_first::total_by;
use super::same_rows_again::{comes_straight_from_tables, gives_same_rows_again};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct ReadGroupTotalsFirst {}

impl OptimizerRule for ReadGroupTotalsFirst {
    fn name(&self) -> &str {
        "read_group_totals_first"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Window(window) = plan else { return Ok(Transformed::no(plan)) };
        let Some((keys, totals)) = totals_of(&window) else { return Ok(Transformed::no(LogicalPlan::Window(window))) };
        let hint = skew_hint_of(&window.input, &keys);
        match hint.filter(|_| comes_straight_from_tables(&window.input)) {
            Some(hint) if gives_same_rows_again(&window.input)? => {
                hint.applied_as("totals are aggregated and joined with the rows");
                join_totals(&window, &keys, totals, &config.alias_generator().next("__totals")).map(Transformed::yes)
            }
            _ => Ok(Transformed::no(LogicalPlan::Window(window))),
        }
    }
}

/// The columns by which all calls are partitioned, and the aggregates that give what the calls do.
fn totals_of(window: &Window) -> Option<(Vec<Expr>, Vec<Expr>)> {
    let Expr::WindowFunction(first) = window.window_expr.first()? else { return None };
    let keys = first.params.partition_by.clone();
    if keys.is_empty() || !keys.iter().all(|key| matches!(key, Expr::Column(_))) {
        return None;
    }
    let totals = window.window_expr.iter().map(|call| total_by(call, &keys)).collect::<Option<Vec<_>>>()?;
    Some((keys, totals))
}

fn join_totals(window: &Window, keys: &[Expr], totals: Vec<Expr>, name: &str) -> Result<LogicalPlan> {
    let named_key = |at: usize| format!("{name}_key{at}");
    let named_total = |at: usize| format!("{name}_{at}");
    let mut aggregates: Vec<Expr> = Vec::new();
    let mut places = Vec::with_capacity(totals.len());
    for total in totals {
        let place = aggregates.iter().position(|other| *other == total).unwrap_or(aggregates.len());
        if place == aggregates.len() {
            aggregates.push(total);
        }
        places.push(place);
    }
    let rows = window.input.as_ref().clone();
    let by = keys.iter().enumerate().map(|(at, key)| key.clone().alias(named_key(at)));
    let aggregates = aggregates.into_iter().enumerate().map(|(at, aggregate)| aggregate.alias(named_total(at)));
    let totals = LogicalPlanBuilder::from(without_skew_hints(rows.clone())?)
        .aggregate(by.collect::<Vec<_>>(), aggregates.collect::<Vec<_>>())?
        .alias(name)?
        .build()?;
    let of_totals = |column: String| Column::new(Some(name), column);
    let left: Vec<Column> = (0..keys.len()).map(|at| of_totals(named_key(at))).collect();
    let right: Vec<Column> = keys.iter().filter_map(|key| key.try_as_col().cloned()).collect();
    let columns: Vec<Expr> = {
        let fields = window.schema.iter().skip(rows.schema().fields().len());
        let totals = places.iter().zip(fields).map(|(place, (qualifier, field))| {
            Expr::Column(of_totals(named_total(*place))).alias_qualified(qualifier.cloned(), field.name())
        });
        rows.schema().columns().into_iter().map(Expr::Column).chain(totals).collect()
    };
    LogicalPlanBuilder::from(totals)
        .join_detailed(rows, JoinType::Inner, (left, right), None, NullEquality::NullEqualsNull)?
        .project(columns)?
        .build()
}

/// Totals are aggregated before they are shuffled: nothing about them is skewed.
fn without_skew_hints(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up(|node| {
        Ok(HintNode::of(&node)
            .filter(|hint| hint.is_about_skew())
            .map(|hint| hint.input.clone())
            .map_or(Transformed::no(node), Transformed::yes))
    })
    .data()
}

#[cfg(test)]
mod tests;
