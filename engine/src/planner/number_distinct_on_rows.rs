//! Plans `SELECT DISTINCT ON (k) … ORDER BY k, o` as the rows whose `row_number() OVER (PARTITION BY k ORDER BY k, o)` is 1.
//!
//! DataFusion plans it as one `first_value` per column, which holds the ordering once per column and can neither leave rows
//! where they are nor read the input twice. Numbered rows have a rewrite for that: `deduplicate_by_row_number`.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::expr_rewriter::normalize_cols;
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, WindowFunctionDefinition, lit,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct NumberDistinctOnRows {}

impl OptimizerRule for NumberDistinctOnRows {
    fn name(&self) -> &str {
        "number_distinct_on_rows"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Distinct(Distinct::On(distinct)) => numbered(distinct).map(Transformed::yes),
            other => Ok(Transformed::no(other)),
        }
    }
}

fn numbered(distinct: DistinctOn) -> Result<LogicalPlan> {
    let DistinctOn { on_expr, select_expr, sort_expr, input, schema } = distinct;
    let order = sort_expr.unwrap_or_default();
    let keys = normalize_cols(on_expr, input.as_ref())?;
    let selected = normalize_cols(select_expr, input.as_ref())?;
    let key_count = keys.len();
    let row_number = Expr::from(WindowFunction::new(WindowFunctionDefinition::WindowUDF(row_number_udwf()), vec![]))
        .partition_by(keys)
        .order_by(order.clone())
        .build()?;
    // Every input column is still there beside the number; the selected expressions are computed for the rows that stay.
    let number = Expr::Column(Column::from_name(row_number.schema_name().to_string()));
    let mut plan = LogicalPlanBuilder::from(input).window([row_number])?.filter(number.eq(lit(1u64)))?;
    if !order.is_empty() {
        // As in PostgreSQL, the result is sorted by the keys.
        plan = plan.sort(order.into_iter().take(key_count))?;
    }
    let names = schema.iter().map(|(qualifier, field)| (qualifier.cloned(), field.name().clone()));
    let columns = selected.into_iter().zip(names).map(|(expr, (qualifier, name))| expr.alias_qualified(qualifier, name));
    plan.project(columns)?.build()
}

#[cfg(test)]
mod tests;
