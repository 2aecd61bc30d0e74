//! Gives vcores back that nobody uses.
//!
//! When a stage is rolled back because an executor died, Ballista forgets how many vcores the stage's tasks had on the executors that live, and never gives
//! those back: after a few deaths nothing can be scheduled any more. What each executor has in use can be counted, though, from the tasks that run; what is
//! neither in use nor free has been lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::serde::protobuf::UpdateTaskStatusParams;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;

use crate::balance::EvenShares;
use crate::embed::Ballista;
use crate::executors::Executors;

const COUNTED_EVERY: Duration = Duration::from_millis(500);
/// Vcores on their way from one state to another are counted as neither for a moment; the same number so many times running is lost.
const TIMES_SEEN: u32 = 3;

/// Counts until the process ends.
pub(crate) async fn reclaim_lost_vcores(ballista: Ballista, shares: Arc<EvenShares>, executors: Arc<Executors>) {
    let mut suspected: HashMap<String, (u32, u32)> = HashMap::new();
    loop {
        tokio::time::sleep(COUNTED_EVERY).await;
        let running = ballista.state.task_manager.get_running_job_cache();
        if running.is_empty() {
            suspected.clear();
            continue;
        }
        let mut in_use: HashMap<String, u32> = HashMap::new();
        for job in running.values() {
            let graph = job.execution_graph.read().await;
            for task in graph.running_tasks() {
                *in_use.entry(task.executor_id).or_default() += graph.task_vcores(task.stage_id, task.task_id).unwrap_or(0);
            }
        }
        let Some(free) = shares.free_vcores(&ballista, running).await else { continue };
        for executor in executors.list() {
            let known = in_use.get(&executor.id).copied().unwrap_or(0) + free.get(&executor.id).copied().unwrap_or(0);
            let lost = executor.vcores.saturating_sub(known);
            let seen = suspected.entry(executor.id.clone()).or_default();
            *seen = if lost > 0 && seen.0 == lost { (lost, seen.1 + 1) } else { (lost, u32::from(lost > 0)) };
            if seen.1 >= TIMES_SEEN {
                suspected.remove(&executor.id);
                give_back(&ballista, &executor.id, lost).await;
            }
        }
    }
}

async fn give_back(ballista: &Ballista, executor_id: &str, vcores: u32) {
    tracing::info!(executor = %executor_id, vcores, "vcores of a stage that was rolled back are free again");
    if let Err(error) = ballista.state.executor_manager.unbind_tasks(vec![(executor_id.to_string(), vcores)]).await {
        tracing::warn!(executor = %executor_id, %error, "vcores cannot be given back");
        return;
    }
    // News of no task at all makes the scheduler look for tasks that can start.
    let nothing = UpdateTaskStatusParams { executor_id: executor_id.to_string(), task_status: Vec::new() };
    if let Err(error) = SchedulerGrpc::update_task_status(ballista, tonic::Request::new(nothing)).await {
        tracing::warn!(executor = %executor_id, %error, "the scheduler cannot be told");
    }
}
