//! Answers `x NOT IN (SELECT y …)` by an ordinary anti join, and by counting the rows and the nulls of the subquery once.
//!
//! Nulls make `NOT IN` more than an anti join: nothing is not in rows that hold a null, and everything, a null too, is not in no rows. DataFusion's join for
//! that looks for nulls while it joins, which takes one table of the whole outer side that all tasks share; it cannot be shuffled, and a cluster runs it
//! in one task. But a row needs to know only three things of the subquery, which an aggregate tells:
//!
//! ```text
//! Projection: the columns of the outer side
//!   Filter: rows = 0 OR (rows = values AND x IS NOT NULL)
//!     Cross Join
//!       Aggregate: count(*) AS rows, count(y) AS values      over the subquery: one row
//!       LeftAnti Join: x = y                                 an ordinary one, which can be shuffled, swapped and broadcast
//! ```
//!
//! The count often comes from statistics; otherwise it reads one column. What cannot be null is not asked for: where `y` cannot, one row of the subquery is
//! looked for, and where `x` cannot, it need not be known whether there are any.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, ExprSchema as _, JoinType, Result};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable as _, Join, LogicalPlan, LogicalPlanBuilder, Operator, lit};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::same_rows_again::{as_a_set, gives_same_rows_again};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct CountNullsOfNotIn {}

impl OptimizerRule for CountNullsOfNotIn {
    fn name(&self) -> &str {
        "count_nulls_of_not_in"
    }

    /// The innermost subquery first, so that what is read twice is rewritten already.
    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(join) = plan else { return Ok(Transformed::no(plan)) };
        if let Some((outer, inner)) = keys(&join)
            && gives_same_rows_again(&join.right)?
        {
            let name = config.alias_generator().next("__not_in");
            return counted(join, &outer, &inner, &name).map(Transformed::yes);
        }
        Ok(Transformed::no(LogicalPlan::Join(join)))
    }
}

/// `x` and `y`, if the join is a `NOT IN` whose subquery knows nothing of the outer row.
fn keys(join: &Join) -> Option<(Expr, Column)> {
    if !join.null_aware || join.join_type != JoinType::LeftAnti {
        return None;
    }
    let (outer, inner) = match (join.on.as_slice(), &join.filter) {
        ([], Some(Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }))) => (left.as_ref(), right.as_ref()),
        ([(left, right)], None) => (left, right),
        _ => return None,
    };
    let Expr::Column(inner) = inner else { return None };
    let is_between_sides =
        join.right.schema().has_column(inner) && outer.column_refs().iter().all(|column| join.left.schema().has_column(column));
    (is_between_sides && !outer.is_volatile() && !outer.contains_outer()).then(|| (outer.clone(), inner.clone()))
}

fn counted(join: Join, outer: &Expr, inner: &Column, name: &str) -> Result<LogicalPlan> {
    let outer_may_be_null = outer.nullable(join.left.schema().as_ref())?;
    let (one_row, may_be_told) = told_by_counts(join.right.as_ref().clone(), inner, outer, outer_may_be_null, name)?;
    let anti = LogicalPlan::Join(Join { null_aware: false, ..join });
    let columns: Vec<Expr> = anti.schema().columns().into_iter().map(Expr::Column).collect();
    // The one row is on the left, the side that is collected.
    LogicalPlanBuilder::from(one_row).cross_join(anti)?.filter(may_be_told)?.project(columns)?.build()
}

/// One row that counts the rows of a subquery, by `name`, and the condition on it without which `outer NOT IN (inner …)` is not true, matches or not.
pub(super) fn told_by_counts(
    subquery: LogicalPlan,
    inner: &Column,
    outer: &Expr,
    outer_may_be_null: bool,
    name: &str,
) -> Result<(LogicalPlan, Expr)> {
    let inner_may_be_null = subquery.schema().field_from_column(inner)?.is_nullable();
    let (rows, values) = (count(lit(1i64)), count(Expr::Column(inner.clone())));
    let (rows_name, values_name) = (format!("{name}_rows"), format!("{name}_values"));
    let mut subquery = LogicalPlanBuilder::from(as_a_set(subquery)?);
    let mut counts = vec![rows.clone()];
    let mut named = vec![count_called(&rows).alias(rows_name.as_str())];
    if inner_may_be_null {
        named.push(count_called(&values).alias(values_name.as_str()));
        counts.push(values);
    } else {
        subquery = subquery.limit(0, Some(1))?;
    }
    let one_row = subquery.aggregate(Vec::<Expr>::new(), counts)?.project(named)?.alias(name)?.build()?;

    let column = |name_of_count: &str| Expr::Column(Column::new(Some(name), name_of_count));
    let is_empty = column(&rows_name).eq(lit(0i64));
    let has_no_null = column(&rows_name).eq(column(&values_name));
    let condition = match (outer_may_be_null, inner_may_be_null) {
        (true, true) => is_empty.or(has_no_null.and(outer.clone().is_not_null())),
        (true, false) => is_empty.or(outer.clone().is_not_null()),
        // No rows are as many as no values.
        (false, true) => has_no_null,
        (false, false) => lit(true),
    };
    Ok((one_row, condition))
}

/// The column that holds a count which has no name of its own.
fn count_called(count: &Expr) -> Expr {
    Expr::Column(Column::from_name(count.schema_name().to_string()))
}

#[cfg(test)]
mod tests;
