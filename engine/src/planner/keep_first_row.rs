//! Plans "the first row of every key" as an aggregation: `first_value` of the row, grouped by the key.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, ScalarValue};
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::projection::ProjectionExec;
use orrery_udfs::aggregate::first_value::first_row_udaf;
use orrery_udfs::scalar::pack_row::pack_row_udf;

/// A plan with the columns of `input` and one of its rows per combination of values of `keys`: the first in `order`, any of
/// them where `order` leaves it open. Distribution requirements are not enforced yet.
pub(super) fn keep_first_row(
    input: Arc<dyn ExecutionPlan>,
    keys: &[Arc<dyn PhysicalExpr>],
    order: &[PhysicalSortExpr],
    config: &ConfigOptions,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = input.schema();
    let is_key = |at: usize| keys.iter().position(|key| key.downcast_ref::<Column>().is_some_and(|column| column.index() == at));
    let carried: Vec<usize> = (0..schema.fields().len()).filter(|at| is_key(*at).is_none()).collect();

    let group = keys.iter().enumerate().map(|(at, key)| (Arc::clone(key), format!("key_{at}"))).collect();
    let group = Arc::new(PhysicalGroupBy::new_single(group));
    let mut aggregates = Vec::new();
    if !carried.is_empty() {
        let row = row_of(&input, &carried, config)?;
        let first = AggregateExprBuilder::new(first_row_udaf(), vec![row]);
        let first = first.order_by(order.to_vec()).schema(Arc::clone(&schema)).alias("first_row").build()?;
        aggregates.push(Arc::new(first));
    }
    let filters = vec![None; aggregates.len()];
    let as_final = Arc::new(group.as_final());
    let partial = AggregateExec::try_new(AggregateMode::Partial, group, aggregates.clone(), filters.clone(), input, Arc::clone(&schema))?;
    let whole =
        AggregateExec::try_new(AggregateMode::FinalPartitioned, as_final, aggregates, filters, Arc::new(partial), Arc::clone(&schema))?;
    let whole: Arc<dyn ExecutionPlan> = Arc::new(whole);

    let mut columns = Vec::with_capacity(schema.fields().len());
    for (at, field) in schema.fields().iter().enumerate() {
        let value: Arc<dyn PhysicalExpr> = match is_key(at) {
            Some(key) => Arc::new(Column::new(&format!("key_{key}"), key)),
            None => field_of_row(&whole, keys.len(), carried.iter().position(|c| *c == at).unwrap_or_default(), carried.len(), config)?,
        };
        columns.push((value, field.name().clone()));
    }
    Ok(Arc::new(ProjectionExec::try_new(columns, whole)?))
}

/// The columns that are carried along, as one struct; a single one as it is.
fn row_of(input: &Arc<dyn ExecutionPlan>, carried: &[usize], config: &ConfigOptions) -> Result<Arc<dyn PhysicalExpr>> {
    let schema = input.schema();
    let column = |at: usize| -> Arc<dyn PhysicalExpr> { Arc::new(Column::new(schema.field(at).name(), at)) };
    if let [only] = carried {
        return Ok(column(*only));
    }
    let columns = carried.iter().map(|at| column(*at)).collect();
    Ok(Arc::new(ScalarFunctionExpr::try_new(pack_row_udf(), columns, &schema, Arc::new(config.clone()))?))
}

fn field_of_row(
    whole: &Arc<dyn ExecutionPlan>,
    row_at: usize,
    place: usize,
    carried: usize,
    config: &ConfigOptions,
) -> Result<Arc<dyn PhysicalExpr>> {
    let row: Arc<dyn PhysicalExpr> = Arc::new(Column::new("first_row", row_at));
    if carried == 1 {
        return Ok(row);
    }
    let name = Arc::new(Literal::new(ScalarValue::from(format!("c{place}"))));
    let function = datafusion::functions::core::get_field();
    Ok(Arc::new(ScalarFunctionExpr::try_new(function, vec![row, name], &whole.schema(), Arc::new(config.clone()))?))
}
