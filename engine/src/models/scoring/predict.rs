//! `ml_predict(features…)`: the columns that a model adds to rows, those alone that are wanted.
//!
//! Every predicted column is planned as a call of its own, so that columns that nobody reads are pruned with their calls; what is left of one model over the
//! same arguments is put together again by [`merge_predictions`](crate::planner::merge_predictions).

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::logical_expr::{Expr, ScalarUDF};
use orrery_models::Model;

use super::{ModelFunction, Scorer, Task, of_model, packed, packed_type};

/// The model type whose columns are the coordinates of one point.
const POINTS: &str = "pca";
/// Name of the values of a list.
const ITEM: &str = "item";

/// The columns that scoring adds, under the names that SQL has for them: what conventions write in capitals is found by an unquoted name.
///
/// # Errors
/// The model cannot be loaded.
pub fn fields(scorer: &Scorer) -> Result<Vec<FieldRef>> {
    Ok(scorer.model()?.predicted().into_iter().map(named_for_sql).collect())
}

pub(super) fn named_for_sql(field: Field) -> FieldRef {
    let name = if field.name().chars().any(char::is_lowercase) { field.name().clone() } else { field.name().to_lowercase() };
    Arc::new(field.with_name(name).with_nullable(true))
}

/// The call that predicts columns: one as it is, several as a struct. `args` are the model's inputs in its order and types.
///
/// # Errors
/// The model cannot be loaded, or predicts no such column.
pub fn call(scorer: &Scorer, wanted: Vec<usize>, args: Vec<Expr>) -> Result<Expr> {
    let fields = fields(scorer)?;
    let field = |index: &usize| fields.get(*index).cloned().ok_or_else(|| internal_datafusion_err!("no column {index} is predicted"));
    let returns = packed_type(wanted.iter().map(field).collect::<Result<_>>()?);
    Ok(ModelFunction::new(scorer.clone(), Task::Predict(wanted), returns).call(args))
}

/// The call that predicts the one value that says most: the first column (a cluster, a rating), or all of them as a list where they are coordinates.
///
/// # Errors
/// The model cannot be loaded.
pub fn value_call(scorer: &Scorer, args: Vec<Expr>) -> Result<Expr> {
    let returns = value_type(scorer.model()?.as_ref())?;
    Ok(ModelFunction::new(scorer.clone(), Task::PredictValue, returns).call(args))
}

fn is_point(model: &dyn Model) -> bool {
    model.model_type() == POINTS
}

/// The type of what [`value_call`] gives.
///
/// # Errors
/// A model that predicts nothing.
pub fn value_type(model: &dyn Model) -> Result<DataType> {
    let fields = model.predicted();
    let Some(first) = fields.first() else { return internal_err!("a model predicts no column") };
    let value = first.data_type().clone();
    Ok(if is_point(model) { DataType::List(Arc::new(Field::new(ITEM, value, true))) } else { value })
}

/// The wanted columns of one call, if it is one that predicts.
pub fn wanted_of(function: &ScalarUDF) -> Option<(&Scorer, &[usize])> {
    let function = function.inner().downcast_ref::<ModelFunction>()?;
    match function.task() {
        Task::Predict(wanted) => Some((function.scorer(), wanted)),
        _ => None,
    }
}

pub(super) fn columns(model: &dyn Model, columns: &[ArrayRef], wanted: &[usize], returns: &DataType) -> Result<ArrayRef> {
    let predicted = model.predict_only(columns, wanted).map_err(of_model)?;
    packed(predicted, returns, wanted.len() == 1)
}

pub(super) fn value(model: &dyn Model, columns: &[ArrayRef], returns: &DataType) -> Result<ArrayRef> {
    let item = match returns {
        DataType::List(item) if is_point(model) => item,
        _ => {
            let mut first = model.predict_only(columns, &[0]).map_err(of_model)?;
            return first.pop().ok_or_else(|| internal_datafusion_err!("a model predicts no column"));
        }
    };
    let coordinates = model.predict(columns).map_err(of_model)?;
    let rows = coordinates.first().map_or(0, |column| column.len());
    let places: Vec<(usize, usize)> = (0..rows).flat_map(|row| (0..coordinates.len()).map(move |column| (column, row))).collect();
    let values = interleave(&coordinates.iter().map(AsRef::as_ref).collect::<Vec<_>>(), &places)?;
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(coordinates.len(), rows));
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, None)?))
}
