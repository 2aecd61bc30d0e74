//! `retention(cond1, cond2, …)`: which conditions were met by groups that met the first.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, UInt32Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Signature, Volatility};

use super::grouped_state::{Grouped, GroupedState, refuse_modifiers};
use super::one_group::OneGroup;
use super::{SECTION, coerce_conditions, empty_list};
use crate::kernels::funnel::{MAX_STEPS, condition_bits, retained};
use crate::kernels::order_keys::for_each_kept;
use crate::kernels::ragged::{list_type, lists};

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Returns a list of as many BOOLEANs as there are conditions: the first is whether any row of the group meets cond1, and \
         each of the others whether any row meets that condition and any row meets cond1. Rows need not be the same, and their \
         order does not matter.",
        "retention(cond1[, cond2, …])",
    )
    .with_sql_example(
        "```sql\n> SELECT u, retention(d = 1, d = 2, d = 3) AS r FROM (VALUES (1, 1), (1, 3), (2, 2)) AS t(u, d) GROUP BY u ORDER BY u;\n\
             +---+-----------------------+\n\
             | u | r                     |\n\
             +---+-----------------------+\n\
             | 1 | [true, false, true]   |\n\
             | 2 | [false, false, false] |\n\
             +---+-----------------------+\n\
             ```",
    )
    .with_argument("cond1, cond2, …", "One to 32 conditions, BOOLEAN; NULL is false.")
    .with_related_udf("funnel")
    .build()
});

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Retention {
    signature: Signature,
}

impl Default for Retention {
    fn default() -> Self {
        Self::new()
    }
}

impl Retention {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Retention {
    fn name(&self) -> &str {
        "retention"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        coerce_conditions("retention", "cond", 1, arg_types, MAX_STEPS)
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(list_type(DataType::Boolean))
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        empty_list(data_type)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "met"), DataType::UInt32, true))])
    }

    fn accumulator(&self, acc_args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::with_state_apart(Grouped::new(MetConditions::new(acc_args.exprs.len())))))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Grouped::new(MetConditions::new(args.exprs.len()))))
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        Some(Box::new(|call, _| {
            refuse_modifiers(&call)?;
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

/// Per group a bit for every condition that some row met.
struct MetConditions {
    conditions: usize,
    met: Vec<u32>,
}

impl MetConditions {
    fn new(conditions: usize) -> Self {
        Self { conditions, met: Vec::new() }
    }

    fn take_first(&mut self, groups: usize) -> Vec<u32> {
        self.grow_to(groups);
        let rest = self.met.split_off(groups);
        std::mem::replace(&mut self.met, rest)
    }

    fn grow_to(&mut self, total_groups: usize) {
        self.met.resize(total_groups.max(self.met.len()), 0);
    }
}

impl GroupedState for MetConditions {
    fn fresh(&self) -> Self {
        Self::new(self.conditions)
    }

    fn insert(&mut self, values: &[ArrayRef], groups: &[usize], keep: Option<&BooleanBuffer>, total_groups: usize) -> Result<()> {
        self.grow_to(total_groups);
        let bits = condition_bits(values.iter().map(|condition| condition.as_ref()), groups.len());
        for_each_kept(groups, keep, |row, group| self.met[group] |= bits[row]);
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total_groups: usize) -> Result<()> {
        self.grow_to(total_groups);
        let met = states[0].as_primitive::<UInt32Type>().values();
        for (group, met) in groups.iter().zip(met) {
            self.met[*group] |= met;
        }
        Ok(())
    }

    fn take_value(&mut self, groups: usize) -> Result<ArrayRef> {
        let met = self.take_first(groups);
        let starts: Vec<usize> = (0..=groups).map(|group| group * self.conditions).collect();
        Ok(Arc::new(lists(Arc::new(retained(&met, self.conditions)), &starts)?))
    }

    fn take_state(&mut self, groups: usize) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(UInt32Array::from(self.take_first(groups)))])
    }

    fn allocated_bytes(&self) -> usize {
        self.met.capacity() * size_of::<u32>()
    }
}
