//! `sessionize(ts, gap[, max_length])`: the sessions of every group, as a list.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Signature, Volatility};

use super::grouped_state::{Grouped, GroupedState, refuse_distinct, refuse_modifiers};
use super::one_group::OneGroup;
use super::{SECTION, empty_list};
use crate::kernels::grouped_log::ByGroup;
use crate::kernels::ragged::{fields, list_type, spread, struct_lists};
use crate::kernels::session_runs::{Run, SessionEnds, SessionRuns};
use crate::time_arguments::{SpanArgument, coerce_time, instants, restore_instants};

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Returns the sessions of the group's events as a list of structs with the fields start, end and events (the number of \
         events, BIGINT), ordered by start. A session begins with an event that comes more than the gap after the event before \
         it, or more than max_length after the session's first event, as for session_index. Events whose ts is NULL are left \
         out. The list is empty if there are no events.",
        "sessionize(ts, gap[, max_length])",
    )
    .with_sql_example(
        "```sql\n> SELECT sessionize(t, 30) AS sessions FROM (VALUES (0), (30), (61)) AS e(t);\n\
             +-------------------------------------------------------------------+\n\
             | sessions                                                          |\n\
             +-------------------------------------------------------------------+\n\
             | [{start: 0, end: 30, events: 2}, {start: 61, end: 61, events: 1}] |\n\
             +-------------------------------------------------------------------+\n\
             ```",
    )
    .with_argument("ts", "When the event happened: a TIMESTAMP, a DATE, or an integer in any unit; start and end are of its type.")
    .with_argument(
        "gap",
        "How long nothing may happen within a session: an INTERVAL without months (a day is 24 hours), or an integer where ts is \
         one. It may differ from row to row; a literal takes less memory. NULL, zero and less are errors.",
    )
    .with_argument("max_length", "Optional literal: how long a session may be from its first event to its last; NULL for no limit.")
    .with_related_udf("session_index")
    .build()
});

const GAP: SpanArgument = SpanArgument { function: "sessionize", position: 2, name: "gap" };
const MAX_LENGTH: SpanArgument = SpanArgument { function: "sessionize", position: 3, name: "max_length" };

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Sessionize {
    signature: Signature,
}

impl Default for Sessionize {
    fn default() -> Self {
        Self::new()
    }
}

impl Sessionize {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

fn session_fields(time: &DataType) -> Fields {
    fields(&[("start", time.clone()), ("end", time.clone()), ("events", DataType::Int64)])
}

fn run_fields() -> Fields {
    fields(&["start", "end", "events", "gap"].map(|name| (name, DataType::Int64)))
}

impl AggregateUDFImpl for Sessionize {
    fn name(&self) -> &str {
        "sessionize"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let (ts, gap, max_length) = match arg_types {
            [ts, gap] => (ts, gap, None),
            [ts, gap, max_length] => (ts, gap, Some(max_length)),
            _ => return plan_err!("sessionize takes ts, a gap and optionally a greatest length, not {} arguments", arg_types.len()),
        };
        let time = coerce_time("sessionize", 1, ts, Some(gap))?;
        let mut types = vec![time.clone(), GAP.coerce(gap, &time)?];
        types.extend(max_length.map(|length| MAX_LENGTH.coerce(length, &time)).transpose()?);
        Ok(types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(list_type(DataType::Struct(session_fields(&arg_types[0]))))
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        empty_list(data_type)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "runs"), list_type(DataType::Struct(run_fields())), true))])
    }

    fn accumulator(&self, acc_args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::with_state_apart(Grouped::new(Sessions::of_call(&acc_args)?))))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Grouped::new(Sessions::of_call(&args)?)))
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        Some(Box::new(|call, _| {
            refuse_modifiers(&call)?;
            GAP.check_literal(&call.params.args)?;
            MAX_LENGTH.require_literal_or_null(&call.params.args)?;
            Ok(Expr::AggregateFunction(call))
        }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

/// The events of all groups, joined into sessions as far as that can be known.
struct Sessions {
    time: DataType,
    /// The gap of all rows, if it is a literal.
    gap: Option<i64>,
    ends: SessionEnds,
    runs: SessionRuns,
}

impl Sessions {
    fn of_call(args: &AccumulatorArgs) -> Result<Self> {
        refuse_distinct("sessionize", args)?;
        let time = args.expr_fields[0].data_type().clone();
        let gap = GAP.planned(args.exprs, &time)?;
        let max_length = MAX_LENGTH.planned_or_null(args.exprs, &time)?;
        let ends = match (gap, max_length) {
            (Some(gap), None) => SessionEnds::AfterGap(gap),
            (_, max_length) => SessionEnds::AfterOwnGap { max_length },
        };
        Ok(Self { time, gap, ends, runs: SessionRuns::new(ends) })
    }
}

fn column(runs: &[Run], field: impl Fn(&Run) -> i64) -> Int64Array {
    runs.iter().map(field).collect::<Vec<_>>().into()
}

impl GroupedState for Sessions {
    fn fresh(&self) -> Self {
        Self { time: self.time.clone(), gap: self.gap, ends: self.ends, runs: SessionRuns::new(self.ends) }
    }

    fn insert(&mut self, values: &[ArrayRef], groups: &[usize], keep: Option<&BooleanBuffer>, total_groups: usize) -> Result<()> {
        let instants = instants(&values[0])?;
        if let Some(gap) = self.gap {
            return Ok(self.runs.insert(&instants, |_| gap, groups, keep, total_groups)?);
        }
        let gaps = GAP.of_rows(&values[1], &self.time, arrow::array::Array::nulls(&instants))?;
        Ok(self.runs.insert(&instants, |row| gaps[row], groups, keep, total_groups)?)
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total_groups: usize) -> Result<()> {
        let (runs, groups) = spread(states[0].as_list::<i32>(), groups);
        let numbers = |at: usize| runs.as_struct().column(at).as_primitive::<Int64Type>().values();
        let (starts, ends, events, gaps) = (numbers(0), numbers(1), numbers(2), numbers(3));
        let run_at = |row: usize| Run { start: starts[row], end: ends[row], events: events[row], gap: gaps[row] };
        Ok(self.runs.insert_runs(run_at, &groups, None, total_groups)?)
    }

    fn take_value(&mut self, groups: usize) -> Result<ArrayRef> {
        let ByGroup { starts, rows } = self.runs.take_sessions(groups);
        let columns: Vec<ArrayRef> = vec![
            restore_instants(column(&rows, |run| run.start), &self.time)?,
            restore_instants(column(&rows, |run| run.end), &self.time)?,
            Arc::new(column(&rows, |run| run.events)),
        ];
        Ok(Arc::new(struct_lists(session_fields(&self.time), columns, &starts)?))
    }

    fn take_state(&mut self, groups: usize) -> Result<Vec<ArrayRef>> {
        let ByGroup { starts, rows } = self.runs.take_runs(groups);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(column(&rows, |run| run.start)),
            Arc::new(column(&rows, |run| run.end)),
            Arc::new(column(&rows, |run| run.events)),
            Arc::new(column(&rows, |run| run.gap)),
        ];
        Ok(vec![Arc::new(struct_lists(run_fields(), columns, &starts)?)])
    }

    fn allocated_bytes(&self) -> usize {
        self.runs.allocated_bytes()
    }
}
