//! Which columns of rows are the inputs of a model, and whether their types fit: found by name, cast where nothing is lost.

use std::fmt::Display;

use arrow::datatypes::{DataType, FieldRef};
use orrery_models::InputColumn;

use crate::Error;
use crate::session::sql_type_name;

/// Where an input lies among columns: by its exact name, or the only one that differs in case alone.
pub fn place_of<'a>(columns: impl Iterator<Item = &'a str> + Clone, input: &str) -> Option<usize> {
    if let Some(exact) = columns.clone().position(|name| name == input) {
        return Some(exact);
    }
    let mut alike = columns.enumerate().filter(|(_, name)| name.eq_ignore_ascii_case(input));
    match (alike.next(), alike.next()) {
        (Some((place, _)), None) => Some(place),
        _ => None,
    }
}

/// Where each input lies among the columns that are given, all of fitting types. `model` and `given` name the two for errors.
///
/// # Errors
/// An input that is missing or of a type that cannot be cast without loss, named with all that the model needs.
pub fn places(inputs: &[InputColumn], columns: &[FieldRef], model: &dyn Display, given: &str) -> Result<Vec<usize>, Error> {
    let place = |input: &InputColumn| {
        let Some(place) = place_of(columns.iter().map(|field| field.name().as_str()), &input.name) else {
            let problem = format!("{given} no column '{}', which {model} was trained on", input.name);
            return Err(Error::sql(problem).hint(format!("it takes {}", listed(inputs))));
        };
        check(input, columns[place].data_type(), model)?;
        Ok(place)
    };
    inputs.iter().map(place).collect()
}

/// Refuses a type that cannot be cast to that of the input without loss.
///
/// # Errors
/// The column with both types.
pub fn check(input: &InputColumn, found: &DataType, model: &dyn Display) -> Result<(), Error> {
    if fits(found, &input.data_type) {
        return Ok(());
    }
    let (found, wanted) = (sql_type_name(found), sql_type_name(&input.data_type));
    let problem = format!("the column '{}' is {found}, and {model} was trained on {wanted}", input.name);
    Err(Error::sql(problem).hint(format!("CAST({} AS {wanted}) in a subquery", input.name)))
}

/// Inputs with their types, for errors.
pub fn listed(inputs: &[InputColumn]) -> String {
    inputs.iter().map(|input| format!("{} {}", input.name, sql_type_name(&input.data_type))).collect::<Vec<_>>().join(", ")
}

/// Whether values of one type become those of another without loss. Whole numbers may have to fit, which the cast checks.
pub fn fits(found: &DataType, wanted: &DataType) -> bool {
    use DataType as T;
    match (found, wanted) {
        (T::Null, _) => true,
        (found, wanted) if found == wanted => true,
        (T::Dictionary(_, value), wanted) => fits(value, wanted),
        (found, T::Dictionary(_, value)) => fits(found, value),
        (found, wanted) if found.is_string() && wanted.is_string() => true,
        (found, wanted) if is_binary(found) && is_binary(wanted) => true,
        (found, wanted) if found.is_integer() && wanted.is_integer() => true,
        (found, T::Float64) => found.is_integer() || found.is_floating() || found.is_decimal(),
        (T::Float16 | T::Int8 | T::Int16 | T::UInt8 | T::UInt16, T::Float32) => true,
        (found, wanted) if wanted.is_decimal() => fits_decimal(found, wanted),
        (T::Date32, T::Date64) => true,
        (T::Timestamp(found, zone), T::Timestamp(wanted, wanted_zone)) => zone == wanted_zone && found <= wanted,
        (T::List(found) | T::LargeList(found) | T::FixedSizeList(found, _), T::List(wanted) | T::LargeList(wanted)) => {
            fits(found.data_type(), wanted.data_type())
        }
        (T::FixedSizeList(found, length), T::FixedSizeList(wanted, wanted_length)) => {
            length == wanted_length && fits(found.data_type(), wanted.data_type())
        }
        _ => false,
    }
}

fn is_binary(found: &DataType) -> bool {
    matches!(found, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
}

/// Digits before and after the point.
fn digits(of: &DataType) -> Option<(i32, i32)> {
    use DataType as T;
    Some(match of {
        T::Decimal32(precision, scale)
        | T::Decimal64(precision, scale)
        | T::Decimal128(precision, scale)
        | T::Decimal256(precision, scale) => (i32::from(*precision) - i32::from(*scale), i32::from(*scale)),
        T::Int8 | T::UInt8 => (3, 0),
        T::Int16 | T::UInt16 => (5, 0),
        T::Int32 | T::UInt32 => (10, 0),
        T::Int64 => (19, 0),
        T::UInt64 => (20, 0),
        _ => return None,
    })
}

fn fits_decimal(found: &DataType, wanted: &DataType) -> bool {
    match (digits(found), digits(wanted)) {
        (Some((before, after)), Some((wanted_before, wanted_after))) => before <= wanted_before && after <= wanted_after,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, TimeUnit};
    use std::sync::Arc;

    fn input(name: &str, data_type: DataType) -> InputColumn {
        InputColumn { name: name.to_string(), data_type }
    }

    fn columns(of: &[(&str, DataType)]) -> Vec<FieldRef> {
        of.iter().map(|(name, data_type)| Arc::new(Field::new(*name, data_type.clone(), true))).collect()
    }

    #[test]
    fn inputs_are_found_by_name() {
        let inputs = [input("b", DataType::Float64), input("a", DataType::Int64)];
        let given = columns(&[("x", DataType::Utf8), ("A", DataType::Int32), ("b", DataType::Int64)]);
        assert_eq!(places(&inputs, &given, &"m version 1", "the rows have").unwrap(), [2, 1]);
        // Two that differ in case alone: neither is meant.
        let given = columns(&[("A", DataType::Int32), ("a", DataType::Int32), ("B", DataType::Int64), ("b", DataType::Int64)]);
        assert_eq!(places(&inputs, &given, &"m", "the rows have").unwrap(), [3, 1]);
        assert_eq!(place_of(["Aa", "aA"].into_iter(), "aa"), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let inputs = [input("spend", DataType::Float64), input("age", DataType::Int64)];
        let error = places(&inputs, &columns(&[("spend", DataType::Float64)]), &"dev.s.m version 2", "the rows have").unwrap_err();
        assert_eq!(error.message, "the rows have no column 'age', which dev.s.m version 2 was trained on");
        assert_eq!(error.hint.as_deref(), Some("it takes spend double, age bigint"));
    }

    #[test]
    fn types_that_lose_are_refused() {
        use DataType as T;
        let fitting = [
            (T::Utf8View, T::Utf8),
            (T::Int64, T::Int32),
            (T::Decimal128(10, 2), T::Float64),
            (T::Decimal128(10, 2), T::Decimal128(12, 2)),
            (T::Int32, T::Decimal128(12, 2)),
            (T::Null, T::Float64),
            (T::Dictionary(Box::new(T::Int32), Box::new(T::Utf8)), T::Utf8View),
            (T::Timestamp(TimeUnit::Second, None), T::Timestamp(TimeUnit::Microsecond, None)),
        ];
        let losing = [
            (T::Utf8, T::Float64),
            (T::Float64, T::Int64),
            (T::Float64, T::Float32),
            (T::Boolean, T::Float64),
            (T::Decimal128(12, 2), T::Decimal128(10, 2)),
            (T::Decimal128(12, 4), T::Decimal128(14, 2)),
            (T::Timestamp(TimeUnit::Nanosecond, None), T::Timestamp(TimeUnit::Microsecond, None)),
            (T::Float64, T::Decimal128(30, 10)),
        ];
        assert!(fitting.iter().all(|(found, wanted)| fits(found, wanted)), "{fitting:?}");
        assert!(!losing.iter().any(|(found, wanted)| fits(found, wanted)), "{losing:?}");
        let error = check(&input("a", T::Float64), &T::Utf8, &"m").unwrap_err();
        assert_eq!(error.message, "the column 'a' is string, and m was trained on double");
    }
}
