//! How a model is trained on the session's backend: in the memory of one task where the rows fit, else pass by pass over rows that are spread over tasks.
//!
//! Both ways give the same bytes. The choice is made from what is known of the rows before they are read; a task that finds that they do not fit says so, and
//! the training begins anew in many.

mod distributed;
mod estimate;
mod stored_rows;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use orrery_models::{Trained, Trainer};

use super::scratch::ScratchObjects;
use super::{Mode, Session, Tracker, bytes_read};
use crate::models::live::{self, LiveTraining, Told};
use crate::models::training_spec::TrainingSpec;
use crate::operators::train_model::trainer::trainer;
use crate::operators::train_model::{InOneTask, TrainModelExec, one_partition};
use crate::planner::options::{OrreryOptions, TrainingPlace};
use crate::{Blame, Error, Result};

/// How often it is read how far a task is that another process runs.
const READ_EVERY: Duration = Duration::from_millis(500);
/// The object in which such a task says it.
const TOLD: &str = "progress.json";

/// How a training would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrainingPlan {
    /// Rows, where files or the table's log say so.
    pub rows: Option<u64>,
    /// Bytes of the files that are read for them.
    pub bytes_read: u64,
    /// Memory that the rows take while training runs.
    pub block_bytes: Option<u64>,
    /// Passes over the rows at most.
    pub passes: u32,
    /// Tasks of a pass; 1 where one task does everything.
    pub tasks: u32,
    /// Whether each pass is a job of its own.
    pub is_distributed: bool,
    /// Why so.
    pub reason: String,
}

/// What every way of training needs.
struct Training<'a> {
    spec: &'a TrainingSpec,
    trainer: Arc<dyn Trainer>,
    live: Arc<LiveTraining>,
    tracker: &'a Tracker,
}

impl Session {
    /// Trains a model on the rows of a plan, whose columns are those of `spec`. Returns in how many tasks each pass ran.
    ///
    /// # Errors
    /// Options, columns or rows that cannot be trained on; the training was cancelled; rows that do not fit where `orrery.training` is `one_task`.
    pub(super) async fn train(&self, plan: &LogicalPlan, spec: &TrainingSpec, tracker: &Tracker) -> Result<(Trained, u32)> {
        let token = tracker.cancellation();
        let announced = live::begin(&spec.run_id);
        let trainer = trainer(spec, &self.context.runtime_env()).await?;
        let training = Training { spec, trainer, live: Arc::clone(announced.training()), tracker };
        tracker.train(Arc::clone(&training.live));
        let work = async {
            let prepared = Box::pin(self.prepare(plan, tracker)).await?;
            let trained = Box::pin(self.train_on(&prepared.physical, &training)).await;
            prepared.finish().await;
            trained
        };
        tokio::select! {
            biased;
            () = token.cancelled() => Err(Error::interrupted()),
            trained = work => trained,
        }
    }

    /// How a plan would be trained on, for `EXPLAIN CREATE MODEL`.
    ///
    /// # Errors
    /// Options or columns that cannot be trained on.
    pub(super) async fn plan_training(&self, plan: &LogicalPlan, spec: &TrainingSpec) -> Result<TrainingPlan> {
        let trainer = trainer(spec, &self.context.runtime_env()).await?;
        let physical = Box::pin(self.plan_to_show(plan, Mode::Run)).await?.physical;
        let estimate = self.estimate(&physical, trainer.as_ref());
        let (is_distributed, reason) = self.decide(&estimate);
        let tasks = if is_distributed { self.training_tasks(&physical)? } else { 1 };
        Ok(TrainingPlan {
            rows: estimate.rows,
            bytes_read: bytes_read(physical.as_ref()),
            block_bytes: estimate.block_bytes,
            passes: trainer.passes(),
            tasks: u32::try_from(tasks).unwrap_or(u32::MAX),
            is_distributed,
            reason,
        })
    }

    async fn train_on(&self, plan: &Arc<dyn ExecutionPlan>, training: &Training<'_>) -> Result<(Trained, u32)> {
        let estimate = self.estimate(plan, training.trainer.as_ref());
        let (is_distributed, reason) = self.decide(&estimate);
        tracing::debug!(run = %training.spec.run_id, is_distributed, reason, "training begins");
        if !is_distributed {
            match self.train_in_one_task(plan, training).await? {
                InOneTask::Trained(trained) => return Ok((*trained, 1)),
                InOneTask::DoesNotFit(bytes) => {
                    if self.training_place() == TrainingPlace::OneTask {
                        return Err(does_not_fit(bytes));
                    }
                    tracing::debug!(run = %training.spec.run_id, bytes, "the rows do not fit one task");
                    training.live.restart();
                }
            }
        }
        self.train_distributed(plan, &estimate, training).await
    }

    /// In one task, of this process or of an executor.
    async fn train_in_one_task(&self, plan: &Arc<dyn ExecutionPlan>, training: &Training<'_>) -> Result<InOneTask> {
        if !self.backend.runs_whole(plan) && one_partition::read_again(plan).is_none() {
            // What many executors would do is not left to one: it gets the rows when they are there.
            let stored = self.store_rows(plan, training, None).await?;
            let trained = Box::pin(self.train_whole(&stored.plan, training)).await;
            stored.table.remove().await;
            return trained;
        }
        self.train_whole(plan, training).await
    }

    async fn train_whole(&self, plan: &Arc<dyn ExecutionPlan>, training: &Training<'_>) -> Result<InOneTask> {
        let workers = self.backend.workers();
        let threads = workers.threads.unwrap_or_else(|| self.context.copied_config().target_partitions());
        let mut objects = if workers.are_remote { Some(self.scratch_objects().await?) } else { None };
        let told_at = objects.as_mut().map(|objects| objects.url(TOLD));
        let train: Arc<dyn ExecutionPlan> = Arc::new(TrainModelExec::new(Arc::clone(plan), training.spec.clone(), threads, told_at));
        training.tracker.start(&train);
        let run = self.backend.run(train, &self.context, training.tracker);
        let Some(objects) = objects else { return TrainModelExec::outcome(&run.await?) };
        let batches = tokio::select! {
            batches = run => batches,
            never = read_progress(&objects, &training.live) => match never {},
        };
        objects.remove().await;
        TrainModelExec::outcome(&batches?)
    }

    fn training_place(&self) -> TrainingPlace {
        let config = self.context.copied_config();
        OrreryOptions::of(config.options()).map_or_else(TrainingPlace::default, |options| options.training)
    }
}

fn does_not_fit(bytes: u64) -> Error {
    Error::new(Blame::Resources, format!("the rows of the training do not fit one task: a part of them alone takes {bytes} bytes"))
        .hint("SET orrery.training = 'auto' lets training spread over tasks and files, or raise the memory limit")
}

/// Reads now and then how far a task is that may run in another process.
async fn read_progress(objects: &ScratchObjects, live: &LiveTraining) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(READ_EVERY).await;
        let told: Option<Told> = match objects.get(TOLD).await {
            Some(json) => serde_json::from_slice(&json).ok(),
            None => None,
        };
        if let Some(told) = told {
            live.replace(told);
        }
    }
}
