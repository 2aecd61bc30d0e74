//! Runs the stages that the scheduler sends: Ballista's engine, with work that stops when its task does and errors that keep their blame.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::BallistaError;
use ballista_core::serde::protobuf::{RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats, WindowStateReport};
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::prelude::SessionConfig;
use orrery_engine::{Blame, Error, TaskPool, WireError};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::admission::Word;
use crate::fill_filters::{fill_filters, filling};
use crate::metrics::Metrics;
use crate::shared_rows::SharedRows;
use crate::task_guard::TaskGuardExec;
use crate::unreachable::Unreachable;

/// See the module documentation.
pub(crate) struct GuardingEngine {
    beneath: DefaultExecutionEngine,
    metrics: Metrics,
    tasks: Tasks,
    unreachable: Unreachable,
    shared: SharedRows,
    word: Option<Word>,
}

/// The tasks that run, as far as they can be stopped together.
#[derive(Clone, Default)]
pub(crate) struct Tasks(Arc<Mutex<CancellationToken>>);

impl Tasks {
    /// Stops every task that runs now.
    pub fn stop_all(&self) {
        std::mem::take(&mut *self.0.lock()).cancel();
    }

    fn begin(&self) -> CancellationToken {
        self.0.lock().child_token()
    }
}

impl GuardingEngine {
    pub fn new(beneath: DefaultExecutionEngine, metrics: Metrics, unreachable: Unreachable) -> Self {
        let shared = SharedRows::new(metrics.broadcasts.clone());
        Self { beneath, metrics, tasks: Tasks::default(), unreachable, shared, word: None }
    }

    /// The same, but for tasks that do not carry the word, if there is one.
    pub fn admitting(self, word: Option<Word>) -> Self {
        Self { word, ..self }
    }

    fn guarded(&self, stage: &Arc<dyn ExecutionPlan>, job_id: &JobId, cancelled: &CancellationToken) -> Result<Arc<dyn ExecutionPlan>> {
        TaskGuardExec::guard(self.shared.within(Arc::clone(stage), job_id.as_ref())?, cancelled)
    }

    /// The tasks that it runs.
    pub fn tasks(&self) -> Tasks {
        self.tasks.clone()
    }
}

impl ExecutionEngine for GuardingEngine {
    fn create_query_stage_exec(
        &self,
        job_id: JobId,
        stage_id: usize,
        task_id: usize,
        global_output_partition_ids: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work_dir: &str,
        config: &SessionConfig,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        if let Some(word) = &self.word {
            word.check(config)?;
        }
        let cancelled = self.tasks.begin();
        let prepared = |stage: &Arc<dyn ExecutionPlan>| {
            let stage = fill_filters(Arc::clone(stage), config.options())?;
            self.guarded(&stage, &job_id, &cancelled)
        };
        let guarded: Vec<Arc<dyn ExecutionPlan>> = plan.children().into_iter().map(prepared).collect::<Result<_>>()?;
        let plan = plan.replace_children(guarded, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))?;
        let stage = self.beneath.create_query_stage_exec(job_id, stage_id, task_id, global_output_partition_ids, plan, work_dir, config)?;
        Ok(Arc::new(GuardedStage { stage, cancelled, metrics: self.metrics.clone(), unreachable: self.unreachable.clone() }))
    }
}

#[derive(Debug)]
struct GuardedStage {
    stage: Arc<dyn QueryStageExecutor>,
    cancelled: CancellationToken,
    metrics: Metrics,
    unreachable: Unreachable,
}

impl fmt::Display for GuardedStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.stage, f)
    }
}

#[async_trait]
impl QueryStageExecutor for GuardedStage {
    async fn execute_query_stage(&self, task_id: usize, context: Arc<TaskContext>) -> Result<Vec<ShuffleWritePartition>> {
        // Dropped with this future, whether it ends or is aborted.
        let _stop = self.cancelled.clone().drop_guard();
        let mut counted = Counted::start(&self.metrics);
        let context = TaskPool::within(filling(context), self.cancelled.clone())?;
        let result = self.stage.execute_query_stage(task_id, context).await.map_err(with_blame);
        if let Some(executor_id) = result.as_ref().err().and_then(not_fetched_from) {
            self.unreachable.tell(executor_id);
        }
        counted.outcome = if result.is_ok() { "succeeded" } else { "failed" };
        result
    }

    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        // The guard keeps no metrics, so the list is the one that the scheduler expects of the stage it sent.
        self.stage.collect_plan_metrics()
    }

    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        self.stage.collect_runtime_stats_reports()
    }

    fn collect_window_state_reports(&self) -> Result<Vec<WindowStateReport>> {
        self.stage.collect_window_state_reports()
    }

    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        self.stage.collect_column_stats()
    }
}

/// Counts a task, however it ends.
struct Counted {
    metrics: Metrics,
    started: Instant,
    outcome: &'static str,
}

impl Counted {
    fn start(metrics: &Metrics) -> Self {
        metrics.running.inc();
        Self { metrics: metrics.clone(), started: Instant::now(), outcome: "cancelled" }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.running.dec();
        self.metrics.ended.with_label_values(&[self.outcome]).inc();
        self.metrics.seconds.observe(self.started.elapsed().as_secs_f64());
    }
}

/// Turns errors that another attempt may not meet into I/O errors, which the scheduler retries, leaves Ballista's own alone, because the scheduler acts on
/// them, and keeps blame and hint of all others.
fn with_blame(error: DataFusionError) -> DataFusionError {
    let blamed = match innermost(&error) {
        DataFusionError::IoError(_) => return error,
        DataFusionError::ObjectStore(inner) if may_pass(inner) => return DataFusionError::IoError(io::Error::other(inner.to_string())),
        DataFusionError::External(inner) => match inner.downcast_ref::<BallistaError>() {
            Some(BallistaError::ArrowError(inner)) => Error::of_arrow(inner),
            Some(_) => return error,
            None => Error::of_datafusion(innermost(&error)),
        },
        root => Error::of_datafusion(root),
    };
    if blamed.blame == Blame::Storage && blamed.message.contains("No space left on device") {
        return DataFusionError::IoError(io::Error::new(io::ErrorKind::StorageFull, blamed.message));
    }
    DataFusionError::External(Box::new(WireError::new(&blamed)))
}

/// The error that all others are wrapped around: what writes a stage's rows hands on the errors of the stage as its own.
fn innermost(error: &DataFusionError) -> &DataFusionError {
    let root = error.find_root();
    match root {
        DataFusionError::External(inner) => match inner.downcast_ref::<BallistaError>() {
            Some(BallistaError::DataFusionError(inner)) => innermost(inner),
            _ => root,
        },
        _ => root,
    }
}

/// The executor whose rows could not be fetched, if that is what the error says.
fn not_fetched_from(error: &DataFusionError) -> Option<&str> {
    match innermost(error) {
        DataFusionError::External(inner) => match inner.downcast_ref::<BallistaError>() {
            Some(BallistaError::FetchFailed(executor_id, ..)) => Some(executor_id),
            _ => None,
        },
        _ => None,
    }
}

/// Errors of stores that go by: everything but those that say the request itself is wrong.
fn may_pass(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    !matches!(
        error,
        E::NotFound { .. }
            | E::InvalidPath { .. }
            | E::NotSupported { .. }
            | E::AlreadyExists { .. }
            | E::Precondition { .. }
            | E::NotModified { .. }
            | E::NotImplemented { .. }
            | E::PermissionDenied { .. }
            | E::Unauthenticated { .. }
            | E::UnknownConfigurationKey { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_the_scheduler_acts_on() {
        let io = with_blame(DataFusionError::IoError(io::Error::other("disk")));
        assert!(matches!(io, DataFusionError::IoError(_)));
        let fetch = BallistaError::FetchFailed("executor".into(), 1, 2, "gone".into()).into_datafusion();
        let kept = with_blame(fetch.context("reading"));
        assert!(matches!(kept.find_root(), DataFusionError::External(inner) if inner.is::<BallistaError>()));
        assert_eq!(not_fetched_from(&kept), Some("executor"));
    }

    /// As a stage's writer hands on what its input met.
    fn handed_on(error: DataFusionError) -> DataFusionError {
        BallistaError::DataFusionError(Box::new(DataFusionError::Shared(Arc::new(error)))).into_datafusion()
    }

    #[test]
    fn sees_through_wrappers() {
        let io = with_blame(handed_on(DataFusionError::IoError(io::Error::other("disk"))));
        assert!(matches!(innermost(&io), DataFusionError::IoError(_)));
        let fetch = handed_on(BallistaError::FetchFailed("executor".into(), 1, 2, "gone".into()).into_datafusion());
        assert_eq!(not_fetched_from(&with_blame(fetch)), Some("executor"));
        let ours = DataFusionError::External(Box::new(Error::data("NOT NULL").hint("fill it")));
        let error = with_blame(handed_on(handed_on(ours)));
        let found = WireError::find(&format!("Task failed: {error:?}")).unwrap();
        assert_eq!((found.blame, found.message.as_str(), found.hint.as_deref()), (Blame::Data, "NOT NULL", Some("fill it")));
    }

    #[test]
    fn retries_what_may_pass() {
        let generic = object_store::Error::Generic { store: "S3", source: "connection reset".into() };
        assert!(matches!(with_blame(DataFusionError::ObjectStore(Box::new(generic))), DataFusionError::IoError(_)));
        let missing = object_store::Error::NotFound { path: "a".into(), source: "404".into() };
        let error = with_blame(DataFusionError::ObjectStore(Box::new(missing)));
        assert_eq!(WireError::find(&format!("{error:?}")).unwrap().blame, Blame::Storage);
    }

    #[test]
    fn keeps_the_blame_of_the_rest() {
        let error = with_blame(DataFusionError::Execution("no such row".into()));
        let found = WireError::find(&format!("Task failed: {error:?}")).unwrap();
        assert_eq!((found.blame, found.message.as_str()), (Blame::Data, "no such row"));
    }
}
