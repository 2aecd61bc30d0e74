//! `SUMMARIZE`: one row of statistics per column, in one pass, with DuckDB's columns.

use std::sync::Arc;

use datafusion::arrow::array::{Array as _, ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::compute::{cast, concat};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::functions_aggregate::expr_fn::{approx_distinct, approx_percentile_cont, avg, count, max, min, stddev};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast as cast_expr, col, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Query;

use super::{Mode, Outcome, Session, Tracker, planning, sql_type_name};
use crate::{Error, Result};

/// The columns of `SUMMARIZE`.
pub(super) fn columns() -> SchemaRef {
    let mut fields = vec![Field::new("column_name", DataType::Utf8, false), Field::new("column_type", DataType::Utf8, false)];
    fields.extend(STATISTICS.map(|statistic| Field::new(statistic, type_of(statistic), true)));
    Arc::new(Schema::new(fields))
}

fn type_of(statistic: &str) -> DataType {
    match statistic {
        "min" | "max" => DataType::Utf8,
        "approx_unique" | "count" => DataType::Int64,
        _ => DataType::Float64,
    }
}

const STATISTICS: [&str; 10] = ["min", "max", "approx_unique", "avg", "std", "q25", "q50", "q75", "count", "null_percentage"];

impl Session {
    pub(super) async fn summarize(&self, query: Box<Query>, mode: Mode, tracker: &Tracker) -> Result<Outcome> {
        let state = self.context.state();
        let plan = planning::plan_query(&state, &self.names, query).await?;
        let columns = plan.schema().columns();
        let types: Vec<DataType> = plan.schema().fields().iter().map(|f| f.data_type().clone()).collect();
        let names: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
        let mut aggregates = Vec::new();
        for (i, (column, data_type)) in columns.into_iter().zip(&types).enumerate() {
            for (statistic, expr) in STATISTICS.iter().zip(statistics_of(&col(column), data_type)) {
                aggregates.push(expr.alias(format!("{i}_{statistic}")));
            }
        }
        let total = count(lit(1i64)).alias("total");
        aggregates.push(total);
        let plan = LogicalPlanBuilder::from(plan).aggregate(Vec::<Expr>::new(), aggregates)?.build()?;
        if mode == Mode::Check {
            self.physical(&plan).await?;
            return Ok(Outcome::Done("plans".to_string()));
        }
        let batches = self.collect(&plan, tracker).await?;
        let row = batches.iter().find(|b| b.num_rows() == 1).ok_or_else(|| Error::data("SUMMARIZE found no result"))?;
        Self::batch(transpose(row, &names, &types)?)
    }
}

/// The statistics of one column in the order of [`STATISTICS`]; those that the type does not have are NULL.
fn statistics_of(column: &Expr, data_type: &DataType) -> Vec<Expr> {
    let none = || min(lit(ScalarValue::Float64(None)));
    let ordered = !data_type.is_nested() && !matches!(data_type, DataType::Null);
    let number = data_type.is_numeric().then(|| cast_expr(column.clone(), DataType::Float64));
    let quantile = |q: f64| number.clone().map_or_else(none, |n| approx_percentile_cont(n.sort(true, false), lit(q), None));
    let as_text = |e: Expr| if ordered { e } else { none() };
    vec![
        as_text(min(column.clone())),
        as_text(max(column.clone())),
        if ordered && !matches!(data_type, DataType::Boolean) {
            approx_distinct(cast_expr(column.clone(), DataType::Utf8))
        } else {
            none()
        },
        number.clone().map_or_else(none, avg),
        number.clone().map_or_else(none, stddev),
        quantile(0.25),
        quantile(0.5),
        quantile(0.75),
        count(column.clone()),
        count(column.clone()),
    ]
}

fn transpose(row: &RecordBatch, names: &[String], types: &[DataType]) -> Result<RecordBatch> {
    let total: i64 = scalar_i64(row.column(row.num_columns() - 1))?;
    let mut arrays: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(names.to_vec())), Arc::new(StringArray::from(types.iter().map(sql_type_name).collect::<Vec<_>>()))];
    for (s, statistic) in STATISTICS.iter().enumerate() {
        let cells: Vec<&ArrayRef> = (0..names.len()).map(|i| row.column(i * STATISTICS.len() + s)).collect();
        let array: ArrayRef = match *statistic {
            "null_percentage" => {
                let percentages = cells.iter().map(|c| Ok(percentage(total - scalar_i64(c)?, total))).collect::<Result<Vec<_>>>()?;
                Arc::new(datafusion::arrow::array::Float64Array::from(percentages))
            }
            other => concat_as(&cells, &type_of(other))?,
        };
        arrays.push(array);
    }
    Ok(RecordBatch::try_new(columns(), arrays)?)
}

fn concat_as(cells: &[&ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let cast: Vec<ArrayRef> = cells.iter().map(|c| cast(c, data_type)).collect::<Result<_, _>>()?;
    let parts: Vec<&dyn datafusion::arrow::array::Array> = cast.iter().map(AsRef::as_ref).collect();
    Ok(concat(&parts)?)
}

fn scalar_i64(cell: &ArrayRef) -> Result<i64> {
    let cell = cast(cell, &DataType::Int64)?;
    let numbers = cell.as_any().downcast_ref::<datafusion::arrow::array::Int64Array>();
    Ok(numbers.filter(|n| !n.is_empty() && n.is_valid(0)).map_or(0, |n| n.value(0)))
}

/// Rounded to two decimals; an empty relation has no nulls.
fn percentage(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 * 10_000.0 / whole as f64).round() / 100.0)
}
