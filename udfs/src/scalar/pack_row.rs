//! `pack_row(a, b, …)`: several columns as one, for plans that carry whole rows through an aggregation.

use std::sync::{Arc, LazyLock};

use arrow::array::StructArray;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

static PACK_ROW: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(PackRow::new())));

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection { include: true, label: "Struct Functions", description: None },
        "Returns a struct of the values with the fields c0, c1, …. Unlike those of struct(), a field of a column that is \
         never NULL is known to be never NULL too.",
        "pack_row(expression1[, expression2, …])",
    )
    .with_sql_example(
        "```sql\n> SELECT pack_row(1, 'a') AS r;\n+----------------+\n| r              |\n+----------------+\n| {c0: 1, c1: a} |\n+----------------+\n```",
    )
    .with_argument("expression1, expression2, …", "Values of any type.")
    .build()
});

/// The one instance that plans are made with.
pub fn pack_row_udf() -> Arc<ScalarUDF> {
    Arc::clone(&PACK_ROW)
}

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct PackRow {
    signature: Signature,
}

impl Default for PackRow {
    fn default() -> Self {
        Self::new()
    }
}

impl PackRow {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for PackRow {
    fn name(&self) -> &str {
        "pack_row"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        if arg_types.is_empty() { plan_err!("pack_row needs at least one argument") } else { Ok(arg_types.to_vec()) }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        internal_err!("pack_row has a field, not only a type")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = |(at, field): (usize, &FieldRef)| Field::new(format!("c{at}"), field.data_type().clone(), field.is_nullable());
        let fields: Fields = args.arg_fields.iter().enumerate().map(field).collect();
        Ok(Arc::new(Field::new(self.name(), DataType::Struct(fields), false)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let DataType::Struct(fields) = args.return_field.data_type() else {
            return internal_err!("pack_row returns a struct, not {}", args.return_field.data_type());
        };
        let columns = args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<Result<Vec<_>>>()?;
        Ok(ColumnarValue::Array(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, None, args.number_rows)?)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}
