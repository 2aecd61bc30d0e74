//! Follows columns of a plan down to the scan that they come from.

use std::sync::Arc;

use datafusion::common::{JoinSide, JoinType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;

/// The input of an operator that has the columns, and their places there; `None` where they are computed or rows are brought together.
pub(super) fn step_down(plan: &Arc<dyn ExecutionPlan>, columns: &[usize]) -> Option<(Arc<dyn ExecutionPlan>, Vec<usize>)> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let below = columns.iter().map(|at| projection.expr()[*at].expr.downcast_ref::<Column>().map(Column::index));
        return Some((Arc::clone(projection.input()), below.collect::<Option<_>>()?));
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let below = columns.iter().map(|at| filter.projection().as_ref().map_or(*at, |kept| kept[*at]));
        return Some((Arc::clone(filter.input()), below.collect()));
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return through_join(join, columns);
    }
    passes_on(plan).map(|input| (input, columns.to_vec()))
}

/// The only input of an operator that hands on its rows as they are.
pub(super) fn passes_on(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let [input] = plan.children()[..] else { return None };
    // It may have other columns under the same names.
    if plan.is::<ProjectionExec>() {
        return None;
    }
    let is_same = plan.schema().fields() == input.schema().fields();
    (is_same && matches!(plan.cardinality_effect(), CardinalityEffect::Equal)).then(|| Arc::clone(input))
}

fn through_join(join: &HashJoinExec, columns: &[usize]) -> Option<(Arc<dyn ExecutionPlan>, Vec<usize>)> {
    let below: Vec<(JoinSide, usize)> = columns.iter().map(|at| origin(join, *at)).collect::<Option<_>>()?;
    let (side, _) = *below.first()?;
    if below.iter().any(|(other, _)| *other != side) {
        return None;
    }
    let input = if side == JoinSide::Left { join.left() } else { join.right() };
    Some((Arc::clone(input), below.into_iter().map(|(_, at)| at).collect()))
}

/// The side of a join that a column which it puts out comes from, and the place there.
fn origin(join: &HashJoinExec, at: usize) -> Option<(JoinSide, usize)> {
    let at = join.projection.as_ref().map_or(at, |kept| kept[at]);
    let (left, right) = (join.left().schema().fields().len(), join.right().schema().fields().len());
    match join.join_type() {
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => (at < left).then_some((JoinSide::Left, at)),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => (at < right).then_some((JoinSide::Right, at)),
        _ if at < left => Some((JoinSide::Left, at)),
        _ => Some((JoinSide::Right, at - left)),
    }
}
