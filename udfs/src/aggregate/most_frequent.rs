//! `most_frequent(x)`: the value that occurs most often, and the counting that it shares with `vocabulary`.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Documentation, Signature, Volatility};

use super::STATISTICS;
use super::grouped_state::refuse_distinct;
use crate::kernels::ragged::{list_type, lists};
use crate::kernels::value_counts::ValueCounts;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        STATISTICS,
        "Returns the value that occurs most often; of several, the least (the first of the alphabet). NULL is not counted. Keeps every distinct value in \
         memory.",
        "most_frequent(x)",
    )
    .with_sql_example(
        "```sql\n> SELECT most_frequent(x) AS m FROM (VALUES ('b'), ('a'), ('b'), (NULL)) AS t(x);\n\
             +---+\n\
             | m |\n\
             +---+\n\
             | b |\n\
             +---+\n\
             ```",
    )
    .with_argument("x", "Values of any type that can be sorted.")
    .build()
});

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct MostFrequent {
    signature: Signature,
}

impl Default for MostFrequent {
    fn default() -> Self {
        Self::new()
    }
}

impl MostFrequent {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for MostFrequent {
    fn name(&self) -> &str {
        "most_frequent"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [one] => Ok(vec![one.clone()]),
            _ => plan_err!("most_frequent takes one value, not {} arguments", arg_types.len()),
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types.first().cloned().unwrap_or(DataType::Null))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(args.name, args.input_fields[0].data_type()))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(self.name(), &args)?;
        let data_type = args.expr_fields[0].data_type().clone();
        let none = ScalarValue::try_from(&data_type)?;
        Ok(Box::new(Counting::new(&data_type, move |counts| {
            let found = counts.most_frequent(1, 0)?;
            if found.is_empty() { Ok(none.clone()) } else { ScalarValue::try_from_array(&found, 0) }
        })?))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

/// The columns of a state of [`Counting`].
pub(super) fn state_fields(name: &str, value: &DataType) -> Vec<FieldRef> {
    let field = |part: &str, item: DataType| Arc::new(Field::new(format_state_name(name, part), list_type(item), true));
    vec![field("values", value.clone()), field("counts", DataType::Int64)]
}

/// Counts values; `finish` makes the result of the counts.
pub(super) struct Counting<F> {
    counts: ValueCounts,
    finish: F,
}

impl<F> std::fmt::Debug for Counting<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counting").finish_non_exhaustive()
    }
}

impl<F: Fn(&ValueCounts) -> Result<ScalarValue>> Counting<F> {
    pub(super) fn new(data_type: &DataType, finish: F) -> Result<Self> {
        Ok(Self { counts: ValueCounts::new(data_type)?, finish })
    }
}

impl<F: Fn(&ValueCounts) -> Result<ScalarValue> + Send + Sync + 'static> Accumulator for Counting<F> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        Ok(self.counts.add(&values[0], |_| 1)?)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (values, counts) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        for (values, counts) in values.iter().zip(counts.iter()) {
            let (Some(values), Some(counts)) = (values, counts) else { continue };
            let counts = counts.as_primitive::<Int64Type>();
            self.counts.add(&values, |at| counts.value(at) as u64)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        (self.finish)(&self.counts)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (values, counts) = self.counts.ascending()?;
        let ends = [0, counts.len()];
        let counts: ArrayRef = Arc::new(Int64Array::from_iter_values(counts.iter().map(|count| *count as i64)));
        let list = |column| -> Result<ScalarValue> { Ok(ScalarValue::List(Arc::new(lists(column, &ends)?))) };
        Ok(vec![list(values)?, list(counts)?])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.counts.allocated_bytes()
    }
}
