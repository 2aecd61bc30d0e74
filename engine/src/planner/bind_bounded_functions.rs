//! Puts the functions that are bounded in what they make in the place of DataFusion's, where DataFusion's planner takes its own without asking: in `[a, b]` and in
//! `||`. Each column keeps its name.

use datafusion::common::config::ConfigOptions;
use datafusion::common::{DFSchema, Result, internal_err, plan_err};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawDictionaryExpr};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use orrery_udfs::{bind_bounded_functions, bounded_function};

/// Plans literals of arrays, structs and maps by bounded functions, whose types must not grow even while a query is being planned.
#[derive(Debug, Default)]
pub struct PlanBoundedLiterals {}

impl ExprPlanner for PlanBoundedLiterals {
    fn plan_array_literal(&self, exprs: Vec<Expr>, _: &DFSchema) -> Result<PlannerResult<Vec<Expr>>> {
        call("make_array", exprs)
    }

    fn plan_struct_literal(&self, args: Vec<Expr>, is_named_struct: bool) -> Result<PlannerResult<Vec<Expr>>> {
        call(if is_named_struct { "named_struct" } else { "struct" }, args)
    }

    fn plan_dictionary_literal(&self, expr: RawDictionaryExpr, _: &DFSchema) -> Result<PlannerResult<RawDictionaryExpr>> {
        call("named_struct", expr.keys.into_iter().zip(expr.values).flat_map(|(key, value)| [key, value]).collect())
    }

    fn plan_make_map(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        if !args.len().is_multiple_of(2) {
            return plan_err!("a map is made of keys and values, found {} of both", args.len());
        }
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for (i, arg) in args.into_iter().enumerate() {
            if i % 2 == 0 { keys.push(arg) } else { values.push(arg) }
        }
        call("map", vec![bounded("make_array", keys)?, bounded("make_array", values)?])
    }
}

fn call<T>(name: &str, args: Vec<Expr>) -> Result<PlannerResult<T>> {
    bounded(name, args).map(PlannerResult::Planned)
}

fn bounded(name: &str, args: Vec<Expr>) -> Result<Expr> {
    let Some(function) = bounded_function(name) else { return internal_err!("{name} is not bounded") };
    Ok(function.call(args))
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct BindBoundedFunctions {}

impl AnalyzerRule for BindBoundedFunctions {
    fn name(&self) -> &str {
        "bind_bounded_functions"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(|plan| plan.map_expressions(bind_bounded_functions))?.data)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::displayable;

    use crate::planner::testing::{assert_same_rows, ours, plain};

    #[tokio::test]
    async fn operators_are_answered_as_before() {
        for expression in [
            "brand || kind",
            "brand || id",
            "brand || NULL",
            "brand || price",
            "'<' || brand || '>'",
            "arrow_cast(kind, 'LargeUtf8') || kind",
            "arrow_cast(kind, 'Utf8View') || brand",
            "arrow_cast(kind, 'Dictionary(Int32, Utf8)') || brand",
            "[id, 2] || [3]",
            "[id] || 4",
            "{'a': id, 'b': brand}",
            "struct(id, kind AS k)",
            "MAP {'a': id, 'b': 2}",
            "MAP {kind: id}",
            "arrow_cast(kind, 'Binary') || arrow_cast('x', 'Binary')",
        ] {
            let sql = format!("SELECT id, {expression} AS x, arrow_typeof({expression}) AS t FROM events WHERE id % 100 = 0");
            assert_same_rows(&sql).await.unwrap();
        }
        assert_same_rows("SELECT brand || kind AS k, count(*) FROM events GROUP BY brand || kind HAVING max(kind || 'x') > 'a'")
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn operators_are_bounded() {
        let context = ours().await.unwrap();
        for expression in [
            "repeat('x', 1000000) || id",
            "[repeat('x', 1000000), brand]",
            "MAP {id: repeat('x', 1000000 + id)}",
            "array_repeat(id, 100000) || id",
        ] {
            let ran = context.sql(&format!("SELECT {expression} FROM events")).await.unwrap().collect().await;
            let error = ran.unwrap_err().to_string();
            assert!(error.contains("a call may make 256 MB"), "{expression}: {error}");
        }
    }

    #[tokio::test]
    async fn the_function_has_its_sides_coerced_like_the_operator() {
        let context = ours().await.unwrap();
        let sql = r#"SELECT count(*) FROM events WHERE "||"(kind, id) <> kind || id OR ("||"(brand, id) IS NULL) <> (brand IS NULL)"#;
        let rows = context.sql(sql).await.unwrap().collect().await.unwrap();
        assert_eq!(arrow::util::display::array_value_to_string(rows[0].column(0), 0).unwrap(), "0");
    }

    #[test]
    fn types_of_map_literals_do_not_grow_without_end() {
        let planning = || {
            let nested =
                (0..20).fold("SELECT id AS x FROM events".to_string(), |query, _| format!("SELECT MAP {{x: x}} AS x FROM ({query})"));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async { ours().await.unwrap().sql(&nested).await.unwrap_err().to_string() })
        };
        // Queries in each other are planned by recursion.
        let error = std::thread::Builder::new().stack_size(16 << 20).spawn(planning).unwrap().join().unwrap();
        assert!(error.contains("a type of more than 10000 fields"), "{error}");
    }

    #[tokio::test]
    async fn structs_keep_the_order_of_their_rows() {
        let sql = "SELECT s['a'] AS a FROM (SELECT named_struct('a', id, 'b', brand) AS s FROM (SELECT id, brand FROM events ORDER BY id LIMIT 100)) ORDER BY s['a']";
        let mut sorts = Vec::new();
        for context in [ours().await.unwrap(), plain().await.unwrap()] {
            let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
            sorts.push(displayable(plan.as_ref()).indent(false).to_string().matches("SortExec").count());
        }
        assert_eq!(sorts[0], sorts[1]);
        assert_same_rows(sql).await.unwrap();
    }

    #[tokio::test]
    async fn columns_keep_their_names() {
        let frame = ours().await.unwrap().sql("SELECT brand || kind, ['a', kind || 'b'] FROM events").await.unwrap();
        let names = |frame: &datafusion::prelude::DataFrame| frame.schema().field_names();
        let optimized = frame.clone().into_optimized_plan().unwrap();
        assert_eq!(optimized.schema().field_names(), names(&frame));
    }
}
