//! `xxhash64(a, b, …)`: Spark's 64-bit hash of several values, the usual surrogate key of a fact table.

use std::sync::{Arc, LazyLock};

use arrow::array::Int64Array;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_datafusion_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::kernels::spark_hash::{hash_column, is_hashable};
use crate::kernels::xxhash64::SPARK_SEED;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection { include: true, label: "Hashing Functions", description: None },
        "Returns a 64-bit hash of the values, as BIGINT: the same number as Spark's function of this name for the same \
         values and types. A NULL leaves the hash of the values before it as it is, so the result is never NULL.",
        "xxhash64(expression1[, expression2, …])",
    )
    .with_sql_example("```sql\n> SELECT xxhash64('Spark') AS h;\n+----------------------+\n| h                    |\n+----------------------+\n| -4294468057691064905 |\n+----------------------+\n```")
    .with_argument("expression1, expression2, …", "Values of any text, binary, numeric, boolean, date or timestamp type.")
    .build()
});

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct XxHash64 {
    signature: Signature,
}

impl Default for XxHash64 {
    fn default() -> Self {
        Self::new()
    }
}

impl XxHash64 {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for XxHash64 {
    fn name(&self) -> &str {
        "xxhash64"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        if arg_types.is_empty() {
            return plan_err!("xxhash64 needs at least one argument");
        }
        if let Some(at) = arg_types.iter().position(|t| !is_hashable(t)) {
            return plan_err!("xxhash64 cannot hash argument {} of type {}", at + 1, arg_types[at]);
        }
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut hashes = vec![SPARK_SEED; args.number_rows];
        for arg in &args.args {
            let column = arg.to_array(args.number_rows)?;
            hash_column(&column, &mut hashes).map_err(|e| exec_datafusion_err!("{e}"))?;
        }
        let hashes: Int64Array = hashes.into_iter().map(|h| h as i64).collect::<Vec<_>>().into();
        Ok(ColumnarValue::Array(Arc::new(hashes)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}
