//! Computes several predicted columns of one model over the same inputs by one call.
//!
//! `ML.PREDICT` is planned with a call per column, so that columns which nobody reads go away with their calls. What is left is put together when nothing
//! is pruned any more:
//!
//! ```text
//! Projection: ml_predict(m, [0])(a, b), ml_predict(m, [1])(a, b)
//!
//! Projection: __predicted['centroid_id'], __predicted['nearest_centroids_distance']
//!   Projection: ml_predict(m, [0, 1])(a, b) AS __predicted
//! ```

use std::collections::BTreeSet;

use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use crate::models::scoring::{Scorer, predict};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct MergePredictions {}

impl OptimizerRule for MergePredictions {
    fn name(&self) -> &'static str {
        "merge_predictions"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Projection(projection) = plan else { return Ok(Transformed::no(plan)) };
        let groups = groups(&projection)?;
        if groups.is_empty() {
            return Ok(Transformed::no(LogicalPlan::Projection(projection)));
        }
        let groups = groups.into_iter().map(|group| (group, config.alias_generator().next("__predicted"))).collect::<Vec<_>>();
        merged(&projection, &groups).map(Transformed::yes)
    }
}

/// Calls of one model over the same arguments.
struct Group {
    scorer: Scorer,
    args: Vec<Expr>,
    wanted: BTreeSet<usize>,
    /// How many different calls there are.
    calls: BTreeSet<Vec<usize>>,
}

/// The call that an expression is: model, columns and arguments.
fn call_of(expr: &Expr) -> Option<(&Scorer, &[usize], &[Expr])> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let (scorer, wanted) = predict::wanted_of(&call.func)?;
    Some((scorer, wanted, &call.args))
}

/// The groups that have more than one call.
fn groups(projection: &Projection) -> Result<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    for expr in &projection.expr {
        expr.apply(|part| {
            let Some((scorer, wanted, args)) = call_of(part) else { return Ok(TreeNodeRecursion::Continue) };
            match groups.iter_mut().find(|group| group.scorer == *scorer && group.args == args) {
                Some(group) => {
                    group.wanted.extend(wanted);
                    group.calls.insert(wanted.to_vec());
                }
                None => groups.push(Group {
                    scorer: scorer.clone(),
                    args: args.to_vec(),
                    wanted: wanted.iter().copied().collect(),
                    calls: BTreeSet::from([wanted.to_vec()]),
                }),
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    groups.retain(|group| group.calls.len() > 1);
    Ok(groups)
}

fn merged(projection: &Projection, groups: &[(Group, String)]) -> Result<LogicalPlan> {
    let mut above = Vec::with_capacity(projection.expr.len());
    for (expr, (qualifier, field)) in projection.expr.iter().zip(projection.schema.iter()) {
        let replaced = expr.clone().transform_down(|part| with_field(part, groups))?;
        let name = field.name().clone();
        above.push(if replaced.transformed { replaced.data.alias_qualified(qualifier.cloned(), name) } else { replaced.data });
    }
    let used: BTreeSet<Column> = above.iter().flat_map(|expr| expr.column_refs().into_iter().cloned()).collect();
    let input = projection.input.schema();
    let kept = input.columns().into_iter().filter(|column| used.contains(column)).map(Expr::Column);
    let calls = groups.iter().map(|(group, name)| {
        let call = predict::call(&group.scorer, group.wanted.iter().copied().collect(), group.args.clone())?;
        Ok(call.alias(name.as_str()))
    });
    let below: Vec<Expr> = kept.map(Ok).chain(calls).collect::<Result<_>>()?;
    LogicalPlanBuilder::from(projection.input.as_ref().clone()).project(below)?.project(above)?.build()
}

/// A call becomes fields of the merged one.
fn with_field(part: Expr, groups: &[(Group, String)]) -> Result<Transformed<Expr>> {
    let Some((scorer, wanted, args)) = call_of(&part) else { return Ok(Transformed::no(part)) };
    let (Some((_, name)), [column]) = (groups.iter().find(|(group, _)| group.scorer == *scorer && group.args == args), wanted) else {
        return Ok(Transformed::no(part));
    };
    let fields = predict::fields(scorer)?;
    let Some(field) = fields.get(*column) else { return Ok(Transformed::no(part)) };
    Ok(Transformed::new(get_field(Expr::Column(Column::from_name(name)), field.name().as_str()), true, TreeNodeRecursion::Jump))
}
