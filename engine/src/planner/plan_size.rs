//! Refuses plans that are too large to be worked on, however short the query is that they are of: `WITH b AS (SELECT … FROM a UNION ALL SELECT … FROM a)` reads
//! `a` twice, `c` reads `b` twice, and with thirty of them the plan has a thousand million parts.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{TreeNodeRecursion, TreeNodeVisitor};
use datafusion::common::{DFSchemaRef, Result};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use orrery_udfs::MOST_FIELDS;

/// Relational steps of a plan, with the queries that its `WITH` clauses and views stand for wherever they are named.
pub(crate) const STEPS_MAX: usize = 100_000;
/// Steps that stand on each other: plans are walked by recursion.
const DEPTH_MAX: usize = 4_000;

/// What is wrong with the size of a plan, if anything is.
pub(crate) fn problem(plan: &LogicalPlan) -> Option<String> {
    let mut count = Count::default();
    // Counting does not fail.
    let _ = plan.visit_with_subqueries(&mut count);
    if count.steps > STEPS_MAX {
        return Some(format!("with its WITH clauses and views written out, the query has more than {STEPS_MAX} steps"));
    }
    if let Some(column) = count.too_wide {
        return Some(format!("the type of the column '{column}' has more than {MOST_FIELDS} fields"));
    }
    (count.deepest > DEPTH_MAX).then(|| format!("more than {DEPTH_MAX} steps of the query stand on each other"))
}

/// The steps of a plan, up to one more than there may be.
pub(crate) fn steps(plan: &LogicalPlan) -> usize {
    let mut count = Count::default();
    let _ = plan.visit_with_subqueries(&mut count);
    count.steps
}

/// What stands in a plan, with the same columns, for a plan that would make it too large.
pub(crate) fn too_large(plan: &LogicalPlan) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(TooLarge { schema: Arc::clone(plan.schema()) }) })
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TooLarge {
    schema: DFSchemaRef,
}

impl PartialOrd for TooLarge {
    fn partial_cmp(&self, _: &Self) -> Option<Ordering> {
        None
    }
}

impl UserDefinedLogicalNodeCore for TooLarge {
    fn name(&self) -> &str {
        "TooLarge"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TooLarge")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, _: Vec<LogicalPlan>) -> Result<Self> {
        Ok(self.clone())
    }
}

#[derive(Default)]
struct Count {
    steps: usize,
    depth: usize,
    deepest: usize,
    too_wide: Option<String>,
}

impl TreeNodeVisitor<'_> for Count {
    type Node = LogicalPlan;

    fn f_down(&mut self, plan: &LogicalPlan) -> Result<TreeNodeRecursion> {
        self.steps += 1;
        if let LogicalPlan::Extension(extension) = plan
            && extension.node.as_any().is::<TooLarge>()
        {
            self.steps = STEPS_MAX + 1;
        }
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        let too_wide = |field: &&FieldRef| orrery_udfs::has_too_many_fields(field.data_type());
        self.too_wide = plan.schema().fields().iter().find(too_wide).map(|field| field.name().clone());
        let is_enough = self.steps > STEPS_MAX || self.deepest > DEPTH_MAX || self.too_wide.is_some();
        Ok(if is_enough { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    }

    fn f_up(&mut self, _: &LogicalPlan) -> Result<TreeNodeRecursion> {
        self.depth -= 1;
        Ok(TreeNodeRecursion::Continue)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};

    use crate::planner::testing::ours;

    async fn plan(sql: &str) -> LogicalPlan {
        ours().await.unwrap().sql(sql).await.unwrap().into_unoptimized_plan()
    }

    #[tokio::test]
    async fn plans_that_are_far_larger_than_what_they_are_made_of_are_refused() {
        let mut doubled = plan("SELECT 1 AS x").await;
        for _ in 0..60 {
            doubled = LogicalPlanBuilder::from(doubled.clone()).union(doubled).unwrap().build().unwrap();
        }
        assert!(super::problem(&doubled).unwrap().contains("more than 100000 steps"));
        let mut deep = plan("SELECT 1 AS x").await;
        assert_eq!(super::problem(&deep), None);
        for _ in 0..5_000 {
            deep = LogicalPlanBuilder::from(deep).limit(0, Some(1)).unwrap().build().unwrap();
        }
        assert_eq!(super::problem(&deep).unwrap(), "more than 4000 steps of the query stand on each other");
    }
}
