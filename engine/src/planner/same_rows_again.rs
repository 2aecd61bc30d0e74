//! Tells of a logical plan whether reading it twice gives the same rows: the rewrites that ask something about all rows before they read them need that.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::logical_expr::{Aggregate, Distinct, Expr, LogicalPlan, LogicalPlanBuilder};

use super::hints::HintNode;

/// Aggregates whose value does not depend on the order in which rows come, but for the last digits of sums of floats.
const ORDERLESS: [&str; 21] = [
    "approx_distinct",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "count",
    "exact_moments",
    "exact_quantiles",
    "grouping",
    "max",
    "median",
    "min",
    "most_frequent",
    "stddev",
    "stddev_pop",
    "sum",
    "var",
    "var_pop",
    "vocabulary",
];

/// True unless something in the plan may choose other rows, or other values, the second time: volatile functions, limits, numbers of rows, first values.
pub(super) fn gives_same_rows_again(plan: &LogicalPlan) -> Result<bool> {
    let mut is_same = true;
    plan.apply_with_subqueries(|node| {
        is_same &= is_repeatable(node) && node.expressions().iter().all(|expr| !expr.is_volatile() && !expr.contains_outer());
        Ok(if is_same { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(is_same)
}

fn is_repeatable(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::Distinct(Distinct::All(_)) => true,
        LogicalPlan::TableScan(scan) => scan.fetch.is_none(),
        LogicalPlan::Sort(sort) => sort.fetch.is_none(),
        LogicalPlan::Aggregate(aggregate) => aggregate.aggr_expr.iter().all(is_orderless),
        LogicalPlan::Extension(_) => HintNode::of(node).is_some(),
        _ => false,
    }
}

fn is_orderless(aggregate: &Expr) -> bool {
    match aggregate {
        Expr::Alias(alias) => is_orderless(&alias.expr),
        Expr::AggregateFunction(function) => is_orderless_function(function.func.name()),
        _ => false,
    }
}

/// Whether an aggregate gives the same value in whatever order the rows come.
pub(super) fn is_orderless_function(name: &str) -> bool {
    ORDERLESS.contains(&name)
}

/// Whether reading the rows costs little more than reading tables: rows are filtered and columns computed, nothing is joined, grouped or sorted.
pub(super) fn comes_straight_from_tables(plan: &LogicalPlan) -> bool {
    let is_plain = match plan {
        LogicalPlan::TableScan(_)
        | LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Union(_) => true,
        LogicalPlan::Extension(_) => HintNode::of(plan).is_some(),
        _ => false,
    };
    is_plain && plan.inputs().into_iter().all(comes_straight_from_tables)
}

/// The plan without hints, and without what only takes out repeated rows, for questions that repeated rows do not change.
pub(super) fn as_a_set(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_down(|node| match node {
        LogicalPlan::Distinct(Distinct::All(input)) => Ok(Transformed::yes(input.as_ref().clone())),
        LogicalPlan::Aggregate(Aggregate { input, group_expr, aggr_expr, .. })
            if aggr_expr.is_empty() && !group_expr.is_empty() && !matches!(group_expr.as_slice(), [Expr::GroupingSet(_)]) =>
        {
            LogicalPlanBuilder::from(input).project(group_expr)?.build().map(Transformed::yes)
        }
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::Union(_) => {
            Ok(Transformed::no(node))
        }
        // A hint is for the join that the rows are read for, not for the question.
        LogicalPlan::Extension(_) => Ok(match HintNode::of(&node).map(|hint| hint.input.clone()) {
            Some(input) => Transformed::yes(input),
            None => Transformed::new(node, false, TreeNodeRecursion::Jump),
        }),
        // The rows below are counted, numbered or joined.
        other => Ok(Transformed::new(other, false, TreeNodeRecursion::Jump)),
    })
    .data()
}
