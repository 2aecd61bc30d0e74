//! Aggregates the rows of a fact table by the key of a join before they are joined with a dimension.
//!
//! `SELECT d.attr, sum(f.x), count(*) FROM fact f JOIN dim d ON f.k = d.k GROUP BY d.attr` looks up every fact, on a cluster it may even shuffle every fact,
//! only to add most of them to the same few sums. Rows of one key find the same rows of the dimension, so that they can be added up first (eager
//! aggregation: Yan and Larson, 1995):
//!
//! ```text
//! AggregateExec: mode=FinalPartitioned, gby=[attr]
//!   AggregateExec: mode=PartialReduce, gby=[attr]           as long as it is known to have few groups
//!     ProjectionExec: attr, states
//!       HashJoinExec: k = k                                 one row per key and task instead of every fact
//!         DataSourceExec: dim
//!         AggregateExec: mode=Partial, gby=[k]              what a partial aggregation puts out is what the final one reads
//!           DataSourceExec: fact
//! ```
//!
//! What goes through the join are the states of the partial aggregation, of any function whose states can be merged. A key that the dimension holds twice
//! has its states merged twice, which is what its rows would have done. A fact without a row in the dimension is dropped, or kept by an outer join, with
//! its state. Joins of joins are taken apart from the top, as far as it pays. Whether it does is for [`bounds`].

mod bounds;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{JoinSide, JoinType, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{HashJoinExec, HashJoinExecBuilder, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;

use crate::operators::claimed_size::ClaimedSizeExec;

/// What facts claim that are not to be broadcast.
const LARGE: usize = 1 << 60;

/// Functions whose states can be merged in any order and any number of times.
const MERGEABLE: [&str; 14] = [
    "approx_distinct",
    "avg",
    "bit_and",
    "bit_or",
    "bool_and",
    "bool_or",
    "count",
    "max",
    "min",
    "stddev",
    "stddev_pop",
    "sum",
    "var",
    "var_pop",
];

type Expr = Arc<dyn PhysicalExpr>;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct AggregateBelowJoins {}

impl PhysicalOptimizerRule for AggregateBelowJoins {
    fn name(&self) -> &str {
        "aggregate_below_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let tasks = config.execution.target_partitions;
        let rewrite = |node: Arc<dyn ExecutionPlan>| {
            let Some(partial) = partial_below(&node) else { return Ok(Transformed::no(node)) };
            match states_through_join(partial, tasks)? {
                Some(states) => replace_children_if_necessary(node, vec![states]).map(Transformed::yes),
                None => Ok(Transformed::no(node)),
            }
        };
        plan.transform_up(rewrite).data()
    }
}

/// The first step of an aggregation in two whose second is `node`.
fn partial_below(node: &Arc<dyn ExecutionPlan>) -> Option<&AggregateExec> {
    let last = node.downcast_ref::<AggregateExec>()?;
    let first = last.input().downcast_ref::<AggregateExec>()?;
    let has_two_steps =
        matches!(last.mode(), AggregateMode::Final | AggregateMode::FinalPartitioned) && *first.mode() == AggregateMode::Partial;
    let is_whole = last.limit_options().is_none() && first.limit_options().is_none();
    let is_grouped = first.group_expr().is_single() && !first.group_expr().is_empty();
    (has_two_steps && is_whole && is_grouped && first.aggr_expr().iter().all(|aggregate| is_mergeable(aggregate))).then_some(first)
}

fn is_mergeable(aggregate: &AggregateFunctionExpr) -> bool {
    MERGEABLE.contains(&aggregate.fun().name()) && !aggregate.is_distinct() && aggregate.order_bys().is_empty() && !aggregate.ignore_nulls()
}

/// What `partial` puts out, from states that have gone through the join below it; `None` where there is no such join, or it would not pay.
fn states_through_join(partial: &AggregateExec, tasks: usize) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some((asked, join)) = Asked::of(partial) else { return Ok(None) };
    let sides: &[JoinSide] = match join.join_type() {
        JoinType::Inner => &[JoinSide::Right, JoinSide::Left],
        JoinType::Left => &[JoinSide::Left],
        JoinType::Right => &[JoinSide::Right],
        _ => &[],
    };
    for side in sides {
        let Some(below) = Below::of(&asked, join, *side) else { continue };
        if below.pays(tasks)? {
            return below.states(partial, tasks).map(Some);
        }
    }
    Ok(None)
}

/// The expressions of a partial aggregation over the columns of both sides of a join, the left ones first.
struct Asked {
    groups: Vec<Expr>,
    arguments: Vec<Vec<Expr>>,
    filters: Vec<Option<Expr>>,
}

impl Asked {
    fn of(partial: &AggregateExec) -> Option<(Self, &HashJoinExec)> {
        let mut asked = Self {
            groups: partial.group_expr().input_exprs(),
            arguments: partial.aggr_expr().iter().map(|aggregate| aggregate.expressions()).collect(),
            filters: partial.filter_expr().to_vec(),
        };
        let mut input = partial.input();
        while let Some(projection) = input.downcast_ref::<ProjectionExec>() {
            asked = asked.rewritten(|column| projection.expr().get(column.index()).map(|expr| Arc::clone(&expr.expr)))?;
            input = projection.input();
        }
        let join = input.downcast_ref::<HashJoinExec>()?;
        if let Some(kept) = &join.projection {
            asked = asked.rewritten(|column| Some(Arc::new(Column::new(column.name(), *kept.get(column.index())?))))?;
        }
        let mut all = asked.groups.iter().chain(asked.arguments.iter().flatten()).chain(asked.filters.iter().flatten());
        let is_plain = join.filter().is_none() && !join.null_aware && join.fetch().is_none();
        (is_plain && !all.any(is_volatile)).then_some((asked, join))
    }

    fn rewritten(self, column: impl Fn(&Column) -> Option<Expr>) -> Option<Self> {
        let of_all = |exprs: Vec<Expr>| exprs.into_iter().map(|expr| with_columns(&expr, &column)).collect::<Option<Vec<_>>>();
        Some(Self {
            groups: of_all(self.groups)?,
            arguments: self.arguments.into_iter().map(of_all).collect::<Option<_>>()?,
            filters: self
                .filters
                .into_iter()
                .map(|filter| match filter {
                    Some(filter) => with_columns(&filter, &column).map(Some),
                    None => Some(None),
                })
                .collect::<Option<_>>()?,
        })
    }
}

/// The expression with other columns; `None` where one has no counterpart.
fn with_columns(expr: &Expr, column: &impl Fn(&Column) -> Option<Expr>) -> Option<Expr> {
    let mut is_complete = true;
    let rewritten = Arc::clone(expr).transform_down(|node| {
        let Some(replaced) = node.downcast_ref::<Column>().map(column) else { return Ok(Transformed::no(node)) };
        is_complete &= replaced.is_some();
        // What has been replaced is not looked at again: its columns are others.
        Ok(Transformed::new(replaced.unwrap_or(node), true, TreeNodeRecursion::Jump))
    });
    rewritten.data().ok().filter(|_| is_complete)
}

/// Where a group's expression is computed.
enum Place {
    /// Of the facts, before the join: the key at this place among those of the aggregation below it.
    Before(usize),
    /// Of the dimension, behind the join: over the dimension's columns.
    After(Expr),
}

/// The aggregation below a join: of its fact side, by the join's keys and whatever else of the facts the groups need.
struct Below<'a> {
    join: &'a HashJoinExec,
    side: JoinSide,
    /// The join's keys come first.
    keys: Vec<Expr>,
    groups: Vec<Place>,
    arguments: Vec<Vec<Expr>>,
    filters: Vec<Option<Expr>>,
}

impl<'a> Below<'a> {
    /// `None` where something is asked of the other side's rows that facts without them cannot tell.
    fn of(asked: &Asked, join: &'a HashJoinExec, side: JoinSide) -> Option<Self> {
        let lefts = join.left().schema().fields().len();
        let of_side = |column: &Column, side: JoinSide| match (side, column.index().checked_sub(lefts)) {
            (JoinSide::Left, None) => Some(Arc::new(column.clone()) as Expr),
            (JoinSide::Right, Some(at)) => Some(Arc::new(Column::new(column.name(), at)) as Expr),
            _ => None,
        };
        let fact = |expr: &Expr| with_columns(expr, &|column: &Column| of_side(column, side));
        let dimension = |expr: &Expr| with_columns(expr, &|column: &Column| of_side(column, side.negate()));
        let mut keys: Vec<Expr> =
            join.on().iter().map(|(left, right)| Arc::clone(if side == JoinSide::Left { left } else { right })).collect();
        if keys.iter().any(is_volatile) {
            return None;
        }
        let mut groups = Vec::with_capacity(asked.groups.len());
        for group in &asked.groups {
            let place = match dimension(group) {
                Some(expr) => Place::After(expr),
                None => {
                    let expr = fact(group)?;
                    let at = keys.iter().position(|key| key.eq(&expr)).unwrap_or(keys.len());
                    if at == keys.len() {
                        keys.push(expr);
                    }
                    Place::Before(at)
                }
            };
            groups.push(place);
        }
        let arguments = asked.arguments.iter().map(|exprs| exprs.iter().map(fact).collect()).collect::<Option<_>>()?;
        let filters = asked.filters.iter().map(|filter| filter.as_ref().map_or(Some(None), |filter| fact(filter).map(Some)));
        let filters = filters.collect::<Option<_>>()?;
        Some(Self { join, side, keys, groups, arguments, filters })
    }

    fn facts(&self) -> &Arc<dyn ExecutionPlan> {
        if self.side == JoinSide::Left { self.join.left() } else { self.join.right() }
    }

    fn dimension(&self) -> &Arc<dyn ExecutionPlan> {
        if self.side == JoinSide::Left { self.join.right() } else { self.join.left() }
    }

    fn pays(&self, tasks: usize) -> Result<bool> {
        bounds::pays(self.facts(), &self.keys, self.join.on().len(), self.dimension(), tasks)
    }

    /// What `above` puts out, from the states of the facts.
    fn states(&self, above: &AggregateExec, tasks: usize) -> Result<Arc<dyn ExecutionPlan>> {
        let partial = self.partial(above)?;
        // Another join may be below, of a dimension that has its part in the groups.
        let facts = match states_through_join(&partial, tasks)? {
            Some(states) => states,
            None => Arc::new(partial),
        };
        let joined = self.joined(facts)?;
        let states: Arc<dyn ExecutionPlan> = Arc::new(ProjectionExec::try_new(self.columns_of(above, &joined), joined)?);
        let fact_groups = self.groups.iter().filter_map(|place| match place {
            Place::Before(at) => Some(&self.keys[*at]),
            Place::After(_) => None,
        });
        if !bounds::are_few(self.facts(), fact_groups, self.dimension())? {
            return Ok(states);
        }
        Ok(Arc::new(AggregateExec::try_new(
            AggregateMode::PartialReduce,
            Arc::new(above.group_expr().as_final()),
            above.aggr_expr().to_vec(),
            vec![None; above.aggr_expr().len()],
            states,
            above.input_schema(),
        )?))
    }

    /// The aggregation of the facts.
    fn partial(&self, above: &AggregateExec) -> Result<AggregateExec> {
        let facts = self.facts();
        let aggregates = above.aggr_expr().iter().zip(&self.arguments).map(|(aggregate, arguments)| {
            let builder = AggregateExprBuilder::new(Arc::new(aggregate.fun().clone()), arguments.clone());
            builder.schema(facts.schema()).alias(aggregate.name()).build().map(Arc::new)
        });
        let keys = self.keys.iter().enumerate().map(|(at, key)| (Arc::clone(key), key_name(at)));
        AggregateExec::try_new(
            AggregateMode::Partial,
            Arc::new(PhysicalGroupBy::new_single(keys.collect())),
            aggregates.collect::<Result<_>>()?,
            self.filters.clone(),
            Arc::clone(facts),
            facts.schema(),
        )
    }

    fn joined(&self, facts: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let on = self.join.on().iter().enumerate().map(|(at, (left, right))| {
            let key: Expr = Arc::new(Column::new(&key_name(at), at));
            if self.side == JoinSide::Left { (key, Arc::clone(right)) } else { (Arc::clone(left), key) }
        });
        // A coordinator would take few facts for a side to broadcast, after operators above have been planned for the join's shuffle.
        let is_shuffled = *self.join.partition_mode() != PartitionMode::CollectLeft || self.side == JoinSide::Left;
        let facts = if is_shuffled { Arc::new(ClaimedSizeExec::new(facts, LARGE)) } else { facts };
        let dimension = Arc::clone(self.dimension());
        let (left, right) = if self.side == JoinSide::Left { (facts, dimension) } else { (dimension, facts) };
        HashJoinExecBuilder::new(left, right, on.collect(), *self.join.join_type())
            .with_partition_mode(*self.join.partition_mode())
            .with_null_equality(self.join.null_equality())
            .build_exec()
    }

    /// The groups and states that `above` puts out, by their names there, over what the new join puts out.
    fn columns_of(&self, above: &AggregateExec, joined: &Arc<dyn ExecutionPlan>) -> Vec<(Expr, String)> {
        let schema = joined.schema();
        let dimensions = self.dimension().schema().fields().len();
        let facts = schema.fields().len() - dimensions;
        let (first_fact, first_dimension) = if self.side == JoinSide::Left { (0, facts) } else { (dimensions, 0) };
        let column = |at: usize| -> Expr { Arc::new(Column::new(schema.field(at).name(), at)) };
        let names = above.schema();
        let groups = self.groups.iter().map(|place| match place {
            Place::Before(at) => column(first_fact + at),
            Place::After(expr) => {
                let moved = |of_side: &Column| Some(column(first_dimension + of_side.index()));
                with_columns(expr, &moved).unwrap_or_else(|| Arc::clone(expr))
            }
        });
        let states = (self.keys.len()..facts).map(|at| column(first_fact + at));
        groups.chain(states).zip(names.fields()).map(|(expr, field)| (expr, field.name().clone())).collect()
    }
}

fn key_name(at: usize) -> String {
    format!("key_{at}")
}

#[cfg(test)]
mod tests;
