//! `ML.EVALUATE`: the measures of a model, those of its training or those on rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Column, Result, internal_err};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use orrery_models::InputColumn;

use super::call::Call;
use super::features::Features;
use super::values;
use crate::Error;
use crate::models::scoring::{evaluate, inputs};

pub(super) fn plan(call: &Call, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    call.check_predicts()?;
    match call.rows(context)? {
        None if !call.options.0.is_empty() => Err(call.error("ML.EVALUATE is told how to evaluate, and has no rows").into()),
        None => of_training(call),
        Some(rows) => on_rows(call, &rows),
    }
}

/// What the registry keeps.
fn of_training(call: &Call) -> Result<LogicalPlan> {
    let metrics = &call.record.metrics;
    if metrics.is_empty() {
        let problem = format!("no measures of {} were taken in training", call.record.reference);
        return Err(Error::sql(problem).at(call.place).hint("ML.EVALUATE(MODEL m, TABLE t)").into());
    }
    let fields: Vec<Field> = metrics.keys().map(|name| Field::new(name, DataType::Float64, true)).collect();
    let row = metrics.values().map(|value| Arc::new(Float64Array::from(vec![*value])) as ArrayRef).collect();
    values::rows_of(&RecordBatch::try_new(Arc::new(Schema::new(fields)), row)?)
}

/// A column of the rows, by its place in the evaluation.
fn column(place: usize) -> String {
    format!("__column{place}")
}

/// The result of a stage.
fn result(stage: usize) -> String {
    format!("__stage{stage}")
}

fn named(name: String) -> Expr {
    Expr::Column(Column::from_name(name))
}

/// ```text
/// Projection: the measures
///   Aggregate: ml_evaluate(stage 2)(result of stage 1, columns)
///     Cross Join
///       Aggregate: ml_evaluate(stage 1)(columns)       one row
///         the rows
///       the rows
/// ```
fn on_rows(call: &Call, rows: &LogicalPlan) -> Result<LogicalPlan> {
    let features = Features::of(call, rows)?;
    let (offered, casts) = offered(call, &features)?;
    let planned = evaluate::plan(&call.scorer, &offered, &call.options).map_err(|e| Error::from(e).at(call.place))?;
    let columns = planned.columns.iter().enumerate().map(|(place, from)| casts[*from].clone().alias(column(place)));
    let rows = LogicalPlanBuilder::from(rows.clone()).project(columns)?.build()?;
    let args: Vec<Expr> = (0..planned.columns.len()).map(|place| named(column(place))).collect();
    let mut done: Option<LogicalPlan> = None;
    for (index, stage) in planned.stages.iter().enumerate() {
        let (input, before) = match done.take() {
            None => (LogicalPlanBuilder::from(rows.clone()), None),
            Some(before) => (LogicalPlanBuilder::from(before).cross_join(rows.clone())?, Some(named(result(index - 1)))),
        };
        let measured = evaluate::call(stage, before, args.clone()).alias(result(index));
        done = Some(input.aggregate(Vec::<Expr>::new(), vec![measured])?.build()?);
    }
    let Some(done) = done else { return internal_err!("an evaluation without stages") };
    let last = planned.stages.len() - 1;
    let DataType::Struct(measures) = done.schema().field(0).data_type().clone() else {
        return internal_err!("the last stage of an evaluation gives no measures");
    };
    let measures = measures.iter().map(|field| get_field(named(result(last)), field.name().as_str()).alias(field.name()));
    LogicalPlanBuilder::from(done).project(measures)?.build()
}

/// The columns that the rows offer, inputs of the model in the types that it was trained on.
fn offered(call: &Call, features: &Features) -> Result<(Vec<InputColumn>, Vec<Expr>)> {
    let model = call.scorer.model()?;
    let mut columns: Vec<InputColumn> =
        features.fields.iter().map(|field| InputColumn { name: field.name().clone(), data_type: field.data_type().clone() }).collect();
    let mut exprs = features.exprs.clone();
    for input in model.inputs() {
        let Some(place) = inputs::place_of(features.fields.iter().map(|field| field.name().as_str()), &input.name) else { continue };
        inputs::check(input, features.fields[place].data_type(), &call.record.reference).map_err(|e| e.at(call.place))?;
        exprs[place] = features.as_type(place, &input.data_type);
        columns[place] = input.clone();
    }
    Ok((columns, exprs))
}
