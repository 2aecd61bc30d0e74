//! `vocabulary(text[, top_k[, frequency_threshold]])`: the values of a column in alphabetical order, for encoders.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Documentation, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;

use super::STATISTICS;
use super::grouped_state::refuse_distinct;
use super::most_frequent::{Counting, state_fields};
use crate::kernels::ragged::{list_type, lists};

/// How many values are kept unless told otherwise, as in BigQuery ML.
const TOP_K: i64 = 32_000;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        STATISTICS,
        "Returns the distinct texts in alphabetical order, as a list: the vocabulary of ML.LABEL_ENCODER and ML.ONE_HOT_ENCODER. NULL is left out. The list \
         is dictionary-encoded, so that it lies in memory once however many rows it stands beside.",
        "vocabulary(text[, top_k[, frequency_threshold]])",
    )
    .with_sql_example(
        "```sql\n> SELECT vocabulary(x) AS v FROM (VALUES ('b'), ('a'), ('b'), (NULL)) AS t(x);\n\
             +--------+\n\
             | v      |\n\
             +--------+\n\
             | [a, b] |\n\
             +--------+\n\
             ```",
    )
    .with_argument("text", "Texts.")
    .with_argument("top_k", "How many of the most frequent to keep, of equally frequent ones the first; a literal, 32000 by default.")
    .with_argument("frequency_threshold", "How often a text has to occur at least; a literal, 0 by default.")
    .build()
});

/// The type of a vocabulary.
pub fn vocabulary_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(list_type(DataType::Utf8)))
}

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Vocabulary {
    signature: Signature,
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self::new()
    }
}

impl Vocabulary {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Vocabulary {
    fn name(&self) -> &str {
        "vocabulary"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [text, limits @ ..] = arg_types else { return plan_err!("vocabulary needs an argument") };
        if !text.is_string() && !text.is_null() {
            return plan_err!("vocabulary: argument 1, text, must be a text, not {text}");
        }
        if limits.len() > 2 || limits.iter().any(|limit| !limit.is_integer()) {
            return plan_err!("vocabulary takes a text and two whole numbers at most, top_k and frequency_threshold");
        }
        Ok(std::iter::once(DataType::Utf8).chain(limits.iter().map(|_| DataType::Int64)).collect())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(vocabulary_type())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(args.name, &DataType::Utf8))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(self.name(), &args)?;
        let limit = |at: usize, name: &str, default: i64| match args.exprs.get(at).map(|e| e.downcast_ref::<Literal>().map(Literal::value))
        {
            None => Ok(default),
            Some(Some(ScalarValue::Int64(Some(value)))) if *value >= 0 => Ok(*value),
            Some(_) => exec_err!("vocabulary: argument {}, {name}, must be a literal whole number from 0 on", at + 1),
        };
        let (top_k, threshold) = (limit(1, "top_k", TOP_K)?, limit(2, "frequency_threshold", 0)?);
        Ok(Box::new(Counting::new(&DataType::Utf8, move |counts| {
            let found = counts.most_frequent(usize::try_from(top_k).unwrap_or(usize::MAX), threshold.unsigned_abs())?;
            let ends = [0, found.len()];
            let list = ScalarValue::List(Arc::new(lists(found, &ends)?));
            Ok(ScalarValue::Dictionary(Box::new(DataType::Int32), Box::new(list)))
        })?))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}
