//! Where physical plans run. The session plans and commits; a backend only turns a plan into batches.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _, execute_stream};
use futures::TryStreamExt as _;
use tokio::task::JoinSet;

use crate::{Blame, Error, Result};

/// Runs physical plans.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Runs a plan and streams its rows; order across partitions is the plan's own, if it has one.
    async fn stream(&self, plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream>;

    /// Runs every partition of a plan whose output is small (one row per written file) and returns all of it. Dropping the future stops
    /// the work.
    async fn run(&self, plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<Vec<RecordBatch>>;
}

/// DataFusion in this process, on all cores, without shuffle files.
#[derive(Debug, Default, Clone, Copy)]
pub struct InProcess;

#[async_trait]
impl Backend for InProcess {
    async fn stream(&self, plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Ok(execute_stream(plan, context)?)
    }

    async fn run(&self, plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<Vec<RecordBatch>> {
        let partitions = plan.output_partitioning().partition_count();
        let mut tasks = JoinSet::new();
        for partition in 0..partitions {
            let stream = plan.execute(partition, Arc::clone(&context))?;
            tasks.spawn(async move { stream.try_collect::<Vec<_>>().await });
        }
        let mut batches = Vec::new();
        while let Some(joined) = tasks.join_next().await {
            let collected = joined.map_err(|e| {
                if e.is_cancelled() { Error::interrupted() } else { Error::new(Blame::Bug, format!("a task of the plan panicked: {e}")) }
            })?;
            batches.extend(collected?);
        }
        Ok(batches)
    }
}
