//! `ml_hash_bucketize(text, n)`: a bucket by the text's hash.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::PREPARATION;
use crate::kernels::xxhash64::{SPARK_SEED, hash_bytes};

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        PREPARATION,
        "Returns a number from 0 to n - 1 for a text, as BIGINT: its xxhash64 modulo n, or all of its xxhash64 where n is 0. NULL for NULL. (BigQuery ML \
         uses another hash; the buckets are as many, but other texts share one.)",
        "ML.HASH_BUCKETIZE(text, n)",
    )
    .with_sql_example(
        "```sql\n> SELECT ML.HASH_BUCKETIZE('a', 10) AS a, ML.HASH_BUCKETIZE('b', 10) AS b, ML.HASH_BUCKETIZE('a', 0) AS whole;\n\
             +---+---+----------------------+\n\
             | a | b | whole                |\n\
             +---+---+----------------------+\n\
             | 6 | 9 | -8582455328737087284 |\n\
             +---+---+----------------------+\n\
             ```",
    )
    .with_argument("text", "A text.")
    .with_argument("n", "How many buckets there are, a whole number from 0 on.")
    .with_related_udf("xxhash64")
    .build()
});

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct HashBucketize {
    signature: Signature,
}

impl Default for HashBucketize {
    fn default() -> Self {
        Self::new()
    }
}

impl HashBucketize {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for HashBucketize {
    fn name(&self) -> &str {
        "ml_hash_bucketize"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [text, n] if (text.is_string() || text.is_null()) && n.is_integer() => Ok(vec![DataType::Utf8, DataType::Int64]),
            [text, n] if n.is_integer() => plan_err!("ML.HASH_BUCKETIZE: argument 1, text, must be a text, not {text}"),
            [_, n] => plan_err!("ML.HASH_BUCKETIZE: argument 2, n, must be a whole number, not {n}"),
            _ => plan_err!("ML.HASH_BUCKETIZE takes a text and a number of buckets, not {} arguments", arg_types.len()),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (texts, counts) = (args.args[0].to_array(args.number_rows)?, args.args[1].to_array(args.number_rows)?);
        let (texts, counts) = (texts.as_string::<i32>(), counts.as_primitive::<Int64Type>());
        let mut buckets = Vec::with_capacity(texts.len());
        for (text, count) in texts.iter().zip(counts) {
            let bucket = match (text, count) {
                (_, Some(count)) if count < 0 => {
                    return exec_err!("ML.HASH_BUCKETIZE: argument 2, n, is {count}; it goes from 0 on");
                }
                (Some(text), Some(count)) => {
                    let hash = hash_bytes(text.as_bytes(), SPARK_SEED) as i64;
                    Some(if count == 0 { hash } else { hash.rem_euclid(count) })
                }
                _ => None,
            };
            buckets.push(bucket);
        }
        Ok(ColumnarValue::Array(Arc::new(Int64Array::from(buckets))))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}
