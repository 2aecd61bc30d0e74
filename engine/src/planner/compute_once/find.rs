//! Finds the subplans that a plan holds more than once and that are worth being computed once: those that work on tables and give fewer rows than they read.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, Volatility, WindowFunctionDefinition};
use orrery_lakehouse::is_same_snapshot;

/// How many subplans of a statement are computed once at most; every one costs a round of planning.
const MOST_SUBPLANS: usize = 8;

/// The common subplans of an analyzed plan, those before others that stand in them.
///
/// # Errors
/// The plan cannot be walked.
pub fn find_common_subplans(plan: &LogicalPlan) -> Result<Vec<LogicalPlan>> {
    let mut found: Vec<LogicalPlan> = Vec::new();
    while found.len() < MOST_SUBPLANS {
        let mut seen = Seen { found: &found, kinds: HashMap::new() };
        seen.visit_inputs(plan)?;
        for subplan in &found {
            seen.visit_inputs(subplan)?;
        }
        match seen.largest_common()? {
            Some(largest) => found.push(largest),
            None => break,
        }
    }
    Ok(found)
}

/// Whether two plans give the same rows: their tables are compared by what they read, which DataFusion's comparison leaves out.
pub(in crate::planner) fn is_same(a: &LogicalPlan, b: &LogicalPlan) -> Result<bool> {
    if a != b {
        return Ok(false);
    }
    let (a, b) = (sources(a)?, sources(b)?);
    // Equal plans have their scans in the same order.
    Ok(a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| Arc::ptr_eq(a, b) || is_same_snapshot(a.as_ref(), b.as_ref())))
}

fn sources(plan: &LogicalPlan) -> Result<Vec<Arc<dyn TableProvider>>> {
    let mut sources = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            sources.push(source_as_provider(&scan.source)?);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(sources)
}

struct Occurrence {
    plan: LogicalPlan,
    count: usize,
}

/// How often each subplan occurs, where it does not occur in one that has been found.
struct Seen<'a> {
    found: &'a [LogicalPlan],
    kinds: HashMap<u64, Vec<Occurrence>>,
}

impl Seen<'_> {
    fn visit(&mut self, plan: &LogicalPlan) -> Result<()> {
        for found in self.found {
            if is_same(found, plan)? {
                return Ok(());
            }
        }
        self.count(plan)?;
        self.visit_inputs(plan)
    }

    fn visit_inputs(&mut self, plan: &LogicalPlan) -> Result<()> {
        // The terms of a recursive query run again and again over a table that only they know.
        if matches!(plan, LogicalPlan::RecursiveQuery(_)) {
            return Ok(());
        }
        let visit = |this: &mut Self, plan: &LogicalPlan| this.visit(plan).map(|()| TreeNodeRecursion::Continue);
        plan.apply_subqueries(|subquery| visit(self, subquery))?;
        plan.apply_children(|child| visit(self, child))?;
        Ok(())
    }

    fn count(&mut self, plan: &LogicalPlan) -> Result<()> {
        // A subquery is more than its plan; the plan below it is counted.
        if plan.inputs().is_empty() || matches!(plan, LogicalPlan::Subquery(_)) {
            return Ok(());
        }
        let mut hasher = DefaultHasher::new();
        plan.hash(&mut hasher);
        let alike = self.kinds.entry(hasher.finish()).or_default();
        for known in alike.iter_mut() {
            if is_same(&known.plan, plan)? {
                known.count += 1;
                return Ok(());
            }
        }
        alike.push(Occurrence { plan: plan.clone(), count: 1 });
        Ok(())
    }

    fn largest_common(self) -> Result<Option<LogicalPlan>> {
        let mut common = Vec::new();
        for Occurrence { plan, .. } in self.kinds.into_values().flatten().filter(|known| known.count > 1) {
            if is_worthwhile(&plan) && is_repeatable(&plan)? {
                let text = plan.display_indent().to_string();
                common.push((size(&plan)?, text, plan));
            }
        }
        // By text where they are of one size, so that names are the same whenever the statement is planned.
        common.sort_by(|(size_a, text_a, _), (size_b, text_b, _)| size_b.cmp(size_a).then_with(|| text_a.cmp(text_b)));
        Ok(common.into_iter().next().map(|(_, _, plan)| plan))
    }
}

fn size(plan: &LogicalPlan) -> Result<usize> {
    let mut nodes = 0;
    plan.apply_with_subqueries(|_| {
        nodes += 1;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(nodes)
}

/// Rows whose order does not matter, fewer than were read.
fn is_worthwhile(plan: &LogicalPlan) -> bool {
    !ends_in_order(plan) && gives_fewer_rows(plan)
}

/// What is read back from files has lost its order.
fn ends_in_order(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_) | LogicalPlan::Limit(_) => {
            plan.inputs().into_iter().any(ends_in_order)
        }
        _ => false,
    }
}

/// Whether all rows have come through an aggregation or its like.
fn gives_fewer_rows(plan: &LogicalPlan) -> bool {
    let mut inputs = plan.inputs().into_iter();
    match plan {
        LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) => true,
        // A limit alone stops its scan early; over anything that has to be computed whole it pays.
        LogicalPlan::Limit(_) => inputs.any(is_work),
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Union(_) => inputs.all(gives_fewer_rows),
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => gives_fewer_rows(&join.left),
            JoinType::RightSemi | JoinType::RightAnti => gives_fewer_rows(&join.right),
            _ => inputs.all(gives_fewer_rows),
        },
        _ => false,
    }
}

fn is_work(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) | LogicalPlan::Window(_) | LogicalPlan::Sort(_))
        || plan.inputs().into_iter().any(is_work)
}

/// Whether a plan reads tables, stands by itself, and gives the same rows whenever it runs.
fn is_repeatable(plan: &LogicalPlan) -> Result<bool> {
    let (mut is_repeatable, mut reads_table) = (true, false);
    plan.apply_with_subqueries(|node| {
        is_repeatable &= is_plain(node)?;
        reads_table |= matches!(node, LogicalPlan::TableScan(_));
        node.apply_expressions(|expr| {
            is_repeatable &= !expr.exists(|part| Ok(is_bound_or_volatile(part)))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if is_repeatable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(is_repeatable && reads_table)
}

/// Nodes of queries, without those that know more than their inputs: hints, and the working tables of recursive queries.
pub(crate) fn is_plain(node: &LogicalPlan) -> Result<bool> {
    Ok(match node {
        LogicalPlan::TableScan(scan) => !source_as_provider(&scan.source)?.is::<CteWorkTable>(),
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Unnest(_) => true,
        _ => false,
    })
}

/// Whether an expression refers to a query around it, or may have another value the next time.
fn is_bound_or_volatile(expr: &Expr) -> bool {
    matches!(expr, Expr::OuterReferenceColumn(..) | Expr::Placeholder(_)) || volatility(expr) == Some(Volatility::Volatile)
}

/// How constant the function is that an expression calls; `None` if it calls none.
pub(crate) fn volatility(expr: &Expr) -> Option<Volatility> {
    Some(match expr {
        Expr::ScalarFunction(call) => call.func.signature().volatility,
        Expr::AggregateFunction(call) => call.func.signature().volatility,
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function) => function.signature().volatility,
            WindowFunctionDefinition::WindowUDF(function) => function.signature().volatility,
        },
        _ => return None,
    })
}
