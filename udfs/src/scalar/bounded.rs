//! DataFusion's functions that make a lot out of a little, `repeat('x', 2000000000)`, with a bound on what one call may make.
//!
//! What a function makes of a batch is counted in no memory pool, and of literals it is made while a statement is being planned: without a bound a single
//! line of SQL takes a server's memory, or is refused by the allocator, which ends the process.

mod sizes;

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, exec_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ExpressionPlacement, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::{functions, functions_nested};

/// Bytes that one call may make of a batch of rows.
const LARGEST_RESULT_BYTES: u64 = 256 << 20;

/// An upper bound of the bytes of a result, or a close estimate.
type ResultBytes = fn(&ScalarFunctionArgs) -> Result<u64>;

/// The functions, under DataFusion's names, which they replace.
pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    [
        (functions::string::repeat(), sizes::repeat as ResultBytes),
        (functions::string::replace(), sizes::replace),
        (functions::unicode::lpad(), sizes::pad),
        (functions::unicode::rpad(), sizes::pad),
        (functions_nested::repeat::array_repeat_udf(), sizes::array_repeat),
        (functions_nested::resize::array_resize_udf(), sizes::array_resize),
        (functions_nested::range::range_udf(), sizes::range),
        (functions_nested::range::gen_series_udf(), sizes::range),
    ]
    .into_iter()
    .map(|(function, result_bytes)| Arc::new(ScalarUDF::new_from_impl(Bounded { function, result_bytes })))
    .collect()
}

/// A function that is called only if its result is small enough; in everything else it is the function.
#[derive(Debug)]
struct Bounded {
    function: Arc<ScalarUDF>,
    result_bytes: ResultBytes,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.function == other.function
    }
}

impl Eq for Bounded {}

impl std::hash::Hash for Bounded {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.function.hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bytes = (self.result_bytes)(&args)?;
        if bytes > LARGEST_RESULT_BYTES {
            let rows_instead =
                if matches!(self.name(), "range" | "generate_series") { "; FROM generate_series(first, last) makes rows" } else { "" };
            return exec_err!(
                "{} would make {} MB of a batch of rows; a call may make {} MB{rows_instead}",
                self.name(),
                bytes >> 20,
                LARGEST_RESULT_BYTES >> 20
            );
        }
        self.function.invoke_with_args(args)
    }

    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.function.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.function.return_type(arg_types)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let function = Arc::new(self.function.inner().with_updated_config(config)?);
        Some(ScalarUDF::new_from_impl(Self { function, result_bytes: self.result_bytes }))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.function.return_field_from_args(args)
    }

    fn is_strict(&self) -> bool {
        self.function.is_strict()
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.function.simplify(args, info)
    }

    fn short_circuits(&self) -> bool {
        self.function.short_circuits()
    }

    fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        self.function.evaluate_bounds(inputs)
    }

    fn propagate_constraints(&self, interval: &Interval, inputs: &[&Interval]) -> Result<Option<Vec<Interval>>> {
        self.function.propagate_constraints(interval, inputs)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.function.output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.function.preserves_lex_ordering(inputs)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce_types(arg_types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.function.documentation()
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        self.function.placement(args)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use datafusion::prelude::SessionContext;

    use super::*;

    fn context() -> SessionContext {
        let context = SessionContext::new();
        all().iter().for_each(|function| context.register_udf(ScalarUDF::clone(function)));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        context.register_batch("t", RecordBatch::try_from_iter([("n", numbers)]).unwrap()).unwrap();
        context
    }

    async fn answer(sql: &str) -> std::result::Result<String, String> {
        let frame = context().sql(sql).await.map_err(|error| error.to_string())?;
        let batches = frame.collect().await.map_err(|error| error.to_string())?;
        Ok(arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string())
    }

    #[tokio::test]
    async fn what_is_too_much_is_refused() {
        for call in [
            "repeat('x', 2000000000)",
            "repeat('x', n * 1000000000)",
            "repeat(repeat('x', 100000), n * 100000)",
            "lpad('x', 2000000000)",
            "rpad('x', n * 1000000000, 'ab')",
            "array_repeat(1, 10000000000000)",
            "array_repeat(repeat('x', 1000000), n * 1000)",
            "list_repeat([1, 2, 3], 100000000)",
            "array_resize([1], 4000000000, 0)",
            "range(10000000000000)",
            "range(-9223372036854775807, 9223372036854775807, 1)",
            "generate_series(9223372036854775807, -9223372036854775807, -1)",
            "generate_series(n, 1000000000000)",
            "generate_series(TIMESTAMP '1700-01-01', TIMESTAMP '2200-01-01', INTERVAL '1' MILLISECOND)",
            "replace(repeat('x', 100000), 'x', repeat('y', 100000))",
            "replace(repeat('x', 100000), '', repeat('y', 100000))",
        ] {
            let error = answer(&format!("SELECT {call} AS x FROM t")).await.expect_err(call);
            assert!(error.contains("a call may make 256 MB"), "{call}: {error}");
        }
    }

    #[tokio::test]
    async fn the_rest_is_answered_as_before() {
        let plain = SessionContext::new();
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        plain.register_batch("t", RecordBatch::try_from_iter([("n", numbers)]).unwrap()).unwrap();
        for call in [
            "repeat('xy', n)",
            "repeat(NULL, 3)",
            "repeat('x', -5)",
            "lpad('x', n, 'äb')",
            "rpad('x', NULL)",
            "array_repeat(n, 2)",
            "array_repeat('ab', n)",
            "list_repeat(NULL, 2)",
            "array_resize([n, 2], 3)",
            "list_resize([1], n, 7)",
            "range(n)",
            "range(n, 10, 4)",
            "generate_series(3, n, -1)",
            "generate_series(1, NULL)",
            "range(DATE '2024-01-31', DATE '2024-06-01', INTERVAL '1' MONTH)",
            "replace('banana', 'an', repeat('x', n))",
            "replace(arrow_cast('banana', 'LargeUtf8'), '', '-')",
        ] {
            let sql = format!("SELECT {call} AS x, arrow_typeof({call}) AS t FROM t");
            let expected = plain.sql(&sql).await.unwrap().collect().await.unwrap();
            let expected = arrow::util::pretty::pretty_format_batches(&expected).unwrap().to_string();
            assert_eq!(answer(&sql).await.unwrap(), expected, "{call}");
        }
    }
}
