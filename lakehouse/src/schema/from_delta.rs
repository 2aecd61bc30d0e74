//! The JSON in which Delta keeps a table's schema, to Arrow. Unknown types are refused by name, never guessed.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use serde_json::{Map, Value};

const PHYSICAL_NAME: &str = "delta.columnMapping.physicalName";

/// A table's columns: as users see them, and as the Parquet files name them.
#[derive(Debug, Clone)]
pub(crate) struct TableColumns {
    /// Logical names in the table's order. Field metadata holds `comment` where there is one.
    pub schema: SchemaRef,
    /// Name of each column in the data files and in the log's statistics; differs from the logical one only under column mapping.
    pub physical: Vec<String>,
    /// Metadata of each column as the log has it: defaults, generation expressions, invariants, identity.
    pub metadata: Vec<Map<String, Value>>,
    /// A nested field whose physical name differs from its logical name.
    pub mapped_inside: Option<String>,
}

impl TableColumns {
    /// Whether any column has another name in the files.
    pub fn is_mapped(&self) -> bool {
        self.schema.fields().iter().zip(&self.physical).any(|(field, physical)| field.name() != physical)
    }
}

/// Parses a `schemaString`. The error says what is wrong with which column.
pub(crate) fn parse_schema(text: &str) -> Result<TableColumns, SchemaError> {
    let value: Value = serde_json::from_str(text).map_err(|error| SchemaError::Malformed(format!("the schema is not JSON: {error}")))?;
    let fields =
        value.get("fields").and_then(Value::as_array).ok_or_else(|| SchemaError::Malformed("the schema has no \"fields\"".into()))?;
    let mut columns = TableColumns { schema: Arc::new(Schema::empty()), physical: Vec::new(), metadata: Vec::new(), mapped_inside: None };
    let mut arrow = Vec::with_capacity(fields.len());
    for field in fields {
        let mut mapped_inside = None;
        let (converted, metadata) = parse_field(field, "", &mut mapped_inside)?;
        columns.physical.push(physical_name(&metadata).unwrap_or(converted.name()).to_string());
        columns.metadata.push(metadata);
        columns.mapped_inside = columns.mapped_inside.or(mapped_inside);
        arrow.push(converted);
    }
    columns.schema = Arc::new(Schema::new(arrow));
    Ok(columns)
}

/// Why a schema cannot be used.
#[derive(Debug)]
pub(crate) enum SchemaError {
    /// It is not what the protocol prescribes.
    Malformed(String),
    /// It is valid and holds a type that this engine has no exact counterpart for.
    Unsupported(String),
}

fn physical_name(metadata: &Map<String, Value>) -> Option<&str> {
    metadata.get(PHYSICAL_NAME).and_then(Value::as_str)
}

fn parse_field(field: &Value, parent: &str, mapped_inside: &mut Option<String>) -> Result<(Field, Map<String, Value>), SchemaError> {
    let name =
        field.get("name").and_then(Value::as_str).ok_or_else(|| SchemaError::Malformed(format!("a field of {parent:?} has no name")))?;
    let path = if parent.is_empty() { name.to_string() } else { format!("{parent}.{name}") };
    let kind = field.get("type").ok_or_else(|| SchemaError::Malformed(format!("column {path:?} has no type")))?;
    let nullable = field.get("nullable").and_then(Value::as_bool).unwrap_or(true);
    let metadata = field.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    if !parent.is_empty() && physical_name(&metadata).is_some_and(|physical| physical != name) {
        mapped_inside.get_or_insert(path.clone());
    }
    let mut arrow = Field::new(name, parse_type(kind, &path, mapped_inside)?, nullable);
    // Nested comments stay in the log: as Arrow metadata they would make otherwise equal types differ.
    if let (true, Some(comment)) = (parent.is_empty(), metadata.get("comment").and_then(Value::as_str)) {
        arrow.set_metadata(HashMap::from([("comment".to_string(), comment.to_string())]));
    }
    Ok((arrow, metadata))
}

fn parse_type(kind: &Value, path: &str, mapped_inside: &mut Option<String>) -> Result<DataType, SchemaError> {
    if let Some(name) = kind.as_str() {
        return parse_primitive(name, path);
    }
    let malformed = |what: &str| SchemaError::Malformed(format!("column {path:?}: {what}"));
    let part = |name: &str| kind.get(name).ok_or_else(|| malformed(&format!("its type has no {name:?}")));
    match kind.get("type").and_then(Value::as_str) {
        Some("array") => {
            let item = parse_type(part("elementType")?, &format!("{path}.element"), mapped_inside)?;
            let nullable = kind.get("containsNull").and_then(Value::as_bool).unwrap_or(true);
            Ok(DataType::List(Arc::new(Field::new("element", item, nullable))))
        }
        Some("map") => {
            let key = Field::new("key", parse_type(part("keyType")?, &format!("{path}.key"), mapped_inside)?, false);
            let nullable = kind.get("valueContainsNull").and_then(Value::as_bool).unwrap_or(true);
            let value = Field::new("value", parse_type(part("valueType")?, &format!("{path}.value"), mapped_inside)?, nullable);
            Ok(DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(vec![key, value].into()), false)), false))
        }
        Some("struct") => {
            let fields = part("fields")?.as_array().ok_or_else(|| malformed("its fields are not a list"))?;
            let fields = fields.iter().map(|field| parse_field(field, path, mapped_inside).map(|(field, _)| Arc::new(field)));
            Ok(DataType::Struct(fields.collect::<Result<Fields, _>>()?))
        }
        other => Err(malformed(&format!("unknown kind of type {other:?}"))),
    }
}

fn parse_primitive(name: &str, path: &str) -> Result<DataType, SchemaError> {
    Ok(match name {
        "string" => DataType::Utf8,
        "long" => DataType::Int64,
        "integer" => DataType::Int32,
        "short" => DataType::Int16,
        "byte" => DataType::Int8,
        "float" => DataType::Float32,
        "double" => DataType::Float64,
        "boolean" => DataType::Boolean,
        "binary" => DataType::Binary,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "timestamp_ntz" => DataType::Timestamp(TimeUnit::Microsecond, None),
        _ => match parse_decimal(name) {
            Some((precision, scale)) => DataType::Decimal128(precision, scale),
            None if name.starts_with("decimal") => {
                return Err(SchemaError::Malformed(format!("column {path:?} has the invalid type {name:?}")));
            }
            None => return Err(SchemaError::Unsupported(format!("the type {name:?} (column {path:?})"))),
        },
    })
}

fn parse_decimal(name: &str) -> Option<(u8, i8)> {
    let (precision, scale) = name.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
    let (precision, scale) = (precision.trim().parse::<u8>().ok()?, scale.trim().parse::<i8>().ok()?);
    (1..=38).contains(&precision).then_some(())?;
    (0..=precision as i8).contains(&scale).then_some((precision, scale))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::schema_json;

    #[test]
    fn round_trips_every_type() {
        let entries = Field::new(
            "key_value",
            DataType::Struct(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Float64, true)].into()),
            false,
        );
        let schema = Schema::new(vec![
            Field::new("a", DataType::Int8, true),
            Field::new("b", DataType::Decimal128(38, 18), false),
            Field::new("c", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            Field::new("d", DataType::Timestamp(TimeUnit::Microsecond, None), true),
            Field::new("e", DataType::List(Arc::new(Field::new("element", DataType::Date32, false))), true),
            Field::new("f", DataType::Map(Arc::new(entries), false), true),
            Field::new("g", DataType::Struct(vec![Field::new("x", DataType::Binary, false)].into()), true),
        ]);
        let json = schema_json(&schema, &HashMap::new()).unwrap().to_string();
        assert_eq!(parse_schema(&json).unwrap().schema.as_ref(), &schema);
    }

    #[test]
    fn names_unknown_types_and_malformed_ones() {
        let with = |kind: &str| format!(r#"{{"type":"struct","fields":[{{"name":"v","type":{kind},"nullable":true,"metadata":{{}}}}]}}"#);
        assert!(
            matches!(parse_schema(&with("\"variant\"")), Err(SchemaError::Unsupported(what)) if what.contains("variant") && what.contains("\"v\""))
        );
        assert!(matches!(parse_schema(&with("\"decimal(40,2)\"")), Err(SchemaError::Malformed(_))));
        assert!(matches!(parse_schema(&with("{\"type\":\"array\"}")), Err(SchemaError::Malformed(_))));
        assert!(matches!(parse_schema("[]"), Err(SchemaError::Malformed(_))));
    }
}
