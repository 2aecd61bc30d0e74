//! Puts filters below a [barrier](super) that can tell nothing of the rows that it holds back: they cannot fail, and they call nothing.
//!
//! ```text
//! Filter: day = '2024-01-01' AND 10 / n > 1        Filter: 10 / n > 1
//!   Barrier                                    →     Barrier
//!     …                                                Filter: day = '2024-01-01'
//!                                                        …
//! ```

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable as _, Filter, LogicalPlan, Operator, SubqueryAlias};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::{Barrier, over};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct PushSafeFilters {}

impl OptimizerRule for PushSafeFilters {
    fn name(&self) -> &'static str {
        "push_safe_filters"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = plan else { return Ok(Transformed::no(plan)) };
        let Some((aliases, barrier)) = below::below_aliases(&filter.input) else { return Ok(Transformed::no(LogicalPlan::Filter(filter))) };
        let schema = filter.input.schema();
        let (safe, others): (Vec<Expr>, Vec<Expr>) =
            split_conjunction_owned(filter.predicate.clone()).into_iter().partition(|part| is_safe(part, schema));
        let Some(safe) = conjunction(safe) else { return Ok(Transformed::no(LogicalPlan::Filter(filter))) };
        // Columns by their place: names above aliases are others than below.
        let lowered = below::lower(safe, schema, barrier.input.schema())?;
        let inner = over(LogicalPlan::Filter(Filter::try_new(lowered, Arc::new(barrier.input.clone()))?));
        let mut rebuilt = inner;
        for alias in aliases.into_iter().rev() {
            rebuilt = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(rebuilt), alias)?);
        }
        let rebuilt = match conjunction(others) {
            Some(others) => LogicalPlan::Filter(Filter::try_new(others, Arc::new(rebuilt))?),
            None => rebuilt,
        };
        Ok(Transformed::yes(rebuilt))
    }
}

/// Whether a condition can be evaluated on any row without an error, and calls no function.
fn is_safe(condition: &Expr, schema: &DFSchema) -> bool {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And | Operator::Or => is_safe(left, schema) && is_safe(right, schema),
            Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom => is_value(left, schema) && is_value(right, schema),
            _ => false,
        },
        Expr::Not(inner) => is_safe(inner, schema),
        Expr::IsNull(value) | Expr::IsNotNull(value) => is_value(value, schema),
        Expr::IsTrue(inner) | Expr::IsFalse(inner) | Expr::IsNotTrue(inner) | Expr::IsNotFalse(inner) => is_safe(inner, schema),
        Expr::Between(Between { expr, low, high, .. }) => [expr, low, high].iter().all(|value| is_value(value, schema)),
        Expr::InList(InList { expr, list, .. }) => is_value(expr, schema) && list.iter().all(|value| is_value(value, schema)),
        Expr::Column(_) | Expr::Literal(..) => is_value(condition, schema),
        _ => false,
    }
}

/// A column or a constant, or a column in a type that holds all of its values.
fn is_value(value: &Expr, schema: &DFSchema) -> bool {
    match value {
        Expr::Column(_) | Expr::Literal(..) => true,
        Expr::Cast(Cast { expr, field }) => {
            matches!(expr.as_ref(), Expr::Column(_)) && expr.get_type(schema).is_ok_and(|from| holds_all(&from, field.data_type()))
        }
        _ => false,
    }
}

fn holds_all(from: &DataType, to: &DataType) -> bool {
    use DataType::{Float32, Float64, Int8, Int16, Int32, Int64, LargeUtf8, UInt8, UInt16, UInt32, Utf8, Utf8View};
    let is_text = |t: &DataType| matches!(t, Utf8 | LargeUtf8 | Utf8View);
    match (from, to) {
        (from, to) if from == to || is_text(from) && is_text(to) => true,
        (Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32, Int64 | Float64) | (Int8 | Int16 | UInt8 | UInt16, Int32) | (Int64, Float64) => {
            true
        }
        (Float32, Float64) => true,
        _ => false,
    }
}

mod below {
    //! From a filter to the barrier under it, through the names that views and tables go by.

    use datafusion::common::tree_node::{Transformed, TreeNode as _};
    use datafusion::common::{Column, DFSchema, Result, TableReference, internal_err};
    use datafusion::logical_expr::{Expr, LogicalPlan};

    use super::Barrier;

    /// The aliases between a plan's top and the barrier under them, outermost first.
    pub(super) fn below_aliases(plan: &LogicalPlan) -> Option<(Vec<TableReference>, &Barrier)> {
        let (mut aliases, mut plan) = (Vec::new(), plan);
        while let LogicalPlan::SubqueryAlias(alias) = plan {
            aliases.push(alias.alias.clone());
            plan = &alias.input;
        }
        Barrier::of(plan).map(|barrier| (aliases, barrier))
    }

    /// The condition in the names of a schema that has the same columns in the same places.
    pub(super) fn lower(condition: Expr, from: &DFSchema, to: &DFSchema) -> Result<Expr> {
        let lowered = condition.transform(|expr| {
            let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
            let place = from.index_of_column(column)?;
            if place >= to.fields().len() {
                return internal_err!("a barrier has fewer columns than what stands on it");
            }
            Ok(Transformed::yes(Expr::Column(Column::from(to.qualified_field(place)))))
        });
        Ok(lowered?.data)
    }
}
