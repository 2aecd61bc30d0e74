//! Keeps `NOT IN (SELECT …)` true to nulls where DataFusion does not: beside an `OR`, and for keys that are null although their columns never are.
//!
//! `x NOT IN (SELECT y …)` is unknown, and so not true, where nothing equals `x` but `x` is null or some `y` is. DataFusion's plan of a `NOT IN` that does
//! not stand alone in a condition knows only whether something equals `x`. Here such a `NOT IN` gets what else must hold, from the counts of
//! [`count_nulls_of_not_in`](super::count_nulls_of_not_in) in a row beside the others:
//!
//! ```text
//! x NOT IN (SELECT y …) OR c      becomes      x NOT IN (SELECT y …) AND (rows = 0 OR (rows = values AND x IS NOT NULL)) OR c
//! ```
//!
//! Within `AND` and `OR`, what is false or unknown makes no difference to the rows that a condition keeps.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{ExprSchema as _, Result};
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, Operator};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::count_nulls_of_not_in::told_by_counts;
use super::same_rows_again::gives_same_rows_again;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct GuardNotIn {}

impl OptimizerRule for GuardNotIn {
    fn name(&self) -> &str {
        "guard_not_in"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = &plan else { return Ok(Transformed::no(plan)) };
        let mut rows = Rows { plan: filter.input.as_ref().clone(), is_changed: false, config };
        let mut conditions = Vec::new();
        for condition in split_conjunction_owned(filter.predicate.clone()) {
            let is_known_to_meet_nulls = match not_in(&condition) {
                Some(call) => may_meet_null_columns(call, &rows.plan)?,
                None => false,
            };
            conditions.push(if is_known_to_meet_nulls { condition } else { rows.guarded(condition)? });
        }
        match conjunction(conditions) {
            Some(condition) if rows.is_changed => {
                let columns: Vec<Expr> = filter.input.schema().columns().into_iter().map(Expr::Column).collect();
                LogicalPlanBuilder::from(rows.plan).filter(condition)?.project(columns)?.build().map(Transformed::yes)
            }
            _ => Ok(Transformed::no(plan)),
        }
    }
}

/// What is negated, if an expression is a `NOT IN`.
fn not_in(expr: &Expr) -> Option<&InSubquery> {
    match expr {
        Expr::InSubquery(call) if call.negated => Some(call),
        Expr::Not(inner) => match inner.as_ref() {
            Expr::InSubquery(call) if !call.negated => Some(call),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a column on either side may be null, which is what DataFusion asks to tell whether nulls matter.
fn may_meet_null_columns(call: &InSubquery, rows: &LogicalPlan) -> Result<bool> {
    if call.subquery.subquery.schema().fields().iter().any(|field| field.is_nullable()) {
        return Ok(true);
    }
    for column in call.expr.column_refs() {
        if rows.schema().field_from_column(column)?.is_nullable() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The rows that a condition is asked of, with the counts beside them that it needs.
struct Rows<'a> {
    plan: LogicalPlan,
    is_changed: bool,
    config: &'a dyn OptimizerConfig,
}

impl Rows<'_> {
    /// The condition with what must hold beside each `NOT IN` in it.
    fn guarded(&mut self, condition: Expr) -> Result<Expr> {
        if let Some(call) = not_in(&condition) {
            let guard = self.guard(call)?;
            return Ok(match guard {
                Some(guard) => condition.and(guard),
                None => condition,
            });
        }
        match condition {
            Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
                let (left, right) = (self.guarded(*left)?, self.guarded(*right)?);
                Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
            }
            other => Ok(other),
        }
    }

    fn guard(&mut self, call: &InSubquery) -> Result<Option<Expr>> {
        let (subquery, outer) = (&call.subquery.subquery, call.expr.as_ref());
        let columns = subquery.schema().columns();
        let [inner] = columns.as_slice() else { return Ok(None) };
        let outer_may_be_null = outer.nullable(self.plan.schema().as_ref())?;
        let inner_may_be_null = subquery.schema().field_from_column(inner)?.is_nullable();
        let can_be_null = outer_may_be_null || inner_may_be_null;
        let knows_only_its_rows = call.subquery.outer_ref_columns.is_empty() && gives_same_rows_again(subquery)?;
        if !can_be_null || !knows_only_its_rows || outer.is_volatile() || outer.contains_outer() {
            return Ok(None);
        }
        let name = self.config.alias_generator().next("__not_in");
        let (one_row, guard) = told_by_counts(subquery.as_ref().clone(), inner, outer, outer_may_be_null, &name)?;
        // The one row is on the left, the side that is collected.
        self.plan = LogicalPlanBuilder::from(one_row).cross_join(self.plan.clone())?.build()?;
        self.is_changed = true;
        Ok(Some(guard))
    }
}

#[cfg(test)]
mod tests;
