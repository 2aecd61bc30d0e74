//! Declared columns → Arrow, and which types hold the same values.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::session_state::SessionState;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{CastKind, Expr, Statement as SqlStatement, Value};

use orrery_lakehouse::NOT_NULL;
pub use orrery_models::type_names::sql_type_name;

use super::planning;
use crate::dialect::Column;
use crate::{Error, Result};

/// Declared columns as an Arrow schema, `NOT NULL` as the lakehouse's mark on the field, each type planned as the target of a cast.
pub(super) async fn columns_to_schema(state: &SessionState, columns: &[Column]) -> Result<SchemaRef> {
    let casts = columns
        .iter()
        .map(|column| Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(Expr::Value(Value::Null.into())),
            data_type: column.data_type.clone(),
            array: false,
            format: None,
        })
        .collect();
    let query = planning::select_of(casts)?;
    let plan = state.statement_to_plan(DataFusionStatement::Statement(Box::new(SqlStatement::Query(query)))).await.map_err(|e| {
        let position = columns.first().and_then(|c| c.position);
        Error::from(e).at(position)
    })?;
    let fields: Vec<_> = columns
        .iter()
        .zip(plan.schema().fields())
        .map(|(column, field)| {
            let declared = Field::new(&column.name, field.data_type().clone(), true);
            if column.not_null { declared.with_metadata([(NOT_NULL.to_string(), "true".to_string())].into()) } else { declared }
        })
        .collect();
    Ok(Arc::new(Schema::new(fields)))
}

/// Do two types hold the same values in another layout of the same text or bytes? Such columns need no cast.
pub(super) fn same_values(a: &DataType, b: &DataType) -> bool {
    let text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8);
    let bytes = |t: &DataType| matches!(t, DataType::Binary | DataType::BinaryView | DataType::LargeBinary);
    a == b || (text(a) && text(b)) || (bytes(a) && bytes(b))
}
