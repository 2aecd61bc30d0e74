//! Which type a query's column has once it is stored. Widening is silent where every value survives; everything else is refused with advice.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

use crate::error::{Error, Result};

/// Key in a field's metadata: a column of a new table is `NOT NULL` when the query's field carries this key with the value `true`. Without it the
/// column is nullable, whatever the query's own nullability, because a later insert may bring nulls.
pub const NOT_NULL: &str = "orrery.not_null";

/// Characters that Parquet-based tables do not allow in column names.
const FORBIDDEN_IN_COLUMNS: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// The schema in which Delta holds a query's result, as Arrow: strings as `Utf8`, timestamps in microseconds, unsigned integers in the next larger signed
/// type. A type that Delta cannot hold is an error that names the column and says what to cast it to, and so is a missing, repeated or forbidden name.
pub fn delta_schema(query: &Schema) -> Result<SchemaRef> {
    check_column_names(query)?;
    let fields = query.fields().iter().map(|field| storable_field(field, field.name())).collect::<Result<Fields>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

/// Refuses schemas whose names cannot be the columns of a table.
fn check_column_names(schema: &Schema) -> Result<()> {
    if schema.fields().is_empty() {
        return Err(Error::Invalid("a table needs at least one column".into()));
    }
    check_names(schema.fields(), "")
}

fn check_names(fields: &Fields, parent: &str) -> Result<()> {
    let mut seen = HashSet::new();
    for field in fields {
        let name = format!("{parent}{}", field.name());
        if field.name().is_empty() {
            return Err(Error::Invalid(format!(
                "column {} of {} has no name; give it one with AS",
                seen.len() + 1,
                if parent.is_empty() { "the query" } else { parent }
            )));
        }
        if let Some(bad) = field.name().chars().find(|c| FORBIDDEN_IN_COLUMNS.contains(c) || c.is_control()) {
            return Err(Error::Invalid(format!(
                "{name:?} cannot be the name of a column: the character {bad:?} is not allowed; give it another name with AS"
            )));
        }
        if !seen.insert(field.name().to_lowercase()) {
            return Err(Error::Invalid(format!(
                "the column name {name:?} occurs twice (names are compared without regard to case); rename one of them with AS"
            )));
        }
        check_nested_names(field.data_type(), &name)?;
    }
    Ok(())
}

fn check_nested_names(data_type: &DataType, name: &str) -> Result<()> {
    match data_type {
        DataType::Struct(children) => check_names(children, &format!("{name}.")),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => check_nested_names(item.data_type(), &format!("{name}.element")),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => {
                pair.iter().try_for_each(|side| check_nested_names(side.data_type(), &format!("{name}.{}", side.name())))
            }
            _ => Ok(()),
        },
        DataType::Dictionary(_, value) => check_nested_names(value, name),
        _ => Ok(()),
    }
}

fn storable_field(field: &Field, path: &str) -> Result<FieldRef> {
    let stored = Field::new(field.name(), storable_type(field.data_type(), path)?, field.is_nullable());
    let metadata = field.metadata().get_key_value(NOT_NULL).map(|(k, v)| [(k.clone(), v.clone())].into());
    Ok(Arc::new(stored.with_metadata(metadata.unwrap_or_default())))
}

fn storable_type(data_type: &DataType, path: &str) -> Result<DataType> {
    use DataType::*;
    Ok(match data_type {
        Boolean | Int8 | Int16 | Int32 | Int64 | Float32 | Float64 | Utf8 | Binary | Date32 => data_type.clone(),
        UInt8 => Int16,
        UInt16 => Int32,
        UInt32 => Int64,
        UInt64 => Decimal128(20, 0),
        Float16 => Float32,
        LargeUtf8 | Utf8View => Utf8,
        LargeBinary | BinaryView | FixedSizeBinary(_) => Binary,
        Date64 => Timestamp(TimeUnit::Microsecond, None),
        Timestamp(_, zone) => Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| "UTC".into())),
        Decimal32(p, s) | Decimal64(p, s) | Decimal128(p, s) | Decimal256(p, s) => storable_decimal(*p, *s, path)?,
        Dictionary(_, value) => storable_type(value, path)?,
        List(item) | LargeList(item) | FixedSizeList(item, _) | ListView(item) | LargeListView(item) => {
            List(Arc::new(Field::new("element", storable_type(item.data_type(), &format!("{path}.element"))?, item.is_nullable())))
        }
        Struct(children) if !children.is_empty() => {
            Struct(children.iter().map(|child| storable_field(child, &format!("{path}.{}", child.name()))).collect::<Result<Fields>>()?)
        }
        Map(entries, _) => storable_map(entries, path)?,
        other => return Err(unsupported(path, other)),
    })
}

fn storable_decimal(precision: u8, scale: i8, path: &str) -> Result<DataType> {
    let (digits, scale) =
        if scale < 0 { (i32::from(precision) - i32::from(scale), 0) } else { (i32::from(precision).max(i32::from(scale)), scale) };
    match u8::try_from(digits) {
        Ok(digits) if digits <= DECIMAL128_MAX_PRECISION => Ok(DataType::Decimal128(digits, scale)),
        _ => Err(Error::Invalid(format!(
            "column {path:?} has the type DECIMAL({precision}, {scale}), and a table holds at most {DECIMAL128_MAX_PRECISION} digits; cast it to DECIMAL(38, {}) or DOUBLE",
            scale.min(38)
        ))),
    }
}

fn storable_map(entries: &Field, path: &str) -> Result<DataType> {
    let DataType::Struct(pair) = entries.data_type() else { return Err(unsupported(path, entries.data_type())) };
    let [key, value] = pair.as_ref() else { return Err(unsupported(path, entries.data_type())) };
    let key = Field::new("key", storable_type(key.data_type(), &format!("{path}.key"))?, false);
    let value = Field::new("value", storable_type(value.data_type(), &format!("{path}.value"))?, value.is_nullable());
    Ok(DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(vec![key, value].into()), false)), false))
}

fn unsupported(path: &str, data_type: &DataType) -> Error {
    let advice = match data_type {
        DataType::Null => "cast it to the type it should have, for example CAST(NULL AS STRING)",
        DataType::Time32(_) | DataType::Time64(_) => "cast it to STRING, or to BIGINT for a number of seconds",
        DataType::Duration(_) | DataType::Interval(_) => "cast it to STRING, or compute a number such as date_part('epoch', …)",
        DataType::Struct(_) => "a struct needs at least one field",
        _ => "cast it to STRING",
    };
    Error::Invalid(format!("column {path:?} has the type {data_type}, which a table cannot hold; {advice}"))
}

/// The type under which a column is compared with the table's: encodings of the same values (views, dictionaries, large offsets) become the plain one.
fn canonical(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        other => other.clone(),
    }
}

/// Whether values of type `given` can be written as `stored` without a cast. Strings and binaries may come as views or with large offsets, at the top level.
pub(crate) fn same_storage(given: &DataType, stored: &DataType) -> bool {
    canonical(given) == canonical(stored)
}

/// The schema of a new table: columns are nullable, at every level, except those that carry [`NOT_NULL`].
pub(crate) fn new_table_schema(storable: &Schema) -> Schema {
    let fields: Fields = storable.fields().iter().map(|field| Arc::new(nullable_field(field))).collect();
    Schema::new(fields)
}

fn nullable_field(field: &Field) -> Field {
    let required = field.metadata().get(NOT_NULL).is_some_and(|value| value == "true");
    Field::new(field.name(), nullable_inside(field.data_type()), !required)
}

fn nullable_inside(data_type: &DataType) -> DataType {
    match data_type {
        DataType::List(item) => DataType::List(Arc::new(nullable_field(item))),
        DataType::Struct(children) => DataType::Struct(children.iter().map(|child| Arc::new(nullable_field(child))).collect()),
        DataType::Map(entries, sorted) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                let key = Field::new(pair[0].name(), nullable_inside(pair[0].data_type()), false);
                let pair = DataType::Struct(vec![key, nullable_field(&pair[1])].into());
                DataType::Map(Arc::new(Field::new(entries.name(), pair, false)), *sorted)
            }
            _ => data_type.clone(),
        },
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::IntervalUnit;

    fn one(data_type: DataType) -> Result<DataType> {
        delta_schema(&Schema::new(vec![Field::new("c", data_type, true)])).map(|s| s.field(0).data_type().clone())
    }

    #[test]
    fn widens_what_survives() {
        use DataType::*;
        for (query, stored) in [
            (UInt8, Int16),
            (UInt16, Int32),
            (UInt32, Int64),
            (UInt64, Decimal128(20, 0)),
            (Float16, Float32),
            (Utf8View, Utf8),
            (LargeUtf8, Utf8),
            (Dictionary(Box::new(Int32), Box::new(Utf8View)), Utf8),
            (FixedSizeBinary(4), Binary),
            (Date64, Timestamp(TimeUnit::Microsecond, None)),
            (Timestamp(TimeUnit::Nanosecond, Some("Europe/Berlin".into())), Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            (Timestamp(TimeUnit::Second, None), Timestamp(TimeUnit::Microsecond, None)),
            (Decimal256(38, 10), Decimal128(38, 10)),
            (Decimal128(5, -2), Decimal128(7, 0)),
            (Decimal128(2, 5), Decimal128(5, 5)),
        ] {
            assert_eq!(one(query).unwrap(), stored);
        }
    }

    #[test]
    fn nested_types_are_widened_inside() {
        let item = Arc::new(Field::new("item", DataType::UInt8, true));
        let stored = one(DataType::LargeList(item)).unwrap();
        assert_eq!(stored, DataType::List(Arc::new(Field::new("element", DataType::Int16, true))));
    }

    #[test]
    fn refuses_with_column_and_advice() {
        for data_type in [
            DataType::Null,
            DataType::Time64(TimeUnit::Microsecond),
            DataType::Duration(TimeUnit::Second),
            DataType::Interval(IntervalUnit::DayTime),
            DataType::Decimal256(50, 2),
            DataType::Struct(Fields::empty()),
        ] {
            let message = one(data_type.clone()).unwrap_err().to_string();
            assert!(message.contains("\"c\"") && (message.contains("cast") || message.contains("needs")), "{data_type}: {message}");
        }
    }

    #[test]
    fn refuses_bad_names() {
        let schema = |names: &[&str]| Schema::new(names.iter().map(|n| Field::new(*n, DataType::Int32, true)).collect::<Vec<_>>());
        assert!(delta_schema(&schema(&["a", "A"])).unwrap_err().to_string().contains("occurs twice"));
        assert!(delta_schema(&schema(&["count(*)"])).unwrap_err().to_string().contains("AS"));
        assert!(delta_schema(&schema(&[""])).is_err());
        assert!(delta_schema(&schema(&[])).is_err());
    }
}
