//! Rewrites `row_number() OVER (PARTITION BY … ORDER BY …) = 1`, the usual way to drop duplicates in SQL.
//!
//! Planned as it stands, every row is shuffled and sorted. One row per key is an aggregation, though: the first row in the
//! ordering. Where the input can be read twice cheaply, [`DeduplicateExec`] does better still, because duplicates are rare.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::conjunction;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion::physical_expr::split_conjunction;
use datafusion::physical_expr::window::StandardWindowExpr;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::{Boundedness, reset_plan_states};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec, WindowUDFExpr};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use super::keep_first_row::keep_first_row;
use super::narrow_columns::project_narrowly;
use super::read_twice::can_read_twice;
use crate::operators::deduplicate::{DeduplicateExec, RepeatedRowsExec};

/// Below this many rows the plan as written is as good.
const LEAST_ROWS: usize = 50_000;

/// See the module documentation.
#[derive(Debug, Clone)]
pub struct DeduplicateByRowNumber {
    least_rows: usize,
}

impl Default for DeduplicateByRowNumber {
    fn default() -> Self {
        Self { least_rows: LEAST_ROWS }
    }
}

impl DeduplicateByRowNumber {
    /// The rule, leaving inputs that are known to have fewer than `least_rows` rows as they are.
    pub fn with_least_rows(least_rows: usize) -> Self {
        Self { least_rows }
    }
}

impl PhysicalOptimizerRule for DeduplicateByRowNumber {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let rewrite = |node: Arc<dyn ExecutionPlan>| match self.rewrite(&node, config)? {
            Some(rewritten) => Ok(Transformed::yes(rewritten)),
            None => Ok(Transformed::no(node)),
        };
        plan.transform_up(rewrite).data()
    }

    fn name(&self) -> &str {
        "deduplicate_by_row_number"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// `row_number()` over an input, found below a filter.
struct Numbered {
    input: Arc<dyn ExecutionPlan>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    order: Vec<PhysicalSortExpr>,
    /// The window's output: the input's columns and the row number.
    schema: Arc<Schema>,
}

impl DeduplicateByRowNumber {
    fn rewrite(&self, node: &Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(filter) = node.downcast_ref::<FilterExec>() else { return Ok(None) };
        // Projections between the filter and the window stay where they are.
        let mut between = Vec::new();
        let mut below = Arc::clone(filter.input());
        while let Some(projection) = below.downcast_ref::<ProjectionExec>() {
            let input = Arc::clone(projection.input());
            between.push(below);
            below = input;
        }
        let Some(numbered) = row_number_of(&below) else { return Ok(None) };
        let Some(rest) = without_first_row_condition(filter, &between, numbered.schema.fields().len() - 1) else { return Ok(None) };
        if !self.is_worthwhile(&numbered)? {
            return Ok(None);
        }
        let mut plan = with_row_number_one(deduplicated(&numbered, config)?, &numbered.schema)?;
        for projection in between.into_iter().rev() {
            plan = projection.replace_children(
                vec![plan],
                datafusion::physical_plan::execution_plan::ReplaceChildrenOptions::new(
                    datafusion::physical_plan::execution_plan::ChildrenPropertiesMode::Recompute,
                ),
            )?;
        }
        refilter(filter, rest, plan).map(Some)
    }

    fn is_worthwhile(&self, numbered: &Numbered) -> Result<bool> {
        if numbered.input.boundedness() != Boundedness::Bounded || !has_fixed_keys(numbered)? {
            return Ok(false);
        }
        let keys = numbered.keys.iter().map(|key| PhysicalSortExpr::new_default(Arc::clone(key)));
        if let Some(sorted) = LexOrdering::new(keys.chain(numbered.order.iter().cloned()))
            && numbered.input.equivalence_properties().ordering_satisfy(sorted)?
        {
            // Numbering a sorted input costs nothing.
            return Ok(false);
        }
        let statistics = StatisticsContext::new().compute(numbered.input.as_ref(), &StatisticsArgs::new())?;
        Ok(match statistics.num_rows {
            Precision::Exact(rows) | Precision::Inexact(rows) => rows >= self.least_rows,
            Precision::Absent => true,
        })
    }
}

/// True if keys and ordering are the same whenever they are computed, and equal in an aggregation just where they are in a
/// window: 0.0 and -0.0 are not.
fn has_fixed_keys(numbered: &Numbered) -> Result<bool> {
    let schema = numbered.input.schema();
    for key in &numbered.keys {
        if is_volatile(key) || has_floats(&key.data_type(&schema)?) {
            return Ok(false);
        }
    }
    Ok(!numbered.order.iter().any(|order| is_volatile(&order.expr)))
}

fn has_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) | DataType::Map(field, _) => {
            has_floats(field.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        DataType::Dictionary(_, values) => has_floats(values),
        other => other.is_floating(),
    }
}

/// The input without the rows that have a number above 1.
fn deduplicated(numbered: &Numbered, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
    let Numbered { input, keys, order, .. } = numbered;
    if !can_read_twice(input)? {
        return keep_first_row(Arc::clone(input), keys, order, config);
    }
    let key_columns = keys.iter().enumerate().map(|(at, key)| (Arc::clone(key), format!("key_{at}")));
    let key_columns = project_narrowly(key_columns, reset_plan_states(Arc::clone(input))?)?;
    let rows = RepeatedRowsExec::new(input.schema(), config.execution.target_partitions.max(1));
    let keep_one = keep_first_row(Arc::new(rows), keys, order, config)?;
    Ok(Arc::new(DeduplicateExec::try_new(key_columns, Arc::clone(input), keep_one, keys.clone())?))
}

/// `plan` with a last column that is 1, as the window would have given it.
fn with_row_number_one(plan: Arc<dyn ExecutionPlan>, schema: &Schema) -> Result<Arc<dyn ExecutionPlan>> {
    let inputs = plan.schema();
    let mut columns: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::with_capacity(schema.fields().len());
    for (at, field) in inputs.fields().iter().enumerate() {
        columns.push((Arc::new(Column::new(field.name(), at)), field.name().clone()));
    }
    columns.push((Arc::new(Literal::new(ScalarValue::UInt64(Some(1)))), schema.field(inputs.fields().len()).name().clone()));
    Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
}

/// `row_number() OVER (PARTITION BY … [ORDER BY …])`, if `plan` computes this and nothing else.
fn row_number_of(plan: &Arc<dyn ExecutionPlan>) -> Option<Numbered> {
    let (input, functions) = if let Some(window) = plan.downcast_ref::<BoundedWindowAggExec>() {
        (window.input(), window.window_expr())
    } else {
        let window = plan.downcast_ref::<WindowAggExec>()?;
        (window.input(), window.window_expr())
    };
    let [function] = functions else { return None };
    let standard = function.as_any().downcast_ref::<StandardWindowExpr>()?;
    let udf = standard.get_standard_func_expr().as_any().downcast_ref::<WindowUDFExpr>()?;
    let schema = plan.schema();
    let is_row_number = udf.fun().name() == "row_number" && schema.fields().last()?.data_type() == &DataType::UInt64;
    if !is_row_number || function.partition_by().is_empty() {
        return None;
    }
    Some(Numbered { input: Arc::clone(input), keys: function.partition_by().to_vec(), order: function.order_by().to_vec(), schema })
}

/// The filter's other conditions, if one of them keeps the rows whose number is 1 and no others.
fn without_first_row_condition(
    filter: &FilterExec,
    between: &[Arc<dyn ExecutionPlan>],
    number_at: usize,
) -> Option<Vec<Arc<dyn PhysicalExpr>>> {
    let conditions = split_conjunction(filter.predicate());
    let is_first_row = |condition: &Arc<dyn PhysicalExpr>| {
        let column = first_row_column(condition)?;
        (traced_through(column, between)? == number_at).then_some(())
    };
    let at = conditions.iter().position(|condition| is_first_row(condition).is_some())?;
    Some(conditions.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, condition)| Arc::clone(condition)).collect())
}

/// The column that a condition requires to be 1, given that it is a positive integer: `n = 1`, `n <= 1`, `n < 2` or one of
/// these turned round.
fn first_row_column(condition: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    let comparison = condition.downcast_ref::<BinaryExpr>()?;
    let (column, operator, literal) = match (comparison.left().downcast_ref::<Column>(), comparison.right().downcast_ref::<Column>()) {
        (Some(column), None) => (column, *comparison.op(), comparison.right()),
        (None, Some(column)) => (column, comparison.op().swap()?, comparison.left()),
        _ => return None,
    };
    let value = literal.downcast_ref::<Literal>()?.value();
    let ScalarValue::Int64(Some(value)) = value.cast_to(&DataType::Int64).ok()? else { return None };
    matches!((operator, value), (Operator::Eq | Operator::LtEq, 1) | (Operator::Lt, 2)).then(|| column.index())
}

/// Which column below the projections a column above them is.
fn traced_through(column: usize, projections: &[Arc<dyn ExecutionPlan>]) -> Option<usize> {
    projections.iter().try_fold(column, |column, plan| {
        let projection = plan.downcast_ref::<ProjectionExec>()?;
        projection.expr().get(column)?.expr.downcast_ref::<Column>().map(Column::index)
    })
}

/// `plan` under what is left of the filter.
fn refilter(filter: &FilterExec, conditions: Vec<Arc<dyn PhysicalExpr>>, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plan: Arc<dyn ExecutionPlan> =
        if conditions.is_empty() { plan } else { Arc::new(FilterExec::try_new(conjunction(conditions), plan)?) };
    let Some(kept) = filter.projection().as_ref() else { return Ok(plan) };
    let schema = plan.schema();
    let columns = kept.iter().map(|at| -> (Arc<dyn PhysicalExpr>, String) {
        let name = schema.field(*at).name();
        (Arc::new(Column::new(name, *at)), name.clone())
    });
    Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
}

#[cfg(test)]
mod tests;
