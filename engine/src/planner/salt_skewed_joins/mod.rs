//! Spreads the rows of frequent keys of a shuffled join over several tasks, where one key would keep one task busy while the others wait.
//!
//! ```text
//! ProjectionExec: the columns of the join by k
//!   HashJoinExec: mode=Partitioned, on=[(k, k), (__salt, __salt)]
//!     RepartitionExec: Hash([k, __salt], n)
//!       ReplicateHotKeysExec: keys=[k], hot_keys=1       a frequent key's rows once for each of its salts
//!         <left>
//!     RepartitionExec: Hash([k, __salt], n)
//!       SaltHotKeysExec: keys=[k], hot_keys=1            a frequent key's rows dealt out over its salts
//!         <right>
//! ```
//!
//! A key is frequent if it has more than half of what a partition has on average, `1 / (2 * partitions)` of the rows of a sample. Samples are taken of the
//! larger side of shuffled joins that read much, and wherever the hint `SKEW` asks for one; the hinted side is then the salted one. All other keys have the
//! salt 0 and stay together as they were.
//!
//! The other side's rows are replicated, so this is for joins that do not put these out for themselves: inner joins, and those that follow the salted side.
//! A null that equals nothing needs no replicating: its rows are spread in any join.
//!
//! A rule cannot read files. So a statement is planned, this rule notes the joins that are worth a sample, the samples are taken, and if one of them has
//! frequent keys the statement is planned again, now with them known ([`with_samples`]). Shuffles are added after this rule, so whatever above the join
//! needs all rows of a key in one partition gets a shuffle of its own. What samples say decides how fast a statement is, never what it gives.

mod candidates;
mod count_keys;
mod deal_salts;
mod options;
mod salt_join;
mod sample_joins;
mod sample_sides;
mod step_down;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::{JoinSide, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::HashJoinExec;

use candidates::{JoinId, SideHint, candidate, hints_of, is_join, key_columns, obstacle};
pub use options::SkewOptions;
use salt_join::salt_join;
use sample_joins::sample_joins;

use super::hints::hinted_relation::without_marks;
use super::options::OrreryOptions;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct SaltSkewedJoins {}

impl PhysicalOptimizerRule for SaltSkewedJoins {
    fn name(&self) -> &str {
        "salt_skewed_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let unset = SkewOptions::default();
        let options = OrreryOptions::of(config).map_or(&unset, |options| &options.skewed_joins);
        let mut joins = Joins { options, partitions: config.execution.target_partitions, seen: 0 };
        let plan = plan.transform_up(|node| joins.visit(node)).data()?;
        without_marks(plan, |_| true)
    }
}

/// Has the plannings of one statement note the joins that are worth a sample.
pub fn note_candidates(state: &mut SessionState) {
    SkewOptions::collect_in(state.config_mut());
}

/// The plan of a statement, made anew if samples of the joins that were noted when `planned` was made are to be heeded.
///
/// # Errors
/// Those of planning. A sample that cannot be taken is no error.
pub async fn with_samples(planned: Arc<dyn ExecutionPlan>, state: &mut SessionState, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
    let candidates = SkewOptions::take_candidates(state.config());
    if candidates.is_empty() {
        return Ok(planned);
    }
    let found = sample_joins(candidates, state.task_ctx()).await;
    if found.is_empty() {
        return Ok(planned);
    }
    SkewOptions::put_found(state.config_mut(), found);
    state.create_physical_plan(plan).await
}

/// Forgets what a planning has noted, before the statement is planned for another number of partitions.
pub(crate) fn forget_candidates(state: &SessionState) {
    SkewOptions::take_candidates(state.config());
}

/// The joins of a plan, from below.
struct Joins<'a> {
    options: &'a SkewOptions,
    partitions: usize,
    seen: usize,
}

impl Joins<'_> {
    fn visit(&mut self, node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
        if !is_join(&node) {
            return Ok(Transformed::no(node));
        }
        let number = self.seen;
        self.seen += 1;
        let hints = hints_of_sides(&node);
        let node = if hints.is_empty() { node } else { with_unmarked_sides(node)? };
        let hinted = !hints.is_empty();
        if let Some(why) = obstacle(&node, self.partitions) {
            hints.iter().for_each(|hint| hint.tracked.ignored(why));
            return Ok(Transformed::new_transformed(node, hinted));
        }
        match self.salted(&node, number, &hints)? {
            Some(salted) => Ok(Transformed::yes(salted)),
            None => Ok(Transformed::new_transformed(node, hinted)),
        }
    }

    /// The join as samples say, or noted for a sample.
    fn salted(&self, node: &Arc<dyn ExecutionPlan>, number: usize, hints: &[SideHint]) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(join) = node.downcast_ref::<HashJoinExec>() else { return Ok(None) };
        let id = JoinId::new(number, join);
        if let Some(found) = self.options.found(&id) {
            found.hints.iter().for_each(|hint| hint.applied_as(&found.note));
            return salt_join(join, found.salted, &found.hot);
        }
        if self.options.takes_candidates() {
            if let Some(candidate) = candidate(join, id, hints, self.partitions, self.options.skewed_join_min_bytes)? {
                self.options.add(candidate);
            }
        } else if !self.options.has_found() {
            hints.iter().for_each(|hint| hint.tracked.ignored("samples are only taken of what is run or explained"));
        }
        Ok(None)
    }
}

fn hints_of_sides(join: &Arc<dyn ExecutionPlan>) -> Vec<SideHint> {
    let [left, right] = join.children()[..] else { return Vec::new() };
    let keys = join.downcast_ref::<HashJoinExec>().and_then(key_columns);
    let (left_keys, right_keys) = keys.as_ref().map_or((None, None), |(left, right)| (Some(left.as_slice()), Some(right.as_slice())));
    let mut hints = hints_of(left, JoinSide::Left, left_keys);
    hints.extend(hints_of(right, JoinSide::Right, right_keys));
    hints
}

/// A hint is for the lowest join above its relation: those above this one do not see it.
fn with_unmarked_sides(join: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let sides = join.children().into_iter().map(|side| without_marks(Arc::clone(side), |_| true)).collect::<Result<Vec<_>>>()?;
    replace_children_if_necessary(join, sides)
}
