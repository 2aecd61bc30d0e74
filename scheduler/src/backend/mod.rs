//! The cluster as a backend of the engine: plans become Ballista jobs, submitted in process.
//!
//! Jobs are planned statically: a lost executor costs the tasks it had, and the rewrites that a session's planner made stay as they are. (Ballista's
//! adaptive planner does not recover from the loss of an executor, and replaces a session's physical rewrites by its own.) What adaptivity would decide is
//! decided from file statistics before a job starts: the number of partitions, and which side of a join is broadcast.

mod chaos;
mod deduplicate;
mod describe;
mod job;
mod local;
mod measure;
mod report;
mod results;

use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::extension::{SessionConfigExt as _, SessionConfigHelperExt as _};
use ballista_core::optimizer::with_ballista_optimizer_rules;
use ballista_scheduler::cluster::JobState;
use datafusion::arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use orrery_engine::operators::compressed_files::mark_compressed_files;
use orrery_engine::operators::one_task::OneTaskExec;
use orrery_engine::operators::train_model::TrainModelExec;
use orrery_engine::planner::hints::apply_partition_hints::shuffle_dealt_rows;
use orrery_engine::planner::join_across_tasks::settle_collected_sides;
use orrery_engine::planner::keep_constant_rows_in_memory::keep_constant_rows_in_memory;
use orrery_engine::planner::shorten_batches::batch_rows;
use orrery_engine::planner::sort_by_window_keys::sort_by_window_keys;
use orrery_engine::session::{Backend, InProcess, Tracker, Workers, bytes_read};
use orrery_engine::{Result, planner};
use orrery_transport::ClientTls;

use crate::balance::EvenShares;
use crate::embed::Ballista;
use crate::settings::Settings;

pub(crate) use measure::ExecutorShare;

/// Partitions per vcore at most, however large the input: more would only add files and messages.
const PARTITIONS_PER_VCORE: usize = 8;

/// Tasks from which on a partitioned table is written by partition: with fewer, a second shuffle of all rows costs more than files that are a little smaller.
const SPREAD_FROM_TASKS: usize = 8;

/// Bytes below which a side of a join is sent to every executor whole.
const BROADCAST_BELOW_BYTES: usize = 32 << 20;

/// Runs plans on the executors; small ones in the coordinator.
#[derive(Clone)]
pub struct Cluster {
    ballista: Ballista,
    jobs: Arc<dyn JobState>,
    vcores: Arc<crate::executors::Executors>,
    local_limit_bytes: u64,
    one_task_limit_bytes: u64,
    partition_bytes: u64,
    message_limit_bytes: usize,
    distribution: Arc<EvenShares>,
    shares: measure::Shares,
    chaos: f64,
    node_tls: Option<ClientTls>,
}

impl Cluster {
    pub(crate) fn new(
        ballista: Ballista,
        jobs: Arc<dyn JobState>,
        executors: Arc<crate::executors::Executors>,
        distribution: Arc<EvenShares>,
        settings: &Settings,
        node_tls: Option<ClientTls>,
    ) -> Self {
        Self {
            ballista,
            jobs,
            vcores: executors,
            local_limit_bytes: settings.local_limit.as_u64(),
            one_task_limit_bytes: settings.one_task_limit.as_u64(),
            partition_bytes: settings.partition_size.as_u64().max(1),
            message_limit_bytes: usize::try_from(settings.message_limit.as_u64()).unwrap_or(usize::MAX),
            distribution,
            shares: measure::Shares::default(),
            chaos: settings.chaos,
            node_tls,
        }
    }

    /// The same cluster for one session, whose statements' shares are counted apart.
    pub(crate) fn for_session(&self) -> Self {
        Self { shares: measure::Shares::default(), ..self.clone() }
    }

    /// What each executor did since this was asked last.
    pub(crate) fn take_shares(&self) -> Vec<ExecutorShare> {
        self.shares.take()
    }

    fn runs_here(&self, plan: &Arc<dyn ExecutionPlan>) -> bool {
        local::runs_in_coordinator(plan, self.local_limit_bytes)
    }

    /// Whether one task is to run the whole plan: stages would only cost files and messages.
    fn is_one_task(&self, plan: &Arc<dyn ExecutionPlan>) -> bool {
        if plan.is::<TrainModelExec>() {
            return OneTaskExec::can_hold(plan);
        }
        let mut limit = self.one_task_limit_bytes;
        if limit > 0 && self.vcores.count() == 1 {
            // As long as a lone executor would do with one round of partitions. What is larger is cut into stages, so that it can be drained, resumed and
            // joined by other executors half way.
            limit = limit.max(self.vcores.vcores() as u64 * self.partition_bytes);
        }
        bytes_read(plan.as_ref()) < limit && OneTaskExec::can_hold(plan)
    }

    /// Whether a small plan is better run here than to wait for a vcore: all of them are busy, maybe for long.
    async fn runs_here_meanwhile(&self, plan: &Arc<dyn ExecutionPlan>) -> bool {
        local::runs_in_coordinator(plan, self.one_task_limit_bytes) && self.is_one_task(plan) && self.is_busy().await
    }

    /// Whether no executor has a vcore to spare.
    async fn is_busy(&self) -> bool {
        let mut in_use = 0;
        for job in self.ballista.state.task_manager.get_running_job_cache().values() {
            let graph = job.execution_graph.read().await;
            let tasks = graph.running_tasks();
            in_use += tasks.iter().map(|task| graph.task_vcores(task.stage_id, task.task_id).unwrap_or(0) as usize).sum::<usize>();
        }
        in_use > 0 && in_use >= self.vcores.vcores()
    }

    /// What is to be submitted for a plan.
    async fn job_plan(&self, plan: Arc<dyn ExecutionPlan>, session: &SessionContext, tracker: &Tracker) -> Result<Arc<dyn ExecutionPlan>> {
        if self.is_one_task(&plan) {
            return Ok(Arc::new(OneTaskExec::over(self.shippable(plan)?)));
        }
        self.deduplicated(ready_to_be_cut(plan)?, session, tracker).await
    }

    /// The plan with what its scans need to be told on the executors.
    fn shippable(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(mark_compressed_files(chaos::with_faults(plan, self.chaos)?)?)
    }
}

/// An optimized plan with what only matters where it is cut into stages.
fn ready_to_be_cut(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = settle_collected_sides(shuffle_dealt_rows(plan)?)?;
    Ok(keep_constant_rows_in_memory(sort_by_window_keys(plan)?)?)
}

/// The session with batches as short as the plan's rows are long: executors take the setting from the job.
fn session_for(plan: &Arc<dyn ExecutionPlan>, session: &SessionContext) -> SessionContext {
    let most = session.copied_config().batch_size();
    let rows = batch_rows(plan, most);
    if rows == most {
        return session.clone();
    }
    let mut state = session.state();
    *state.config_mut() = state.config().clone().with_batch_size(rows);
    SessionContext::new_with_state(state)
}

#[async_trait]
impl Backend for Cluster {
    fn configure(&self, mut builder: SessionStateBuilder) -> SessionStateBuilder {
        let config = builder.config().take().unwrap_or_default();
        let mut config = config
            .with_option_extension(ballista_core::config::BallistaConfig::default())
            .ballista_restricted_configuration()
            .with_ballista_grpc_client_max_message_size(self.message_limit_bytes)
            .with_ballista_broadcast_join_threshold_bytes(BROADCAST_BELOW_BYTES)
            .with_ballista_adaptive_query_planner(false);
        if let Some(tls) = self.node_tls.clone() {
            // Rows of results are fetched so.
            config = config
                .with_ballista_use_tls(true)
                .with_ballista_override_create_grpc_client_endpoint(Arc::new(move |endpoint| Ok(tls.secure(endpoint)?)));
        }
        let optimizer = &mut config.options_mut().optimizer;
        // With partitions that follow the data's size, a partition's build side fits; sorting both sides costs several times as much.
        optimizer.prefer_hash_join = true;
        optimizer.hash_join_single_partition_threshold = BROADCAST_BELOW_BYTES;
        let rules = builder.optimizer().take().map_or_else(planner::logical_rules, |optimizer| optimizer.rules);
        let physical_rules = builder.physical_optimizers().take().map_or_else(planner::physical_rules, |optimizer| optimizer.rules);
        builder
            .with_config(config)
            .with_optimizer_rules(with_ballista_optimizer_rules(&rules))
            .with_physical_optimizer_rules(planner::across_tasks(physical_rules))
    }

    fn partitions(&self, bytes: Option<u64>) -> Option<usize> {
        let vcores = self.vcores.vcores().max(1);
        let Some(bytes) = bytes else { return Some(vcores) };
        let by_size = usize::try_from(bytes.div_ceil(self.partition_bytes)).unwrap_or(usize::MAX);
        // A multiple of the vcores, so that the last round is as full as the others.
        let rounds = by_size.div_ceil(vcores).clamp(1, PARTITIONS_PER_VCORE);
        Some(vcores * rounds)
    }

    fn spreads_partitions(&self, tasks: usize) -> bool {
        tasks >= SPREAD_FROM_TASKS
    }

    fn workers(&self) -> Workers {
        let threads = self.vcores.list().iter().map(|executor| executor.vcores as usize).max();
        Workers { processes: self.vcores.count().max(1), threads, are_remote: true }
    }

    fn runs_whole(&self, plan: &Arc<dyn ExecutionPlan>) -> bool {
        self.runs_here(plan) || self.is_one_task(plan)
    }

    async fn stream(&self, plan: Arc<dyn ExecutionPlan>, session: &SessionContext, tracker: &Tracker) -> Result<SendableRecordBatchStream> {
        if self.runs_here(&plan) || self.runs_here_meanwhile(&plan).await {
            return InProcess.stream(plan, session, tracker).await;
        }
        let session = &session_for(&plan, session);
        let plan = self.job_plan(plan, session, tracker).await?;
        let finished = self.run_job(&plan, session, tracker).await?;
        results::stream(finished, session)
    }

    async fn run(&self, plan: Arc<dyn ExecutionPlan>, session: &SessionContext, tracker: &Tracker) -> Result<Vec<RecordBatch>> {
        if self.runs_here(&plan) || self.runs_here_meanwhile(&plan).await {
            return InProcess.run(plan, session, tracker).await;
        }
        let session = &session_for(&plan, session);
        let plan = self.job_plan(plan, session, tracker).await?;
        self.collect_job(&plan, session, tracker).await
    }

    fn describe(&self, plan: &Arc<dyn ExecutionPlan>, session: &SessionContext) -> Result<Option<String>> {
        if self.runs_here(plan) {
            return Ok(Some("in the coordinator: 1 stage, 1 task".to_string()));
        }
        if self.is_one_task(plan) {
            return Ok(Some(describe::one_task(plan)));
        }
        let plan = ready_to_be_cut(Arc::clone(plan))?;
        describe::stages(&deduplicate::as_if_few_repeat(&plan)?, session, self.vcores.vcores().max(1)).map(Some)
    }
}
