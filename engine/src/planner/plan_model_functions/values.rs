//! Rows that are known when a statement is planned.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, LogicalPlanBuilder};

/// The rows as literals, so that they run on any backend.
///
/// # Errors
/// None but those of building the plan.
pub(super) fn rows_of(batch: &RecordBatch) -> Result<LogicalPlan> {
    let schema = Arc::new(DFSchema::try_from(batch.schema().as_ref().clone())?);
    if batch.num_rows() == 0 {
        return Ok(LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema }));
    }
    let row = |row: usize| {
        let cells = batch.columns().iter().map(|column| Ok(Expr::Literal(ScalarValue::try_from_array(column, row)?, None)));
        cells.collect::<Result<Vec<_>>>()
    };
    let rows = (0..batch.num_rows()).map(row).collect::<Result<Vec<_>>>()?;
    let values = LogicalPlanBuilder::values_with_schema(rows, &schema)?;
    // DataFusion numbers the columns of values.
    let named: Vec<Expr> = values
        .schema()
        .columns()
        .into_iter()
        .zip(schema.fields())
        .map(|(column, field)| Expr::Column(column).alias(field.name()))
        .collect();
    values.project(named)?.build()
}
