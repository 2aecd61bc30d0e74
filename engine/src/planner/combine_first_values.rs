//! Combines several `first_value` (or `last_value`) with one ordering into one that takes a whole row.
//!
//! `SELECT k, first_value(a ORDER BY o), first_value(b ORDER BY o), … GROUP BY k` is how many people write "the first row of
//! every key". Each call keeps its own copy of the ordering of every group, and compares it with every row.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};

/// See the module documentation.
#[derive(Debug, Clone, Default)]
pub struct CombineFirstValues {}

impl PhysicalOptimizerRule for CombineFirstValues {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let rewrite = |node: Arc<dyn ExecutionPlan>| match combined(&node, config)? {
            Some(rewritten) => Ok(Transformed::yes(rewritten)),
            None => Ok(Transformed::no(node)),
        };
        plan.transform_up(rewrite).data()
    }

    fn name(&self) -> &str {
        "combine_first_values"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

type Aggregate = Arc<AggregateFunctionExpr>;
type Filter = Option<Arc<dyn PhysicalExpr>>;

/// Calls that differ in nothing but their argument, by their places among the aggregates.
struct Combinable {
    places: Vec<usize>,
}

fn combined(node: &Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(last) = node.downcast_ref::<AggregateExec>() else { return Ok(None) };
    let Some(first) = last.input().downcast_ref::<AggregateExec>() else { return Ok(None) };
    let is_final = matches!(last.mode(), AggregateMode::Final | AggregateMode::FinalPartitioned);
    let is_hashed = *first.input_order_mode() == InputOrderMode::Linear && !first.group_expr().is_empty();
    if !is_final || *first.mode() != AggregateMode::Partial || !is_hashed {
        return Ok(None);
    }
    let sets = combinable(last.aggr_expr(), first.filter_expr());
    if sets.is_empty() {
        return Ok(None);
    }

    // The aggregates that stay, then one for every set.
    let is_combined = |at: &usize| sets.iter().any(|set| set.places.contains(at));
    let kept: Vec<usize> = (0..last.aggr_expr().len()).filter(|at| !is_combined(at)).collect();
    let mut aggregates: Vec<Aggregate> = kept.iter().map(|at| Arc::clone(&last.aggr_expr()[*at])).collect();
    let mut filters: Vec<Filter> = kept.iter().map(|at| first.filter_expr()[*at].clone()).collect();
    for (number, set) in sets.iter().enumerate() {
        aggregates.push(Arc::new(row_aggregate(first, last.aggr_expr(), set, number, config)?));
        filters.push(first.filter_expr()[set.places[0]].clone());
    }
    let partial = AggregateExec::try_new(
        AggregateMode::Partial,
        Arc::new(first.group_expr().clone()),
        aggregates.clone(),
        filters.clone(),
        Arc::clone(first.input()),
        first.input_schema(),
    )?;
    let whole: Arc<dyn ExecutionPlan> = Arc::new(AggregateExec::try_new(
        *last.mode(),
        Arc::new(last.group_expr().clone()),
        aggregates,
        filters,
        Arc::new(partial),
        last.input_schema(),
    )?);
    unpacked(last, whole, &kept, &sets, config).map(Some)
}

fn combinable(aggregates: &[Aggregate], filters: &[Filter]) -> Vec<Combinable> {
    let mut sets: Vec<Combinable> = Vec::new();
    for (at, aggregate) in aggregates.iter().enumerate() {
        let is_end = matches!(aggregate.fun().name(), "first_value" | "last_value");
        if !is_end || aggregate.ignore_nulls() || aggregate.is_distinct() || aggregate.expressions().len() != 1 {
            continue;
        }
        let is_alike = |set: &&mut Combinable| {
            let other = &aggregates[set.places[0]];
            other.fun() == aggregate.fun() && other.order_bys() == aggregate.order_bys() && filters[set.places[0]] == filters[at]
        };
        match sets.iter_mut().find(is_alike) {
            Some(set) => set.places.push(at),
            None => sets.push(Combinable { places: vec![at] }),
        }
    }
    sets.retain(|set| set.places.len() > 1);
    sets
}

fn row_aggregate(
    first: &AggregateExec,
    aggregates: &[Aggregate],
    set: &Combinable,
    number: usize,
    config: &ConfigOptions,
) -> Result<AggregateFunctionExpr> {
    let schema = first.input_schema();
    let mut fields: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
    for (place, at) in set.places.iter().enumerate() {
        fields.push(Arc::new(Literal::new(ScalarValue::from(field_name(place)))));
        fields.extend(aggregates[*at].expressions());
    }
    let row = ScalarFunctionExpr::try_new(datafusion::functions::core::named_struct(), fields, &schema, Arc::new(config.clone()))?;
    let sample = &aggregates[set.places[0]];
    let alias = format!("{} of row {}", sample.fun().name(), number + 1);
    AggregateExprBuilder::new(Arc::new(sample.fun().clone()), vec![Arc::new(row)])
        .order_by(sample.order_bys().to_vec())
        .schema(schema)
        .alias(alias)
        .build()
}

fn field_name(place: usize) -> String {
    format!("c{place}")
}

/// The columns of the aggregation as it was, taken from the one with combined calls.
fn unpacked(
    last: &AggregateExec,
    whole: Arc<dyn ExecutionPlan>,
    kept: &[usize],
    sets: &[Combinable],
    config: &ConfigOptions,
) -> Result<Arc<dyn ExecutionPlan>> {
    let (schema, inner) = (last.schema(), whole.schema());
    let groups = schema.fields().len() - last.aggr_expr().len();
    let column = |at: usize| -> Arc<dyn PhysicalExpr> { Arc::new(Column::new(inner.field(at).name(), at)) };
    let mut columns: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::with_capacity(schema.fields().len());
    for (at, field) in schema.fields().iter().enumerate() {
        let aggregate = at.checked_sub(groups);
        let stays = |aggregate| kept.iter().position(|other| *other == aggregate);
        let set =
            |aggregate| sets.iter().enumerate().find_map(|(number, set)| Some((number, set.places.iter().position(|p| *p == aggregate)?)));
        let value = match aggregate {
            None => column(at),
            Some(aggregate) => match (stays(aggregate), set(aggregate)) {
                (_, Some((number, place))) => {
                    let name = Arc::new(Literal::new(ScalarValue::from(field_name(place))));
                    let row = column(groups + kept.len() + number);
                    let get_field = datafusion::functions::core::get_field();
                    Arc::new(ScalarFunctionExpr::try_new(get_field, vec![row, name], &inner, Arc::new(config.clone()))?)
                }
                (Some(place), None) => column(groups + place),
                (None, None) => return Ok(Arc::new(last.clone())),
            },
        };
        columns.push((value, field.name().clone()));
    }
    Ok(Arc::new(ProjectionExec::try_new(columns, whole)?))
}

#[cfg(test)]
mod tests;
