//! Outside of models: `ML.STANDARD_SCALER(x) OVER ()` becomes aggregates over all rows beside each row, and a plain expression of them.
//!
//! ```text
//!   Window: ml_standard_scaler(x) OVER ()
//! ⇒ Projection: the rows' columns, CASE … (x - m['mean']) / m['stddev'] … AS ml_standard_scaler(x) OVER ()
//!     Window: exact_moments(CAST(x AS DOUBLE)) OVER () AS m
//! ```

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result, internal_err};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Window, WindowFunctionDefinition};
use datafusion::optimizer::AnalyzerRule;

use super::call::{aggregates_of, expressions_of, has_call, innermost, substitute};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct ExpandLearnedFunctions {}

impl AnalyzerRule for ExpandLearnedFunctions {
    fn name(&self) -> &str {
        "expand_learned_functions"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(expand_node)?.data)
    }
}

fn expand_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Window(window) if window.window_expr.iter().any(has_call) => expand(&window).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    }
}

fn expand(window: &Window) -> Result<LogicalPlan> {
    let mut rows = window.input.as_ref().clone();
    let mut exprs = window.window_expr.clone();
    loop {
        let calls = innermost(&exprs.iter().collect::<Vec<_>>(), rows.schema())?;
        if calls.is_empty() {
            break;
        }
        let (aggregates, places) = aggregates_of(&calls)?;
        let aggregates: Vec<Expr> = aggregates.into_iter().map(over_all_rows).collect::<Result<_>>()?;
        let values: Vec<Expr> = aggregates.iter().map(named_by).collect();
        rows = LogicalPlanBuilder::from(rows).window(aggregates)?.build()?;
        let plain = expressions_of(&calls, &places, &values)?;
        exprs = exprs.into_iter().map(|expr| substitute(expr, &calls, &plain)).collect::<Result<_>>()?;
    }
    // Other window functions of the same node stay such.
    let others: Vec<Expr> = exprs.iter().filter(|expr| is_window(expr)).cloned().collect();
    if !others.is_empty() {
        rows = LogicalPlanBuilder::from(rows).window(others)?.build()?;
    }
    let given = window.input.schema().columns().into_iter().map(Expr::Column);
    let fields = window.schema.iter().skip(window.input.schema().fields().len());
    let made = exprs.into_iter().zip(fields).map(|(expr, (qualifier, field))| {
        let expr = if is_window(&expr) { named_by(&expr) } else { expr };
        expr.unalias().alias_qualified(qualifier.cloned(), field.name())
    });
    let columns: Vec<Expr> = given.chain(made).collect();
    LogicalPlanBuilder::from(rows).project(columns)?.build()
}

fn is_window(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_window(&alias.expr),
        other => matches!(other, Expr::WindowFunction(_)),
    }
}

/// The column that an expression becomes.
fn named_by(expr: &Expr) -> Expr {
    Expr::Column(Column::from_name(expr.schema_name().to_string()))
}

/// `f(x)` → `f(x) OVER ()`.
fn over_all_rows(aggregate: Expr) -> Result<Expr> {
    let Expr::AggregateFunction(call) = aggregate else { return internal_err!("{aggregate} is no aggregate") };
    Ok(Expr::from(WindowFunction::new(WindowFunctionDefinition::AggregateUDF(call.func), call.params.args)))
}
