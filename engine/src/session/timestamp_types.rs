//! What `TIMESTAMP` means: an instant in UTC with microseconds, as in Spark, BigQuery and Delta Lake, where DataFusion has a zoneless
//! timestamp with nanoseconds. `TIMESTAMP WITHOUT TIME ZONE`, `TIMESTAMP_NTZ` and `DATETIME` are zoneless, with microseconds too.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{DataType as SqlType, TimezoneInfo};

/// The zone of every `TIMESTAMP`.
pub(super) const UTC: &str = "UTC";

/// Plans the timestamp types; all others are DataFusion's.
#[derive(Debug)]
pub(super) struct TimestampTypes;

impl TypePlanner for TimestampTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let unit = |precision: Option<u64>| match precision {
            Some(0) => Some(TimeUnit::Second),
            Some(3) => Some(TimeUnit::Millisecond),
            None | Some(6) => Some(TimeUnit::Microsecond),
            Some(9) => Some(TimeUnit::Nanosecond),
            // DataFusion's own error names the precision.
            Some(_) => None,
        };
        let planned = match sql_type {
            SqlType::Timestamp(precision, TimezoneInfo::WithoutTimeZone)
            | SqlType::TimestampNtz(precision)
            | SqlType::Datetime(precision) => unit(*precision).map(|unit| DataType::Timestamp(unit, None)),
            SqlType::Timestamp(precision, _) => unit(*precision).map(|unit| DataType::Timestamp(unit, Some(UTC.into()))),
            _ => None,
        };
        Ok(planned.map(|data_type| Arc::new(Field::new("", data_type, true))))
    }
}
