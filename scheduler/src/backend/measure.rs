//! What a job's tasks report, read from Ballista's graph of it: how far it is, and what each executor did.

use std::collections::HashMap;
use std::sync::Arc;

use ballista_core::serde::protobuf::task_status::Status;
use ballista_scheduler::state::execution_graph::ExecutionGraph;
use ballista_scheduler::state::execution_stage::{ExecutionStage, TaskInfo};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};
use orrery_engine::operators::one_task::OneTaskExec;
use orrery_engine::session::Reading;
use parking_lot::Mutex;

/// What one executor did for a statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutorShare {
    /// The executor.
    pub executor_id: String,
    /// Partitions of stages that it worked on.
    pub tasks: u32,
    /// Rows that these read from files and shuffles.
    pub rows: u64,
    /// Bytes that these wrote to shuffles and tables.
    pub bytes: u64,
    /// Milliseconds of wall time, summed over tasks.
    pub busy_ms: u64,
}

/// Shares of the jobs of one session since they were asked for last.
#[derive(Clone, Default)]
pub(super) struct Shares(Arc<Mutex<HashMap<String, ExecutorShare>>>);

impl Shares {
    pub fn add(&self, shares: Vec<ExecutorShare>) {
        let mut all = self.0.lock();
        for share in shares {
            let sum = all.entry(share.executor_id.clone()).or_default();
            sum.executor_id = share.executor_id;
            sum.tasks += share.tasks;
            sum.rows += share.rows;
            sum.bytes += share.bytes;
            sum.busy_ms += share.busy_ms;
        }
    }

    pub fn take(&self) -> Vec<ExecutorShare> {
        let mut shares: Vec<ExecutorShare> = std::mem::take(&mut *self.0.lock()).into_values().collect();
        shares.sort_by(|a, b| a.executor_id.cmp(&b.executor_id));
        shares
    }
}

/// A stage as its tasks have left it so far.
pub(super) struct StageView<'a> {
    pub id: usize,
    pub plan: &'a Arc<dyn ExecutionPlan>,
    pub partitions: usize,
    pub tasks: &'a [TaskInfo],
    pub metrics: &'a [MetricsSet],
    pub is_done: bool,
}

/// The stages of a job in the order in which they run.
pub(super) fn stages(graph: &dyn ExecutionGraph) -> Vec<StageView<'_>> {
    let mut views: Vec<StageView<'_>> = graph
        .stages()
        .iter()
        .map(|(id, stage)| {
            let (plan, partitions, tasks, metrics, is_done): (_, _, &[TaskInfo], &[MetricsSet], _) = match stage {
                ExecutionStage::UnResolved(stage) => (&stage.plan, partitions_of(&stage.plan), &[], &[], false),
                ExecutionStage::Resolved(stage) => (&stage.plan, stage.partitions, &[], &[], false),
                ExecutionStage::Running(stage) => {
                    (&stage.plan, stage.partitions, &stage.task_infos, stage.stage_metrics.as_deref().unwrap_or(&[]), false)
                }
                ExecutionStage::Successful(stage) => (&stage.plan, stage.partitions, &stage.task_infos, &stage.stage_metrics, true),
                ExecutionStage::Failed(stage) => {
                    (&stage.plan, stage.partitions, &stage.task_infos, stage.stage_metrics.as_deref().unwrap_or(&[]), false)
                }
            };
            StageView { id: *id, plan, partitions, tasks, metrics, is_done }
        })
        .collect();
    views.sort_by_key(|view| view.id);
    views
}

fn partitions_of(plan: &Arc<dyn ExecutionPlan>) -> usize {
    plan.children().first().map_or(1, |child| child.properties().partitioning.partition_count())
}

/// How far a job is.
pub(super) fn reading(graph: &dyn ExecutionGraph) -> Reading {
    let mut reading = Reading::default();
    for stage in stages(graph) {
        let done: usize = succeeded(stage.tasks).map(|(_, task)| task.global_input_partition_ids.len()).sum();
        reading.tasks.total += count(stage.partitions);
        reading.tasks.done += count(done.min(stage.partitions));
        reading.tasks.stages_total += 1;
        reading.tasks.stages_done += u32::from(stage.is_done);
        for (operator, metrics) in operators(&stage) {
            if operator.name() == "DataSourceExec" {
                reading.rows_read += metrics.output_rows().unwrap_or(0) as u64;
            }
            reading.rows_written += named(metrics, "rows_written", None);
            reading.bytes_written += named(metrics, "bytes_written", None);
        }
    }
    reading
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What each executor did for a job.
pub(super) fn shares(graph: &dyn ExecutionGraph) -> Vec<ExecutorShare> {
    let mut shares: HashMap<&str, ExecutorShare> = HashMap::new();
    for stage in stages(graph) {
        let mut executor_of = HashMap::new();
        for (executor, task) in succeeded(stage.tasks) {
            let share = shares.entry(executor).or_insert_with(|| ExecutorShare { executor_id: executor.to_string(), ..Default::default() });
            share.tasks += count(task.global_input_partition_ids.len());
            share.busy_ms += u64::try_from(task.end_exec_time.saturating_sub(task.start_exec_time)).unwrap_or(0);
            if let Status::Successful(done) = &task.task_status {
                share.bytes += done.partitions.iter().map(|partition| partition.num_bytes).sum::<u64>();
            }
            executor_of.extend(task.global_input_partition_ids.iter().map(|partition| (*partition, executor)));
        }
        let is_whole = inputs(stage.plan).iter().any(|child| child.is::<OneTaskExec>());
        for (operator, metrics) in operators(&stage) {
            let is_leaf = operator.children().is_empty();
            for (partition, executor) in &executor_of {
                let Some(share) = shares.get_mut(executor) else { continue };
                // The partitions within a whole plan are not those of its stage, which has one.
                let partition = (!is_whole).then_some(*partition);
                if is_leaf {
                    share.rows += output_rows(metrics, partition);
                }
                share.bytes += named(metrics, "bytes_written", partition);
            }
        }
    }
    let mut shares: Vec<ExecutorShare> = shares.into_values().collect();
    shares.sort_by(|a, b| a.executor_id.cmp(&b.executor_id));
    shares
}

/// Tasks that succeeded, with their executors.
pub(super) fn succeeded(tasks: &[TaskInfo]) -> impl Iterator<Item = (&str, &TaskInfo)> {
    tasks.iter().filter_map(|task| match &task.task_status {
        Status::Successful(done) => Some((done.executor_id.as_str(), task)),
        _ => None,
    })
}

/// The operators of a stage with what they measured. Tasks report the operators that measure, from the root down.
pub(super) fn operators<'a>(stage: &StageView<'a>) -> Vec<(&'a Arc<dyn ExecutionPlan>, &'a MetricsSet)> {
    fn walk<'a>(plan: &'a Arc<dyn ExecutionPlan>, found: &mut Vec<&'a Arc<dyn ExecutionPlan>>) {
        if plan.metrics().is_some() {
            found.push(plan);
        }
        inputs(plan).into_iter().for_each(|child| walk(child, found));
    }
    let mut found = Vec::new();
    walk(stage.plan, &mut found);
    if found.len() == stage.metrics.len() { found.into_iter().zip(stage.metrics).collect() } else { Vec::new() }
}

/// What an operator runs over, in the stage itself or hidden from the scheduler.
pub(super) fn inputs(plan: &Arc<dyn ExecutionPlan>) -> Vec<&Arc<dyn ExecutionPlan>> {
    match plan.downcast_ref::<OneTaskExec>() {
        Some(one_task) => vec![one_task.plan()],
        None => plan.children(),
    }
}

/// Rows that came out of an operator, from all partitions or from one.
fn output_rows(metrics: &MetricsSet, partition: Option<usize>) -> u64 {
    let of_partition = metrics.iter().filter(|metric| partition.is_none() || metric.partition() == partition);
    of_partition
        .map(|metric| match metric.value() {
            MetricValue::OutputRows(rows) => rows.value() as u64,
            _ => 0,
        })
        .sum()
}

/// The sum of a counter, over all partitions or of one.
fn named(metrics: &MetricsSet, counter: &str, partition: Option<usize>) -> u64 {
    let wanted = metrics.iter().filter(|metric| partition.is_none() || metric.partition() == partition);
    wanted
        .map(|metric| match metric.value() {
            MetricValue::Count { name, count } if name == counter => count.value() as u64,
            _ => 0,
        })
        .sum()
}
