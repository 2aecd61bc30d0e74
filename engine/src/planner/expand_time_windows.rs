//! Expands `window(…)` and `session_window(…)` in `GROUP BY` into the plain expressions of `time_windows`.
//!
//! Groups are formed by the start of the window alone, a number or a timestamp; the struct of start and end, which is what the query sees, is made from
//! it for each group:
//!
//! ```text
//!   Aggregate: groupBy=[[user, window(at, …)]], aggr=[[count(*)]]
//! ⇒ Projection: user, named_struct('start', …, 'end', …) AS window(at, …), count(*)
//!     Aggregate: groupBy=[[user, __window_start]], aggr=[[count(*)]]
//!       the rows of the input with their __window_start
//! ```

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue, internal_err};
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::optimizer::AnalyzerRule;

use super::time_windows::markers::place_of;
use super::time_windows::{EVENT_END, EventTime, Hopping, START, Sessions, columns};
use crate::{Error, Position};

/// The column that holds the end of a group's session.
const END: &str = "__window_end";

/// See the module documentation.
#[derive(Debug, Default)]
pub struct ExpandTimeWindows {}

impl AnalyzerRule for ExpandTimeWindows {
    fn name(&self) -> &str {
        "expand_time_windows"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(expand_node)?.data)
    }
}

fn expand_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut calls = Vec::new();
    for expr in plan.expressions() {
        collect_calls(&expr, &mut calls)?;
    }
    let Some(call) = calls.first() else { return Ok(Transformed::no(plan)) };
    let function = call.func.name().to_string();
    match plan {
        LogicalPlan::Aggregate(aggregate) => {
            if let Some(other) = calls.get(1) {
                return Err(Error::sql("a query block is grouped by one time window, found two")
                    .at(place(other, 0))
                    .hint("TUMBLE(TABLE t, …), HOP or SESSION in FROM give the rows of one window; group by the other")
                    .into());
            }
            let call = call.clone();
            expand(aggregate, &call).map(Transformed::yes)
        }
        _ => Err(Error::sql(format!("{function}() stands outside of GROUP BY"))
            .at(place(call, 0))
            .hint("group by it, or use TUMBLE(TABLE t, DESCRIPTOR(time), size), HOP or SESSION in FROM, which keep the rows")
            .into()),
    }
}

fn as_call(expr: &Expr) -> Option<&ScalarFunction> {
    match expr {
        Expr::ScalarFunction(call) if matches!(call.func.name(), "window" | "session_window") => Some(call),
        _ => None,
    }
}

fn collect_calls(expr: &Expr, calls: &mut Vec<ScalarFunction>) -> Result<()> {
    expr.apply(|part| {
        if let Some(call) = as_call(part)
            && !calls.contains(call)
        {
            calls.push(call.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// Where the argument of a call stands.
fn place(call: &ScalarFunction, index: usize) -> Option<Position> {
    match call.args.last() {
        Some(Expr::Literal(places, _)) => place_of(places, index),
        _ => None,
    }
}

fn expand(aggregate: Aggregate, call: &ScalarFunction) -> Result<LogicalPlan> {
    if let [Expr::GroupingSet(_)] = aggregate.group_expr.as_slice() {
        return Err(Error::sql(format!("{}() does not go with ROLLUP, CUBE or GROUPING SETS", call.func.name()))
            .at(place(call, 0))
            .hint("use TUMBLE(TABLE t, DESCRIPTOR(time), size), HOP or SESSION in FROM and group by window_start, window_end")
            .into());
    }
    let Some(time) = call.args.first() else { return internal_err!("a window without a time") };
    let time = EventTime::of(time.clone(), aggregate.input.schema(), "the time of a window", place(call, 0))?;
    match call.args.as_slice() {
        [_, size, slide, offset, _] => {
            let hopping = Hopping { size: number(size)?, slide: number(slide)?, offset: number(offset)? };
            let input = hopping.with_starts(Arc::unwrap_or_clone(aggregate.input), &time)?;
            let (start, end) = hopping.edges(&time, Expr::Column(Column::from_name(START)));
            let window = Window { call, start, end: Some(end) };
            window.group(input, aggregate.group_expr, aggregate.aggr_expr, &aggregate.schema)
        }
        [_, gap, _] => expand_sessions(aggregate, call, &time, gap.clone()),
        other => internal_err!("a window of {} arguments", other.len()),
    }
}

fn number(expr: &Expr) -> Result<i64> {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(number)), _) => Ok(*number),
        other => internal_err!("{other} is no length of a window"),
    }
}

/// The keys of the sessions are the other group expressions.
fn expand_sessions(aggregate: Aggregate, call: &ScalarFunction, time: &EventTime, gap: Expr) -> Result<LogicalPlan> {
    let Aggregate { input, mut group_expr, aggr_expr, schema, .. } = aggregate;
    let mut computed = columns(input.schema());
    let mut keys = Vec::new();
    for (index, expr) in group_expr.iter_mut().enumerate() {
        if expr.exists(|part| Ok(as_call(part).is_some()))? {
            continue;
        }
        if !matches!(expr, Expr::Column(_)) {
            // Once, below the window functions, since they are used several times.
            let name = format!("__key{index}");
            computed.push(std::mem::replace(expr, Expr::Column(Column::from_name(&name))).alias(name));
        }
        keys.push(expr.clone());
    }
    let sessions = Sessions::by_gap(keys, time, gap, input.schema(), place(call, 1))?;
    let input = LogicalPlanBuilder::from(Arc::unwrap_or_clone(input)).project(computed)?.build()?;
    let input = sessions.with_starts(input, time)?;
    let window = Window { call, start: Expr::Column(Column::from_name(START)), end: None };
    window.group(input, group_expr, aggr_expr, &schema)
}

/// The call and what stands for it, over the column [`START`].
struct Window<'a> {
    call: &'a ScalarFunction,
    start: Expr,
    /// `None` where the end of a window is known only when its rows have been grouped.
    end: Option<Expr>,
}

impl Window<'_> {
    /// The aggregate over rows that have a start, under the schema of the one with the call.
    fn group(&self, input: LogicalPlan, group_expr: Vec<Expr>, mut aggr_expr: Vec<Expr>, schema: &DFSchema) -> Result<LogicalPlan> {
        let is_window: Vec<bool> = group_expr.iter().map(|expr| as_call(expr) == Some(self.call)).collect();
        let group_expr = group_expr.into_iter().zip(&is_window).map(|(expr, is_window)| match is_window {
            true => Ok(Expr::Column(Column::from_name(START))),
            false => self.without_call(expr),
        });
        let group_expr = group_expr.collect::<Result<Vec<_>>>()?;
        aggr_expr = aggr_expr.into_iter().map(|expr| self.without_call(expr)).collect::<Result<_>>()?;
        let end = match &self.end {
            Some(end) => end.clone(),
            None => {
                aggr_expr.push(max(Expr::Column(Column::from_name(EVENT_END))).alias(END));
                Expr::Column(Column::from_name(END))
            }
        };
        let grouped = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), group_expr, aggr_expr)?);
        let window = named_struct(vec![lit("start"), self.start.clone(), lit("end"), end]);
        let shown = schema.iter().zip(grouped.schema().columns()).enumerate().map(|(index, ((qualifier, field), column))| {
            let name = Column::new(qualifier.cloned(), field.name());
            match is_window.get(index) {
                Some(true) => window.clone().alias_qualified(name.relation, name.name),
                _ if column == name => Expr::Column(column),
                _ => Expr::Column(column).alias_qualified(name.relation, name.name),
            }
        });
        let shown: Vec<Expr> = shown.collect();
        LogicalPlanBuilder::from(grouped).project(shown)?.build()
    }

    /// An expression over the rows, with the window's start and end in the place of the call.
    fn without_call(&self, expr: Expr) -> Result<Expr> {
        let replaced = expr.transform_down(|part| {
            if let Expr::ScalarFunction(access) = &part
                && access.func.name() == "get_field"
                && let [window, Expr::Literal(field, _)] = access.args.as_slice()
                && as_call(window) == Some(self.call)
                && field.try_as_str() == Some(Some("start"))
            {
                return Ok(Transformed::new(self.start.clone(), true, TreeNodeRecursion::Jump));
            }
            if as_call(&part) != Some(self.call) {
                return Ok(Transformed::no(part));
            }
            let Some(end) = &self.end else {
                return Err(Error::sql("the end of a session is known only when its rows have been grouped")
                    .at(place(self.call, 0))
                    .hint("group by session_window(…) itself; in aggregates, and in other keys, only its start can be used")
                    .into());
            };
            let window = named_struct(vec![lit("start"), self.start.clone(), lit("end"), end.clone()]);
            Ok(Transformed::new(window, true, TreeNodeRecursion::Jump))
        })?;
        Ok(replaced.data)
    }
}
