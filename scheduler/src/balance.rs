//! Which executor gets which partitions: every stage is spread over all executors in proportion to their free vcores, and the job that has least running is
//! served first.
//!
//! Ballista's own policies fill the largest executor before the next one is used, so that with two executors one of them does most of the work of small
//! stages, and serve jobs in no particular order.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::execution_plans::{RangeShuffleReaderExec, ShuffleReaderExec};
use ballista_core::serde::protobuf::AvailableVcores;
use ballista_core::serde::protobuf::job_status::Status;
use ballista_core::serde::scheduler::TaskKey;
use ballista_scheduler::cluster::{BoundTask, DistributionPolicy};
use ballista_scheduler::state::execution_graph::{TaskDescription, create_task_info};
use ballista_scheduler::state::execution_stage::RunningStage;
use ballista_scheduler::state::task_manager::JobInfoCache;
use datafusion::common::Result;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use orrery_engine::operators::one_task::OneTaskExec;
use orrery_engine::operators::train_model::rows_of_pass;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::avoid::Avoided;
use crate::embed::Ballista;
use crate::homes::Homes;
use crate::recovery::{Outputs, Tangled, is_disturbed, skip_task_ids};

/// Free vcores by executor.
pub(crate) type FreeVcores = HashMap<String, u32>;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct EvenShares {
    avoided: Arc<Avoided>,
    /// Partitions given to each executor so far; ties go to the one that had least.
    given: Mutex<HashMap<String, u64>>,
    /// Somebody who asks only for what is free: the call with this very map of jobs, known by its address, answers and gives nothing out.
    asked: Mutex<Option<(usize, oneshot::Sender<FreeVcores>)>>,
    /// How many task numbers each stage of the jobs that run has used up, over all its attempts.
    task_ids: Mutex<HashMap<(JobId, usize), usize>>,
    /// Jobs that cannot go on.
    tangled: Mutex<HashMap<JobId, Tangled>>,
    homes: Mutex<Homes>,
}

impl EvenShares {
    /// Gives nothing to executors that are avoided.
    pub fn new(avoided: Arc<Avoided>) -> Self {
        Self {
            avoided,
            given: Mutex::default(),
            asked: Mutex::default(),
            task_ids: Mutex::default(),
            tangled: Mutex::default(),
            homes: Mutex::default(),
        }
    }

    /// Why a job cannot go on and has to be begun anew; told once.
    pub fn take_tangled(&self, job: &JobId) -> Option<Tangled> {
        self.tangled.lock().remove(job)
    }

    /// Makes a stage ready for another attempt at some of its job's tasks. Returns whether tasks of it can be sent.
    fn recover(&self, job: &JobId, stage: &mut RunningStage, outputs: &Outputs) -> bool {
        if stage.stage_attempt_num > 0 {
            let used = self.task_ids.lock().get(&(job.clone(), stage.stage_id)).copied().unwrap_or(0);
            skip_task_ids(stage, used);
        }
        match outputs.clean(stage) {
            Ok(()) => true,
            Err(tangled) => {
                self.tangled.lock().entry(job.clone()).or_insert(tangled);
                false
            }
        }
    }

    /// Free vcores by executor, those with none left out; `None` if they cannot be had now.
    pub async fn free_vcores(&self, ballista: &Ballista, running_jobs: Arc<HashMap<JobId, JobInfoCache>>) -> Option<FreeVcores> {
        let (sender, receiver) = oneshot::channel();
        *self.asked.lock() = Some((Arc::as_ptr(&running_jobs) as usize, sender));
        let asked = ballista.state.executor_manager.bind_schedulable_tasks(running_jobs).await;
        // Where there are no executors nobody was asked.
        *self.asked.lock() = None;
        asked.ok()?;
        receiver.await.ok()
    }
}

#[async_trait]
impl DistributionPolicy for EvenShares {
    async fn bind_tasks(
        &self,
        mut budgets: Vec<&mut AvailableVcores>,
        running_jobs: Arc<HashMap<JobId, JobInfoCache>>,
    ) -> Result<Vec<BoundTask>> {
        let address = Arc::as_ptr(&running_jobs) as usize;
        let asked = self.asked.lock().take_if(|(of, _)| *of == address);
        if let Some((_, asked)) = asked {
            let _ = asked.send(budgets.iter().map(|budget| (budget.executor_id.clone(), budget.vcores)).collect());
            return Ok(Vec::new());
        }
        let avoided = self.avoided.now();
        budgets.retain(|budget| !avoided.contains(&budget.executor_id));
        self.task_ids.lock().retain(|(job, _), _| running_jobs.contains_key(job));
        let mut bound = Vec::new();
        let mut jobs = Vec::with_capacity(running_jobs.len());
        for (id, job) in running_jobs.iter().filter(|(_, job)| matches!(job.status, Some(Status::Running(_)))) {
            let graph = job.execution_graph.read().await;
            jobs.push((graph.running_tasks().len(), graph.start_time(), id, job));
        }
        jobs.sort_by_key(|(running, started, id, _)| (*running, *started, id.as_str().to_string()));
        for (_, _, id, job) in jobs {
            let mut graph = job.execution_graph.write().await;
            let session = graph.session_id().to_string();
            let outputs = is_disturbed(graph.as_ref()).then(|| Outputs::of(graph.as_ref()));
            let mut served = Vec::new();
            // Also starts stages whose inputs have become complete.
            while let Some(stage) = graph.fetch_running_stage(&served) {
                if budgets.iter().all(|budget| budget.vcores == 0) {
                    return Ok(bound);
                }
                served.push(stage.stage_id);
                if outputs.as_ref().is_none_or(|outputs| self.recover(id, stage, outputs)) {
                    self.spread(stage, &session, id, &mut budgets, &mut bound);
                    self.task_ids.lock().insert((id.clone(), stage.stage_id), stage.task_infos.len());
                }
            }
        }
        Ok(bound)
    }

    fn name(&self) -> &'static str {
        "even shares"
    }
}

impl EvenShares {
    /// Gives the pending partitions of a stage to the executors that have free vcores.
    fn spread(
        &self,
        stage: &mut RunningStage,
        session: &str,
        job: &JobId,
        budgets: &mut [&mut AvailableVcores],
        bound: &mut Vec<BoundTask>,
    ) {
        let mut given = self.given.lock();
        let order = |budget: &AvailableVcores, given: &HashMap<String, u64>| {
            (given.get(&budget.executor_id).copied().unwrap_or(0), budget.executor_id.clone())
        };
        budgets.sort_by_cached_key(|budget| order(budget, &given));
        if is_collapsed(&stage.plan) {
            // One task has to see the whole input.
            let threads = threads(&stage.plan);
            let useful = |budget: &AvailableVcores| budget.vcores.min(threads);
            // Of those with most room the first one, that is, the one that had least so far.
            if let Some(budget) = budgets.iter_mut().rev().max_by_key(|budget| useful(budget)).filter(|budget| budget.vcores > 0) {
                let (partitions, vcores) = (stage.pending.next_slice(usize::MAX), useful(budget));
                *given.entry(budget.executor_id.clone()).or_default() += u64::from(vcores);
                bound.extend(bind(stage, session, job, budget, partitions, vcores));
            }
            return;
        }
        let free: u32 = budgets.iter().map(|budget| budget.vcores).sum();
        let pending = stage.pending.remaining();
        let shares = shares(pending, free, budgets.iter().map(|budget| budget.vcores));
        for (at, partitions) in self.dealt(stage, &shares, budgets) {
            let vcores = partitions.len() as u32;
            *given.entry(budgets[at].executor_id.clone()).or_default() += u64::from(vcores);
            bound.extend(bind(stage, session, job, budgets[at], partitions, vcores));
        }
    }
}

impl EvenShares {
    /// The partitions of each share. Passes of a training go where the passes before went.
    fn dealt(&self, stage: &mut RunningStage, shares: &[(usize, usize)], budgets: &[&mut AvailableVcores]) -> Vec<(usize, Vec<usize>)> {
        let Some(rows) = stage.plan.children().first().and_then(|pass| rows_of_pass(pass)) else {
            return shares.iter().map(|(at, partitions)| (*at, stage.pending.next_slice(*partitions))).collect();
        };
        let wanted: Vec<(&str, usize)> = shares.iter().map(|(at, count)| (budgets[*at].executor_id.as_str(), *count)).collect();
        let (dealt, left) = self.homes.lock().deal(&rows, stage.pending.next_slice(usize::MAX), &wanted);
        stage.pending.reschedule(left);
        shares.iter().map(|(at, _)| *at).zip(dealt).collect()
    }
}

/// How many of `pending` partitions each executor gets, as (index, partitions): in proportion to its free vcores, none more than those.
fn shares(pending: usize, free: u32, vcores: impl Iterator<Item = u32>) -> Vec<(usize, usize)> {
    let mut left = pending.min(free as usize);
    let mut free_left = free as usize;
    let mut shares = Vec::new();
    for (at, vcores) in vcores.enumerate() {
        let vcores = vcores as usize;
        if vcores == 0 || left == 0 {
            continue;
        }
        // Rounded up, so that those who had least so far, who come first, get the remainder.
        let share = (left * vcores).div_ceil(free_left).min(vcores);
        left -= share;
        free_left -= vcores;
        shares.push((at, share));
    }
    shares
}

fn bind(
    stage: &mut RunningStage,
    session: &str,
    job: &JobId,
    budget: &mut AvailableVcores,
    partitions: Vec<usize>,
    vcores: u32,
) -> Option<BoundTask> {
    if partitions.is_empty() {
        return None;
    }
    let executor = budget.executor_id.clone();
    let task_id = stage.task_infos.len();
    let mut info = create_task_info(executor.clone(), task_id);
    info.global_input_partition_ids.clone_from(&partitions);
    info.vcores_consumed = vcores;
    stage.task_infos.push(info);
    budget.vcores -= vcores;
    let task = TaskDescription {
        session_id: session.to_string(),
        key: TaskKey { job_id: job.clone(), stage_id: stage.stage_id, task_id },
        stage_attempt_num: stage.stage_attempt_num,
        task_attempt: partitions.iter().map(|partition| stage.task_failure_numbers[*partition]).max().unwrap_or(0),
        global_input_partition_ids: partitions,
        vcores_consumed: vcores,
        plan: Arc::clone(&stage.plan),
        session_config: Arc::clone(&stage.session_config),
    };
    Some((executor, task))
}

/// Whether an operator on the way from the stage's root to its first input merges everything into one partition: then one task has to see all of it.
fn is_collapsed(root: &Arc<dyn ExecutionPlan>) -> bool {
    fn walk(node: &Arc<dyn ExecutionPlan>) -> bool {
        if node.is::<ShuffleReaderExec>() || node.is::<RangeShuffleReaderExec>() {
            return false;
        }
        node.output_partitioning().partition_count() == 1
            || match node.children().as_slice() {
                [child] => walk(child),
                _ => false,
            }
    }
    match root.children().as_slice() {
        [child] => walk(child),
        _ => false,
    }
}

/// How many threads a task keeps busy that sees its stage's whole input: one, unless it runs a whole plan.
fn threads(root: &Arc<dyn ExecutionPlan>) -> u32 {
    let whole = root.children().first().and_then(|stage| stage.downcast_ref::<OneTaskExec>());
    whole.map_or(1, |whole| u32::try_from(whole.parallelism()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_free_vcores() {
        let of = |pending, vcores: &[u32]| shares(pending, vcores.iter().sum(), vcores.iter().copied());
        assert_eq!(of(2, &[2, 2]), [(0, 1), (1, 1)]);
        assert_eq!(of(3, &[2, 2]), [(0, 2), (1, 1)]);
        assert_eq!(of(9, &[2, 2]), [(0, 2), (1, 2)]);
        assert_eq!(of(6, &[2, 4]), [(0, 2), (1, 4)]);
        assert_eq!(of(3, &[2, 4]), [(0, 1), (1, 2)]);
        assert_eq!(of(1, &[0, 4]), [(1, 1)]);
        assert_eq!(of(5, &[]), []);
    }
}
