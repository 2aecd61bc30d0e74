//! What is known of a training's rows before they are read, and what follows from it.

use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::execution::memory_pool::MemoryLimit;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};
use orrery_models::Trainer;

use super::super::Session;
use crate::Result;
use crate::operators::train_model::one_partition;
use crate::planner::options::TrainingPlace;

/// Several executors train together from so much memory of rows on: with less, a pass is over before it has been sent.
const TOGETHER_FROM_BYTES: u64 = 256 << 20;
/// Memory of the rows of one bucket of keys, about: one is in memory at a time at least.
const BUCKET_BYTES: u64 = 64 << 20;
const BUCKETS_MAX: u64 = 1024;

/// See the module documentation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Estimate {
    pub rows: Option<u64>,
    /// Memory that they take.
    pub block_bytes: Option<u64>,
    /// Memory that one task is granted, where that is known here.
    pub granted_bytes: Option<u64>,
}

impl Session {
    pub(super) fn estimate(&self, plan: &Arc<dyn ExecutionPlan>, trainer: &dyn Trainer) -> Estimate {
        let rows = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok().and_then(|s| match s.num_rows {
            Precision::Exact(rows) | Precision::Inexact(rows) => Some(rows as u64),
            Precision::Absent => None,
        });
        let block_bytes = rows.map(|rows| rows.saturating_mul(trainer.bytes_per_row() as u64));
        let granted_bytes = match self.context.runtime_env().memory_pool.memory_limit() {
            MemoryLimit::Finite(bytes) if !self.backend.workers().are_remote => Some(bytes as u64),
            _ => None,
        };
        Estimate { rows, block_bytes, granted_bytes }
    }

    /// Whether passes are to run over many tasks, and why.
    pub(super) fn decide(&self, estimate: &Estimate) -> (bool, String) {
        match self.training_place() {
            TrainingPlace::OneTask => return (false, "orrery.training is one_task".to_string()),
            TrainingPlace::Distributed => return (true, "orrery.training is distributed".to_string()),
            TrainingPlace::Auto => {}
        }
        let Some(bytes) = estimate.block_bytes else {
            return (false, "how many rows there are is not known; one task tries first".to_string());
        };
        if let Some(granted) = estimate.granted_bytes
            && bytes > granted / 10 * 9
        {
            return (true, format!("the rows take about {bytes} bytes, and one task has {granted}"));
        }
        let processes = self.backend.workers().processes;
        if processes > 1 && bytes >= TOGETHER_FROM_BYTES {
            return (true, format!("the rows take about {bytes} bytes, which {processes} executors share"));
        }
        (false, format!("the rows take about {bytes} bytes, which fits one task"))
    }

    /// In how many tasks passes over a plan's rows run at most.
    pub(super) fn training_tasks(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<usize> {
        let at_once = self.training_threads();
        match one_partition::read_again(plan) {
            Some(plan) => Ok(one_partition::in_partitions(plan, at_once)?.output_partitioning().partition_count()),
            None => Ok(at_once),
        }
    }

    /// Partitions that the backend works on at the same time.
    pub(super) fn training_threads(&self) -> usize {
        self.backend.partitions(None).unwrap_or_else(|| self.context.copied_config().target_partitions()).max(1)
    }

    /// In how many buckets keys are divided whose rows take so much memory.
    pub(super) fn buckets_for(&self, block_bytes: Option<u64>) -> usize {
        let by_size = usize::try_from(block_bytes.unwrap_or(0).div_ceil(BUCKET_BYTES).min(BUCKETS_MAX)).unwrap_or(usize::MAX);
        // A multiple, so that all threads have as many.
        by_size.max(1).next_multiple_of(self.training_threads())
    }
}
