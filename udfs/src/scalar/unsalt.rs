//! `unsalt(key)`: the key that a salted key `key#17` was made of.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, StringArray, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::kernels::salted_text::without_salt;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection { include: true, label: "String Functions", description: None },
        "Returns the text without its last `#` and the digits behind it: the key of a key that was salted as \
         `key || '#' || salt(n)`. A text that does not end so is returned as it is.",
        "unsalt(salted_key)",
    )
    .with_sql_example(
        "```sql\n> SELECT unsalt('user-7#12') AS key, unsalt('user-7') AS plain;\n\
             +--------+--------+\n\
             | key    | plain  |\n\
             +--------+--------+\n\
             | user-7 | user-7 |\n\
             +--------+--------+\n\
             ```",
    )
    .with_argument("salted_key", "Text; the result is of its type.")
    .with_related_udf("salt")
    .build()
});

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Unsalt {
    signature: Signature,
}

impl Default for Unsalt {
    fn default() -> Self {
        Self::new()
    }
}

impl Unsalt {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Unsalt {
    fn name(&self) -> &str {
        "unsalt"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [DataType::Null] => Ok(vec![DataType::Utf8]),
            [text] if text.is_string() => Ok(vec![text.clone()]),
            [DataType::Dictionary(key, value)] if value.is_string() => Ok(vec![DataType::Dictionary(key.clone(), value.clone())]),
            [other] => plan_err!("unsalt: argument 1, salted_key, must be text, not {other}"),
            _ => plan_err!("unsalt takes one text, not {} arguments", arg_types.len()),
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match &args.args[0] {
            ColumnarValue::Array(column) => Ok(ColumnarValue::Array(unsalted(column)?)),
            ColumnarValue::Scalar(text) => {
                let column = unsalted(&text.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&column, 0)?))
            }
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

fn unsalted(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::Utf8 => Arc::new(column.as_string::<i32>().iter().map(|text| text.map(without_salt)).collect::<StringArray>()),
        DataType::LargeUtf8 => Arc::new(column.as_string::<i64>().iter().map(|text| text.map(without_salt)).collect::<LargeStringArray>()),
        DataType::Utf8View => Arc::new(column.as_string_view().iter().map(|text| text.map(without_salt)).collect::<StringViewArray>()),
        DataType::Dictionary(_, _) => {
            let dictionary = column.as_any_dictionary();
            dictionary.with_values(unsalted(dictionary.values())?)
        }
        other => return exec_err!("unsalt cannot read a column of type {other}"),
    })
}
