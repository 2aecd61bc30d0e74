//! Which joins can be salted, on which side, and why the others cannot.

use std::sync::Arc;

use datafusion::common::{JoinSide, JoinType, NullEquality, Result};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode, SortMergeJoinExec};

use super::sample_sides::SampledSide;
use super::step_down::step_down;
use crate::dialect::hints::HintKind;
use crate::planner::hints::Tracked;
use crate::planner::hints::hinted_relation::HintedRelationExec;
use crate::planner::join_across_tasks::follows_right_rows;

/// Tells a join again when the same statement is planned once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JoinId {
    /// Its place among the joins of the plan, from below.
    pub number: usize,
    pub keys: String,
}

impl JoinId {
    pub fn new(number: usize, join: &HashJoinExec) -> Self {
        let keys: Vec<String> = join.on().iter().map(|(left, right)| format!("{left} = {right}")).collect();
        Self { number, keys: keys.join(", ") }
    }
}

/// A join of which a sample is to be taken.
#[derive(Debug)]
pub(super) struct Candidate {
    pub join: JoinId,
    pub join_type: JoinType,
    /// The side whose frequent keys would be salted.
    pub salted: JoinSide,
    pub null_equality: NullEquality,
    pub partitions: usize,
    pub sampled: SampledSide,
    /// The side whose rows would be replicated, where it comes from a scan.
    pub other: Option<SampledSide>,
    /// Hints that asked for it.
    pub hints: Vec<Tracked>,
}

impl Candidate {
    /// Whether rows of frequent keys can be replicated on the other side: none of its rows is put out for itself.
    pub fn can_replicate(&self) -> bool {
        match self.salted {
            JoinSide::Right => follows_right_rows(self.join_type),
            _ => follows_right_rows(self.join_type.swap()),
        }
    }
}

/// A hint of one side of a join.
#[derive(Debug)]
pub(super) struct SideHint {
    pub side: JoinSide,
    pub tracked: Tracked,
    /// A column that it names and that the join does not compare.
    pub other_column: Option<String>,
}

/// Whether an operator is a join, of any kind.
pub(super) fn is_join(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<HashJoinExec>() || plan.is::<SortMergeJoinExec>() || plan.is::<NestedLoopJoinExec>() || plan.is::<CrossJoinExec>()
}

/// Why a join cannot be salted, whatever its keys are; `None` if it may be.
pub(super) fn obstacle(join: &Arc<dyn ExecutionPlan>, partitions: usize) -> Option<&'static str> {
    let Some(hash_join) = join.downcast_ref::<HashJoinExec>() else {
        let sorts = join.is::<SortMergeJoinExec>();
        return Some(if sorts { "its join sorts and merges" } else { "its join has no equal keys" });
    };
    if hash_join.null_aware {
        return Some("NOT IN is joined by one task");
    }
    if *hash_join.partition_mode() != PartitionMode::Partitioned {
        return Some("its join is not shuffled, as one side goes whole to every task; SHUFFLE_HASH makes it be");
    }
    if partitions < 2 {
        return Some("the plan has one partition");
    }
    key_columns(hash_join).is_none().then_some("its join compares computed values")
}

/// The places of the keys among the columns of both sides, if all of them are columns.
pub(super) fn key_columns(join: &HashJoinExec) -> Option<(Vec<usize>, Vec<usize>)> {
    let column = |key: &Arc<dyn datafusion::physical_expr::PhysicalExpr>| key.downcast_ref::<Column>().map(Column::index);
    join.on().iter().map(|(left, right)| Some((column(left)?, column(right)?))).collect()
}

/// The hints about skew of the relation that a side comes from.
pub(super) fn hints_of(plan: &Arc<dyn ExecutionPlan>, side: JoinSide, keys: Option<&[usize]>) -> Vec<SideHint> {
    let mut hints = Vec::new();
    let mut below = Some((Arc::clone(plan), keys.map(<[usize]>::to_vec)));
    while let Some((plan, keys)) = below {
        let hinted = plan.downcast_ref::<HintedRelationExec>().map(|hinted| &hinted.tracked);
        if let Some(tracked) = hinted.filter(|tracked| tracked.hint.kind == HintKind::Skew) {
            let schema = plan.schema();
            let compared = |name: &String| match &keys {
                Some(keys) => keys.iter().any(|at| schema.field(*at).name() == name),
                None => true,
            };
            // The first one is the table.
            let other_column = tracked.hint.args.iter().skip(1).find(|name| !compared(name)).cloned();
            hints.push(SideHint { side, tracked: tracked.clone(), other_column });
        }
        below = match plan.children()[..] {
            [input] => Some((Arc::clone(input), keys.and_then(|keys| step_down(&plan, &keys)).map(|(_, keys)| keys))),
            _ => None,
        };
    }
    hints
}

/// The join as a candidate, if it is hinted or large enough; its hints are told where it is not one.
pub(super) fn candidate(
    join: &HashJoinExec,
    id: JoinId,
    hints: &[SideHint],
    partitions: usize,
    min_bytes: u64,
) -> Result<Option<Candidate>> {
    let Some((left, right)) = key_columns(join) else { return Ok(None) };
    let mut left = SampledSide::of(join.left(), &left)?;
    let mut right = SampledSide::of(join.right(), &right)?;
    let asked: Vec<&SideHint> = hints.iter().filter(|hint| hint.other_column.is_none()).collect();
    for hint in hints {
        if let Some(column) = &hint.other_column {
            hint.tracked.ignored(format!("its join does not compare {column}"));
        }
    }
    let bytes = |side: &Option<SampledSide>| side.as_ref().map_or(0, |side| side.bytes);
    let larger = if bytes(&left) > bytes(&right) { JoinSide::Left } else { JoinSide::Right };
    let salted = match asked.as_slice() {
        [] if bytes(&left).max(bytes(&right)) < min_bytes => return Ok(None),
        [] => larger,
        [one] => one.side,
        several if several.iter().any(|hint| hint.side == larger) => larger,
        [first, ..] => first.side,
    };
    let (these, others): (Vec<&SideHint>, Vec<&SideHint>) = asked.into_iter().partition(|hint| hint.side == salted);
    others.iter().for_each(|hint| hint.tracked.ignored("one side of a join is salted, and it is the other one"));
    let (sampled, other) = if salted == JoinSide::Left { (left.take(), right) } else { (right.take(), left) };
    let Some(sampled) = sampled else {
        these.iter().for_each(|hint| hint.tracked.ignored("its rows do not come straight from files, so no sample of them can be taken"));
        return Ok(None);
    };
    Ok(Some(Candidate {
        join: id,
        join_type: *join.join_type(),
        salted,
        null_equality: join.null_equality(),
        partitions,
        sampled,
        other,
        hints: these.into_iter().map(|hint| hint.tracked.clone()).collect(),
    }))
}
