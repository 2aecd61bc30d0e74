//! All rows of a plan in the memory of one task, gathered by one collector per partition.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};
use futures::StreamExt as _;
use orrery_models::{Collector, Trainer};
use tokio::task::JoinSet;

use super::columns::TrainingColumns;
use super::trainer::failed;
use crate::{Blame, Error};

/// Batches after which other tasks get a turn.
const BATCHES_PER_TURN: usize = 16;

/// Rows in memory.
pub(super) struct Rows {
    /// In the order of partitions.
    pub collected: Vec<Box<dyn Collector>>,
    /// The memory that they were granted.
    pub reservations: Vec<MemoryReservation>,
}

/// What gathering led to.
pub(super) enum Gathered {
    Rows(Rows),
    /// They are more than the memory that was granted holds, which is so many bytes at least.
    DoesNotFit(u64),
}

/// Runs all partitions of a plan at the same time.
pub(super) async fn gather(
    input: &Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
    columns: &TrainingColumns,
    trainer: &dyn Trainer,
) -> Result<Gathered> {
    let partitions = input.output_partitioning().partition_count();
    let mut tasks = JoinSet::new();
    for partition in 0..partitions {
        let rows = input.execute(partition, Arc::clone(context))?;
        let memory = MemoryConsumer::new(format!("TrainModelExec[{partition}]")).register(context.memory_pool());
        let one = gather_one(rows, columns.clone(), trainer.collector(), memory);
        tasks.spawn(async move { (partition, one.await) });
    }
    let mut gathered: Vec<Option<(Box<dyn Collector>, MemoryReservation)>> = (0..partitions).map(|_| None).collect();
    while let Some(joined) = tasks.join_next().await {
        let (partition, one) = joined.map_err(|error| DataFusionError::from(of_join(&error)))?;
        match one? {
            One::Rows(collector, memory) => gathered[partition] = Some((collector, memory)),
            // The others stop when the set is dropped.
            One::DoesNotFit(bytes) => return Ok(Gathered::DoesNotFit(bytes)),
        }
    }
    let (collected, reservations) = gathered.into_iter().flatten().unzip();
    Ok(Gathered::Rows(Rows { collected, reservations }))
}

fn of_join(error: &tokio::task::JoinError) -> Error {
    if error.is_cancelled() { Error::interrupted() } else { Error::new(Blame::Bug, format!("a task of the training panicked: {error}")) }
}

enum One {
    Rows(Box<dyn Collector>, MemoryReservation),
    DoesNotFit(u64),
}

async fn gather_one(
    mut rows: SendableRecordBatchStream,
    columns: TrainingColumns,
    mut collector: Box<dyn Collector>,
    memory: MemoryReservation,
) -> Result<One> {
    let mut batches = 0_usize;
    while let Some(batch) = rows.next().await {
        collector.push(&columns.of(&batch?)?).map_err(failed)?;
        let bytes = collector.bytes();
        if bytes > memory.size() && !is_granted(memory.try_resize(bytes))? {
            return Ok(One::DoesNotFit(bytes as u64));
        }
        batches += 1;
        if batches.is_multiple_of(BATCHES_PER_TURN) {
            tokio::task::yield_now().await;
        }
    }
    Ok(One::Rows(collector, memory))
}

/// Whether memory was granted; that it was asked for by work that has been stopped is an error.
pub(super) fn is_granted(asked: Result<()>) -> Result<bool> {
    match asked {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
