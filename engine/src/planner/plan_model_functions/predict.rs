//! `ML.PREDICT`: what the model predicts of every row, before the row's own columns.

use datafusion::common::{Column, Result};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

use super::call::Call;
use super::features::{Features, check_new};
use crate::models::scoring::{predict, recommend};
use crate::planner::time_windows::columns;

pub(super) fn plan(call: &Call, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    call.check_predicts()?;
    let rows = call.needed_rows(context)?;
    let inputs = Features::of(call, &rows)?.inputs(call)?;
    let fields = predict::fields(&call.scorer)?;
    let keeps = call.options.bool("keep_original_columns").unwrap_or(true);
    if keeps {
        check_new(call, &rows, &fields)?;
    }
    let predicted =
        fields.iter().enumerate().map(|(place, field)| Ok(predict::call(&call.scorer, vec![place], inputs.clone())?.alias(field.name())));
    let predicted = predicted.collect::<Result<Vec<_>>>()?;
    let kept = if keeps { columns(rows.schema()) } else { Vec::new() };
    let scored = LogicalPlanBuilder::from(rows).project(predicted.into_iter().chain(kept))?;
    if recommend::factorization(&call.scorer)?.is_none_or(|model| !model.drops_unknown()) {
        return scored.build();
    }
    // Pairs of which one was not trained on.
    let unknown = fields.iter().map(|field| Expr::Column(Column::from_name(field.name())).is_not_null());
    match unknown.reduce(Expr::and) {
        Some(known) => scored.filter(known)?.build(),
        None => scored.build(),
    }
}
