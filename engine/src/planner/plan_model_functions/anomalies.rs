//! `ML.DETECT_ANOMALIES`: which rows are more unusual than all but a share of the training rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::Result;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, lit};

use super::call::Call;
use super::features::{Features, check_new};
use crate::models::scoring::anomalies;
use crate::planner::time_windows::columns;

const IS_ANOMALY: &str = "is_anomaly";
/// Model types that have such a notion.
const HAVING: &str = "kmeans";

pub(super) fn plan(call: &Call, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let Some(contamination) = call.options.float("contamination") else {
        return Err(call.error("ML.DETECT_ANOMALIES is called without a contamination").into());
    };
    let fields = anomalies::fields(&call.scorer)?;
    let (false, Some(threshold)) = (fields.is_empty(), call.scorer.model()?.anomaly_threshold(contamination)) else {
        return Err(call.lacking(HAVING).into());
    };
    let rows = call.needed_rows(context)?;
    let inputs = Features::of(call, &rows)?.inputs(call)?;
    let flag = Arc::new(Field::new(IS_ANOMALY, DataType::Boolean, true));
    check_new(call, &rows, &fields.iter().cloned().chain([flag]).collect::<Vec<_>>())?;
    let mut added = vec![anomalies::call(&call.scorer, 0, inputs.clone())?.gt(lit(threshold)).alias(IS_ANOMALY)];
    for (place, field) in fields.iter().enumerate() {
        added.push(anomalies::call(&call.scorer, place, inputs.clone())?.alias(field.name()));
    }
    let kept = columns(rows.schema());
    LogicalPlanBuilder::from(rows).project(added.into_iter().chain(kept))?.build()
}
