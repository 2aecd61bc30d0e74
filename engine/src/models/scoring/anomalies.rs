//! `ml_anomalies(features…)`: how unusual rows are to a model.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::logical_expr::Expr;
use orrery_models::Model;

use super::predict::named_for_sql;
use super::{ModelFunction, Scorer, Task, of_model, packed, packed_type};

/// The columns that tell it, the score first; none where the model type has no such notion.
///
/// # Errors
/// The model cannot be loaded.
pub fn fields(scorer: &Scorer) -> Result<Vec<FieldRef>> {
    Ok(scorer.model()?.anomaly_fields().into_iter().map(named_for_sql).collect())
}

/// The call that computes one of the columns. `args` are the model's inputs in its order and types.
///
/// # Errors
/// The model cannot be loaded, or has no such column.
pub fn call(scorer: &Scorer, column: usize, args: Vec<Expr>) -> Result<Expr> {
    let field = fields(scorer)?.get(column).cloned().ok_or_else(|| internal_datafusion_err!("no column {column} tells anomalies"))?;
    Ok(ModelFunction::new(scorer.clone(), Task::Anomalies(vec![column]), packed_type(vec![field])).call(args))
}

pub(super) fn columns(model: &dyn Model, columns: &[ArrayRef], wanted: &[usize], returns: &DataType) -> Result<ArrayRef> {
    let all = model.anomalies(columns).map_err(of_model)?;
    let column = |index: &usize| all.get(*index).cloned().ok_or_else(|| internal_datafusion_err!("no column {index} tells anomalies"));
    packed(wanted.iter().map(column).collect::<Result<_>>()?, returns, wanted.len() == 1)
}
