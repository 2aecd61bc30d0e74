//! `path(ts, event[, max_steps])`: what happened, in the order of time.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Signature, Volatility};

use super::distinct_count::value_type;
use super::grouped_state::{Grouped, GroupedState, refuse_distinct, refuse_modifiers};
use super::one_group::OneGroup;
use super::{SECTION, empty_list};
use crate::kernels::paths::{Paths, TakenPaths};
use crate::kernels::ragged::{fields, list_type, lists, spread, struct_lists};
use crate::time_arguments::{coerce_time, instants, literal};

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Returns the group's events as a list in the order of ts, and of the texts where ts is equal. Rows whose ts or event is \
         NULL are left out. The list is empty if there are no events.",
        "path(ts, event[, max_steps])",
    )
    .with_sql_example(
        "```sql\n> SELECT path(t, e, 2) AS first_two FROM (VALUES (3, 'buy'), (1, 'view'), (2, 'cart')) AS x(t, e);\n\
             +--------------+\n\
             | first_two    |\n\
             +--------------+\n\
             | [view, cart] |\n\
             +--------------+\n\
             ```",
    )
    .with_argument("ts", "When the event happened: a TIMESTAMP, a DATE, or an integer in any unit.")
    .with_argument("event", "What happened, text.")
    .with_argument("max_steps", "Optional literal greater than 0: only so many of the first events. NULL for all.")
    .with_related_udf("funnel")
    .build()
});

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Path {
    signature: Signature,
}

impl Default for Path {
    fn default() -> Self {
        Self::new()
    }
}

impl Path {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

fn event_fields(text: &DataType) -> Fields {
    fields(&[("instant", DataType::Int64), ("event", text.clone())])
}

/// The value of `max_steps`.
fn steps_of(value: &ScalarValue) -> Result<Option<usize>> {
    match value.cast_to(&DataType::Int64)? {
        ScalarValue::Int64(None) => Ok(None),
        ScalarValue::Int64(Some(steps)) if steps > 0 => Ok(Some(steps as usize)),
        _ => plan_err!("path: argument 3, max_steps, must be greater than 0, not {value}"),
    }
}

fn check_max_steps(argument: Option<&Expr>) -> Result<()> {
    match argument {
        None => Ok(()),
        Some(Expr::Literal(value, _)) => steps_of(value).map(|_| ()),
        Some(other) => plan_err!("path: argument 3, max_steps, must be a literal, not {other}"),
    }
}

impl AggregateUDFImpl for Path {
    fn name(&self) -> &str {
        "path"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let (ts, event, max_steps) = match arg_types {
            [ts, event] => (ts, event, None),
            [ts, event, max_steps] => (ts, event, Some(max_steps)),
            _ => return plan_err!("path takes ts, an event and optionally a number of steps, not {} arguments", arg_types.len()),
        };
        let event = match value_type(event) {
            DataType::Null => DataType::Utf8,
            text if text.is_string() => event.clone(),
            other => return plan_err!("path: argument 2, event, must be text, not {other}"),
        };
        let mut types = vec![coerce_time("path", 1, ts, None)?, event];
        match max_steps {
            None => {}
            Some(steps) if steps.is_integer() || steps.is_null() => types.push(DataType::Int64),
            Some(other) => return plan_err!("path: argument 3, max_steps, must be an integer, not {other}"),
        }
        Ok(types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(list_type(value_type(&arg_types[1]).clone()))
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        empty_list(data_type)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let events = event_fields(value_type(args.input_fields[1].data_type()));
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "events"), list_type(DataType::Struct(events)), true))])
    }

    fn accumulator(&self, acc_args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::with_state_apart(Grouped::new(paths_of_call(&acc_args)?))))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Grouped::new(paths_of_call(&args)?)))
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        Some(Box::new(|call, _| {
            refuse_modifiers(&call)?;
            check_max_steps(call.params.args.get(2))?;
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

fn paths_of_call(args: &AccumulatorArgs) -> Result<Paths> {
    refuse_distinct("path", args)?;
    let max_steps = match args.exprs.get(2).map(literal) {
        None => None,
        Some(Some(steps)) => steps_of(steps)?,
        Some(None) => return plan_err!("path: argument 3, max_steps, must be a literal"),
    };
    Ok(Paths::new(value_type(args.expr_fields[1].data_type()).clone(), max_steps))
}

impl GroupedState for Paths {
    fn fresh(&self) -> Self {
        Paths::fresh(self)
    }

    fn insert(&mut self, values: &[ArrayRef], groups: &[usize], keep: Option<&BooleanBuffer>, total_groups: usize) -> Result<()> {
        let events = if values[1].data_type() == self.text_type() { Arc::clone(&values[1]) } else { cast(&values[1], self.text_type())? };
        Ok(Paths::insert(self, &instants(&values[0])?, &events, groups, keep, total_groups)?)
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total_groups: usize) -> Result<()> {
        let (events, groups) = spread(states[0].as_list::<i32>(), groups);
        let (instants, texts) = (events.as_struct().column(0), events.as_struct().column(1));
        Ok(Paths::insert(self, instants.as_primitive::<Int64Type>(), texts, &groups, None, total_groups)?)
    }

    fn take_value(&mut self, groups: usize) -> Result<ArrayRef> {
        let TakenPaths { starts, texts, .. } = self.take_first(groups)?;
        Ok(Arc::new(lists(texts, &starts)?))
    }

    fn take_state(&mut self, groups: usize) -> Result<Vec<ArrayRef>> {
        let TakenPaths { starts, instants, texts } = self.take_first(groups)?;
        Ok(vec![Arc::new(struct_lists(event_fields(self.text_type()), vec![Arc::new(instants), texts], &starts)?)])
    }

    fn allocated_bytes(&self) -> usize {
        Paths::allocated_bytes(self)
    }
}
