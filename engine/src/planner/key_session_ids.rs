//! Tells `session_id(time, gap [, max_length]) OVER (PARTITION BY k, …)` the keys of its partition, which it makes part of the ids.
//!
//! A window function sees the values of its arguments and nothing of the window it is computed over. So the keys become arguments behind the three of its
//! own, of which the third is NULL where it was left out: `session_id(time, gap, NULL, k, …) OVER (PARTITION BY k, …)`. The column keeps its name.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::optimizer::AnalyzerRule;

const FUNCTION: &str = "session_id";
/// Time, gap and greatest length, which stand before the keys.
const OWN_ARGS: usize = 3;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct KeySessionIds {}

impl AnalyzerRule for KeySessionIds {
    fn name(&self) -> &str {
        "key_session_ids"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(key_node)?.data)
    }
}

fn key_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !matches!(plan, LogicalPlan::Window(_)) {
        return Ok(Transformed::no(plan));
    }
    let called = |expr: &Expr| expr.exists(|expr| Ok(matches!(expr, Expr::WindowFunction(call) if needs_keys(call))));
    if !plan.expressions().iter().map(called).collect::<Result<Vec<_>>>()?.contains(&true) {
        return Ok(Transformed::no(plan));
    }
    let keyed = plan.map_expressions(|expr| {
        let (qualifier, name) = expr.qualified_name();
        let keyed = expr.transform_up(|expr| Ok(key_call(expr)))?.data;
        // Every column is named anew, those that stay as they are too: what is common to expressions is written otherwise within a named one, and the
        // keys of one operator's windows have to be written alike.
        Ok(Transformed::yes(if matches!(keyed, Expr::Alias(_)) { keyed } else { keyed.alias_qualified(qualifier, name) }))
    })?;
    keyed.map_data(LogicalPlan::recompute_schema)
}

fn key_call(expr: Expr) -> Transformed<Expr> {
    let Expr::WindowFunction(mut call) = expr else { return Transformed::no(expr) };
    let keys = call.params.partition_by.clone();
    if !needs_keys(&call) {
        return Transformed::no(Expr::WindowFunction(call));
    }
    if call.params.args.len() < OWN_ARGS {
        call.params.args.push(lit(ScalarValue::Null));
    }
    call.params.args.extend(keys);
    Transformed::yes(Expr::WindowFunction(call))
}

/// A call with the arguments that it must have, and without its keys.
fn needs_keys(call: &WindowFunction) -> bool {
    let (args, keys) = (&call.params.args, &call.params.partition_by);
    let has_keys = args.get(OWN_ARGS..).is_some_and(|given| given == keys.as_slice());
    call.fun.name() == FUNCTION && args.len() + 1 >= OWN_ARGS && !keys.is_empty() && !has_keys
}

#[cfg(test)]
mod tests;
