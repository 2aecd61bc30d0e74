//! Narrows a plan of scans, filters and projections to some of its columns, down to the scan.
//!
//! Logical planning has pruned columns already, but for the whole plan. A copy of it that serves for less needs less.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;

/// A plan for the values of `exprs` over `plan`, under the given names.
pub(super) fn project_narrowly(
    exprs: impl IntoIterator<Item = (Arc<dyn PhysicalExpr>, String)>,
    plan: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let exprs: Vec<_> = exprs.into_iter().collect();
    let needed = columns_of(exprs.iter().map(|(expr, _)| expr));
    let narrow = narrow(plan, &needed)?;
    let exprs = exprs.into_iter().map(|(expr, name)| Ok((narrow.renumber(&expr)?, name))).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(exprs, narrow.plan)?))
}

/// A plan with some of the columns of another.
struct Narrow {
    plan: Arc<dyn ExecutionPlan>,
    /// The numbers that the columns had before, in their new order.
    columns: Vec<usize>,
}

impl Narrow {
    /// `plan` with all its columns.
    fn unchanged(plan: Arc<dyn ExecutionPlan>) -> Self {
        let columns = (0..plan.schema().fields().len()).collect();
        Self { plan, columns }
    }

    /// An expression over the old columns as one over the new ones.
    fn renumber(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        Arc::clone(expr)
            .transform_down(|node| {
                let Some(column) = node.downcast_ref::<Column>() else { return Ok(Transformed::no(node)) };
                let at = self.columns.binary_search(&column.index()).map_err(|_| {
                    datafusion::common::internal_datafusion_err!("column {column} was not among the columns that are needed")
                })?;
                Ok(Transformed::yes(Arc::new(Column::new(column.name(), at))))
            })
            .data()
    }
}

fn columns_of<'a>(exprs: impl Iterator<Item = &'a Arc<dyn PhysicalExpr>>) -> BTreeSet<usize> {
    exprs.flat_map(|expr| collect_columns(expr).into_iter().map(|column| column.index())).collect()
}

/// `plan` with the columns that are needed, and perhaps others.
fn narrow(plan: Arc<dyn ExecutionPlan>, needed: &BTreeSet<usize>) -> Result<Narrow> {
    if needed.len() == plan.schema().fields().len() {
        return Ok(Narrow::unchanged(plan));
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let kept = || needed.iter().map(|at| &projection.expr()[*at]);
        let input = narrow(Arc::clone(projection.input()), &columns_of(kept().map(|projected| &projected.expr)))?;
        let exprs = kept().map(|p| Ok((input.renumber(&p.expr)?, p.alias.clone()))).collect::<Result<Vec<_>>>()?;
        return Ok(Narrow { plan: Arc::new(ProjectionExec::try_new(exprs, input.plan)?), columns: needed.iter().copied().collect() });
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return narrow_filter(filter, needed);
    }
    if plan.is::<RepartitionExec>() || plan.is::<CoalescePartitionsExec>() {
        let child = plan.children().first().map(|child| Arc::clone(child));
        let Some(child) = child else { return Ok(Narrow::unchanged(plan)) };
        let input = narrow(child, needed)?;
        let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        return Ok(Narrow { plan: plan.replace_children(vec![input.plan], recompute)?, columns: input.columns });
    }
    let schema = plan.schema();
    let columns = needed.iter().map(|at| -> (Arc<dyn PhysicalExpr>, String) {
        let name = schema.field(*at).name();
        (Arc::new(Column::new(name, *at)), name.clone())
    });
    let projection = ProjectionExec::try_new(columns.collect::<Vec<_>>(), Arc::clone(&plan))?;
    Ok(match plan.try_swapping_with_projection(&projection)? {
        Some(plan) => Narrow { plan, columns: needed.iter().copied().collect() },
        None => Narrow::unchanged(plan),
    })
}

fn narrow_filter(filter: &FilterExec, needed: &BTreeSet<usize>) -> Result<Narrow> {
    // Numbers of the filter's input that its output needs.
    let below = |at: &usize| filter.projection().as_ref().map_or(*at, |kept| kept[*at]);
    let mut needed_below = columns_of([filter.predicate()].into_iter());
    needed_below.extend(needed.iter().map(below));
    let input = narrow(Arc::clone(filter.input()), &needed_below)?;
    let predicate = input.renumber(filter.predicate())?;
    let filtered = Arc::new(FilterExec::try_new(predicate, Arc::clone(&input.plan))?);
    let schema = input.plan.schema();
    let columns = needed.iter().map(|at| {
        let name = schema.field(input.columns.binary_search(&below(at)).unwrap_or_default()).name();
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(name, below(at)));
        Ok((input.renumber(&column)?, name.clone()))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(Narrow { plan: Arc::new(ProjectionExec::try_new(columns, filtered)?), columns: needed.iter().copied().collect() })
}

#[cfg(test)]
mod tests;
