//! `exact_moments(x)`: count, mean, deviation and extremes of a column, the same to the bit in whatever order its rows come.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int64Array, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Documentation, Signature, Volatility};
use orrery_models::exact_sum::ExactMoments;

use super::STATISTICS;
use super::grouped_state::refuse_distinct;

/// Squares of larger numbers cannot be summed.
const LARGEST: f64 = 1e150;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        STATISTICS,
        "Returns count, mean, stddev (of a sample: divided by count - 1), min, max and max_abs of the numbers that are not NULL, as a STRUCT. Sums are \
         exact and rounded once, so the result is the same to the bit in whatever order and division the rows come. NaN, infinity and numbers beyond \
         1e150 are errors.",
        "exact_moments(x)",
    )
    .with_sql_example(
        "```sql\n> SELECT m['count'] AS n, m['mean'] AS mean, m['max_abs'] AS max_abs FROM (SELECT exact_moments(x) AS m FROM (VALUES (1e100), (1), (2), (-1e100), (NULL)) AS t(x)) AS s;\n\
             +---+------+---------+\n\
             | n | mean | max_abs |\n\
             +---+------+---------+\n\
             | 4 | 0.75 | 1e100   |\n\
             +---+------+---------+\n\
             ```",
    )
    .with_argument("x", "Numbers.")
    .build()
});

/// The fields of the result.
pub fn fields() -> Fields {
    let number = |name: &str| Field::new(name, DataType::Float64, true);
    let mut fields = vec![Field::new("count", DataType::Int64, true)];
    fields.extend(["mean", "stddev", "min", "max", "max_abs"].map(number));
    fields.into()
}

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct MomentsFunction {
    signature: Signature,
}

impl Default for MomentsFunction {
    fn default() -> Self {
        Self::new()
    }
}

impl MomentsFunction {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for MomentsFunction {
    fn name(&self) -> &str {
        "exact_moments"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [one] if one.is_numeric() || one.is_null() => Ok(vec![DataType::Float64]),
            [one] => plan_err!("exact_moments: argument 1, x, must be a number, not {one}"),
            _ => plan_err!("exact_moments takes one number, not {} arguments", arg_types.len()),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(fields()))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sums"), DataType::Binary, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(self.name(), &args)?;
        Ok(Box::new(Moments::default()))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

/// Sums so far, and the least and the greatest number.
#[derive(Debug, Default)]
struct Moments {
    sums: ExactMoments,
    range: Option<(f64, f64)>,
}

impl Moments {
    fn widen(&mut self, low: f64, high: f64) {
        let (least, most) = self.range.unwrap_or((low, high));
        // The total order tells -0.0 from 0.0, so that the rows' order cannot.
        self.range =
            Some((if low.total_cmp(&least).is_lt() { low } else { least }, if high.total_cmp(&most).is_gt() { high } else { most }));
    }

    fn add(&mut self, values: &[f64]) -> Result<()> {
        for value in values {
            if value.is_nan() || value.abs() > LARGEST {
                return exec_err!(
                    "exact_moments: argument 1, x, holds {value}; filter such rows, or turn such values into NULL with NULLIF or CASE"
                );
            }
            self.widen(*value, *value);
        }
        self.sums.add_slice(values);
        Ok(())
    }
}

impl Accumulator for Moments {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<Float64Type>();
        if values.null_count() == 0 {
            return self.add(values.values());
        }
        self.add(&values.iter().flatten().collect::<Vec<_>>())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for bytes in states[0].as_binary::<i32>().iter().flatten() {
            let (sums, range): (ExactMoments, Option<(f64, f64)>) =
                postcard::from_bytes(bytes).map_err(|e| exec_datafusion_err!("exact_moments: a state is damaged: {e}"))?;
            self.sums.merge(&sums);
            if let Some((low, high)) = range {
                self.widen(low, high);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let (low, high) = (self.range.map(|r| r.0), self.range.map(|r| r.1));
        let count = i64::try_from(self.sums.count).unwrap_or(i64::MAX);
        let numbers =
            [self.sums.mean(), self.sums.sample_variance().map(f64::sqrt), low, high, self.range.map(|r| r.0.abs().max(r.1.abs()))];
        let numbers = numbers.map(|number| Arc::new(Float64Array::from(vec![number])) as ArrayRef);
        let columns = std::iter::once(Arc::new(Int64Array::from(vec![count])) as ArrayRef).chain(numbers).collect();
        Ok(ScalarValue::Struct(Arc::new(StructArray::try_new(fields(), columns, None)?)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let bytes = postcard::to_allocvec(&(&self.sums, self.range)).map_err(|e| exec_datafusion_err!("exact_moments: {e}"))?;
        Ok(vec![ScalarValue::try_from_array(&BinaryArray::from(vec![bytes.as_slice()]), 0)?])
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}
