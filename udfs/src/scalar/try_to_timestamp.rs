//! `try_to_timestamp(text [, format])`: text to an instant, NULL where the text means none.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, StringArrayType, TimestampMicrosecondArray};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::kernels::timestamp_pattern::TimestampPattern;
use crate::kernels::timestamp_text::parse_timestamp_micros;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection { include: true, label: "Time and Date Functions", description: None },
        "Returns the instant that a text means, as a timestamp of microseconds in UTC (Delta's `timestamp`), or NULL if the \
         text is malformed or names a date that does not exist. Without a format it reads `YYYY-MM-DD`, optionally with \
         `HH:MM[:SS[.fraction]]` after a blank or `T`, and a zone `UTC`, `Z` or `+hh:mm`; a text without a zone is in UTC. A \
         format is written in Java's letters (`yyyy-MM-dd HH:mm:ss`) or, if it contains a `%`, in strftime's. A date or \
         timestamp is converted as it is.",
        "try_to_timestamp(expression[, format])",
    )
    .with_sql_example(
        "```sql\n> SELECT try_to_timestamp('2019-10-01 12:30:00 UTC') AS good, try_to_timestamp('2019-02-30 00:00:00') AS bad;\n\
         +----------------------+-----+\n| good                 | bad |\n+----------------------+-----+\n\
         | 2019-10-01T12:30:00Z |     |\n+----------------------+-----+\n```",
    )
    .with_argument("expression", "Text, date or timestamp.")
    .with_argument("format", "Optional pattern of the text. A pattern that is not understood is an error; NULL gives NULL.")
    .with_related_udf("to_timestamp")
    .build()
});

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct TryToTimestamp {
    signature: Signature,
}

impl Default for TryToTimestamp {
    fn default() -> Self {
        Self::new()
    }
}

impl TryToTimestamp {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// What the function returns: the type of Delta's `timestamp` columns.
fn instant_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn text_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(data_type.clone()),
        DataType::Null => Some(DataType::Utf8),
        DataType::Dictionary(_, value) => text_type(value),
        _ => None,
    }
}

impl ScalarUDFImpl for TryToTimestamp {
    fn name(&self) -> &str {
        "try_to_timestamp"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let (value, format) = match arg_types {
            [value] => (value, None),
            [value, format] => (value, Some(format)),
            _ => return plan_err!("try_to_timestamp takes a text and optionally a format, not {} arguments", arg_types.len()),
        };
        let value = match value {
            DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64 => instant_type(),
            other => match text_type(other) {
                Some(text) => text,
                None => return plan_err!("try_to_timestamp: argument 1 must be text, a date or a timestamp, not {other}"),
            },
        };
        let Some(format) = format else { return Ok(vec![value]) };
        match text_type(format) {
            Some(_) => Ok(vec![value, DataType::Utf8]),
            None => plan_err!("try_to_timestamp: argument 2, the format, must be text, not {format}"),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(instant_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if all_scalar { 1 } else { args.number_rows };
        let column = args.args[0].to_array(rows)?;
        let result = match args.args.get(1) {
            _ if matches!(column.data_type(), DataType::Timestamp(_, _)) => cast(&column, &instant_type())?,
            None => parse_column(&column, |_, text| Ok(parse_timestamp_micros(text)))?,
            Some(ColumnarValue::Scalar(format)) => match format.try_as_str().flatten() {
                None => parse_column(&column, |_, _| Ok(None))?,
                Some(format) => {
                    let pattern = compile(format)?;
                    parse_column(&column, |_, text| Ok(pattern.parse_micros(text)))?
                }
            },
            Some(ColumnarValue::Array(formats)) => parse_by_row(&column, formats)?,
        };
        if all_scalar {
            return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

fn compile(format: &str) -> Result<TimestampPattern> {
    TimestampPattern::compile(format).or_else(|e| exec_err!("try_to_timestamp: {e}"))
}

/// A format per row. Neighbouring rows mostly share theirs, so the last one stays compiled.
fn parse_by_row(column: &ArrayRef, formats: &ArrayRef) -> Result<ArrayRef> {
    let formats = formats.as_string::<i32>();
    let mut last: Option<(&str, TimestampPattern)> = None;
    parse_column(column, |row, text| {
        if formats.is_null(row) {
            return Ok(None);
        }
        let format = formats.value(row);
        if last.as_ref().is_none_or(|(known, _)| *known != format) {
            last = Some((format, compile(format)?));
        }
        Ok(last.as_ref().and_then(|(_, pattern)| pattern.parse_micros(text)))
    })
}

fn parse_column(column: &ArrayRef, parse: impl FnMut(usize, &[u8]) -> Result<Option<i64>>) -> Result<ArrayRef> {
    match column.data_type() {
        DataType::Utf8 => parse_strings(column.as_string::<i32>(), parse),
        DataType::LargeUtf8 => parse_strings(column.as_string::<i64>(), parse),
        DataType::Utf8View => parse_strings(column.as_string_view(), parse),
        other => exec_err!("try_to_timestamp cannot read a column of type {other}"),
    }
}

fn parse_strings<'a>(column: impl StringArrayType<'a>, mut parse: impl FnMut(usize, &[u8]) -> Result<Option<i64>>) -> Result<ArrayRef> {
    let mut micros = vec![0i64; column.len()];
    let mut failure = None;
    let valid = BooleanBuffer::collect_bool(column.len(), |row| {
        if failure.is_some() || column.is_null(row) {
            return false;
        }
        match parse(row, column.value(row).as_bytes()) {
            Ok(Some(value)) => {
                micros[row] = value;
                true
            }
            Ok(None) => false,
            Err(error) => {
                failure = Some(error);
                false
            }
        }
    });
    if let Some(error) = failure {
        return Err(error);
    }
    let nulls = Some(NullBuffer::new(valid)).filter(|nulls| nulls.null_count() > 0);
    Ok(Arc::new(TimestampMicrosecondArray::new(ScalarBuffer::from(micros), nulls).with_timezone("UTC")))
}

#[cfg(test)]
mod tests;
