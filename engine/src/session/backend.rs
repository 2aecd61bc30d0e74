//! Where physical plans run. The session plans and commits; a backend only turns a plan into batches.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _, execute_stream};
use datafusion::prelude::SessionContext;
use futures::TryStreamExt as _;
use tokio::task::JoinSet;

use super::Tracker;
use crate::planner::shorten_batches::batch_rows;
use crate::{Blame, Error, Result, TaskPool};

/// Runs physical plans.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Adds what this backend's plans need to a session that is being built, after everything else.
    fn configure(&self, builder: SessionStateBuilder) -> SessionStateBuilder {
        builder
    }

    /// How many partitions a plan should have that reads about `bytes` of files; `None` before that is known, and as an answer where the session's own
    /// setting holds.
    fn partitions(&self, bytes: Option<u64>) -> Option<usize> {
        let _ = bytes;
        None
    }

    /// Whether rows on their way into a partitioned table are brought together by partition first when a plan has so many tasks, each of which would write
    /// a file into every partition.
    fn spreads_partitions(&self, tasks: usize) -> bool {
        let _ = tasks;
        false
    }

    /// Who trains models.
    fn workers(&self) -> Workers {
        Workers::default()
    }

    /// Whether a plan would run within one task anyway.
    fn runs_whole(&self, plan: &Arc<dyn ExecutionPlan>) -> bool {
        let _ = plan;
        true
    }

    /// Runs a plan and streams its rows; order across partitions is the plan's own, if it has one. What is learned about the run on the way goes to
    /// `tracker`. Dropping the future or the stream stops the work.
    async fn stream(&self, plan: Arc<dyn ExecutionPlan>, session: &SessionContext, tracker: &Tracker) -> Result<SendableRecordBatchStream>;

    /// Runs every partition of a plan whose output is small (one row per written file) and returns all of it. Dropping the future stops
    /// the work.
    async fn run(&self, plan: Arc<dyn ExecutionPlan>, session: &SessionContext, tracker: &Tracker) -> Result<Vec<RecordBatch>>;

    /// Where and in how many stages and tasks the plan would run, for `EXPLAIN`; `None` if there is nothing to tell beside the plan itself.
    ///
    /// # Errors
    /// The plan cannot be divided into stages.
    fn describe(&self, plan: &Arc<dyn ExecutionPlan>, session: &SessionContext) -> Result<Option<String>> {
        let _ = (plan, session);
        Ok(None)
    }
}

/// The processes that a backend has for training models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers {
    /// How many there are.
    pub processes: usize,
    /// Threads of the largest one; `None`: as many as the session's plans have partitions.
    pub threads: Option<usize>,
    /// Whether plans travel to them, so that what is large should not be in a plan.
    pub are_remote: bool,
}

impl Default for Workers {
    /// This process.
    fn default() -> Self {
        Self { processes: 1, threads: None, are_remote: false }
    }
}

/// DataFusion in this process, on all cores, without shuffle files.
#[derive(Debug, Default, Clone, Copy)]
pub struct InProcess;

/// What a plan runs in here, without the functions that are known by name: the plan holds those that it calls, and copying all others takes longer than
/// many a query.
fn task_context(session: &SessionContext, plan: &Arc<dyn ExecutionPlan>) -> Arc<TaskContext> {
    let (scalar, higher_order, aggregate, window) = Default::default();
    let (id, mut config, runtime) = (session.session_id(), session.copied_config(), session.runtime_env());
    let rows = batch_rows(plan, config.batch_size());
    if rows < config.batch_size() {
        config = config.with_batch_size(rows);
    }
    Arc::new(TaskContext::new(None, id, config, scalar, higher_order, aggregate, window, runtime))
}

#[async_trait]
impl Backend for InProcess {
    async fn stream(&self, plan: Arc<dyn ExecutionPlan>, session: &SessionContext, tracker: &Tracker) -> Result<SendableRecordBatchStream> {
        let context = TaskPool::within(task_context(session, &plan), tracker.cancellation())?;
        Ok(execute_stream(plan, context)?)
    }

    async fn run(&self, plan: Arc<dyn ExecutionPlan>, session: &SessionContext, tracker: &Tracker) -> Result<Vec<RecordBatch>> {
        let partitions = plan.output_partitioning().partition_count();
        let context = TaskPool::within(task_context(session, &plan), tracker.cancellation())?;
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
