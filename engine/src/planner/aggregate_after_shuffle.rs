//! Aggregates raw rows after one shuffle where a grouped `count(DISTINCT …)` or an aggregate over events in their order is
//! involved (`funnel`, `sequence_match`), instead of before and after it.
//!
//! The state of a distinct count is the list of all values of the group, that of a funnel the list of its events. Building
//! these lists, shuffling them and taking them apart again costs more than shuffling the rows, whatever the number of groups;
//! and with few groups the lists of one group are merged by one task anyway.
//!
//! Of the rows of events only what the aggregates look at is shuffled: the steps of a funnel, say, not the texts that they
//! were made of.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};
use orrery_udfs::aggregate::keeps_every_row;

/// See the module documentation.
#[derive(Debug, Clone, Default)]
pub struct AggregateAfterShuffle {}

impl PhysicalOptimizerRule for AggregateAfterShuffle {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions = config.execution.target_partitions;
        let rewrite = |node: Arc<dyn ExecutionPlan>| match in_one_step(&node, partitions)? {
            Some(rewritten) => Ok(Transformed::yes(rewritten)),
            None => Ok(Transformed::no(node)),
        };
        plan.transform_up(rewrite).data()
    }

    fn name(&self) -> &str {
        "aggregate_after_shuffle"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The two steps that end in `node` as one, if they count distinct values of hashed groups, or look at their events.
fn in_one_step(node: &Arc<dyn ExecutionPlan>, partitions: usize) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(last) = node.downcast_ref::<AggregateExec>() else { return Ok(None) };
    let Some(first) = last.input().downcast_ref::<AggregateExec>() else { return Ok(None) };
    let has_two_steps = *last.mode() == AggregateMode::FinalPartitioned && *first.mode() == AggregateMode::Partial;
    let is_hashed = *first.input_order_mode() == InputOrderMode::Linear && first.group_expr().is_single();
    let counts_distinct = last.aggr_expr().iter().any(|aggregate| aggregate.is_distinct());
    let keeps_rows = last.aggr_expr().iter().any(|aggregate| keeps_every_row(aggregate.fun()));
    if !has_two_steps || !is_hashed || !(counts_distinct || keeps_rows) || is_known_to_have_fewer_groups(first, partitions)? {
        return Ok(None);
    }
    let computed = if counts_distinct { None } else { over_computed_columns(first, last)? };
    let single = match computed {
        Some(single) => single,
        None => AggregateExec::try_new(
            AggregateMode::SinglePartitioned,
            Arc::new(first.group_expr().clone()),
            last.aggr_expr().to_vec(),
            first.filter_expr().to_vec(),
            Arc::clone(first.input()),
            first.input_schema(),
        )?,
    };
    Ok(Some(Arc::new(single)))
}

/// The aggregation in one step over a projection to its keys and arguments, below which nothing else is needed; `None` where an aggregate cannot be moved.
fn over_computed_columns(first: &AggregateExec, last: &AggregateExec) -> Result<Option<AggregateExec>> {
    let mut columns = Columns::default();
    let keys = first.group_expr().expr().iter().map(|(key, name)| (columns.place_of(key), name.clone())).collect();
    let filters = first.filter_expr().iter().map(|filter| filter.as_ref().map(|filter| columns.place_of(filter))).collect();
    let mut aggregates = Vec::new();
    for aggregate in last.aggr_expr() {
        let all = aggregate.all_expressions();
        // Literals stay where functions look for them when they are planned.
        let mut moved = |expr: &Arc<dyn PhysicalExpr>| if expr.is::<Literal>() { Arc::clone(expr) } else { columns.place_of(expr) };
        let args = all.args.iter().map(&mut moved).collect();
        let Some(moved) = aggregate.with_new_expressions(args, all.order_by_exprs.iter().map(&mut moved).collect()) else {
            return Ok(None);
        };
        aggregates.push(Arc::new(moved));
    }
    let input: Arc<dyn ExecutionPlan> = Arc::new(ProjectionExec::try_new(columns.exprs, Arc::clone(first.input()))?);
    let schema = input.schema();
    let keys = PhysicalGroupBy::new_single(keys);
    AggregateExec::try_new(AggregateMode::SinglePartitioned, Arc::new(keys), aggregates, filters, input, schema).map(Some)
}

/// Columns to be computed, each once.
#[derive(Default)]
struct Columns {
    exprs: Vec<(Arc<dyn PhysicalExpr>, String)>,
}

impl Columns {
    fn place_of(&mut self, expr: &Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
        let at = self.exprs.iter().position(|(known, _)| known == expr).unwrap_or_else(|| {
            let name =
                expr.downcast_ref::<Column>().map_or_else(|| format!("__value_{}", self.exprs.len()), |column| column.name().to_string());
            self.exprs.push((Arc::clone(expr), name));
            self.exprs.len() - 1
        });
        Arc::new(Column::new(&self.exprs[at].1, at))
    }
}

/// True if statistics say that there are not even as many groups as partitions, so that some would have nothing to do.
fn is_known_to_have_fewer_groups(aggregate: &AggregateExec, partitions: usize) -> Result<bool> {
    let input = StatisticsContext::new().compute(aggregate.input().as_ref(), &StatisticsArgs::new())?;
    let mut groups = 1usize;
    for key in aggregate.group_expr().input_exprs() {
        let Some(column) = key.downcast_ref::<Column>() else { return Ok(false) };
        match input.column_statistics.get(column.index()).map(|statistics| &statistics.distinct_count) {
            Some(Precision::Exact(values) | Precision::Inexact(values)) => groups = groups.saturating_mul((*values).max(1)),
            _ => return Ok(false),
        }
    }
    Ok(groups < partitions)
}

#[cfg(test)]
mod tests;
