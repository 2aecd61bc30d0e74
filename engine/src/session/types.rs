//! Names of types as users write them (Spark's), and declared columns → Arrow.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::session_state::SessionState;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{CastKind, Expr, Statement as SqlStatement, Value};

use orrery_lakehouse::NOT_NULL;

use super::planning;
use crate::dialect::Column;
use crate::{Error, Result};

/// The SQL name of an Arrow type, as `DESCRIBE` shows it.
///
/// ```
/// use datafusion::arrow::datatypes::DataType;
/// assert_eq!(orrery_engine::session::sql_type_name(&DataType::Int64), "bigint");
/// assert_eq!(orrery_engine::session::sql_type_name(&DataType::Decimal128(10, 2)), "decimal(10,2)");
/// ```
pub fn sql_type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 => "tinyint".into(),
        DataType::Int16 => "smallint".into(),
        DataType::Int32 => "int".into(),
        DataType::Int64 => "bigint".into(),
        DataType::UInt8 => "tinyint unsigned".into(),
        DataType::UInt16 => "smallint unsigned".into(),
        DataType::UInt32 => "int unsigned".into(),
        DataType::UInt64 => "bigint unsigned".into(),
        DataType::Float16 | DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "string".into(),
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => "binary".into(),
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::Timestamp(_, None) => "timestamp_ntz".into(),
        DataType::Timestamp(_, Some(_)) => "timestamp".into(),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => {
            format!("decimal({p},{s})")
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => {
            format!("array<{}>", sql_type_name(item.data_type()))
        }
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields.iter().map(|f| format!("{}:{}", f.name(), sql_type_name(f.data_type()))).collect();
            format!("struct<{}>", fields.join(","))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(kv) if kv.len() == 2 => {
                format!("map<{},{}>", sql_type_name(kv[0].data_type()), sql_type_name(kv[1].data_type()))
            }
            other => format!("map<{}>", sql_type_name(other)),
        },
        DataType::Dictionary(_, value) => sql_type_name(value),
        DataType::Interval(_) => "interval".into(),
        DataType::Duration(_) => "duration".into(),
        DataType::Time32(_) | DataType::Time64(_) => "time".into(),
        DataType::Null => "void".into(),
        other => other.to_string().to_lowercase(),
    }
}

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
