//! `DeduplicateExec` in several processes, which share no memory: its two passes as ordinary plans. Whoever runs the plan runs the first pass, and gets the
//! plan of the second from what it found.
//!
//! ```text
//! first   RepeatedHashesExec over a shuffle of the keys' hashes
//! second  UnionExec
//!           SplitRepeatedExec: keep=unique       the input
//!           AggregateExec: … first_value(…)      keeps one row per key
//!             SplitRepeatedExec: keep=repeated   the input once more
//! ```

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array};
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};

use super::key_hashes::KeyHashesExec;
use super::split_repeated::{Keep, SplitRepeatedExec};
use super::{DeduplicateExec, RepeatedRowsExec};

/// With more repeated keys than one in so many rows, one aggregation of everything costs less.
const COMMON: u64 = 8;
/// The hashes travel with every task, so they have to stay few: at eight bytes each, 16 MiB.
const MOST_REPEATED: usize = 2 << 20;

/// A deduplication of a plan that still has to be divided into stages; the innermost first.
pub fn find_in(plan: &Arc<dyn ExecutionPlan>) -> Option<DeduplicateExec> {
    let mut found = None;
    let visited = plan.apply(|node| {
        if let Some(deduplicate) = node.downcast_ref::<DeduplicateExec>() {
            // Those above see this one's rows: keep looking below.
            found = Some(deduplicate.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.ok().and(found)
}

impl DeduplicateExec {
    /// The plan of the first pass, over a shuffle into `partitions`; `None` if everything is to be aggregated without one.
    ///
    /// # Errors
    /// The plan cannot be built.
    pub fn first_stage(&self, partitions: usize) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if self.key_columns().is_none() {
            return Ok(None);
        }
        let hashes: Arc<dyn ExecutionPlan> = Arc::new(KeyHashesExec::hash(reset_plan_states(Arc::clone(&self.keys))?));
        let by_hash = Partitioning::Hash(vec![Arc::new(Column::new("hash", 0))], partitions.max(1));
        Ok(Some(Arc::new(KeyHashesExec::find(Arc::new(RepartitionExec::try_new(hashes, by_hash)?)))))
    }

    /// The plan that takes this operator's place, from the rows that the first pass gave.
    ///
    /// # Errors
    /// The plan cannot be built, or the rows are not those of a first pass.
    pub fn second_stage(&self, found: Option<&[RecordBatch]>) -> Result<Arc<dyn ExecutionPlan>> {
        let few = match found {
            Some(found) => few_repeated(found)?,
            None => None,
        };
        let (Some(hashes), Some(keys)) = (few, self.key_columns()) else {
            return self.with_own_names(self.keep_one_of(reset_plan_states(Arc::clone(&self.input))?)?);
        };
        let hashes = Arc::new(hashes);
        let split = |keep| -> Result<Arc<dyn ExecutionPlan>> {
            let input = reset_plan_states(Arc::clone(&self.input))?;
            Ok(Arc::new(SplitRepeatedExec::new(input, keep, keys.clone(), Arc::clone(&hashes))))
        };
        if hashes.is_empty() {
            return reset_plan_states(Arc::clone(&self.input));
        }
        let kept = self.with_own_names(self.keep_one_of(split(Keep::Repeated)?)?)?;
        UnionExec::try_new(vec![split(Keep::Unique)?, kept])
    }

    /// This operator in `plan` replaced by another plan.
    ///
    /// # Errors
    /// The plan cannot be built anew.
    pub fn replace_in(&self, plan: Arc<dyn ExecutionPlan>, by: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_down(|node| match node.downcast_ref::<DeduplicateExec>() {
            Some(other) if Arc::ptr_eq(&other.run, &self.run) => Ok(Transformed::new(Arc::clone(by), true, TreeNodeRecursion::Jump)),
            _ => Ok(Transformed::no(node)),
        })
        .data()
    }

    /// The third child over `rows`.
    fn keep_one_of(&self, rows: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let replaced = Arc::clone(&self.keep_one).transform_down(|node| {
            if node.is::<RepeatedRowsExec>() { Ok(Transformed::yes(Arc::clone(&rows))) } else { Ok(Transformed::no(node)) }
        });
        replaced.data()
    }

    /// The third child names its columns as the input does, which a union needs; where it does not, they are renamed.
    fn with_own_names(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let (have, want) = (plan.schema(), self.input.schema());
        if have.fields().iter().zip(want.fields()).all(|(have, want)| have.name() == want.name()) {
            return Ok(plan);
        }
        let columns = have.fields().iter().zip(want.fields()).enumerate().map(|(at, (have, want))| {
            let column: Arc<dyn datafusion::physical_expr::PhysicalExpr> = Arc::new(Column::new(have.name(), at));
            (column, want.name().clone())
        });
        Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), plan)?))
    }
}

/// The repeated hashes, unless they are many.
fn few_repeated(found: &[RecordBatch]) -> Result<Option<Vec<u64>>> {
    let (mut repeated, mut rows) = (Vec::new(), 0);
    for batch in found {
        let column = |at: usize| {
            let column = batch.columns().get(at).and_then(|column| column.as_any().downcast_ref::<UInt64Array>());
            column.ok_or_else(|| internal_datafusion_err!("the first pass of a deduplication gave other rows than hashes"))
        };
        for (hash, count) in column(0)?.values().iter().zip(column(1)?.values()) {
            if *hash == 0 { rows += count } else { repeated.push(*hash) }
        }
    }
    let is_common = repeated.len() > MOST_REPEATED || repeated.len() as u64 > rows / COMMON;
    Ok(Some(repeated).filter(|_| !is_common))
}
