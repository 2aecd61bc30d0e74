//! Answers `count(DISTINCT x)` by `approx_distinct(x)` where a session asks for that: `SET orrery.approximate_distinct = true`.
//!
//! An exact count keeps every value that it has seen, and on a cluster all values are shuffled. The approximate one keeps 16 KiB for each group, whatever the
//! number of values, and tells it to about one percent. A column keeps its name and its type. Floating-point numbers are counted exactly, because the
//! approximate count does not take them, and so is what has several arguments or is a window. Exact is also what stands behind a barrier: row filters, masks
//! and others' views are what their authors have written, whatever their reader asks for.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::functions_aggregate::approx_distinct::approx_distinct_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, AggregateUDF, Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::optimizer::AnalyzerRule;

use super::barrier::Barrier;
use super::options::OrreryOptions;

/// DataFusion's function, under the name too that it has in BigQuery and Spark.
pub(super) fn approx_distinct() -> Arc<AggregateUDF> {
    Arc::new(approx_distinct_udaf().as_ref().clone().with_aliases(["approx_count_distinct"]))
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct CountDistinctRoughly {}

impl AnalyzerRule for CountDistinctRoughly {
    fn name(&self) -> &str {
        "count_distinct_roughly"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        if !OrreryOptions::of(config).is_some_and(|options| options.approximate_distinct) {
            return Ok(plan);
        }
        plan.transform_down_up_with_subqueries(down_to_barriers, |node| match node {
            LogicalPlan::Aggregate(aggregate) => roughly(aggregate),
            other => Ok(Transformed::no(other)),
        })
        .data()
    }
}

fn down_to_barriers(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let next = if Barrier::of(&node).is_some() { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue };
    Ok(Transformed::new(node, false, next))
}

fn roughly(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let rough: Vec<Option<Expr>> = aggregate.aggr_expr.iter().map(|expr| rough(expr, aggregate.input.schema())).collect::<Result<_>>()?;
    if rough.iter().all(Option::is_none) {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let Aggregate { input, group_expr, aggr_expr, schema, .. } = aggregate;
    let groups = schema.fields().len() - aggr_expr.len();
    // The number of a grouping set is asked for by what DataFusion makes of `grouping` later, below the columns here.
    let of_groups = schema.columns().into_iter().take(groups).filter(|column| column.name() != Aggregate::INTERNAL_GROUPING_ID);
    let mut columns: Vec<Expr> = of_groups.map(Expr::Column).collect();
    let mut aggregates: Vec<Expr> = Vec::new();
    for ((exact, rough), (qualifier, field)) in aggr_expr.into_iter().zip(rough).zip(schema.iter().skip(groups)) {
        let is_rough = rough.is_some();
        let expr = rough.unwrap_or(exact);
        let value = Expr::Column(Column::new(qualifier.cloned(), expr.schema_name().to_string()));
        columns.push(match is_rough {
            true => cast(value, field.data_type().clone()).alias_qualified(qualifier.cloned(), field.name()),
            false => value,
        });
        // The query may ask for the approximate count too.
        if !aggregates.contains(&expr) {
            aggregates.push(expr);
        }
    }
    let counted = LogicalPlan::Aggregate(Aggregate::try_new(input, group_expr, aggregates)?);
    LogicalPlanBuilder::from(counted).project(columns)?.build().map(Transformed::yes)
}

/// The approximate count in place of an exact one of distinct values.
fn rough(expr: &Expr, input: &DFSchema) -> Result<Option<Expr>> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else { return Ok(None) };
    let [value] = params.args.as_slice() else { return Ok(None) };
    let is_distinct_count = func.name() == "count" && params.distinct && params.order_by.is_empty();
    if !is_distinct_count || !is_supported(&value.get_type(input)?) {
        return Ok(None);
    }
    let params = params.clone();
    Ok(Some(Expr::AggregateFunction(AggregateFunction::new_udf(
        approx_distinct(),
        params.args,
        false,
        params.filter,
        Vec::new(),
        params.null_treatment,
    ))))
}

fn is_supported(data_type: &DataType) -> bool {
    !data_type.is_floating() && !matches!(data_type, DataType::Null | DataType::Dictionary(_, _) | DataType::RunEndEncoded(_, _))
}

#[cfg(test)]
mod tests;
