//! `ML.TRANSFORM`: rows as the `TRANSFORM` of a model prepares them.

use datafusion::common::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::RelationPlannerContext;

use super::call::Call;
use super::features::Features;
use crate::Error;
use crate::models::scoring::features::known_functions;
use crate::planner::preparation;

pub(super) fn plan(call: &Call, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let Some(learned) = &call.record.preparation else {
        let problem = format!("{} was created without TRANSFORM", call.record.reference);
        return Err(Error::sql(problem).at(call.place).hint("CREATE MODEL m TRANSFORM (…) OPTIONS (…) AS SELECT …").into());
    };
    let rows = call.needed_rows(context)?;
    // For its errors about columns that do not fit.
    let _ = Features::of(call, &rows)?;
    Ok(preparation::apply(learned, rows, known_functions()).map_err(|e| e.at(call.place))?)
}
