//! Partition values: Delta keeps them as text in the log, whatever the column's type.

use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use datafusion::common::ScalarValue;

/// Days from the Common Era's first day to the Unix epoch.
const EPOCH_DAYS_CE: i32 = 719_163;

/// The value that the log's text stands for. An absent value and the empty text are null, as the protocol says. The error says what is wrong with the text.
pub(crate) fn parse(text: Option<&str>, data_type: &DataType) -> Result<ScalarValue, String> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return ScalarValue::try_from(data_type).map_err(|error| error.to_string());
    };
    let invalid = || format!("{text:?} is not a value of type {data_type}");
    Ok(match data_type {
        DataType::Utf8 => ScalarValue::Utf8(Some(text.to_string())),
        DataType::Boolean => ScalarValue::Boolean(Some(text.to_ascii_lowercase().parse().map_err(|_| invalid())?)),
        DataType::Int8 => ScalarValue::Int8(Some(text.parse().map_err(|_| invalid())?)),
        DataType::Int16 => ScalarValue::Int16(Some(text.parse().map_err(|_| invalid())?)),
        DataType::Int32 => ScalarValue::Int32(Some(text.parse().map_err(|_| invalid())?)),
        DataType::Int64 => ScalarValue::Int64(Some(text.parse().map_err(|_| invalid())?)),
        DataType::Float32 => ScalarValue::Float32(Some(text.parse().map_err(|_| invalid())?)),
        DataType::Float64 => ScalarValue::Float64(Some(text.parse().map_err(|_| invalid())?)),
        DataType::Date32 => ScalarValue::Date32(Some(parse_date(text).ok_or_else(invalid)?)),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            ScalarValue::TimestampMicrosecond(Some(parse_timestamp(text).ok_or_else(invalid)?), zone.clone())
        }
        DataType::Decimal128(precision, scale) => {
            ScalarValue::Decimal128(Some(parse_decimal(text, *precision, *scale).ok_or_else(invalid)?), *precision, *scale)
        }
        _ => return Err(format!("columns of type {data_type} cannot be partition columns here")),
    })
}

/// The text under which the log keeps a value; `None` for null. The error names a value that the log cannot tell from null or has no text for.
pub(crate) fn format(value: &ScalarValue) -> Result<Option<String>, String> {
    if value.is_null() {
        return Ok(None);
    }
    Ok(Some(match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
            if text.is_empty() {
                return Err("the empty string cannot be told from NULL in a partition column; write NULLIF(column, '')".into());
            }
            text.clone()
        }
        ScalarValue::Boolean(Some(v)) => v.to_string(),
        ScalarValue::Int8(Some(v)) => v.to_string(),
        ScalarValue::Int16(Some(v)) => v.to_string(),
        ScalarValue::Int32(Some(v)) => v.to_string(),
        ScalarValue::Int64(Some(v)) => v.to_string(),
        ScalarValue::Float32(Some(v)) => format_float(v.to_string(), f64::from(*v)),
        ScalarValue::Float64(Some(v)) => format_float(v.to_string(), *v),
        ScalarValue::Date32(Some(days)) => format_date(*days).ok_or_else(|| format!("the date {days} days from 1970 is out of range"))?,
        ScalarValue::TimestampMicrosecond(Some(micros), zone) => {
            let iso = format_timestamp(*micros, zone.is_some())
                .ok_or_else(|| format!("the timestamp {micros} microseconds from 1970 is out of range"))?;
            // Readers take a timestamp without zone only with a space; one with a zone is unambiguous only in ISO form.
            if zone.is_some() { iso } else { iso.replacen('T', " ", 1) }
        }
        ScalarValue::Decimal128(Some(v), _, scale) => format_decimal(*v, *scale),
        other => return Err(format!("columns of type {} cannot be partition columns", other.data_type())),
    }))
}

/// Whether a column of this type can partition a table.
pub(crate) fn can_partition(data_type: &DataType) -> bool {
    !matches!(data_type, DataType::Binary | DataType::BinaryView | DataType::LargeBinary) && !data_type.is_nested()
}

fn format_float(text: String, value: f64) -> String {
    // Java's spelling, which Spark reads; Rust reads both.
    if value.is_infinite() { if value > 0.0 { "Infinity".into() } else { "-Infinity".into() } } else { text }
}

/// Days since the epoch of an ISO date.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    use chrono::Datelike;
    let date = NaiveDate::parse_from_str(text.get(..10).filter(|_| text.len() == 10).unwrap_or(text), "%Y-%m-%d").ok()?;
    Some(date.num_days_from_ce() - EPOCH_DAYS_CE)
}

/// ISO date; `None` outside of the years 1 to 9999, which other readers cannot parse.
pub(crate) fn format_date(days: i32) -> Option<String> {
    use chrono::Datelike;
    let date = NaiveDate::from_num_days_from_ce_opt(days.checked_add(EPOCH_DAYS_CE)?)?;
    (1..=9999).contains(&date.year()).then(|| date.format("%Y-%m-%d").to_string())
}

/// Microseconds since the epoch of a timestamp in any of the forms that writers use: ISO 8601 with or without an offset, or with a space instead of the T.
pub(crate) fn parse_timestamp(text: &str) -> Option<i64> {
    if let Ok(zoned) = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_str(text, "%+")) {
        return Some(zoned.with_timezone(&Utc).timestamp_micros());
    }
    let plain = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"].iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let plain = plain.or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))?;
    Some(plain.and_utc().timestamp_micros())
}

/// ISO timestamp with microseconds, ending in Z when it is a point in time; `None` outside of the years 1 to 9999.
pub(crate) fn format_timestamp(micros: i64, zoned: bool) -> Option<String> {
    use chrono::Datelike;
    let time = DateTime::from_timestamp_micros(micros)?;
    let format = if zoned { "%Y-%m-%dT%H:%M:%S%.6fZ" } else { "%Y-%m-%dT%H:%M:%S%.6f" };
    (1..=9999).contains(&time.year()).then(|| time.format(format).to_string())
}

/// The unscaled value of a decimal in plain or scientific notation; `None` if it has more digits than the type.
pub(crate) fn parse_decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut unscaled: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        unscaled = unscaled.checked_mul(10)?.checked_add(i128::from(char::from(digit).to_digit(10)?))?;
    }
    let mut shift = i32::from(scale) - i32::try_from(fraction.len()).ok()? + exponent;
    while shift > 0 && unscaled != 0 {
        unscaled = unscaled.checked_mul(10)?;
        shift -= 1;
    }
    while shift < 0 && unscaled != 0 {
        if unscaled % 10 != 0 {
            return None;
        }
        unscaled /= 10;
        shift += 1;
    }
    let limit = 10_i128.checked_pow(u32::from(precision))?;
    (unscaled < limit).then_some(if negative { -unscaled } else { unscaled })
}

/// Plain notation with all of the scale's digits.
pub(crate) fn format_decimal(unscaled: i128, scale: i8) -> String {
    let scale = usize::try_from(scale).unwrap_or(0);
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_log() {
        let utc = Some("UTC".into());
        for value in [
            ScalarValue::Utf8(Some("a/b=c %2F é".into())),
            ScalarValue::Boolean(Some(true)),
            ScalarValue::Int8(Some(-128)),
            ScalarValue::Int64(Some(i64::MIN)),
            ScalarValue::Float64(Some(1.0e-300)),
            ScalarValue::Float64(Some(f64::NEG_INFINITY)),
            ScalarValue::Float32(Some(-0.0)),
            ScalarValue::Date32(Some(-719_162)),
            ScalarValue::Date32(Some(18_262)),
            ScalarValue::TimestampMicrosecond(Some(-1), utc),
            ScalarValue::TimestampMicrosecond(Some(1_569_888_000_000_001), None),
            ScalarValue::Decimal128(Some(-5), 10, 3),
            ScalarValue::Decimal128(Some(10_i128.pow(37)), 38, 0),
            ScalarValue::Utf8(None),
            ScalarValue::Int32(None),
        ] {
            let text = format(&value).unwrap();
            assert_eq!(parse(text.as_deref(), &value.data_type()).unwrap(), value, "{text:?}");
        }
    }

    #[test]
    fn reads_what_other_writers_write() {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let noon = 1_577_880_000_000_000;
        for text in ["2020-01-01 12:00:00", "2020-01-01 12:00:00.000000", "2020-01-01T12:00:00Z", "2020-01-01T13:00:00.000000+01:00"] {
            assert_eq!(parse(Some(text), &utc).unwrap(), ScalarValue::TimestampMicrosecond(Some(noon), Some("UTC".into())), "{text}");
        }
        assert_eq!(parse_decimal("1.2E+3", 10, 2), Some(120_000));
        assert_eq!(parse_decimal("0.5", 3, 1), Some(5));
        assert_eq!(parse(Some(""), &DataType::Utf8).unwrap(), ScalarValue::Utf8(None));
    }

    #[test]
    fn says_what_it_cannot_read_or_write() {
        assert!(parse(Some("12x"), &DataType::Int32).unwrap_err().contains("12x"));
        assert!(parse(Some("1.25"), &DataType::Decimal128(4, 1)).is_err());
        assert!(parse(Some("2020-13-01"), &DataType::Date32).is_err());
        assert!(format(&ScalarValue::Utf8(Some(String::new()))).unwrap_err().contains("NULLIF"));
        assert!(format(&ScalarValue::Date32(Some(i32::MAX))).is_err());
    }
}
