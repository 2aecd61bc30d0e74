//! `funnel(ts, window, step1, step2, …)`: how many steps were met in order within a window of time.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type, UInt32Type};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Signature, Volatility};

use super::grouped_state::{Grouped, GroupedState, refuse_distinct, refuse_modifiers};
use super::one_group::OneGroup;
use super::{SECTION, coerce_conditions};
use crate::kernels::funnel::{MAX_STEPS, StepEvent, by_time, condition_bits, deepest_step, join_simultaneous};
use crate::kernels::grouped_log::{ByGroup, GroupedLog, join_neighbours, kept_rows};
use crate::kernels::order_keys::for_each_kept;
use crate::kernels::ragged::{fields, list_type, spread, struct_lists};
use crate::time_arguments::{SpanArgument, coerce_time, instants};

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Returns how deep into a funnel the group's events go, as INT: the greatest k for which there are events that meet \
         step1 to stepk, none earlier than the one before and none more than window after the first of them; 0 if none meets \
         step1. Other events may lie between, one event can meet several steps, and events at one instant are in whichever \
         order goes deepest, as in ClickHouse's windowFunnel. Events whose ts is NULL are left out.",
        "funnel(ts, window, step1[, step2, …])",
    )
    .with_sql_example("```sql\n> SELECT funnel(t, 60, e = 'view', e = 'cart', e = 'buy') AS depth FROM (VALUES (0, 'view'), (10, 'cart'), (61, 'buy')) AS x(t, e);\n\
             +-------+\n\
             | depth |\n\
             +-------+\n\
             | 2     |\n\
             +-------+\n\
             ```")
    .with_argument("ts", "When the event happened: a TIMESTAMP, a DATE, or an integer in any unit.")
    .with_argument("window", "Literal: an INTERVAL without months, or an integer where ts is one; greater than 0.")
    .with_argument("step1, step2, …", "One to 32 conditions, BOOLEAN; NULL is false.")
    .with_related_udf("retention")
    .build()
});

const WINDOW: SpanArgument = SpanArgument { function: "funnel", position: 2, name: "window" };

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Funnel {
    signature: Signature,
}

impl Default for Funnel {
    fn default() -> Self {
        Self::new()
    }
}

impl Funnel {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

fn event_fields() -> Fields {
    fields(&[("instant", DataType::Int64), ("steps", DataType::UInt32)])
}

impl AggregateUDFImpl for Funnel {
    fn name(&self) -> &str {
        "funnel"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [ts, window, steps @ ..] = arg_types else {
            return plan_err!("funnel takes ts, a window and steps, not {} arguments", arg_types.len());
        };
        let time = coerce_time("funnel", 1, ts, Some(window))?;
        let mut types = vec![time.clone(), WINDOW.coerce(window, &time)?];
        types.extend(coerce_conditions("funnel", "step", 3, steps, MAX_STEPS)?);
        Ok(types)
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, _data_type: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Int32(Some(0)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "events"), list_type(DataType::Struct(event_fields())), true))])
    }

    fn accumulator(&self, acc_args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::with_state_apart(Grouped::new(FunnelEvents::of_call(&acc_args)?))))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Grouped::new(FunnelEvents::of_call(&args)?)))
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        Some(Box::new(|call, _| {
            refuse_modifiers(&call)?;
            WINDOW.require_literal(&call.params.args)?;
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

/// The events of all groups that meet a step.
struct FunnelEvents {
    window: i64,
    steps: usize,
    log: GroupedLog<StepEvent>,
}

impl FunnelEvents {
    fn of_call(args: &AccumulatorArgs) -> Result<Self> {
        refuse_distinct("funnel", args)?;
        let window = WINDOW.planned_literal(args.exprs, args.expr_fields[0].data_type())?;
        Ok(Self { window, steps: args.exprs.len() - 2, log: GroupedLog::default() })
    }

    fn squeeze_if_grown(&mut self) {
        self.log.squeeze_if_grown(by_time, |events| join_neighbours(events, join_simultaneous));
    }

    fn take_first(&mut self, groups: usize) -> ByGroup<StepEvent> {
        let mut events = self.log.take_first(groups);
        events.squeeze(by_time, |events| join_neighbours(events, join_simultaneous));
        events
    }
}

impl GroupedState for FunnelEvents {
    fn fresh(&self) -> Self {
        Self { window: self.window, steps: self.steps, log: GroupedLog::default() }
    }

    fn insert(&mut self, values: &[ArrayRef], groups: &[usize], keep: Option<&BooleanBuffer>, total_groups: usize) -> Result<()> {
        self.log.grow_to(total_groups)?;
        let instants = instants(&values[0])?;
        let steps = condition_bits(values[2..].iter().map(|step| step.as_ref()), instants.len());
        let kept = kept_rows(keep, instants.nulls());
        for_each_kept(groups, kept.as_ref(), |row, group| {
            if steps[row] != 0 {
                self.log.push(group, StepEvent { instant: instants.value(row), steps: steps[row] });
            }
        });
        self.squeeze_if_grown();
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total_groups: usize) -> Result<()> {
        self.log.grow_to(total_groups)?;
        let (events, groups) = spread(states[0].as_list::<i32>(), groups);
        let instants = events.as_struct().column(0).as_primitive::<Int64Type>().values();
        let steps = events.as_struct().column(1).as_primitive::<UInt32Type>().values();
        for (row, group) in groups.iter().enumerate() {
            self.log.push(*group, StepEvent { instant: instants[row], steps: steps[row] });
        }
        self.squeeze_if_grown();
        Ok(())
    }

    fn take_value(&mut self, groups: usize) -> Result<ArrayRef> {
        let events = self.take_first(groups);
        let depths = events.iter().map(|events| deepest_step(events, self.window, self.steps) as i32);
        Ok(Arc::new(Int32Array::from_iter_values(depths)))
    }

    fn take_state(&mut self, groups: usize) -> Result<Vec<ArrayRef>> {
        let ByGroup { starts, rows } = self.take_first(groups);
        let instants = Int64Array::from_iter_values(rows.iter().map(|event| event.instant));
        let steps = UInt32Array::from_iter_values(rows.iter().map(|event| event.steps));
        Ok(vec![Arc::new(struct_lists(event_fields(), vec![Arc::new(instants), Arc::new(steps)], &starts)?)])
    }

    fn allocated_bytes(&self) -> usize {
        self.log.allocated_bytes()
    }
}
