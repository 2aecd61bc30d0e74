//! The columns that rows offer to a model: their own, or what its `TRANSFORM` makes of them.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::FieldRef;
use datafusion::common::{DFSchema, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable as _};

use super::inputs;
use crate::models::ModelRecord;
use crate::planner::{self, preparation};

/// A session that knows every function, for select lists that are kept as text.
pub(crate) fn known_functions() -> &'static SessionState {
    static FUNCTIONS: LazyLock<SessionState> = LazyLock::new(planner::functions);
    &FUNCTIONS
}

/// Columns with expressions for them over rows of the schema. `given` begins errors about what the rows have.
///
/// # Errors
/// A column that the preparation needs and the rows do not have, or whose type does not fit.
pub(crate) fn offered(record: &ModelRecord, schema: &DFSchema, given: &str) -> Result<Vec<(FieldRef, Expr)>> {
    let own: Vec<FieldRef> = schema.fields().iter().map(Arc::clone).collect();
    let Some(learned) = &record.preparation else {
        return Ok(own.into_iter().zip(schema.columns().into_iter().map(Expr::Column)).collect());
    };
    inputs::places(&preparation::inputs(learned)?, &own, &record.reference, given)?;
    let prepared = preparation::expressions(learned, schema, known_functions())?;
    let named = |(name, expr): (String, Expr)| {
        let (_, field) = expr.to_field(schema)?;
        Ok((Arc::new(field.as_ref().clone().with_name(name)), expr))
    };
    prepared.into_iter().map(named).collect()
}
