//! Arguments that are instants and spans of time: which types are taken, and their values as whole numbers of the instant's
//! own unit.
//!
//! A span is rounded down to that unit. That changes no comparison: two instants are a whole number of units apart, which
//! is at most the span if and only if it is at most the span rounded down.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, IntervalMonthDayNanoArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use arrow::util::display::array_value_to_string;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;

const NANOS_PER_DAY: i128 = 86_400_000_000_000;
const SPAN: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// The type that the instants in argument `position` (from 1) are computed with; `span` is the type of the span beside them.
pub(crate) fn coerce_time(function: &str, position: usize, given: &DataType, span: Option<&DataType>) -> Result<DataType> {
    match given {
        DataType::Null if span.is_some_and(DataType::is_integer) => Ok(DataType::Int64),
        DataType::Timestamp(_, _) | DataType::Date32 | DataType::Int64 => Ok(given.clone()),
        DataType::Date64 => Ok(DataType::Timestamp(TimeUnit::Millisecond, None)),
        DataType::Null => Ok(DataType::Timestamp(TimeUnit::Microsecond, None)),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => Ok(DataType::Int64),
        other if other.is_string() || matches!(other, DataType::Dictionary(_, value) if value.is_string()) => plan_err!(
            "{function}: argument {position}, ts, must be a TIMESTAMP, DATE or BIGINT, not {other}: convert it with try_to_timestamp(…)"
        ),
        other => plan_err!("{function}: argument {position}, ts, must be a TIMESTAMP, DATE or BIGINT, not {other}"),
    }
}

/// The instants as whole numbers of their type's unit.
pub(crate) fn instants(column: &ArrayRef) -> Result<Int64Array> {
    Ok(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// Undoes [`instants`].
pub(crate) fn restore_instants(instants: Int64Array, time: &DataType) -> Result<ArrayRef> {
    Ok(cast(&instants, time)?)
}

/// An argument that is a span of time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanArgument {
    /// The function, as errors name it.
    pub(crate) function: &'static str,
    /// Its place, from 1.
    pub(crate) position: usize,
    /// Its name in the documentation.
    pub(crate) name: &'static str,
}

impl SpanArgument {
    /// The type that spans are computed with, beside instants of type `time`.
    pub(crate) fn coerce(&self, given: &DataType, time: &DataType) -> Result<DataType> {
        let Self { function, position, name } = self;
        let counts = *time == DataType::Int64;
        match given {
            DataType::Null => Ok(if counts { DataType::Int64 } else { SPAN }),
            DataType::Interval(IntervalUnit::YearMonth) => {
                plan_err!("{function}: argument {position}, {name}, must not be in months or years, whose length varies")
            }
            DataType::Interval(_) | DataType::Duration(_) if !counts => Ok(SPAN),
            DataType::Interval(_) | DataType::Duration(_) => {
                plan_err!("{function}: argument {position}, {name}, must be an integer in the unit of ts, as ts is an integer, not {given}")
            }
            given if given.is_integer() && counts => Ok(DataType::Int64),
            other if counts => plan_err!("{function}: argument {position}, {name}, must be an integer in the unit of ts, not {other}"),
            other => {
                plan_err!("{function}: argument {position}, {name}, must be an INTERVAL, such as INTERVAL '30 minutes', not {other}")
            }
        }
    }

    /// Refuses a literal that is no span, however ts is counted; passes over what is no literal.
    pub(crate) fn check_literal(&self, args: &[Expr]) -> Result<()> {
        match args.get(self.position - 1) {
            Some(Expr::Literal(value, _)) => self.in_units(value, &DataType::Int64).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Refuses what is no literal or no span.
    pub(crate) fn require_literal(&self, args: &[Expr]) -> Result<()> {
        match args.get(self.position - 1) {
            None | Some(Expr::Literal(_, _)) => self.check_literal(args),
            Some(other) => plan_err!("{}: argument {}, {}, must be a literal, not {other}", self.function, self.position, self.name),
        }
    }

    /// As [`Self::require_literal`], but NULL is allowed.
    pub(crate) fn require_literal_or_null(&self, args: &[Expr]) -> Result<()> {
        match args.get(self.position - 1) {
            Some(Expr::Literal(value, _)) if value.is_null() => Ok(()),
            _ => self.require_literal(args),
        }
    }

    /// The argument as planned, in units of `time`, if it is a literal.
    pub(crate) fn planned(&self, exprs: &[Arc<dyn PhysicalExpr>], time: &DataType) -> Result<Option<i64>> {
        exprs.get(self.position - 1).and_then(literal).map(|value| self.in_units(value, time)).transpose()
    }

    /// The argument as planned, in units of `time`; nothing, if it is missing or NULL.
    pub(crate) fn planned_or_null(&self, exprs: &[Arc<dyn PhysicalExpr>], time: &DataType) -> Result<Option<i64>> {
        match exprs.get(self.position - 1).map(literal) {
            None => Ok(None),
            Some(Some(value)) if value.is_null() => Ok(None),
            Some(Some(value)) => self.in_units(value, time).map(Some),
            Some(None) => plan_err!("{}: argument {}, {}, must be a literal", self.function, self.position, self.name),
        }
    }

    /// The argument as planned, in units of `time`, which has to be a literal.
    pub(crate) fn planned_literal(&self, exprs: &[Arc<dyn PhysicalExpr>], time: &DataType) -> Result<i64> {
        match self.planned(exprs, time)? {
            Some(span) => Ok(span),
            None => plan_err!("{}: argument {}, {}, must be a literal", self.function, self.position, self.name),
        }
    }

    fn in_units(&self, value: &ScalarValue, time: &DataType) -> Result<i64> {
        let span = match value {
            value if value.is_null() => Err("must not be NULL".to_string()),
            ScalarValue::IntervalMonthDayNano(Some(span)) => interval_in_units(*span, unit_nanos(time)),
            other => match other.cast_to(&DataType::Int64)? {
                ScalarValue::Int64(Some(span)) => positive(span),
                other => Err(format!("must be a span of time, not {other}")),
            },
        };
        span.or_else(|problem| plan_err!("{}: argument {}, {}, {problem}", self.function, self.position, self.name))
    }

    /// The spans of all rows in units of `time`; anything, where a row is not `needed`.
    pub(crate) fn of_rows(&self, column: &ArrayRef, time: &DataType, needed: Option<&NullBuffer>) -> Result<Vec<i64>> {
        let is_given = |row: usize| if column.is_valid(row) { Ok(()) } else { Err("must not be NULL".to_string()) };
        let spans = match column.data_type() {
            DataType::Int64 => {
                let spans = column.as_primitive::<Int64Type>().values();
                each_needed(column.len(), needed, |row| is_given(row).and_then(|()| positive(spans[row])))
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                let (spans, unit) = (column.as_primitive::<IntervalMonthDayNanoType>().values(), unit_nanos(time));
                each_needed(column.len(), needed, |row| is_given(row).and_then(|()| interval_in_units(spans[row], unit)))
            }
            other => Err(format!("cannot be of type {other}")),
        };
        spans.or_else(|problem| exec_err!("{}: argument {}, {}, {problem}", self.function, self.position, self.name))
    }
}

fn each_needed(rows: usize, needed: Option<&NullBuffer>, span_at: impl Fn(usize) -> Result<i64, String>) -> Result<Vec<i64>, String> {
    (0..rows).map(|row| if needed.is_none_or(|needed| needed.is_valid(row)) { span_at(row) } else { Ok(0) }).collect()
}

fn positive(span: i64) -> Result<i64, String> {
    if span > 0 { Ok(span) } else { Err(format!("must be greater than 0, not {span}")) }
}

fn interval_in_units(span: IntervalMonthDayNano, unit: i128) -> Result<i64, String> {
    if span.months != 0 {
        return Err("must not be in months or years, whose length varies".into());
    }
    let nanos = i128::from(span.days) * NANOS_PER_DAY + i128::from(span.nanoseconds);
    if nanos <= 0 {
        return Err(format!("must be greater than 0, not {}", interval_text(span)));
    }
    Ok(i64::try_from(nanos / unit).unwrap_or(i64::MAX))
}

/// An interval as query results show it, such as `-1 mins`.
fn interval_text(span: IntervalMonthDayNano) -> String {
    let column = IntervalMonthDayNanoArray::from(vec![span]);
    array_value_to_string(&column, 0).unwrap_or_else(|_| format!("{span:?}"))
}

/// Nanoseconds between an instant of type `time` and the next.
fn unit_nanos(time: &DataType) -> i128 {
    match time {
        DataType::Timestamp(TimeUnit::Second, _) => 1_000_000_000,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000_000,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
        DataType::Date32 => NANOS_PER_DAY,
        _ => 1,
    }
}

/// The value of an argument that was planned as a literal.
pub(crate) fn literal(expr: &Arc<dyn PhysicalExpr>) -> Option<&ScalarValue> {
    expr.downcast_ref::<Literal>().map(Literal::value)
}
