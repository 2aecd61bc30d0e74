//! `salt(n[, key…])`: a small number that spreads the rows of one frequent key over several tasks.

use std::sync::{Arc, LazyLock};

use arrow::array::Int32Array;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, internal_err, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::kernels::spark_hash::{hash_column, is_hashable};
use crate::kernels::xxhash64::SPARK_SEED;

const MOST_SALTS: i64 = 65_536;

/// The function of calls with keys, which plans may move about and evaluate once instead of twice.
static SALT_OF_KEYS: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Salt { signature: Signature::user_defined(Volatility::Immutable) })));

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection { include: true, label: "Hashing Functions", description: None },
        "Returns an INT from 0 to n - 1. With keys it is taken from their hash (that of xxhash64) and is the same for the same \
         keys. Without keys rows are dealt out in turn by their position in the batch that is computed, which spreads the rows \
         of any one key evenly; the same batches give the same numbers.",
        "salt(n[, key…])",
    )
    .with_sql_example(
        "```sql\n> SELECT k, salt(4, k) AS s FROM (VALUES ('a'), ('b'), ('a')) AS t(k);\n\
             +---+---+\n\
             | k | s |\n\
             +---+---+\n\
             | a | 0 |\n\
             | b | 3 |\n\
             | a | 0 |\n\
             +---+---+\n\
             ```",
    )
    .with_argument("n", "How many different numbers there are: a literal from 1 to 65536.")
    .with_argument("key…", "Values of any text, binary, numeric, boolean, date or timestamp type.")
    .with_related_udf("unsalt")
    .with_related_udf("xxhash64")
    .build()
});

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Salt {
    signature: Signature,
}

impl Default for Salt {
    fn default() -> Self {
        Self::new()
    }
}

impl Salt {
    /// The function; it has no state. Without keys its result depends on more than its arguments, so it counts as volatile.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Volatile) }
    }
}

/// The first argument, which may still be of any integer type.
fn salts(n: Option<&ScalarValue>) -> Result<u64> {
    let Some(n) = n else {
        return plan_err!("salt: argument 1, n, must be a literal from 1 to {MOST_SALTS}");
    };
    match n.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(Some(salts @ 1..=MOST_SALTS))) => Ok(salts as u64),
        _ => plan_err!("salt: argument 1, n, must be a literal from 1 to {MOST_SALTS}, not {n}"),
    }
}

impl ScalarUDFImpl for Salt {
    fn name(&self) -> &str {
        "salt"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let Some((n, keys)) = arg_types.split_first() else {
            return plan_err!("salt takes a number of salts and optionally keys");
        };
        if !n.is_integer() && !n.is_null() {
            return plan_err!("salt: argument 1, n, must be an integer literal from 1 to {MOST_SALTS}, not {n}");
        }
        if let Some(at) = keys.iter().position(|key| !is_hashable(key)) {
            return plan_err!("salt: argument {} of type {} cannot be hashed", at + 2, keys[at]);
        }
        Ok([&[DataType::Int64], keys].concat())
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        internal_err!("salt has a field, not only a type")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        salts(args.scalar_arguments.first().copied().flatten())?;
        Ok(Arc::new(Field::new(self.name(), DataType::Int32, false)))
    }

    fn simplify(&self, args: Vec<Expr>, _info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if args.len() > 1 && self.signature.volatility == Volatility::Volatile {
            return Ok(ExprSimplifyResult::Simplified(SALT_OF_KEYS.call(args)));
        }
        Ok(ExprSimplifyResult::Original(args))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (n, keys) = match args.args.split_first() {
            Some((ColumnarValue::Scalar(n), keys)) => (salts(Some(n))?, keys),
            _ => (salts(None)?, &[][..]),
        };
        let salts: Int32Array = if keys.is_empty() {
            (0..args.number_rows as u64).map(|row| (row % n) as i32).collect::<Vec<_>>().into()
        } else {
            let mut hashes = vec![SPARK_SEED; args.number_rows];
            for key in keys {
                let column = key.to_array(args.number_rows)?;
                hash_column(&column, &mut hashes).map_err(|e| exec_datafusion_err!("salt: {e}"))?;
            }
            hashes.into_iter().map(|hash| (hash % n) as i32).collect::<Vec<_>>().into()
        };
        Ok(ColumnarValue::Array(Arc::new(salts)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

#[cfg(test)]
mod tests;
