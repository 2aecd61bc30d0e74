//! `exact_quantiles(x, [p, …])`: percentiles by sorting, interpolated as NumPy does by default.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Documentation, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;

use super::STATISTICS;
use super::grouped_state::refuse_distinct;
use crate::kernels::quantiles::quantiles;
use crate::kernels::ragged::{list_type, lists};

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        STATISTICS,
        "Returns the percentiles of the numbers that are not NULL, as a list of DOUBLE in the order of the fractions: exact, by sorting, and interpolated \
         linearly between neighbours as NumPy and pandas do. NULL without numbers. NaN and infinity are errors. Keeps all numbers in memory.",
        "exact_quantiles(x, fractions)",
    )
    .with_sql_example(
        "```sql\n> SELECT exact_quantiles(x, [0, 0.5, 1]) AS q FROM (VALUES (1), (2), (3), (10)) AS t(x);\n\
             +------------------+\n\
             | q                |\n\
             +------------------+\n\
             | [1.0, 2.5, 10.0] |\n\
             +------------------+\n\
             ```",
    )
    .with_argument("x", "Numbers.")
    .with_argument("fractions", "A literal list of numbers from 0 to 1.")
    .with_related_udf("exact_moments")
    .build()
});

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct QuantilesFunction {
    signature: Signature,
}

impl Default for QuantilesFunction {
    fn default() -> Self {
        Self::new()
    }
}

impl QuantilesFunction {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

fn numbers() -> DataType {
    list_type(DataType::Float64)
}

impl AggregateUDFImpl for QuantilesFunction {
    fn name(&self) -> &str {
        "exact_quantiles"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [x, fractions] = arg_types else {
            return plan_err!("exact_quantiles takes numbers and a list of fractions, not {} arguments", arg_types.len());
        };
        if !x.is_numeric() && !x.is_null() {
            return plan_err!("exact_quantiles: argument 1, x, must be a number, not {x}");
        }
        match fractions {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) if item.data_type().is_numeric() => {
                Ok(vec![DataType::Float64, numbers()])
            }
            other => plan_err!("exact_quantiles: argument 2, fractions, must be a list of numbers, not {other}"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(numbers())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "numbers"), numbers(), true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(self.name(), &args)?;
        let literal = args.exprs.get(1).and_then(|e| e.downcast_ref::<Literal>()).map(Literal::value);
        let fractions = match literal {
            Some(ScalarValue::List(list)) if list.len() == 1 && list.is_valid(0) => list.value(0),
            _ => return exec_err!("exact_quantiles: argument 2, fractions, must be a literal list"),
        };
        let fractions: Vec<f64> = fractions.as_primitive::<Float64Type>().iter().map(|f| f.unwrap_or(f64::NAN)).collect();
        if let Some(wrong) = fractions.iter().find(|f| !(0.0..=1.0).contains(*f)) {
            return exec_err!("exact_quantiles: argument 2, fractions, holds {wrong}; they go from 0 to 1");
        }
        Ok(Box::new(Numbers { fractions, numbers: Vec::new() }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

/// All numbers so far.
#[derive(Debug)]
struct Numbers {
    fractions: Vec<f64>,
    numbers: Vec<f64>,
}

impl Numbers {
    fn list(&self, numbers: Vec<f64>) -> Result<ScalarValue> {
        let ends = [0, numbers.len()];
        let numbers = Float64Array::new(ScalarBuffer::from(numbers), None);
        Ok(ScalarValue::List(Arc::new(lists(Arc::new(numbers), &ends)?)))
    }
}

impl Accumulator for Numbers {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<Float64Type>();
        let known = self.numbers.len();
        if values.null_count() == 0 {
            self.numbers.extend_from_slice(values.values());
        } else {
            self.numbers.extend(values.iter().flatten());
        }
        match self.numbers[known..].iter().find(|value| !value.is_finite()) {
            None => Ok(()),
            Some(value) => {
                exec_err!(
                    "exact_quantiles: argument 1, x, holds {value}; filter such rows, or turn such values into NULL with NULLIF or CASE"
                )
            }
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for numbers in states[0].as_list::<i32>().iter().flatten() {
            self.numbers.extend_from_slice(numbers.as_primitive::<Float64Type>().values());
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.numbers.is_empty() {
            return ScalarValue::try_from(&numbers());
        }
        let found = quantiles(&mut self.numbers, &self.fractions);
        self.list(found)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let numbers = std::mem::take(&mut self.numbers);
        Ok(vec![self.list(numbers)?])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + (self.numbers.capacity() + self.fractions.capacity()) * size_of::<f64>()
    }
}
