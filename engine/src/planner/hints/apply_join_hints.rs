//! Makes of the joins that DataFusion has selected those that hints ask for: `BROADCAST`, `MERGE`, `SHUFFLE_HASH`, in this order where several do.
//!
//! A hint is for the lowest join above its relation, through filters, projections and whatever else has one input. The side that a hash join builds from
//! is its left one; a hinted right side is brought there by swapping the join. A side is broadcast only where rows of it that find no match are not put
//! out: on a cluster every task has a copy of it and none knows what the others have matched.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::{JoinSide, JoinType, NullEquality, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, PartitionMode, SortMergeJoinExec,
};
use datafusion::physical_plan::projection::ProjectionExec;

use super::Tracked;
use super::hinted_relation::{HintedRelationExec, without_marks};
use crate::Error;
use crate::dialect::hints::HintKind;
use crate::operators::claimed_size::ClaimedSizeExec;
use crate::planner::join_across_tasks::{bytes_of, follows_right_rows};

/// Bytes of a side above which it is not broadcast: every task would hold them.
const BROADCAST_MAX_BYTES: usize = 1 << 30;
/// What a side claims that is to be broadcast, and one that is not.
const SMALL: usize = 1;
const LARGE: usize = 1 << 60;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct ApplyJoinHints {}

impl PhysicalOptimizerRule for ApplyJoinHints {
    fn name(&self) -> &str {
        "apply_join_hints"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = plan.transform_up(rewrite_join).data()?;
        without_marks(plan, is_applied_here)
    }
}

fn rewrite_join(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let [left, right] = plan.children()[..] else { return Ok(Transformed::no(plan)) };
    let is_join =
        plan.is::<HashJoinExec>() || plan.is::<SortMergeJoinExec>() || plan.is::<NestedLoopJoinExec>() || plan.is::<CrossJoinExec>();
    let hints = [hints_of(left), hints_of(right)];
    if !is_join || hints.iter().all(Vec::is_empty) {
        return Ok(Transformed::no(plan));
    }
    let unmarked = |side: &Arc<dyn ExecutionPlan>| without_marks(Arc::clone(side), is_applied_here);
    let sides = vec![unmarked(left)?, unmarked(right)?];
    let join = replace_children_if_necessary(plan, sides)?;
    for kind in [HintKind::Broadcast, HintKind::Merge, HintKind::ShuffleHash] {
        let asked: Vec<(JoinSide, Tracked)> = [JoinSide::Left, JoinSide::Right]
            .into_iter()
            .zip(&hints)
            .flat_map(|(side, hints)| hints.iter().filter(|hint| hint.hint.kind == kind).map(move |hint| (side, hint.clone())))
            .collect();
        if asked.is_empty() {
            continue;
        }
        if let Some(rewritten) = as_asked(&join, kind, &asked)? {
            let others = hints.iter().flatten().filter(|hint| hint.hint.kind != kind);
            others.for_each(|hint| hint.ignored(format!("{} holds for the join", asked[0].1.hint)));
            return Ok(Transformed::yes(rewritten));
        }
    }
    Ok(Transformed::yes(join))
}

/// The join as the hints of one kind ask; `None` where it cannot be, which the hints are told.
fn as_asked(join: &Arc<dyn ExecutionPlan>, kind: HintKind, asked: &[(JoinSide, Tracked)]) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(keyed) = KeyedJoin::of(join) else { return without_keys(join, kind, asked) };
    match kind {
        HintKind::Broadcast => keyed.broadcast(asked),
        _ if keyed.null_aware => Ok(ignore(asked, "NOT IN is joined by broadcasting its left side")),
        HintKind::Merge => {
            asked.iter().for_each(|(_, hint)| hint.applied());
            keyed.merged().map(Some)
        }
        _ => {
            asked.iter().for_each(|(_, hint)| hint.applied());
            keyed.hashed_from(asked[0].0).map(Some)
        }
    }
}

fn ignore<T>(asked: &[(JoinSide, Tracked)], why: &str) -> Option<T> {
    asked.iter().for_each(|(_, hint)| hint.ignored(why));
    None
}

/// Joins without equal keys compare every row of a collected left side with those of the right one.
fn without_keys(join: &Arc<dyn ExecutionPlan>, kind: HintKind, asked: &[(JoinSide, Tracked)]) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if kind != HintKind::Broadcast {
        return Ok(ignore(asked, "the join has no equal keys to sort or shuffle by"));
    }
    let nested = join.downcast_ref::<NestedLoopJoinExec>();
    let join_type = nested.map_or(JoinType::Inner, |nested| *nested.join_type());
    let Some((side, hint)) = asked.iter().find(|(side, _)| can_broadcast(join_type, *side)) else {
        return Ok(ignore(asked, &cannot_broadcast(join_type)));
    };
    check_size(join, *side, hint)?;
    hint.applied();
    Ok(Some(match (*side, nested, join.downcast_ref::<CrossJoinExec>()) {
        (JoinSide::Right, Some(nested), _) => nested.swap_inputs()?,
        (JoinSide::Right, _, Some(cross)) => cross.swap_inputs()?,
        _ => Arc::clone(join),
    }))
}

/// Whether a side can be broadcast: none of its rows is put out for want of a match.
fn can_broadcast(join_type: JoinType, side: JoinSide) -> bool {
    match side {
        JoinSide::Left => follows_right_rows(join_type),
        JoinSide::Right => join_type.supports_swap() && follows_right_rows(join_type.swap()),
        JoinSide::None => false,
    }
}

fn cannot_broadcast(join_type: JoinType) -> String {
    format!("a {join_type} join needs to know which rows of that side have found no match")
}

/// # Errors
/// A side that is known to be too large for every task to hold.
fn check_size(join: &Arc<dyn ExecutionPlan>, side: JoinSide, hint: &Tracked) -> Result<()> {
    let children = join.children();
    let Some(side) = children.get(usize::from(side == JoinSide::Right)) else { return Ok(()) };
    let Some(bytes) = bytes_of(side) else { return Ok(()) };
    if bytes <= BROADCAST_MAX_BYTES {
        return Ok(());
    }
    let gibibytes = bytes as f64 / BROADCAST_MAX_BYTES as f64;
    let error = Error::sql(format!("{} would send {gibibytes:.1} GiB to every task", hint.hint))
        .at(hint.hint.position)
        .hint("a side of at most 1 GiB can be broadcast; filter it, select fewer columns, or use SHUFFLE_HASH or MERGE");
    Err(error.into())
}

/// A join on equal keys, as hash joins and merge joins have it.
struct KeyedJoin {
    left: Arc<dyn ExecutionPlan>,
    right: Arc<dyn ExecutionPlan>,
    on: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)>,
    filter: Option<JoinFilter>,
    join_type: JoinType,
    null_equality: NullEquality,
    projection: Option<Vec<usize>>,
    null_aware: bool,
}

impl KeyedJoin {
    fn of(join: &Arc<dyn ExecutionPlan>) -> Option<Self> {
        if let Some(hash) = join.downcast_ref::<HashJoinExec>() {
            return Some(Self {
                left: Arc::clone(hash.left()),
                right: Arc::clone(hash.right()),
                on: hash.on().to_vec(),
                filter: hash.filter().cloned(),
                join_type: *hash.join_type(),
                null_equality: hash.null_equality(),
                projection: hash.projection.as_ref().map(|projection| projection.to_vec()),
                null_aware: hash.null_aware,
            });
        }
        let merge = join.downcast_ref::<SortMergeJoinExec>()?;
        Some(Self {
            left: Arc::clone(merge.left()),
            right: Arc::clone(merge.right()),
            on: merge.on().to_vec(),
            filter: merge.filter().clone(),
            join_type: merge.join_type(),
            null_equality: merge.null_equality(),
            projection: None,
            null_aware: false,
        })
    }

    fn broadcast(mut self, asked: &[(JoinSide, Tracked)]) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let mut can: Vec<&(JoinSide, Tracked)> =
            asked.iter().filter(|(side, _)| !self.null_aware && can_broadcast(self.join_type, *side)).collect();
        // Of two, the smaller.
        can.sort_by_key(|(side, _)| bytes_of(self.side(*side)).unwrap_or(usize::MAX));
        let Some((side, hint)) = can.first() else { return Ok(ignore(asked, &cannot_broadcast(self.join_type))) };
        let whole = self.hash_join(PartitionMode::Partitioned)?;
        check_size(&(Arc::new(whole) as Arc<dyn ExecutionPlan>), *side, hint)?;
        asked.iter().for_each(|(_, other)| other.ignored(format!("{} holds for the join", hint.hint)));
        hint.applied();
        self.claim(*side, SMALL);
        let join = self.hash_join(PartitionMode::CollectLeft)?;
        Ok(Some(if *side == JoinSide::Right { join.swap_inputs(PartitionMode::CollectLeft)? } else { Arc::new(join) }))
    }

    fn merged(self) -> Result<Arc<dyn ExecutionPlan>> {
        let options = vec![Default::default(); self.on.len()];
        let join = SortMergeJoinExec::try_new(self.left, self.right, self.on, self.filter, self.join_type, options, self.null_equality)?;
        let Some(projection) = self.projection else { return Ok(Arc::new(join)) };
        let schema = join.schema();
        let columns = projection.into_iter().map(|at| {
            let name = schema.field(at).name();
            (Arc::new(Column::new(name, at)) as Arc<dyn PhysicalExpr>, name.clone())
        });
        Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), Arc::new(join))?))
    }

    /// Both sides shuffled by the keys, the tables built from `side`.
    fn hashed_from(mut self, side: JoinSide) -> Result<Arc<dyn ExecutionPlan>> {
        self.claim(JoinSide::Left, LARGE);
        self.claim(JoinSide::Right, LARGE);
        let join = self.hash_join(PartitionMode::Partitioned)?;
        let swaps = side == JoinSide::Right && self.join_type.supports_swap();
        Ok(if swaps { join.swap_inputs(PartitionMode::Partitioned)? } else { Arc::new(join) })
    }

    fn side(&self, side: JoinSide) -> &Arc<dyn ExecutionPlan> {
        if side == JoinSide::Right { &self.right } else { &self.left }
    }

    fn claim(&mut self, side: JoinSide, bytes: usize) {
        let place = if side == JoinSide::Right { &mut self.right } else { &mut self.left };
        *place = Arc::new(ClaimedSizeExec::new(Arc::clone(place), bytes));
    }

    fn hash_join(&self, mode: PartitionMode) -> Result<HashJoinExec> {
        HashJoinExecBuilder::new(Arc::clone(&self.left), Arc::clone(&self.right), self.on.clone(), self.join_type)
            .with_filter(self.filter.clone())
            .with_null_equality(self.null_equality)
            .with_null_aware(self.null_aware)
            .with_projection(self.projection.clone())
            .with_partition_mode(mode)
            .build()
    }
}

/// Whether it is this rule that follows hints of a kind.
fn is_applied_here(kind: HintKind) -> bool {
    kind != HintKind::Skew
}

/// The hints of the relation that a side of a join comes from.
fn hints_of(side: &Arc<dyn ExecutionPlan>) -> Vec<Tracked> {
    let mut hints = Vec::new();
    let mut plan = side;
    loop {
        if let Some(hinted) = plan.downcast_ref::<HintedRelationExec>().filter(|hinted| is_applied_here(hinted.tracked.hint.kind)) {
            hints.push(hinted.tracked.clone());
        }
        let [child] = plan.children()[..] else { return hints };
        plan = child;
    }
}
