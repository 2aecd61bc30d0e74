//! `window()` and `session_window()` as the SQL planner sees them: functions with the type of a window, which `expand_time_windows` replaces before
//! anything is computed.
//!
//! Their arguments are those that the dialect hands on: `(time, size, slide, offset, places)` and `(time, gap, places)`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::EventTime;
use crate::session::sql_type_name;
use crate::{Error, Position};

/// The functions of this module.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    ["window", "session_window"].map(|name| Arc::new(ScalarUDF::new_from_impl(WindowMarker::named(name)))).to_vec()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowMarker {
    name: &'static str,
    signature: Signature,
}

impl WindowMarker {
    fn named(name: &'static str) -> Self {
        Self { name, signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

/// A struct of two times.
pub(in crate::planner) fn window_type(edge: &DataType) -> DataType {
    DataType::Struct(Fields::from(vec![Field::new("start", edge.clone(), true), Field::new("end", edge.clone(), true)]))
}

/// The place of the argument at `index` in what the dialect wrote: `line:column line:column …`.
pub(in crate::planner) fn place_of(places: &ScalarValue, index: usize) -> Option<Position> {
    let (line, column) = places.try_as_str()??.split(' ').nth(index)?.split_once(':')?;
    Some(Position { line: line.parse().ok()?, column: column.parse().ok()? })
}

impl ScalarUDFImpl for WindowMarker {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("the type of {}() depends on its arguments", self.name)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let place = |index| args.scalar_arguments.last().copied().flatten().and_then(|places| place_of(places, index));
        let Some(time) = args.arg_fields.first() else { return plan_err!("{}() has no arguments", self.name) };
        let edge = EventTime::type_of(time.data_type(), &format!("the time argument of {}()", self.name), place(0))?;
        if let ([_, gap, _], Some(None)) = (args.arg_fields, args.scalar_arguments.get(1)) {
            check_gap(gap.data_type(), "the gap of session_window()", place(1))?;
        }
        Ok(Arc::new(Field::new(self.name, window_type(&edge), true)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("{}() is replaced when a query is planned", self.name)
    }

    fn documentation(&self) -> Option<&Documentation> {
        None
    }
}

/// A gap is a length of time or text that reads as one.
pub(in crate::planner) fn check_gap(found: &DataType, what: &str, position: Option<Position>) -> Result<()> {
    let is_length =
        matches!(found, DataType::Interval(_) | DataType::Duration(_) | DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8);
    if is_length {
        return Ok(());
    }
    let error = Error::sql(format!("{what} is of type {}, not an interval", sql_type_name(found)))
        .at(position)
        .hint("INTERVAL '30' MINUTE, '30 minutes', or an expression that gives an interval");
    Err(error.into())
}
