//! What a finished job measured, for `EXPLAIN ANALYZE`: its stages with their tasks, and the operators of each with their metrics.

use std::collections::HashMap;
use std::sync::Arc;

use ballista_core::execution_plans::ShuffleReaderExec;
use ballista_core::serde::protobuf::task_status::Status;
use ballista_scheduler::state::execution_graph::ExecutionGraph;
use ballista_scheduler::state::execution_stage::TaskInfo;
use datafusion::physical_plan::metrics::{Metric, MetricsSet};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};
use orrery_engine::operators::one_task::OneTaskExec;
use orrery_engine::session::analyze::{Measured, Part, Report, bytes, count, milliseconds};

use super::measure::{ExecutorShare, StageView, inputs, operators, shares, stages, succeeded};

/// See the module documentation.
pub(super) fn of_job(graph: &dyn ExecutionGraph) -> Report {
    let parts = stages(graph).iter().map(|stage| Part { title: Some(title(stage)), root: measured(stage) }).collect();
    Report { parts, executors: shares(graph).iter().map(line_of).collect() }
}

fn line_of(share: &ExecutorShare) -> String {
    format!(
        "{}: {} partitions, {} rows read, {} written, {}",
        share.executor_id,
        share.tasks,
        count(share.rows),
        bytes(share.bytes),
        milliseconds(share.busy_ms)
    )
}

/// Where a stage ran and what went in and out over the network or disks.
fn title(stage: &StageView<'_>) -> String {
    let done: Vec<_> = succeeded(stage.tasks).collect();
    let mut executors: Vec<&str> = done.iter().map(|(executor, _)| *executor).collect();
    executors.sort_unstable();
    executors.dedup();
    let what = match inputs(stage.plan).iter().any(|input| input.is::<OneTaskExec>()) {
        true => "the whole plan".to_string(),
        false => plural(stage.partitions, "partition"),
    };
    let mut told = vec![format!("{what} in {} on {}", plural(done.len(), "task"), plural(executors.len(), "executor"))];
    let mut times: Vec<u128> = done.iter().map(|(_, task)| task.end_exec_time.saturating_sub(task.start_exec_time)).collect();
    times.sort_unstable();
    if let (Some(median), Some(slowest)) = (times.get(times.len().saturating_sub(1) / 2), times.last()) {
        let shown = |millis: u128| milliseconds(u64::try_from(millis).unwrap_or(u64::MAX));
        told.push(format!("slowest task {}, median {}", shown(*slowest), shown(*median)));
    }
    let failed = stage.tasks.len() - done.len();
    if failed > 0 {
        told.push(format!("{failed} more attempts failed"));
    }
    let read = shuffled_in(stage.plan);
    if read > 0 {
        told.push(format!("shuffle read {}", bytes(read)));
    }
    told.push(format!("written {}", bytes(done.iter().map(|(_, task)| shuffled_out(task)).sum())));
    format!("Stage {}: {}", stage.id, told.join(", "))
}

fn plural(number: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(number as u64), if number == 1 { "" } else { "s" })
}

fn shuffled_out(task: &TaskInfo) -> u64 {
    match &task.task_status {
        Status::Successful(done) => done.partitions.iter().map(|partition| partition.num_bytes).sum(),
        _ => 0,
    }
}

/// Bytes of the rows that a stage reads from others. What every task reads whole counts once.
fn shuffled_in(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let own = plan
        .downcast_ref::<ShuffleReaderExec>()
        .map_or(0, |reader| reader.partition.iter().flatten().filter_map(|location| location.partition_stats.num_bytes()).sum());
    own + plan.children().into_iter().map(shuffled_in).sum::<u64>()
}

fn measured(stage: &StageView<'_>) -> Measured {
    let mut metrics = operators(stage).into_iter().map(|(_, metrics)| metrics);
    operator(stage.plan, &mut metrics, stage.partitions == 1)
}

/// The operator with what is beneath it; those that measure take their metrics in the order in which tasks report them, from the root down.
fn operator<'a>(plan: &Arc<dyn ExecutionPlan>, metrics: &mut impl Iterator<Item = &'a MetricsSet>, is_one_partition: bool) -> Measured {
    let own = plan.metrics().and_then(|_| metrics.next()).map(|own| match is_one_partition {
        true => told_apart(own, plan.output_partitioning().partition_count()),
        false => own.clone(),
    });
    let inputs = inputs(plan).into_iter().map(|input| operator(input, metrics, is_one_partition)).collect();
    Measured { operator: Arc::clone(plan), metrics: own, inputs }
}

/// The metrics of an operator within a stage of one partition, each under the partition that it is of. Ballista puts all of them under the stage's: what
/// there is as often as the operator has partitions, each of them has measured once.
fn told_apart(metrics: &MetricsSet, partitions: usize) -> MetricsSet {
    let mut times: HashMap<&str, usize> = HashMap::new();
    metrics.iter().for_each(|metric| *times.entry(metric.value().name()).or_default() += 1);
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let told = metrics.iter().map(|metric| {
        let name = metric.value().name();
        if metric.partition().is_none() || times.get(name) != Some(&partitions) {
            return Arc::clone(metric);
        }
        let next = seen.entry(name).or_default();
        let partition = *next;
        *next += 1;
        Arc::new(Metric::new(metric.value().clone(), Some(partition)))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::metrics::{Count, MetricValue};

    use super::*;

    fn rows(number: usize) -> Arc<Metric> {
        let count = Count::new();
        count.add(number);
        Arc::new(Metric::new(MetricValue::OutputRows(count), Some(0)))
    }

    #[test]
    fn partitions_within_one_task_are_told_apart() {
        let metrics: MetricsSet = [rows(7), rows(1)].into_iter().collect();
        let partitions = |metrics: &MetricsSet| metrics.iter().map(|metric| metric.partition()).collect::<Vec<_>>();
        assert_eq!(partitions(&told_apart(&metrics, 2)), [Some(0), Some(1)]);
        assert_eq!(partitions(&told_apart(&metrics, 3)), [Some(0), Some(0)]);
    }
}
