//! Takes dates and parts of dates from UTC timestamps without looking a time zone up for every row.
//!
//! Arrow converts a timestamp with a zone through the zone's rules, value by value, even where the zone is UTC. The same
//! instant read as a timestamp without a zone gives the same answer by plain arithmetic, and reading it so costs nothing.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct ReadUtcWithoutZone {}

impl OptimizerRule for ReadUtcWithoutZone {
    fn name(&self) -> &str {
        "read_utc_without_zone"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        // Filters stay as they are: scans prune files by them, and know the forms that users write.
        if !matches!(plan, LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_)) {
            return Ok(Transformed::no(plan));
        }
        let schema = merge_schema(&plan.inputs());
        let names = NamePreserver::new(&plan);
        let rewritten = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_up(|expr| without_zone(expr, &schema))?;
            Ok(expr.update_data(|expr| name.restore(expr)))
        })?;
        if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
    }
}

fn without_zone(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::Cast(Cast { expr: instant, field }) if field.data_type() == &DataType::Date32 => match utc_unit(&instant, schema)? {
            Some(unit) => Transformed::yes(Expr::Cast(Cast { expr: Box::new(read_plainly(*instant, unit)), field })),
            None => Transformed::no(Expr::Cast(Cast { expr: instant, field })),
        },
        Expr::ScalarFunction(mut call) if call.func.name() == "date_part" && call.args.len() == 2 => {
            let unit = utc_unit(&call.args[1], schema)?;
            if let Some(unit) = unit
                && let Some(instant) = call.args.pop()
            {
                call.args.push(read_plainly(instant, unit));
            }
            Transformed::new_transformed(Expr::ScalarFunction(call), unit.is_some())
        }
        other => Transformed::no(other),
    })
}

/// The unit of a timestamp in UTC.
fn utc_unit(expr: &Expr, schema: &DFSchema) -> Result<Option<TimeUnit>> {
    Ok(match expr.get_type(schema)? {
        DataType::Timestamp(unit, Some(zone)) if matches!(&*zone, "UTC" | "+00:00" | "Z") => Some(unit),
        _ => None,
    })
}

fn read_plainly(instant: Expr, unit: TimeUnit) -> Expr {
    Expr::Cast(Cast::new(Box::new(instant), DataType::Timestamp(unit, None)))
}

#[cfg(test)]
mod tests;
