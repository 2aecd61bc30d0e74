//! `sequence_match(pattern, ts, cond1, …)` and `sequence_count(pattern, ts, cond1, …)`: is there a chain of events that a
//! pattern describes, and how many.

use std::cmp::Ordering;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type, TimeUnit, UInt32Type};
use datafusion::common::{Result, ScalarValue, plan_datafusion_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Signature, Volatility};

use super::grouped_state::{Grouped, GroupedState, refuse_distinct, refuse_modifiers};
use super::one_group::OneGroup;
use super::{SECTION, coerce_conditions};
use crate::kernels::event_pattern::EventPattern;
use crate::kernels::funnel::{MAX_STEPS, StepEvent, condition_bits};
use crate::kernels::grouped_log::{ByGroup, GroupedLog, kept_rows};
use crate::kernels::order_keys::for_each_kept;
use crate::kernels::ragged::{fields, list_type, spread, struct_lists};
use crate::time_arguments::{coerce_time, instants, literal};

const SEMANTICS: &str = "The pattern is in ClickHouse's notation: (?N) is an event that meets condition N; . is any event; .* is any \
     number of events, also none; (?t<=D), or <, >=, > or ==, between two events is any number of events, and the time from the \
     event before to the event after compared with D, in seconds, or where ts is an integer in its unit. Elsewhere events follow \
     one another directly. Only events that meet some condition are seen, in the order of ts and, where that is equal, those \
     that meet earlier conditions first. Events whose ts is NULL are left out.";

static MATCH: LazyLock<Documentation> = LazyLock::new(|| {
    documentation(
        format!("Returns whether some chain of the group's events fits the pattern, as BOOLEAN. {SEMANTICS}"),
        "sequence_match(pattern, ts, cond1[, cond2, …])",
        "```sql\n> SELECT sequence_match('(?1)(?t<=60)(?2)', t, e = 'view', e = 'buy') AS bought FROM (VALUES (0, 'view'), (10, 'cart'), (60, 'buy')) AS x(t, e);\n\
             +--------+\n\
             | bought |\n\
             +--------+\n\
             | true   |\n\
             +--------+\n\
             ```",
        "sequence_count",
    )
});

static COUNT: LazyLock<Documentation> = LazyLock::new(|| {
    documentation(
        format!("Returns how many chains of the group's events, one after another, fit the pattern, as BIGINT. {SEMANTICS}"),
        "sequence_count(pattern, ts, cond1[, cond2, …])",
        "```sql\n> SELECT sequence_count('(?1)(?2)', t, e = 'view', e = 'buy') AS times FROM (VALUES (0, 'view'), (1, 'buy'), (2, 'view'), (3, 'view'), (4, 'buy')) AS x(t, e);\n\
             +-------+\n\
             | times |\n\
             +-------+\n\
             | 2     |\n\
             +-------+\n\
             ```",
        "sequence_match",
    )
});

fn documentation(description: String, syntax: &str, example: &str, related: &str) -> Documentation {
    Documentation::builder(SECTION, description, syntax)
        .with_sql_example(example)
        .with_argument("pattern", "Literal text; what is no pattern is an error that names the place.")
        .with_argument("ts", "When the event happened: a TIMESTAMP, a DATE, or an integer in any unit.")
        .with_argument("cond1, cond2, …", "One to 32 conditions, BOOLEAN; NULL is false.")
        .with_related_udf(related)
        .with_related_udf("funnel")
        .build()
}

/// Either of the two functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Sequence {
    signature: Signature,
    counts: bool,
}

impl Sequence {
    /// `sequence_match`.
    pub fn matching() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable), counts: false }
    }

    /// `sequence_count`.
    pub fn counting() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable), counts: true }
    }

    fn events_of_call(&self, args: &AccumulatorArgs) -> Result<SequenceEvents> {
        let function = name(self.counts);
        refuse_distinct(function, args)?;
        let Some(pattern) = literal(&args.exprs[0]) else {
            return plan_err!("{function}: argument 1, pattern, must be a literal");
        };
        let per_second = match args.expr_fields[1].data_type() {
            DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000,
            DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000_000,
            DataType::Timestamp(TimeUnit::Nanosecond, _) => 1_000_000_000,
            _ => 1,
        };
        let pattern = read_pattern(function, pattern, args.exprs.len() - 2)?.scaled(per_second);
        Ok(SequenceEvents { pattern: Arc::new(pattern), counts: self.counts, log: GroupedLog::default() })
    }
}

fn name(counts: bool) -> &'static str {
    if counts { "sequence_count" } else { "sequence_match" }
}

fn read_pattern(function: &str, pattern: &ScalarValue, conditions: usize) -> Result<EventPattern> {
    let Some(text) = pattern.try_as_str().flatten() else {
        return plan_err!("{function}: argument 1, pattern, must not be NULL");
    };
    EventPattern::parse(text, conditions).map_err(|e| plan_datafusion_err!("{function}: argument 1, pattern: {e}"))
}

fn event_fields() -> Fields {
    fields(&[("instant", DataType::Int64), ("conditions", DataType::UInt32)])
}

impl AggregateUDFImpl for Sequence {
    fn name(&self) -> &str {
        name(self.counts)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let function = self.name();
        let [pattern, ts, conditions @ ..] = arg_types else {
            return plan_err!("{function} takes a pattern, ts and conditions, not {} arguments", arg_types.len());
        };
        if !pattern.is_string() && !pattern.is_null() {
            return plan_err!("{function}: argument 1, pattern, must be text, not {pattern}");
        }
        // Seconds, in which patterns count, are parts of a day.
        let time = match coerce_time(function, 2, ts, None)? {
            DataType::Date32 => DataType::Timestamp(TimeUnit::Second, None),
            other => other,
        };
        let mut types = vec![DataType::Utf8, time];
        types.extend(coerce_conditions(function, "cond", 3, conditions, MAX_STEPS)?);
        Ok(types)
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(if self.counts { DataType::Int64 } else { DataType::Boolean })
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, _data_type: &DataType) -> Result<ScalarValue> {
        Ok(if self.counts { ScalarValue::Int64(Some(0)) } else { ScalarValue::Boolean(Some(false)) })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "events"), list_type(DataType::Struct(event_fields())), true))])
    }

    fn accumulator(&self, acc_args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::with_state_apart(Grouped::new(self.events_of_call(&acc_args)?))))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Grouped::new(self.events_of_call(&args)?)))
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        let function = name(self.counts);
        Some(Box::new(move |call, _| {
            refuse_modifiers(&call)?;
            match call.params.args.first() {
                Some(Expr::Literal(pattern, _)) => read_pattern(function, pattern, call.params.args.len().saturating_sub(2))?,
                _ => return plan_err!("{function}: argument 1, pattern, must be a literal"),
            };
            Ok(Expr::AggregateFunction(call))
        }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(if self.counts { &COUNT } else { &MATCH })
    }
}

/// The events of all groups that meet a condition.
struct SequenceEvents {
    pattern: Arc<EventPattern>,
    counts: bool,
    log: GroupedLog<StepEvent>,
}

/// Of simultaneous events those with earlier conditions come first, so that every partitioning gives the same answer.
fn in_order(a: &StepEvent, b: &StepEvent) -> Ordering {
    let by_conditions = || a.steps.trailing_zeros().cmp(&b.steps.trailing_zeros()).then(a.steps.cmp(&b.steps));
    a.instant.cmp(&b.instant).then_with(by_conditions)
}

impl GroupedState for SequenceEvents {
    fn fresh(&self) -> Self {
        Self { pattern: Arc::clone(&self.pattern), counts: self.counts, log: GroupedLog::default() }
    }

    fn insert(&mut self, values: &[ArrayRef], groups: &[usize], keep: Option<&BooleanBuffer>, total_groups: usize) -> Result<()> {
        self.log.grow_to(total_groups)?;
        let instants = instants(&values[1])?;
        let met = condition_bits(values[2..].iter().map(|condition| condition.as_ref()), instants.len());
        let kept = kept_rows(keep, instants.nulls());
        for_each_kept(groups, kept.as_ref(), |row, group| {
            if met[row] != 0 {
                self.log.push(group, StepEvent { instant: instants.value(row), steps: met[row] });
            }
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total_groups: usize) -> Result<()> {
        self.log.grow_to(total_groups)?;
        let (events, groups) = spread(states[0].as_list::<i32>(), groups);
        let instants = events.as_struct().column(0).as_primitive::<Int64Type>().values();
        let met = events.as_struct().column(1).as_primitive::<UInt32Type>().values();
        for (row, group) in groups.iter().enumerate() {
            self.log.push(*group, StepEvent { instant: instants[row], steps: met[row] });
        }
        Ok(())
    }

    fn take_value(&mut self, groups: usize) -> Result<ArrayRef> {
        let mut events = self.log.take_first(groups);
        events.squeeze(in_order, |events| events.len());
        let mut matcher = self.pattern.matcher();
        if self.counts {
            return Ok(Arc::new(Int64Array::from_iter_values(events.iter().map(|events| matcher.count(events)))));
        }
        Ok(Arc::new(BooleanArray::from_iter(events.iter().map(|events| Some(matcher.find(events).is_some())))))
    }

    fn take_state(&mut self, groups: usize) -> Result<Vec<ArrayRef>> {
        let ByGroup { starts, rows } = self.log.take_first(groups);
        let instants = Int64Array::from_iter_values(rows.iter().map(|event| event.instant));
        let met = UInt32Array::from_iter_values(rows.iter().map(|event| event.steps));
        Ok(vec![Arc::new(struct_lists(event_fields(), vec![Arc::new(instants), Arc::new(met)], &starts)?)])
    }

    fn allocated_bytes(&self) -> usize {
        self.log.allocated_bytes()
    }
}
