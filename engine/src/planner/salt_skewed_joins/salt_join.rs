//! The join by key and salt that gives the rows of a join by key.

use std::sync::Arc;

use datafusion::common::{JoinSide, JoinType, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, HashJoinExecBuilder, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;

use super::candidates::key_columns;
use crate::operators::hot_keys::{HotKey, HotKeysExec, SALT};

/// The join with one side salted and the other replicated; its columns are the same. `None` if its keys are computed.
///
/// # Errors
/// None but those of building the operators.
pub(super) fn salt_join(join: &HashJoinExec, salted: JoinSide, hot: &Arc<[HotKey]>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some((left_keys, right_keys)) = key_columns(join) else { return Ok(None) };
    let side = |input: &Arc<dyn ExecutionPlan>, keys, side| -> Arc<dyn ExecutionPlan> {
        let input = Arc::clone(input);
        Arc::new(if side == salted { HotKeysExec::salt(input, keys, Arc::clone(hot)) } else { HotKeysExec::replicate(input, keys, hot) })
    };
    let (left, right) = (side(join.left(), left_keys, JoinSide::Left), side(join.right(), right_keys, JoinSide::Right));
    let salt_of = |side: &Arc<dyn ExecutionPlan>| Arc::new(Column::new(SALT, side.schema().fields().len() - 1)) as Arc<dyn PhysicalExpr>;
    let mut on = join.on().to_vec();
    on.push((salt_of(&left), salt_of(&right)));
    let salted = HashJoinExecBuilder::new(left, right, on, *join.join_type())
        .with_filter(join.filter().cloned())
        .with_null_equality(join.null_equality())
        .with_partition_mode(PartitionMode::Partitioned)
        .with_fetch(join.fetch())
        .build_exec()?;
    // Not the join's own projection: DataFusion would not narrow that to what is needed above.
    let schema = salted.schema();
    let kept = columns(join).into_iter().map(|at| {
        let name = schema.field(at).name();
        (Arc::new(Column::new(name, at)) as Arc<dyn PhysicalExpr>, name.clone())
    });
    Ok(Some(Arc::new(ProjectionExec::try_new(kept.collect::<Vec<_>>(), salted)?)))
}

/// The columns that the join puts out, by their places among those of the salted one, which has the salt of the first side between them.
fn columns(join: &HashJoinExec) -> Vec<usize> {
    let first = match join.join_type() {
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => join.right(),
        _ => join.left(),
    };
    let salt = first.schema().fields().len();
    let all = (0..join.join_schema().fields().len()).collect();
    let kept: Vec<usize> = join.projection.as_ref().map_or(all, |projection| projection.to_vec());
    kept.into_iter().map(|at| if at < salt { at } else { at + 1 }).collect()
}
