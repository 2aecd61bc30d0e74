//! `train_test_split(key, fraction[, seed])`: deals rows out to training and test by a hash of their key.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use orrery_models::keyed_random::uniform;

use super::PREPARATION;
use crate::kernels::spark_hash::{hash_column, is_hashable};
use crate::kernels::xxhash64::SPARK_SEED;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        PREPARATION,
        "Returns 'TRAIN' for about a fraction of the keys and 'TEST' for the others. It depends on the key and the seed alone: the same key is always on the \
         same side, in any query, order and division of the rows, and a greater fraction only moves keys from test to training. Keys of whole numbers are the \
         same for every width of their type. Several columns make one key with xxhash64(a, b). NULL is a key like any other.",
        "train_test_split(key, fraction[, seed])",
    )
    .with_sql_example(
        "```sql\n> SELECT train_test_split(1, 0.8) AS one, train_test_split(3, 0.8) AS three, train_test_split(3, 0.8, 7) AS three_of_seed_7;\n\
             +-------+-------+-----------------+\n\
             | one   | three | three_of_seed_7 |\n\
             +-------+-------+-----------------+\n\
             | TRAIN | TEST  | TRAIN           |\n\
             +-------+-------+-----------------+\n\
             ```",
    )
    .with_argument("key", "What tells rows apart, of any type that xxhash64 takes.")
    .with_argument("fraction", "The share of the keys that is for training, from 0 to 1.")
    .with_argument("seed", "A whole number; another seed deals the keys out anew. 0 by default.")
    .build()
});

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct TrainTestSplit {
    signature: Signature,
}

impl Default for TrainTestSplit {
    fn default() -> Self {
        Self::new()
    }
}

impl TrainTestSplit {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for TrainTestSplit {
    fn name(&self) -> &str {
        "train_test_split"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let (key, fraction, seed) = match arg_types {
            [key, fraction] => (key, fraction, None),
            [key, fraction, seed] => (key, fraction, Some(seed)),
            _ => return plan_err!("train_test_split takes a key, a fraction and a seed at most, not {} arguments", arg_types.len()),
        };
        if !is_hashable(key) {
            return plan_err!("train_test_split: argument 1, key, cannot be hashed, it is {key}");
        }
        if !fraction.is_numeric() {
            return plan_err!("train_test_split: argument 2, fraction, must be a number from 0 to 1, not {fraction}");
        }
        // Widths of whole numbers hash differently.
        let key = if key.is_integer() && *key != DataType::UInt64 { DataType::Int64 } else { key.clone() };
        let mut types = vec![key, DataType::Float64];
        match seed {
            None => {}
            Some(seed) if seed.is_integer() => types.push(DataType::Int64),
            Some(other) => return plan_err!("train_test_split: argument 3, seed, must be a whole number, not {other}"),
        }
        Ok(types)
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let column = |at: usize, data_type: &DataType| -> Result<Option<ArrayRef>> {
            let Some(argument) = args.args.get(at) else { return Ok(None) };
            Ok(Some(cast(&argument.to_array(args.number_rows)?, data_type)?))
        };
        let key = args.args[0].to_array(args.number_rows)?;
        let mut hashes = vec![SPARK_SEED; key.len()];
        hash_column(&key, &mut hashes).map_err(|e| exec_datafusion_err!("train_test_split: {e}"))?;
        let fractions = column(1, &DataType::Float64)?;
        let fractions = fractions.as_ref().map(|f| f.as_primitive::<Float64Type>());
        let seeds = column(2, &DataType::Int64)?;
        let seeds = seeds.as_ref().map(|s| s.as_primitive::<Int64Type>());
        let mut sides = Vec::with_capacity(key.len());
        for (row, hash) in hashes.iter().enumerate() {
            let fraction = fractions.filter(|f| f.is_valid(row)).map_or(f64::NAN, |f| f.value(row));
            if !(0.0..=1.0).contains(&fraction) {
                return exec_err!("train_test_split: argument 2, fraction, is {fraction}; it goes from 0 to 1");
            }
            let seed = seeds.filter(|s| s.is_valid(row)).map_or(0, |s| s.value(row));
            sides.push(if uniform(seed as u64, *hash, 0) < fraction { "TRAIN" } else { "TEST" });
        }
        Ok(ColumnarValue::Array(Arc::new(StringArray::from(sides))))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, Int64Array};

    use super::*;

    fn split(context_sql: &str) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10_000));
            let narrow: ArrayRef = Arc::new(Int32Array::from_iter_values(0..10_000));
            let rows = arrow::array::RecordBatch::try_from_iter([("id", ids), ("narrow", narrow)]).unwrap();
            let run = crate::aggregate::tests::Run::default();
            let context = crate::aggregate::tests::session(&rows, &run, true).unwrap();
            crate::aggregate::tests::lines(&context, context_sql).await.unwrap()
        })
    }

    #[test]
    fn keeps_the_fraction_and_the_side() {
        let share = split("SELECT count(*) FROM t WHERE train_test_split(id, 0.8) = 'TRAIN'");
        let share: f64 = share[0].parse().unwrap();
        // Five standard deviations of a binomial distribution.
        assert!((share - 8000.0).abs() < 200.0, "{share}");
        let moved = "SELECT count(*) FROM t WHERE train_test_split(id, 0.8) = 'TRAIN' AND train_test_split(id, 0.9) = 'TEST' \
                     OR train_test_split(id, 0.8) <> train_test_split(narrow, 0.8)";
        assert_eq!(split(moved), ["0"]);
        assert_eq!(split("SELECT DISTINCT train_test_split(id, 0), train_test_split(id, 1) FROM t"), ["TEST|TRAIN"]);
        let other = split("SELECT count(*) FROM t WHERE train_test_split(id, 0.5, 1) = train_test_split(id, 0.5, 2)");
        let other: f64 = other[0].parse().unwrap();
        assert!((other - 5000.0).abs() < 250.0, "{other}");
    }

    /// The sides of some keys, so that they stay where they are from version to version.
    #[test]
    fn pinned() {
        let sides = split("SELECT string_agg(left(train_test_split(id, 0.5, 42), 2), '' ORDER BY id) FROM t WHERE id < 24");
        assert_eq!(sides, ["TETRTETETETETRTETETETRTETETRTRTETRTETETRTETETRTR"]);
        let sides = split("SELECT string_agg(left(train_test_split('user' || id, 0.5), 2), '' ORDER BY id) FROM t WHERE id < 24");
        assert_eq!(sides, ["TRTRTETRTRTRTRTRTRTETETRTETRTRTETRTRTETRTETETETR"]);
    }
}
