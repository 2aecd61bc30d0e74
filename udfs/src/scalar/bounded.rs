//! DataFusion's functions that make a lot out of a little, `repeat('x', 2000000000)`, with a bound on what one call may make.
//!
//! What a function makes of a batch is counted in no memory pool, and of literals it is made while a statement is being planned: without a bound a single
//! line of SQL takes a server's memory, or is refused by the allocator, which ends the process.

mod sizes;
mod string_concat;

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::{BinaryExpr, ScalarFunction};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ExpressionPlacement, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, StructFieldMapping,
};
use datafusion::{functions, functions_nested};

/// Bytes that one call may make of a batch of rows.
const LARGEST_RESULT_BYTES: u64 = 256 << 20;

/// Fields that a type may have, with those of its fields: `SELECT struct(x, x) AS x FROM (SELECT struct(x, x) AS x FROM …)` has twice as many with each query.
pub const MOST_FIELDS: usize = 10_000;

/// The functions of which only the types are bounded.
const OF_STRUCTS: [&str; 2] = ["named_struct", "struct"];

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
        (functions_nested::replace::array_replace_all_udf(), sizes::array_replace),
        (functions_nested::replace::array_replace_n_udf(), sizes::array_replace),
        (functions_nested::string::array_to_string_udf(), sizes::array_to_string),
        (functions_nested::range::range_udf(), sizes::range),
        (functions_nested::range::gen_series_udf(), sizes::range),
        (functions::string::concat(), sizes::texts),
        (functions::string::concat_ws(), sizes::separated_texts),
        (functions::regex::regexp_replace(), sizes::regexp_replace),
        (functions::core::named_struct(), sizes::nothing),
        (functions::core::r#struct(), sizes::nothing),
        (functions_nested::map::map_udf(), sizes::all_arguments),
        (functions_nested::make_array::make_array_udf(), sizes::all_arguments),
        (functions_nested::concat::array_concat_udf(), sizes::all_arguments),
        (functions_nested::concat::array_append_udf(), sizes::all_arguments),
        (functions_nested::concat::array_prepend_udf(), sizes::all_arguments),
        (Arc::new(ScalarUDF::from(string_concat::StringConcat::default())), sizes::texts),
    ]
    .into_iter()
    .map(|(function, result_bytes)| Arc::new(ScalarUDF::new_from_impl(Bounded { function, result_bytes })))
    .collect()
}

static BY_NAME: LazyLock<HashMap<String, Arc<ScalarUDF>>> =
    LazyLock::new(|| all().into_iter().map(|function| (function.name().to_string(), function)).collect());

/// Puts the bounded functions in the place of DataFusion's where these were not looked up by name, as for `[a, b]`, and of `||` between texts.
///
/// Types must have been coerced, so that both sides of a `||` are what it is evaluated on. Structs, whose types have been looked at by now, become DataFusion's again:
/// it knows that a field of a struct is what the struct was made of.
pub(crate) fn bind(expr: Expr) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| {
        Ok(match expr {
            Expr::ScalarFunction(ScalarFunction { func, args }) if OF_STRUCTS.contains(&func.name()) => match unbound(&func) {
                Some(func) => Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args })),
                None => Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })),
            },
            Expr::ScalarFunction(ScalarFunction { func, args }) => match BY_NAME.get(func.name()) {
                Some(bounded) if !is_bounded(&func) => {
                    Transformed::yes(Expr::ScalarFunction(ScalarFunction { func: Arc::clone(bounded), args }))
                }
                _ => Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })),
            },
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => match BY_NAME.get(string_concat::NAME) {
                Some(bounded) => Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(bounded), vec![*left, *right]))),
                None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right })),
            },
            other => Transformed::no(other),
        })
    })
}

/// The function of a name, if it is one of these.
pub(crate) fn named(name: &str) -> Option<Arc<ScalarUDF>> {
    BY_NAME.get(name).cloned()
}

/// How many of so many fields a type leaves; none if it has more.
pub(crate) fn fields_left(data_type: &DataType, fields: usize) -> Option<usize> {
    let within = |field: &FieldRef, left: usize| fields_left(field.data_type(), left.checked_sub(1)?);
    match data_type {
        DataType::Struct(inner) => inner.iter().try_fold(fields, |left, field| within(field, left)),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::Map(field, _) => within(field, fields),
        DataType::Union(inner, _) => inner.iter().try_fold(fields, |left, (_, field)| within(field, left)),
        DataType::Dictionary(_, value) => fields_left(value, fields),
        DataType::RunEndEncoded(_, values) => within(values, fields),
        _ => Some(fields),
    }
}

/// DataFusion's function, of one of these.
fn unbound(function: &ScalarUDF) -> Option<Arc<ScalarUDF>> {
    let function: &dyn Any = function.inner().as_ref();
    function.downcast_ref::<Bounded>().map(|bounded| Arc::clone(&bounded.function))
}

pub(crate) fn is_bounded(function: &ScalarUDF) -> bool {
    let function: &dyn Any = function.inner().as_ref();
    function.is::<Bounded>()
}

/// A function that is called only if its result is small enough; in everything else it is the function.
#[derive(Debug)]
struct Bounded {
    function: Arc<ScalarUDF>,
    result_bytes: ResultBytes,
}

impl Bounded {
    /// Each call of `struct(x, x)` on the last one's result makes a type twice as large, which is walked through whenever it is looked at.
    fn check_type(&self, data_type: &DataType) -> Result<()> {
        match fields_left(data_type, MOST_FIELDS) {
            Some(_) => Ok(()),
            None => plan_err!("{} would make a type of more than {MOST_FIELDS} fields", self.name()),
        }
    }
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
        crate::memory::ask(bytes, || format!("a call of {} for a batch of rows", self.name()))?;
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
        let data_type = self.function.return_type(arg_types)?;
        self.check_type(&data_type)?;
        Ok(data_type)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let function = Arc::new(self.function.inner().with_updated_config(config)?);
        Some(ScalarUDF::new_from_impl(Self { function, result_bytes: self.result_bytes }))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = self.function.return_field_from_args(args)?;
        self.check_type(field.data_type())?;
        Ok(field)
    }

    fn is_strict(&self) -> bool {
        self.function.is_strict()
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(match self.function.simplify(args, info)? {
            // The function itself, of fewer arguments.
            ExprSimplifyResult::Simplified(expr) => ExprSimplifyResult::Simplified(bind(expr)?.data),
            original => original,
        })
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

    fn struct_field_mapping(&self, literal_args: &[Option<ScalarValue>]) -> Option<StructFieldMapping> {
        self.function.struct_field_mapping(literal_args)
    }

    fn strictly_order_preserving(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.function.strictly_order_preserving(inputs)
    }

    fn preimage(&self, args: &[Expr], lit_expr: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.function.preimage(args, lit_expr, info)
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.function.conditional_arguments(args)
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
            "concat(repeat('x', n * 60000000), repeat('y', n * 60000000))",
            "concat_ws('-', repeat('x', n * 60000000), n, repeat('y', n * 60000000))",
            "regexp_replace(repeat('x', 100000), 'x', repeat('y', 100000), 'g')",
            "regexp_replace(repeat('x', 100000), '(x*)', repeat('\\1', 10000))",
            "make_array(repeat('x', n * 60000000), repeat('y', n * 60000000))",
            "array_concat(range(n * 5000000), range(n * 5000000))",
            "array_replace_all(array_repeat('a', 1000000), 'a', repeat('x', n * 1000))",
            "list_replace_n(array_repeat('a', 1000000), 'a', repeat('x', n * 1000), 900000)",
            "array_to_string(range(1000000), repeat('-', n * 1000))",
            "array_join([array_repeat(NULL, 1000000)], '', repeat('-', n * 1000))",
            "concat(arrow_cast(repeat('x', n * 60000000), 'LargeBinary'), arrow_cast(repeat('y', n * 60000000), 'LargeBinary'))",
        ] {
            let error = answer(&format!("SELECT {call} AS x FROM t")).await.expect_err(call);
            assert!(error.contains("a call may make 256 MB"), "{call}: {error}");
        }
    }

    #[test]
    fn of_lists_that_were_cut_only_the_part_is_counted() {
        use arrow::array::{ListArray, StringArray, StructArray};
        use arrow::datatypes::Int64Type;
        let long: Vec<Option<i64>> = (0..1_000_000).map(Some).collect();
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(long), Some(vec![Some(1), Some(2)])]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1_000_000), "yz".to_string()]));
        let rows = StructArray::try_from(vec![("l", Arc::clone(&lists)), ("t", texts)]).unwrap();
        let rows: ArrayRef = Arc::new(rows);
        for values in [lists, rows] {
            assert!(sizes::bytes_of_slice(&values).unwrap() > 8_000_000);
            assert!(sizes::bytes_of_slice(&values.slice(1, 1)).unwrap() < 200);
        }
    }

    #[test]
    fn functions_and_operators_are_bound_wherever_they_stand() {
        use datafusion::logical_expr::col;
        let concat = Expr::BinaryExpr(BinaryExpr::new(Box::new(col("a")), Operator::StringConcat, Box::new(col("b"))));
        let name = concat.schema_name().to_string();
        let bound = bind(functions_nested::make_array::make_array(vec![concat.clone()])).unwrap().data;
        let is_bound = |expr: &Expr| matches!(expr, Expr::ScalarFunction(call) if is_bounded(&call.func));
        let Expr::ScalarFunction(call) = &bound else { panic!("{bound}") };
        assert!(is_bound(&bound) && call.args.iter().all(is_bound), "{bound:?}");
        assert_eq!(call.args[0].schema_name().to_string(), name);
        assert!(!bind(bound).unwrap().transformed);
    }

    #[tokio::test]
    async fn types_do_not_grow_without_end() {
        let nested = |next: &str, times: usize| {
            (0..times).fold("SELECT n AS x FROM t".to_string(), |query, _| format!("SELECT {next} AS x FROM ({query}) AS t"))
        };
        for next in ["named_struct('a', x, 'b', x)", "map([1], [named_struct('a', x, 'b', x)])"] {
            let error = answer(&nested(next, 18)).await.expect_err(next);
            assert!(error.contains("a type of more than 10000 fields"), "{next}: {error}");
            answer(&nested(next, 5)).await.unwrap();
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
            "concat('a', n, NULL, 'b')",
            "concat_ws('-', 'a', n, NULL, 'b')",
            "regexp_replace('banana', '(a)(n)', '\\2\\1', 'gi')",
            "regexp_replace(repeat('x', 100000), 'y', repeat('y', 100000), 'g')",
            "regexp_replace(arrow_cast(repeat('x', 100000), 'Utf8View'), 'y', repeat('y', 100000), 'g')",
            "length(regexp_replace(arrow_cast(repeat('word ', 100000), 'Utf8View'), '(\\\\w+)', '<\\\\1>', 'g'))",
            "regexp_replace(repeat('x', 100000), '^x', repeat('y', 100000))",
            "make_array(n, 2)",
            "array_concat([n], [1, 2])",
            "array_replace_all(['a', 'b', 'a'], 'a', repeat('x', n))",
            "array_length(array_replace_all(array_repeat('a', 30000), 'b', repeat('x', n * 10000)))",
            "array_replace_n([1, n, 1, 1], 1, 7, 2)",
            "array_to_string([1, n, 3], '-', 'none')",
            "array_to_string([[1, n], [3]], ', ')",
            "array_append([1], n)",
            "array_prepend(n, [1])",
            "named_struct('a', n, 'b', 'x')",
            "struct(n, 2)",
            "map(['a'], [n])",
        ] {
            let sql = format!("SELECT {call} AS x, arrow_typeof({call}) AS t FROM t");
            let expected = plain.sql(&sql).await.unwrap().collect().await.unwrap();
            let expected = arrow::util::pretty::pretty_format_batches(&expected).unwrap().to_string();
            assert_eq!(answer(&sql).await.unwrap(), expected, "{call}");
        }
    }
}
