//! Keeps filters from being written out beyond measure: of projections in each other, each of which names a column of the one below twice or more, `x` at the top
//! stands for an expression that doubles with each of them.
//!
//! ```text
//! SELECT * FROM (SELECT x + x AS x FROM (SELECT x + x AS x FROM …)) WHERE x > 1
//! ```
//!
//! DataFusion pushes the filter down by putting the expression in the place of its column, from projection to projection. Forty of them are more than any
//! memory holds. So below a projection whose columns would come to stand for too much, a barrier is set, and what is above it is written out once at most.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion, TreeNodeVisitor};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::barrier;

/// Expressions that a column may stand for.
const EXPRESSIONS_MAX: u64 = 100_000;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct FenceGrowingColumns {}

impl AnalyzerRule for FenceGrowingColumns {
    fn name(&self) -> &str {
        "fence_growing_columns"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        if may_grow(&plan)? { fenced(plan) } else { Ok(plan) }
    }
}

/// Whether some column may stand for too much, told by the largest expression of each projection.
fn may_grow(plan: &LogicalPlan) -> Result<bool> {
    let mut bounds = Bounds { of_inputs: Vec::new(), largest: 0 };
    plan.visit(&mut bounds)?;
    Ok(bounds.largest > EXPRESSIONS_MAX)
}

struct Bounds {
    of_inputs: Vec<u64>,
    largest: u64,
}

impl TreeNodeVisitor<'_> for Bounds {
    type Node = LogicalPlan;

    fn f_up(&mut self, plan: &LogicalPlan) -> Result<TreeNodeRecursion> {
        let inputs = self.of_inputs.split_off(self.of_inputs.len().saturating_sub(plan.inputs().len()));
        let mut bound = inputs.into_iter().max().unwrap_or(1);
        if let LogicalPlan::Projection(projection) = plan {
            let most = projection.expr.iter().map(|expr| size(expr, |_| 1)).max().unwrap_or(1);
            bound = bound.saturating_mul(most);
        }
        self.of_inputs.push(bound);
        self.largest = self.largest.max(bound);
        plan.apply_subqueries(|subquery| {
            if may_grow(subquery)? {
                self.largest = u64::MAX;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(TreeNodeRecursion::Continue)
    }
}

/// The plan with a barrier below every projection with a column that stands for too much.
fn fenced(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut of_inputs: Vec<Vec<u64>> = Vec::new();
    let fenced = plan.transform_up(|plan| {
        let mut inputs = of_inputs.split_off(of_inputs.len().saturating_sub(plan.inputs().len()));
        let plan = plan.map_subqueries(|subquery| fenced(subquery).map(Transformed::yes))?;
        let sizes = columns(&plan.data, &inputs);
        if !sizes.iter().any(|size| *size > EXPRESSIONS_MAX) || !can_be_fenced(&plan.data) {
            of_inputs.push(sizes);
            return Ok(plan);
        }
        inputs.iter_mut().for_each(|sizes| sizes.fill(1));
        of_inputs.push(columns(&plan.data, &inputs));
        plan.data.map_children(|input| Ok(Transformed::yes(barrier::over(input))))
    })?;
    Ok(fenced.data)
}

/// Queries that speak of rows outside of them are not turned into joins through a barrier.
fn can_be_fenced(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Projection(projection) if projection.input.all_out_ref_exprs().is_empty())
}

/// How many expressions each column of a plan stands for.
fn columns(plan: &LogicalPlan, of_inputs: &[Vec<u64>]) -> Vec<u64> {
    let inputs: Vec<(&DFSchema, &Vec<u64>)> = plan.inputs().into_iter().map(|input| input.schema().as_ref()).zip(of_inputs).collect();
    let written_out = |expr: &Expr| {
        size(expr, |column| {
            let found = inputs.iter().find_map(|(schema, sizes)| sizes.get(schema.maybe_index_of_column(column)?).copied());
            found.unwrap_or(1)
        })
    };
    let width = plan.schema().fields().len();
    match (plan, of_inputs) {
        (LogicalPlan::Projection(projection), _) => projection.expr.iter().map(written_out).collect(),
        // Filters on the keys go below; those on what is aggregated do not.
        (LogicalPlan::Aggregate(aggregate), _) => {
            aggregate.group_expr.iter().map(written_out).chain(std::iter::repeat(1)).take(width).collect()
        }
        (_, [only]) if only.len() == width => only.clone(),
        (LogicalPlan::Union(_), _) => {
            (0..width).map(|i| of_inputs.iter().filter_map(|sizes| sizes.get(i).copied()).max().unwrap_or(1)).collect()
        }
        _ => plan.schema().columns().into_iter().map(|column| written_out(&Expr::Column(column))).collect(),
    }
}

/// How many expressions an expression is, where each column is as many as it stands for.
fn size(expr: &Expr, stands_for: impl Fn(&Column) -> u64) -> u64 {
    let mut count: u64 = 0;
    // Only an error of the closure could be one.
    let _ = expr.apply(|expr| {
        count = count.saturating_add(match expr {
            Expr::Column(column) => stands_for(column),
            Expr::Alias(_) => 0,
            _ => 1,
        });
        Ok(TreeNodeRecursion::Continue)
    });
    count
}

#[cfg(test)]
mod tests {
    use crate::planner::testing::{ours, plan_of, rows_of};

    /// `x` times two to the power of `layers`.
    fn doubled(layers: usize) -> String {
        let rows = "SELECT value AS x, value AS k, 1 AS one FROM generate_series(1, 5)".to_string();
        (0..layers).fold(rows, |inner, _| format!("SELECT x + x AS x, one + one AS one, k FROM ({inner})"))
    }

    /// Runs on a stack like the program's: queries in each other are planned by recursion.
    fn on_a_deep_stack<F: Future<Output = ()> + 'static>(test: fn() -> F) {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let thread = std::thread::Builder::new().stack_size(16 << 20).spawn(move || runtime().block_on(test())).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn filters_on_columns_that_grow_are_answered() {
        on_a_deep_stack(|| async {
            let context = ours().await.unwrap();
            let large = 3_i64 << 20;
            let sql = format!("SELECT k, x FROM ({}) WHERE x > {large} AND x + k > 0 AND one > 7", doubled(20));
            assert_eq!(rows_of(&context, &sql).await.unwrap(), [format!("4|{}", 4_i64 << 20), format!("5|{}", 5_i64 << 20)]);
            let sql = format!(
                "SELECT a.k FROM ({0}) AS a JOIN ({0}) AS b ON a.x = b.x WHERE a.x + b.x > {large} AND EXISTS (SELECT 1 FROM ({0}) AS c WHERE c.x > {large} AND c.x = a.x)",
                doubled(20)
            );
            assert_eq!(rows_of(&context, &sql).await.unwrap(), ["4", "5"]);
        });
    }

    #[test]
    fn barriers_stand_below_the_projection_that_grows() {
        on_a_deep_stack(|| async {
            let plan = plan_of(&format!("SELECT x FROM ({}) WHERE x > 8", doubled(20))).await.unwrap();
            let lines: Vec<&str> = plan.lines().map(str::trim).collect();
            let barrier = lines.iter().position(|line| *line == "BarrierExec").unwrap();
            assert!(lines[..barrier].iter().any(|line| line.starts_with("FilterExec")), "{plan}");
            assert!(lines[barrier - 1].starts_with("ProjectionExec: expr=[x@0 + x@0 as "), "{plan}");
        });
    }

    #[test]
    fn subqueries_that_speak_of_other_rows_are_answered_as_before() {
        on_a_deep_stack(|| async {
            let own = "SELECT value AS x, value AS k, 1 AS one FROM generate_series(1, 5) WHERE value = o.value + 2".to_string();
            let own = (0..20).fold(own, |inner, _| format!("SELECT x + x AS x, one + one AS one, k FROM ({inner})"));
            let sql = format!("SELECT o.value FROM generate_series(1, 5) AS o WHERE EXISTS (SELECT x FROM ({own}))");
            assert_eq!(rows_of(&ours().await.unwrap(), &sql).await.unwrap(), ["1", "2", "3"]);
            assert!(!plan_of(&sql).await.unwrap().contains("Barrier"));
        });
    }

    #[test]
    fn other_columns_go_on_as_before() {
        on_a_deep_stack(|| async {
            let plan = plan_of(&format!("SELECT x FROM ({}) WHERE x > 8", doubled(3))).await.unwrap();
            assert!(!plan.contains("Barrier"), "{plan}");
            let plan = plan_of(&format!("SELECT x FROM ({}) WHERE x > 8", doubled(20))).await.unwrap();
            assert!(plan.contains("Barrier"), "{plan}");
            // What a column stands for may be large by itself, and many times, in few queries.
            let wide = format!("CASE x {} END AS x", (0..3_000).map(|i| format!("WHEN {i} THEN {i}")).collect::<Vec<_>>().join(" "));
            let sql = format!(
                "SELECT x FROM (SELECT x + x + x + x AS x FROM (SELECT x + x + x + x AS x FROM (SELECT x + x AS x FROM (SELECT {wide} FROM ({}))))) WHERE x > 8",
                doubled(1)
            );
            let plan = plan_of(&sql).await.unwrap();
            assert!(plan.contains("Barrier"), "{plan}");
        });
    }
}
