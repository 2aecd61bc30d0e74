//! Arrow schema to the JSON in which Delta keeps a table's schema.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// The `schemaString` of a table. `schema` holds storable types only; `comments` are by column name.
pub(crate) fn schema_json(schema: &Schema, comments: &HashMap<String, String>) -> Result<Value> {
    let fields = schema.fields().iter().map(|field| field_json(field, comments.get(field.name()))).collect::<Result<Vec<_>>>()?;
    Ok(json!({ "type": "struct", "fields": fields }))
}

fn field_json(field: &Field, comment: Option<&String>) -> Result<Value> {
    let mut metadata = Map::new();
    if let Some(comment) = comment {
        metadata.insert("comment".into(), json!(comment));
    }
    Ok(json!({ "name": field.name(), "type": type_json(field.data_type())?, "nullable": field.is_nullable(), "metadata": metadata }))
}

fn type_json(data_type: &DataType) -> Result<Value> {
    Ok(match data_type {
        DataType::Boolean => json!("boolean"),
        DataType::Int8 => json!("byte"),
        DataType::Int16 => json!("short"),
        DataType::Int32 => json!("integer"),
        DataType::Int64 => json!("long"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Utf8 => json!("string"),
        DataType::Binary => json!("binary"),
        DataType::Date32 => json!("date"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => json!("timestamp"),
        DataType::Timestamp(TimeUnit::Microsecond, None) => json!("timestamp_ntz"),
        DataType::Decimal128(precision, scale) => json!(format!("decimal({precision},{scale})")),
        DataType::List(item) => json!({ "type": "array", "elementType": type_json(item.data_type())?, "containsNull": item.is_nullable() }),
        DataType::Struct(children) => {
            let fields = children.iter().map(|child| field_json(child, None)).collect::<Result<Vec<_>>>()?;
            json!({ "type": "struct", "fields": fields })
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(pair) = entries.data_type() else { return Err(not_storable(data_type)) };
            let [key, value] = pair.as_ref() else { return Err(not_storable(data_type)) };
            json!({ "type": "map", "keyType": type_json(key.data_type())?, "valueType": type_json(value.data_type())?, "valueContainsNull": value.is_nullable() })
        }
        other => return Err(not_storable(other)),
    })
}

fn not_storable(data_type: &DataType) -> Error {
    Error::Invalid(format!("a table cannot hold the type {data_type}"))
}

/// Whether any column, nested ones included, is a timestamp without time zone, which Delta admits only with a protocol feature.
pub(crate) fn contains_timestamp_ntz(schema: &Schema) -> bool {
    fn within(data_type: &DataType) -> bool {
        match data_type {
            DataType::Timestamp(_, None) => true,
            DataType::List(item) | DataType::Map(item, _) => within(item.data_type()),
            DataType::Struct(children) => children.iter().any(|child| within(child.data_type())),
            _ => false,
        }
    }
    schema.fields().iter().any(|field| within(field.data_type()))
}
