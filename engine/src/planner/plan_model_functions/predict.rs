//! `ML.PREDICT`: what the model predicts of every row, before the row's own columns.

use datafusion::common::Result;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};

use super::call::Call;
use super::features::{Features, check_new};
use crate::models::scoring::predict;
use crate::planner::time_windows::columns;

pub(super) fn plan(call: &Call, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let rows = call.needed_rows(context)?;
    let inputs = Features::of(call, &rows)?.inputs(call)?;
    let fields = predict::fields(&call.scorer)?;
    let keeps = call.options.bool("keep_original_columns").unwrap_or(true);
    if keeps {
        check_new(call, &rows, &fields)?;
    }
    let predicted = fields.iter().enumerate().map(|(place, field)| {
        Ok(predict::call(&call.scorer, vec![place], inputs.clone())?.alias(field.name()))
    });
    let predicted = predicted.collect::<Result<Vec<_>>>()?;
    let kept = if keeps { columns(rows.schema()) } else { Vec::new() };
    LogicalPlanBuilder::from(rows).project(predicted.into_iter().chain(kept))?.build()
}
