//! The time by which rows are put into windows: its type, checked, and the arithmetic on it.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable as _};

use crate::session::sql_type_name;
use crate::{Error, Position};

/// A time of microseconds or nanoseconds.
#[derive(Debug, Clone)]
pub(in crate::planner) struct EventTime {
    pub expr: Expr,
    data_type: DataType,
}

impl EventTime {
    /// The time that an expression gives; `what` names it in errors.
    ///
    /// # Errors
    /// It is neither a timestamp nor a date.
    pub fn of(expr: Expr, schema: &DFSchema, what: &str, position: Option<Position>) -> Result<Self> {
        let found = expr.get_type(schema)?;
        let data_type = Self::type_of(&found, what, position)?;
        let expr = if found == data_type { expr } else { Expr::Cast(Cast::new(Box::new(expr), data_type.clone())) };
        Ok(Self { expr, data_type })
    }

    /// The type in which windows of a time of the type `found` are computed, which is that of their edges.
    ///
    /// # Errors
    /// As [`EventTime::of`].
    pub fn type_of(found: &DataType, what: &str, position: Option<Position>) -> Result<DataType> {
        match found {
            DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _) => Ok(found.clone()),
            // Lengths of windows are microseconds.
            DataType::Timestamp(_, zone) => Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
            DataType::Date32 | DataType::Date64 => Ok(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            other => {
                let error = Error::sql(format!("{what} is of type {}, not a timestamp", sql_type_name(other)))
                    .at(position)
                    .hint("CAST(x AS TIMESTAMP), or try_to_timestamp(x) where it may be malformed");
                Err(error.into())
            }
        }
    }

    /// A length in the unit of the time.
    pub fn units(&self, micros: i64) -> i64 {
        match self.data_type {
            DataType::Timestamp(TimeUnit::Nanosecond, _) => micros.saturating_mul(1000),
            _ => micros,
        }
    }

    /// The time as a number of its units since 1970.
    pub fn number(&self) -> Expr {
        Expr::Cast(Cast::new(Box::new(self.expr.clone()), DataType::Int64))
    }

    /// The time of a number.
    pub fn at(&self, number: Expr) -> Expr {
        Expr::Cast(Cast::new(Box::new(number), self.data_type.clone()))
    }
}
