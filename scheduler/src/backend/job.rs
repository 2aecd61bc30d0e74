//! One plan as a Ballista job: submitted, followed, cancelled when nobody waits for it any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ballista_core::JobId;
use ballista_core::config::BALLISTA_SHUFFLE_COMPRESSION_CODEC;
use ballista_core::serde::protobuf::job_status::Status;
use ballista_core::serde::protobuf::{FailedJob, JobStatus, SuccessfulJob};
use ballista_core::serde::scheduler::PartitionLocation;
use ballista_scheduler::state::execution_graph::{ExecutionGraph, ExecutionGraphBox};
use datafusion::arrow::array::RecordBatch;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt as _;
use orrery_engine::session::Tracker;
use orrery_engine::{Blame, Error, Result, WireError};
use tokio::sync::mpsc;

use super::results::{self, Finished, Kept};
use super::{Cluster, measure, report};
use crate::embed::Ballista;
use crate::recovery::{Outputs, Tangled, final_stage, is_disturbed};

/// How often the progress of a job is read.
const TICK: Duration = Duration::from_millis(200);
/// Times that a job is begun when it fails for reasons that may pass.
const JOB_ATTEMPTS: u32 = 8;
/// How long it may take until the stages of a job that has ended can be had, and how often they are asked for.
const ENDED_KNOWN_WITHIN: Duration = Duration::from_secs(5);
const ENDED_ASKED_EVERY: Duration = Duration::from_micros(200);
/// States that may wait to be read; a job has a handful.
const STATES: usize = 64;

impl Cluster {
    /// Runs a plan to its end; its rows then lie on the executors. A job that failed for reasons which may pass is begun anew: what its tasks wrote was
    /// never committed.
    pub(super) async fn run_job(&self, plan: &Arc<dyn ExecutionPlan>, session: &SessionContext, tracker: &Tracker) -> Result<Finished> {
        let mut attempt = 1;
        loop {
            match self.try_job(plan, session, tracker).await {
                Err(failure) if failure.may_pass && attempt < JOB_ATTEMPTS => {
                    tracing::warn!(error = %failure.error, attempt, "a job failed and is begun anew");
                    attempt += 1;
                }
                other => return other.map_err(|failure| failure.error),
            }
        }
    }

    /// Runs a plan whose rows are few and fetches them. An executor that dies with its rows after the job is over costs the job once more.
    pub(super) async fn collect_job(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        session: &SessionContext,
        tracker: &Tracker,
    ) -> Result<Vec<RecordBatch>> {
        let mut attempt = 1;
        loop {
            let finished = self.run_job(plan, session, tracker).await?;
            let fetched: Result<Vec<RecordBatch>> = results::stream(finished, session)?.try_collect().await.map_err(results::lost);
            match fetched {
                Err(error) if error.blame == Blame::Cluster && attempt < JOB_ATTEMPTS => {
                    tracing::warn!(%error, attempt, "rows are lost with their executor, and their job is begun anew");
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn try_job(&self, plan: &Arc<dyn ExecutionPlan>, session: &SessionContext, tracker: &Tracker) -> Result<Finished, Failure> {
        self.wait_for_executors().await?;
        let plan = &self.shippable(Arc::clone(plan))?;
        let (sender, mut states) = mpsc::channel(STATES);
        let session = Arc::new(self.job_session(session).map_err(Error::from)?);
        let submitted = self.ballista.submit_physical_plan("statement", session, Arc::clone(plan), Some(sender)).await;
        let job = submitted.map_err(|error| Error::new(Blame::Cluster, format!("the scheduler takes no jobs: {error}")))?;
        let mut running = Running { ballista: self.ballista.clone(), job: job.clone(), is_over: false };
        let mut ticks = tokio::time::interval(TICK);
        let outcome = loop {
            tokio::select! {
                state = states.recv() => match state {
                    Some(state) => if let Some(outcome) = outcome(state) { break outcome },
                    // The sender is gone with the job: what became of it is kept for a while.
                    None => break self.look_up(&job).await,
                },
                _ = ticks.tick() => {
                    if let Some(tangled) = self.distribution.take_tangled(&job) {
                        return Err(Failure::of_tangle(&tangled));
                    }
                    self.follow(&job, tracker).await;
                }
            }
        };
        running.is_over = true;
        let successful = outcome.map_err(|failed| Failure::of_job(&failed.error))?;
        let Some(graph) = self.ended_graph(&job).await else {
            return Err(Failure::passing("a job that has just ended is not known any more"));
        };
        let told = results_that_count(graph.as_ref(), locations(successful)?)?;
        self.account(graph.as_ref(), tracker);
        let kept = Kept { ballista: self.ballista.clone(), job };
        Ok(Finished { schema: plan.schema(), partitions: by_partition(told), executors: Arc::clone(&self.vcores), kept })
    }

    /// The session with what depends on the cluster as it is now.
    fn job_session(&self, session: &SessionContext) -> datafusion::common::Result<SessionContext> {
        let mut state = session.state();
        // Compression is for the network: what a lone executor shuffles never leaves it.
        let codec = if self.vcores.count() > 1 { "lz4" } else { "none" };
        state.config_mut().options_mut().set(BALLISTA_SHUFFLE_COMPRESSION_CODEC, codec)?;
        Ok(SessionContext::new_with_state(state))
    }

    async fn wait_for_executors(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(self.ballista.state.config.no_executors_grace_period_seconds);
        while self.vcores.vcores() == 0 {
            if Instant::now() >= deadline {
                return Err(Error::new(Blame::Cluster, "the cluster has no executors").hint("start some with orrery executor"));
            }
            tokio::time::sleep(TICK).await;
        }
        Ok(())
    }

    async fn follow(&self, job: &JobId, tracker: &Tracker) {
        let running = self.ballista.state.task_manager.get_running_job_cache();
        if let Some(info) = running.get(job) {
            let graph = info.execution_graph.read().await;
            tracker.follow(measure::reading(graph.as_ref()));
        }
    }

    /// Remembers who did what, and, where it was asked for, what the operators measured.
    fn account(&self, graph: &dyn ExecutionGraph, tracker: &Tracker) {
        tracker.follow(measure::reading(graph));
        self.shares.add(measure::shares(graph));
        if tracker.is_analyzed() {
            tracker.add_report(report::of_job(graph));
        }
    }

    /// The stages of a job that has ended. Ballista tells of a job's end a moment before it can be asked for.
    async fn ended_graph(&self, job: &JobId) -> Option<ExecutionGraphBox> {
        let deadline = Instant::now() + ENDED_KNOWN_WITHIN;
        loop {
            match self.jobs.get_execution_graph(job).await {
                Ok(Some(graph)) => return Some(graph),
                _ if Instant::now() > deadline => return None,
                _ => tokio::time::sleep(ENDED_ASKED_EVERY).await,
            }
        }
    }

    async fn look_up(&self, job: &JobId) -> Result<SuccessfulJob, FailedJob> {
        let lost = |error: String| FailedJob { error, ..FailedJob::default() };
        match self.jobs.get_job_status(job).await {
            Ok(Some(state)) => outcome(state).unwrap_or_else(|| Err(lost("the job ended without an outcome".to_string()))),
            Ok(None) => Err(lost("the job was cancelled".to_string())),
            Err(error) => Err(lost(error.to_string())),
        }
    }
}

/// Why a job failed.
struct Failure {
    error: Error,
    may_pass: bool,
}

impl Failure {
    /// Another attempt may do.
    fn passing(reason: impl Into<String>) -> Self {
        Self { may_pass: true, error: Error::new(Blame::Cluster, reason.into()) }
    }

    fn of_tangle(tangled: &Tangled) -> Self {
        Self::passing(tangled.to_string())
    }

    fn of_job(text: &str) -> Self {
        // An error of the engine's own would come again; what is left are executors and their storage.
        let may_pass = WireError::find(text).is_none();
        let error = explain(text);
        Self { may_pass: may_pass && matches!(error.blame, Blame::Storage | Blame::Cluster), error }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, may_pass: false }
    }
}

/// Cancels its job when dropped before the job is over.
struct Running {
    ballista: Ballista,
    job: JobId,
    is_over: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let (ballista, job) = (self.ballista.clone(), self.job.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = ballista.cancel_job(job.clone()).await {
                    tracing::warn!(%job, %error, "a job could not be cancelled");
                }
            });
        }
    }
}

fn outcome(state: JobStatus) -> Option<Result<SuccessfulJob, FailedJob>> {
    match state.status? {
        Status::Successful(job) => Some(Ok(job)),
        Status::Failed(job) => Some(Err(job)),
        Status::Queued(_) | Status::Running(_) => None,
    }
}

/// The places of a job's rows, without those that earlier attempts at its last stage left.
fn results_that_count(graph: &dyn ExecutionGraph, told: Vec<PartitionLocation>) -> Result<Vec<PartitionLocation>, Failure> {
    if !is_disturbed(graph) {
        return Ok(told);
    }
    let Some(last) = final_stage(graph) else { return Err(Failure::passing("a job has no last stage")) };
    Outputs::of(graph).results(last, told).map_err(|tangled| Failure::of_tangle(&tangled))
}

/// The parts of each output partition; a partition without rows has none.
fn locations(job: SuccessfulJob) -> Result<Vec<PartitionLocation>> {
    let read = |location: ballista_core::serde::protobuf::PartitionLocation| {
        location.try_into().map_err(|error| Error::new(Blame::Bug, format!("the place of a result cannot be read: {error}")))
    };
    job.partition_location.into_iter().map(read).collect()
}

/// The parts of each output partition, in the order of partitions.
fn by_partition(locations: Vec<PartitionLocation>) -> Vec<Vec<PartitionLocation>> {
    let mut partitions: Vec<Vec<PartitionLocation>> = Vec::new();
    for location in locations {
        let at = location.partition_id.partition_id;
        if partitions.len() <= at {
            partitions.resize_with(at + 1, Vec::new);
        }
        partitions[at].push(location);
    }
    partitions
}

/// The engine's own error within a job's failure, or, where the cluster itself failed, who is to blame.
fn explain(text: &str) -> Error {
    if let Some(error) = WireError::find(text) {
        return error;
    }
    let has = |part: &str| text.contains(part);
    if has("No space left on device") {
        return Error::new(Blame::Storage, format!("no space left on an executor's disk: {}", first_line(text)))
            .hint("shuffle and spill files are in the executors' work directories");
    }
    if has("cancelled") || has("Cancelled") {
        return Error::interrupted();
    }
    if has("IO error") || has("IoError") {
        return Error::new(Blame::Storage, first_line(text));
    }
    Error::new(Blame::Cluster, first_line(text))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_who_is_to_blame() {
        let data = WireError::new(&Error::data("divide by zero"));
        let wrapped = format!("Job failed due to stage 2 failed: Task failed due to runtime execution error: External({data:?})");
        assert_eq!(explain(&wrapped).blame, Blame::Data);
        assert_eq!(explain("Task failed due to IO error: No space left on device (os error 28)").blame, Blame::Storage);
        assert_eq!(explain("Job cancelled by user").blame, Blame::Interrupted);
        assert_eq!(explain("no executors").blame, Blame::Cluster);
    }
}
