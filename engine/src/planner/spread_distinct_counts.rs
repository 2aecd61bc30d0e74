//! Counts the distinct values of a skewed group in many tasks: `count(DISTINCT x)` beside other aggregates, where the hint `SKEW` names the table.
//!
//! A distinct count needs all values of its group in one task, so the rows of a frequent key keep one task busy. Grouped by key and value first, rows of one
//! key are spread by their values, and what is left of a key for the second step is one row per value, which is added up before it is shuffled:
//!
//! ```text
//! Aggregate: groupBy=[k], aggr=[count(v), sum(c), sum(s)]
//!   Aggregate: groupBy=[k, x AS v], aggr=[count(*) AS c, sum(y) AS s]
//! ```
//!
//! Without a hint rows are shuffled once, by key (`aggregate_after_shuffle`), which is faster unless a key is frequent. A distinct count alone, or beside `sum`,
//! `min` and `max` of whole groups, is planned like this by DataFusion in any case.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::functions::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::{bool_and, bool_or, count, max, min, sum};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::hints::skew_hint_of;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct SpreadDistinctCounts {}

impl OptimizerRule for SpreadDistinctCounts {
    fn name(&self) -> &str {
        "spread_distinct_counts"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = plan else { return Ok(Transformed::no(plan)) };
        let (Some(steps), Some(hint)) = (steps_of(&aggregate), skew_hint_of(&aggregate.input, &aggregate.group_expr)) else {
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        };
        hint.applied_as("distinct values are counted in two steps");
        in_two_steps(&aggregate, &steps, &config.alias_generator().next("__by_value")).map(Transformed::yes)
    }
}

/// How an aggregate is computed of groups by key and value.
enum Step {
    /// The values of a group are counted.
    Distinct,
    /// By the second function, of what the first gives.
    Merge(Expr, Merge),
}

#[derive(Debug, Clone, Copy)]
enum Merge {
    /// A count, which is never null.
    Counts,
    Sum,
    Min,
    Max,
    And,
    Or,
}

impl Merge {
    fn of(function: &str) -> Option<Self> {
        Some(match function {
            "count" => Self::Counts,
            "sum" => Self::Sum,
            "min" => Self::Min,
            "max" => Self::Max,
            "bool_and" => Self::And,
            "bool_or" => Self::Or,
            _ => return None,
        })
    }

    fn call(self, partial: Expr) -> Expr {
        match self {
            Self::Counts | Self::Sum => sum(partial),
            Self::Min => min(partial),
            Self::Max => max(partial),
            Self::And => bool_and(partial),
            Self::Or => bool_or(partial),
        }
    }
}

/// The value that is counted, and the steps of each aggregate; `None` if they cannot be taken.
fn steps_of(aggregate: &Aggregate) -> Option<(Expr, Vec<Step>)> {
    if aggregate.group_expr.is_empty() || aggregate.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_)) || key.is_volatile()) {
        return None;
    }
    let mut counted: Option<Expr> = None;
    let mut steps = Vec::with_capacity(aggregate.aggr_expr.len());
    for expr in &aggregate.aggr_expr {
        let Expr::AggregateFunction(AggregateFunction { func, params }) = expr.clone().unalias() else { return None };
        if !params.order_by.is_empty() || params.null_treatment.is_some() {
            return None;
        }
        if !params.distinct {
            let merge = Merge::of(func.name())?;
            steps.push(Step::Merge(expr.clone().unalias(), merge));
            continue;
        }
        let [value] = params.args.as_slice() else { return None };
        if func.name() != "count" || params.filter.is_some() || value.is_volatile() || counted.as_ref().is_some_and(|other| other != value)
        {
            return None;
        }
        counted = Some(value.clone());
        steps.push(Step::Distinct);
    }
    Some((counted?, steps))
}

fn in_two_steps(aggregate: &Aggregate, (counted, steps): &(Expr, Vec<Step>), name: &str) -> Result<LogicalPlan> {
    let column = |name: String| Expr::Column(Column::from_name(name));
    let key = |at: usize| format!("{name}_key{at}");
    let partial = |at: usize| format!("{name}_{at}");
    let value = format!("{name}_value");
    let keys = aggregate.group_expr.iter().enumerate().map(|(at, expr)| expr.clone().unalias().alias(key(at)));
    let first: Vec<Expr> = keys.chain([counted.clone().alias(&value)]).collect();
    let partials = steps.iter().enumerate().filter_map(|(at, step)| match step {
        Step::Merge(call, _) => Some(call.clone().alias(partial(at))),
        Step::Distinct => None,
    });
    let by_value = LogicalPlanBuilder::from(aggregate.input.as_ref().clone()).aggregate(first, partials.collect::<Vec<_>>())?;

    let merged = steps.iter().enumerate().map(|(at, step)| match step {
        Step::Distinct => count(column(value.clone())).alias(format!("{}_merged", partial(at))),
        Step::Merge(_, merge) => merge.call(column(partial(at))).alias(format!("{}_merged", partial(at))),
    });
    let keys: Vec<Expr> = (0..aggregate.group_expr.len()).map(|at| column(key(at))).collect();
    let merged = by_value.aggregate(keys, merged.collect::<Vec<_>>())?;

    let mut columns = Vec::with_capacity(aggregate.schema.fields().len());
    for (at, (qualifier, field)) in aggregate.schema.iter().enumerate() {
        let found = match at.checked_sub(aggregate.group_expr.len()) {
            None => column(key(at)),
            Some(at) => {
                let found = cast(column(format!("{}_merged", partial(at))), field.data_type().clone());
                match steps[at] {
                    Step::Merge(_, Merge::Counts) => coalesce(vec![found, lit(0_i64)]),
                    _ => found,
                }
            }
        };
        columns.push(found.alias_qualified(qualifier.cloned(), field.name()));
    }
    merged.project(columns)?.build()
}

#[cfg(test)]
mod tests;
