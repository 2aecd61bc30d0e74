//! What a model, or its record, tells of itself: `ML.CENTROIDS`, `ML.WEIGHTS`, `ML.TRAINING_INFO` and their like.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::common::{Column, Result};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use orrery_models::{ModelTable, Trial};

use super::call::Call;
use super::values;
use crate::Error;
use crate::models::scoring::tables;

/// The column of lists that become rows.
pub(super) const ROWS: &str = "__rows";

pub(super) fn centroids(call: &Call, _: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let standardize = call.options.bool("standardize").unwrap_or(false);
    table(call, ModelTable::Centroids { standardize }, "kmeans")
}

pub(super) fn weights(call: &Call, _: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    table(call, ModelTable::Weights, "matrix_factorization")
}

pub(super) fn principal_components(call: &Call, _: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    table(call, ModelTable::PrincipalComponents, "pca")
}

pub(super) fn principal_components_info(call: &Call, _: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    table(call, ModelTable::PrincipalComponentsInfo, "pca")
}

fn table(call: &Call, table: ModelTable, having: &str) -> Result<LogicalPlan> {
    let Some(schema) = tables::schema(&call.scorer, table)? else { return Err(call.lacking(having).into()) };
    out_of_model(call, table, &schema)
}

/// The rows come out of the model where the plan runs, so that a plan is small however large the model is.
fn out_of_model(call: &Call, table: ModelTable, schema: &SchemaRef) -> Result<LogicalPlan> {
    let leaf = LogicalPlanBuilder::values(vec![vec![lit(0_i64)]])?;
    let block = Expr::Column(leaf.schema().columns().remove(0));
    let rows = tables::call(&call.scorer, table, schema, block).alias(ROWS);
    unnested(leaf.project([rows])?, schema)
}

/// The rows of a column of lists of structs.
pub(super) fn unnested(lists: LogicalPlanBuilder, schema: &Schema) -> Result<LogicalPlan> {
    let rows = Expr::Column(Column::from_name(ROWS));
    let fields = schema.fields().iter().map(|field| get_field(rows.clone(), field.name().as_str()).alias(field.name()));
    lists.unnest_column(ROWS)?.project(fields)?.build()
}

fn text(values: Vec<Option<String>>) -> ArrayRef {
    Arc::new(StringArray::from(values))
}

fn numbers(values: impl IntoIterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Float64Array>())
}

fn whole(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

fn rows_of(columns: Vec<(&str, ArrayRef)>) -> Result<LogicalPlan> {
    let fields: Vec<Field> = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    values::rows_of(&RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

pub(super) fn training_info(call: &Call, _: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let iterations = &call.record.iterations;
    let clusters: Vec<_> = iterations.iter().flat_map(|iteration| &iteration.clusters).collect();
    let fields = Fields::from(vec![
        Field::new("centroid_id", DataType::Int64, true),
        Field::new("cluster_radius", DataType::Float64, true),
        Field::new("cluster_size", DataType::Float64, true),
    ]);
    let clusters = StructArray::try_new(
        fields.clone(),
        vec![
            whole(clusters.iter().map(|cluster| cluster.centroid_id)),
            numbers(clusters.iter().map(|cluster| Some(cluster.cluster_radius))),
            numbers(clusters.iter().map(|cluster| Some(cluster.cluster_size))),
        ],
        None,
    )?;
    let offsets = OffsetBuffer::from_lengths(iterations.iter().map(|iteration| iteration.clusters.len()));
    let item = Arc::new(Field::new("item", DataType::Struct(fields), true));
    let nothing = new_null_array(&DataType::Float64, iterations.len());
    rows_of(vec![
        ("training_run", whole(iterations.iter().map(|iteration| i64::from(iteration.training_run)))),
        ("iteration", whole(iterations.iter().map(|iteration| i64::from(iteration.iteration)))),
        ("loss", numbers(iterations.iter().map(|iteration| iteration.loss))),
        ("eval_loss", Arc::clone(&nothing)),
        ("learning_rate", nothing),
        ("duration_ms", numbers(iterations.iter().map(|iteration| Some(iteration.duration_ms)))),
        ("cluster_info", Arc::new(ListArray::try_new(item, offsets, Arc::new(clusters), None)?)),
    ])
}

pub(super) fn trial_info(call: &Call, _: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let trials = &call.record.trials;
    if trials.is_empty() {
        let problem = format!("{} was trained with one set of options, without trials", call.record.reference);
        return Err(Error::sql(problem)
            .at(call.place)
            .hint("HPARAM_RANGE(low, high) or HPARAM_CANDIDATES([…]) as the value of an option")
            .into());
    }
    let status = |trial: &Trial| Some(if trial.error_message.is_some() { "FAILED" } else { "SUCCEEDED" }.to_string());
    rows_of(vec![
        ("trial_id", whole(trials.iter().map(|trial| trial.trial_id))),
        ("hyperparameters", by_name(trials, |trial| &trial.hyperparameters)?),
        ("hparam_tuning_evaluation_metrics", by_name(trials, |trial| &trial.metrics)?),
        ("training_loss", numbers(trials.iter().map(|trial| trial.training_loss))),
        ("eval_loss", new_null_array(&DataType::Float64, trials.len())),
        ("status", text(trials.iter().map(status).collect())),
        ("error_message", text(trials.iter().map(|trial| trial.error_message.clone()).collect())),
        ("is_optimal", Arc::new(trials.iter().map(|trial| Some(trial.is_optimal)).collect::<BooleanArray>())),
    ])
}

/// Named numbers as a struct with a field for each name that some trial has.
fn by_name(trials: &[Trial], of: fn(&Trial) -> &std::collections::BTreeMap<String, f64>) -> Result<ArrayRef> {
    let names: BTreeSet<&String> = trials.iter().flat_map(|trial| of(trial).keys()).collect();
    let columns: Vec<ArrayRef> = names.iter().map(|name| numbers(trials.iter().map(|trial| of(trial).get(*name).copied()))).collect();
    let fields: Fields = names.iter().map(|name| Field::new(name.as_str(), DataType::Float64, true)).collect();
    if columns.is_empty() {
        return Ok(new_null_array(&DataType::Null, trials.len()));
    }
    Ok(Arc::new(StructArray::try_new(fields, columns, None)?))
}

/// The model's own table; of a model type that keeps no statistics, the names of the columns that it was trained on.
pub(super) fn feature_info(call: &Call, _: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    if let Some(schema) = tables::schema(&call.scorer, ModelTable::FeatureInfo)? {
        return out_of_model(call, ModelTable::FeatureInfo, &schema);
    }
    let inputs = &call.record.inputs;
    let nothing = || new_null_array(&DataType::Float64, inputs.len());
    let no_count = || new_null_array(&DataType::Int64, inputs.len());
    rows_of(vec![
        ("input", text(inputs.iter().map(|input| Some(input.name.clone())).collect())),
        ("min", nothing()),
        ("max", nothing()),
        ("mean", nothing()),
        ("median", nothing()),
        ("stddev", nothing()),
        ("category_count", no_count()),
        ("null_count", no_count()),
        ("dimension", no_count()),
    ])
}
