//! How many groups an aggregation has at most, as far as statistics tell, and so whether it pays below a join.
//!
//! It pays when the rows of each task are several times as many as the keys that there can be. Fact tables seldom tell how many keys they hold, but a range of
//! numbers holds no more keys than its length, and the keys of facts are those of their dimension: no more than it has rows. That holds for a whole
//! dimension only. A part of it may leave most facts without a match, which the join is cheaper to find out.
//!
//! An estimate that is wrong costs little: a partial aggregation that does not reduce its rows soon passes them on as they are.

use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::common::{Result, ScalarValue, Statistics};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

use crate::operators::claimed_size::ClaimedSizeExec;

/// Rows per group and task from which on the rows are aggregated first.
const ROWS_PER_GROUP: usize = 8;

/// Facts below which nothing is worth a rewrite.
const FACTS_MIN: usize = 10_000;

/// Groups up to which merging states in memory costs next to nothing, and cannot fail for want of it.
const GROUPS_FEW: usize = 100_000;

/// Whether it pays to aggregate `facts` by `keys`, of which the first `joined` are those of the join with `dimension`.
pub(super) fn pays(
    facts: &Arc<dyn ExecutionPlan>,
    keys: &[Arc<dyn PhysicalExpr>],
    joined: usize,
    dimension: &Arc<dyn ExecutionPlan>,
    tasks: usize,
) -> Result<bool> {
    let (Some(rows), Some(members)) = (rows_of(facts)?, exact_rows(dimension)?) else {
        return Ok(false);
    };
    let (of_join, others) = keys.split_at(joined.min(keys.len()));
    let of_join = values_together(facts, of_join.iter())?.unwrap_or(usize::MAX).min(members);
    let Some(others) = values_together(facts, others.iter())? else { return Ok(false) };
    let groups = of_join.saturating_mul(others).max(1);
    Ok(rows >= FACTS_MIN && groups.saturating_mul(ROWS_PER_GROUP).saturating_mul(tasks.max(1)) <= rows)
}

/// Whether groups by columns of the dimension and these of the facts are known to be few.
pub(super) fn are_few<'a>(
    facts: &Arc<dyn ExecutionPlan>,
    groups: impl Iterator<Item = &'a Arc<dyn PhysicalExpr>>,
    dimension: &Arc<dyn ExecutionPlan>,
) -> Result<bool> {
    let (Some(members), Some(others)) = (exact_rows(dimension)?, values_together(facts, groups)?) else { return Ok(false) };
    Ok(members.saturating_mul(others) <= GROUPS_FEW)
}

/// The rows of a plan, about. Facts that are joined with dimensions are taken to stay as many as they were: of most keys too little is known for an estimate.
fn rows_of(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<usize>> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return rows_of(projection.input());
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return Ok([rows_of(join.left())?, rows_of(join.right())?].into_iter().flatten().max());
    }
    Ok(statistics_of(plan)?.num_rows.get_value().copied())
}

/// The rows of a plan that is known to give all of its table's.
fn exact_rows(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<usize>> {
    Ok(match statistics_of(plan)?.num_rows {
        Precision::Exact(rows) => Some(rows),
        Precision::Inexact(_) | Precision::Absent => None,
    })
}

fn statistics_of(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<Statistics>> {
    // A size that is claimed is none to go by.
    let plan = if plan.is::<ClaimedSizeExec>() { plan.children()[0] } else { plan };
    StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new())
}

/// The combinations of values of several expressions, at most; no expressions have one.
fn values_together<'a>(plan: &Arc<dyn ExecutionPlan>, exprs: impl Iterator<Item = &'a Arc<dyn PhysicalExpr>>) -> Result<Option<usize>> {
    let mut together = 1usize;
    for expr in exprs {
        let Some(column) = expr.downcast_ref::<Column>() else { return Ok(None) };
        let Some(values) = values_at_most(plan, column.index())? else { return Ok(None) };
        together = together.saturating_mul(values);
    }
    Ok(Some(together))
}

/// The values of a column, at most: as many as are counted, as its range holds, or as the table has rows that it comes from.
fn values_at_most(plan: &Arc<dyn ExecutionPlan>, column: usize) -> Result<Option<usize>> {
    let statistics = statistics_of(plan)?;
    let counted = statistics.column_statistics.get(column).and_then(|column| {
        let range = column.min_value.get_value().zip(column.max_value.get_value()).and_then(|(min, max)| length(min, max));
        [column.distinct_count.get_value().copied(), range].into_iter().flatten().min()
    });
    let of_source = match source(plan, column) {
        Some((input, at)) => {
            let rows = if plan.is::<HashJoinExec>() { exact_rows(input)? } else { None };
            [values_at_most(input, at)?, rows].into_iter().flatten().min()
        }
        None => None,
    };
    // One more for null.
    Ok([counted.map(|values| values.saturating_add(1)), of_source].into_iter().flatten().min())
}

/// The input and its column that a column is handed on from.
fn source(plan: &Arc<dyn ExecutionPlan>, column: usize) -> Option<(&Arc<dyn ExecutionPlan>, usize)> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let inner = projection.expr().get(column)?.expr.downcast_ref::<Column>()?.index();
        return Some((projection.input(), inner));
    }
    let join = plan.downcast_ref::<HashJoinExec>()?;
    let column = match &join.projection {
        Some(kept) => *kept.get(column)?,
        None => column,
    };
    let lefts = join.left().schema().fields().len();
    let (input, at) = if column < lefts { (join.left(), column) } else { (join.right(), column - lefts) };
    (at < input.schema().fields().len()).then_some((input, at))
}

/// The whole numbers, or days, from one to another.
fn length(min: &ScalarValue, max: &ScalarValue) -> Option<usize> {
    let whole = |value: &ScalarValue| match value {
        ScalarValue::Boolean(value) => value.map(i128::from),
        ScalarValue::Int8(value) => value.map(i128::from),
        ScalarValue::Int16(value) => value.map(i128::from),
        ScalarValue::Int32(value) | ScalarValue::Date32(value) => value.map(i128::from),
        ScalarValue::Int64(value) => value.map(i128::from),
        ScalarValue::UInt8(value) => value.map(i128::from),
        ScalarValue::UInt16(value) => value.map(i128::from),
        ScalarValue::UInt32(value) => value.map(i128::from),
        ScalarValue::UInt64(value) => value.map(i128::from),
        _ => None,
    };
    usize::try_from(whole(max)? - whole(min)? + 1).ok()
}
