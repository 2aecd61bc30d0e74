//! Rows → the inputs of a model: found by name, prepared as the model has learnt, and cast to the types that it was trained on.

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, cast};

use super::call::Call;
use super::shown;
use crate::Error;
use crate::models::scoring::{features, inputs};

/// Columns that rows offer to a model.
pub(super) struct Features {
    pub fields: Vec<FieldRef>,
    pub exprs: Vec<Expr>,
}

impl Features {
    /// The columns of rows, as the model's `TRANSFORM` prepares them if it has one.
    ///
    /// # Errors
    /// A column that the preparation needs and the rows do not have, or whose type does not fit.
    pub fn of(call: &Call, rows: &LogicalPlan) -> Result<Self> {
        let given = format!("the rows of {} have", shown(call.function));
        let offered = features::offered(&call.record, rows.schema(), &given).map_err(|e| Error::from(e).at(call.place))?;
        let (fields, exprs) = offered.into_iter().unzip();
        Ok(Self { fields, exprs })
    }

    /// The model's inputs in its order and types.
    ///
    /// # Errors
    /// A column that is missing or whose type does not fit.
    pub fn inputs(&self, call: &Call) -> Result<Vec<Expr>> {
        let model = call.scorer.model()?;
        let given = format!("the rows of {} have", shown(call.function));
        let places = inputs::places(model.inputs(), &self.fields, &call.record.reference, &given).map_err(|e| e.at(call.place))?;
        Ok(places.into_iter().zip(model.inputs()).map(|(place, input)| self.as_type(place, &input.data_type)).collect())
    }

    /// A column, cast if it has another type.
    pub fn as_type(&self, place: usize, wanted: &DataType) -> Expr {
        let expr = self.exprs[place].clone();
        if self.fields[place].data_type() == wanted { expr } else { cast(expr, wanted.clone()) }
    }
}

/// Refuses names for new columns that the rows have already.
pub(super) fn check_new(call: &Call, rows: &LogicalPlan, added: &[FieldRef]) -> Result<(), Error> {
    let has = |name: &str| rows.schema().fields().iter().any(|field| field.name() == name);
    match added.iter().find(|field| has(field.name())) {
        None => Ok(()),
        Some(field) => {
            let problem = format!("the rows have a column '{}' already, which {} adds", field.name(), shown(call.function));
            Err(Error::sql(problem).at(call.place).hint("leave it out or rename it in a subquery"))
        }
    }
}
