//! Which outputs of tasks count after a stage has been run again.
//!
//! When a stage is rolled back because rows that it reads were lost, Ballista runs all of it again but keeps what tasks of the first attempt had put out, both
//! among the inputs of the stage that reads them and among the results of the job: rows would come twice. What counts is what the tasks say that succeeded in
//! the stage's present attempt. Everything else is taken out before a task that would read it is sent, and from the results before anybody sees them. Where
//! that does not add up, the job is begun anew.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ballista_core::execution_plans::{RangeShuffleReaderExec, ShuffleReaderExec};
use ballista_core::serde::protobuf::FailedTask;
use ballista_core::serde::protobuf::task_status::Status;
use ballista_core::serde::scheduler::PartitionLocation;
use ballista_scheduler::state::execution_graph::{ExecutionGraph, create_task_info};
use ballista_scheduler::state::execution_stage::{ExecutionStage, RunningStage, TaskInfo};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{DataFusionError, Result as PlanResult, internal_err};
use datafusion::physical_plan::ExecutionPlan;

/// An output: the executor that holds it, the task that made it, and the partition it is part of.
type Output = (String, usize, usize);

/// The outputs that count are not all known, or others are.
#[derive(Debug, thiserror::Error)]
#[error("outputs of stage {stage} do not add up after tasks were run again: {reason}")]
pub(crate) struct Tangled {
    stage: usize,
    reason: String,
}

impl Tangled {
    fn new(stage: usize, reason: impl Into<String>) -> Self {
        Self { stage, reason: reason.into() }
    }
}

/// Whether anything of a job has been run more than once, or was meant to.
pub(crate) fn is_disturbed(graph: &dyn ExecutionGraph) -> bool {
    graph.stages().values().any(|stage| match stage {
        ExecutionStage::UnResolved(stage) => stage.stage_attempt_num > 0,
        ExecutionStage::Resolved(stage) => stage.stage_attempt_num > 0,
        ExecutionStage::Running(stage) => stage.stage_attempt_num > 0 || has_failures(&stage.task_infos),
        ExecutionStage::Successful(stage) => stage.stage_attempt_num > 0 || has_failures(&stage.task_infos),
        ExecutionStage::Failed(_) => true,
    })
}

fn has_failures(tasks: &[TaskInfo]) -> bool {
    tasks.iter().any(|task| matches!(task.task_status, Status::Failed(_)))
}

/// Gives a new attempt of a stage task numbers that no earlier attempt had: outputs, and the files they are in, are told apart by them.
pub(crate) fn skip_task_ids(stage: &mut RunningStage, used: usize) {
    for task_id in stage.task_infos.len()..used {
        let mut unused = create_task_info(String::new(), task_id);
        unused.task_status = Status::Failed(FailedTask { error: "of an earlier attempt".to_string(), ..FailedTask::default() });
        stage.task_infos.push(unused);
    }
}

/// What the successful stages of a job have put out.
pub(crate) struct Outputs(HashMap<usize, Result<HashSet<Output>, Tangled>>);

impl Outputs {
    /// As the tasks of each stage's present attempt report it.
    pub fn of(graph: &dyn ExecutionGraph) -> Self {
        let successful = graph.stages().iter().filter_map(|(id, stage)| match stage {
            ExecutionStage::Successful(stage) => Some((*id, outputs_of(*id, &stage.task_infos, stage.partitions))),
            _ => None,
        });
        Self(successful.collect())
    }

    fn of_stage(&self, stage: usize) -> Result<&HashSet<Output>, Tangled> {
        match self.0.get(&stage) {
            Some(Ok(outputs)) => Ok(outputs),
            Some(Err(tangled)) => Err(Tangled::new(stage, tangled.reason.clone())),
            None => Err(Tangled::new(stage, "it is read while it runs")),
        }
    }

    /// Takes out of a stage's inputs what does not count.
    pub fn clean(&self, stage: &mut RunningStage) -> Result<(), Tangled> {
        let cleaned = Arc::clone(&stage.plan).transform_up(|node| self.clean_reader(node));
        stage.plan = cleaned.map_err(|error| tangled_within(stage.stage_id, &error))?.data;
        for (input, output) in &mut stage.inputs {
            let wanted = self.of_stage(*input)?;
            for locations in output.partition_locations.values_mut() {
                *locations = wanted_once(locations, wanted);
            }
        }
        Ok(())
    }

    fn clean_reader(&self, node: Arc<dyn ExecutionPlan>) -> PlanResult<Transformed<Arc<dyn ExecutionPlan>>> {
        if node.is::<RangeShuffleReaderExec>() {
            return internal_err!("ranges cannot be told apart");
        }
        let Some(reader) = node.downcast_ref::<ShuffleReaderExec>() else { return Ok(Transformed::no(node)) };
        if reader.coalesce.is_some() {
            return internal_err!("merged partitions cannot be told apart");
        }
        let wanted = self.of_stage(reader.stage_id).map_err(|tangled| DataFusionError::External(Box::new(tangled)))?;
        let mut partitions: Vec<Vec<PartitionLocation>> = reader.partition.iter().map(|locations| wanted_once(locations, wanted)).collect();
        let found: usize = partitions.iter().map(Vec::len).sum();
        if found != wanted.len() {
            return internal_err!("{found} of {} outputs of stage {} are known", wanted.len(), reader.stage_id);
        }
        let schema = reader.schema();
        let cleaned = if reader.broadcast {
            let all = partitions.pop().unwrap_or_default();
            ShuffleReaderExec::try_new_broadcast(reader.stage_id, all, schema, reader.upstream_partition_count)?
        } else {
            ShuffleReaderExec::try_new(reader.stage_id, partitions, schema, reader.properties().partitioning.clone())?
        };
        Ok(Transformed::yes(Arc::new(cleaned)))
    }

    /// The locations of a job's rows that count, of those that Ballista tells.
    pub fn results(&self, final_stage: usize, told: Vec<PartitionLocation>) -> Result<Vec<PartitionLocation>, Tangled> {
        let wanted = self.of_stage(final_stage)?;
        let found = wanted_once(&told, wanted);
        if found.len() == wanted.len() {
            return Ok(found);
        }
        Err(Tangled::new(final_stage, format!("{} of {} outputs are known", found.len(), wanted.len())))
    }
}

fn tangled_within(stage: usize, error: &DataFusionError) -> Tangled {
    Tangled::new(stage, error.find_root().to_string())
}

/// The stage whose rows are the job's.
pub(crate) fn final_stage(graph: &dyn ExecutionGraph) -> Option<usize> {
    graph.stages().iter().find(|(_, stage)| stage.output_links().is_empty()).map(|(id, _)| *id)
}

fn outputs_of(stage: usize, tasks: &[TaskInfo], partitions: usize) -> Result<HashSet<Output>, Tangled> {
    let mut covered = vec![false; partitions];
    let mut outputs = HashSet::new();
    for task in tasks {
        let Status::Successful(done) = &task.task_status else { continue };
        for partition in &task.global_input_partition_ids {
            match covered.get_mut(*partition) {
                Some(covered) if !*covered => *covered = true,
                _ => return Err(Tangled::new(stage, format!("partition {partition} was done twice"))),
            }
        }
        outputs.extend(done.partitions.iter().map(|output| (done.executor_id.clone(), task.task_id, output.partition_id as usize)));
    }
    match covered.iter().position(|covered| !covered) {
        Some(partition) => Err(Tangled::new(stage, format!("partition {partition} was not done"))),
        None => Ok(outputs),
    }
}

/// The locations that are wanted, each of them once.
fn wanted_once(locations: &[PartitionLocation], wanted: &HashSet<Output>) -> Vec<PartitionLocation> {
    let mut seen = HashSet::new();
    let output =
        |location: &PartitionLocation| (location.executor_meta.id.clone(), location.map_partition_id, location.partition_id.partition_id);
    locations.iter().filter(|location| wanted.contains(&output(location)) && seen.insert(output(location))).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ballista_core::serde::protobuf::{ShuffleWritePartition, SuccessfulTask};
    use ballista_core::serde::scheduler::{
        ExecutorMetadata, ExecutorOperatingSystemSpecification, ExecutorSpecification, PartitionId, PartitionStats,
    };
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_plan::Partitioning;
    use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;

    fn succeeded(executor: &str, task_id: usize, inputs: &[usize], outputs: &[u64]) -> TaskInfo {
        let partitions = outputs.iter().map(|id| ShuffleWritePartition { partition_id: *id, ..Default::default() }).collect();
        let mut task = create_task_info(executor.to_string(), task_id);
        task.global_input_partition_ids = inputs.to_vec();
        task.task_status = Status::Successful(SuccessfulTask { executor_id: executor.to_string(), partitions, ..Default::default() });
        task
    }

    fn location(executor: &str, task_id: usize, partition_id: usize) -> PartitionLocation {
        PartitionLocation {
            map_partition_id: task_id,
            partition_id: PartitionId { job_id: "job".into(), stage_id: 1, partition_id },
            executor_meta: ExecutorMetadata {
                id: executor.to_string(),
                host: "localhost".to_string(),
                port: 1,
                grpc_port: 2,
                specification: ExecutorSpecification::default(),
                os_info: ExecutorOperatingSystemSpecification::default(),
            },
            partition_stats: PartitionStats::default(),
            file_id: None,
            is_sort_shuffle: false,
        }
    }

    fn outputs(tasks: &[TaskInfo]) -> Outputs {
        Outputs(HashMap::from([(1, outputs_of(1, tasks, 2))]))
    }

    /// The second attempt did both partitions; of the first one a task had succeeded.
    fn told() -> Vec<PartitionLocation> {
        vec![location("a", 0, 0), location("a", 0, 1), location("b", 2, 0), location("b", 2, 1), location("b", 3, 1)]
    }

    #[test]
    fn only_outputs_of_the_last_attempt_are_results() {
        let outputs = outputs(&[succeeded("b", 2, &[0], &[0, 1]), succeeded("b", 3, &[1], &[1])]);
        let found: Vec<_> = outputs.results(1, told()).unwrap().iter().map(|l| (l.map_partition_id, l.partition_id.partition_id)).collect();
        assert_eq!(found, [(2, 0), (2, 1), (3, 1)]);
        // A location less than there are outputs must not go unnoticed.
        assert!(outputs.results(1, told()[..4].to_vec()).is_err());
    }

    #[test]
    fn readers_read_only_what_counts() {
        let outputs = outputs(&[succeeded("b", 2, &[0], &[0, 1]), succeeded("b", 3, &[1], &[1])]);
        let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, true)]));
        let by_partition =
            (0..2).map(|partition| told().into_iter().filter(|l| l.partition_id.partition_id == partition).collect()).collect();
        let one_to_one = ShuffleReaderExec::try_new(1, by_partition, Arc::clone(&schema), Partitioning::UnknownPartitioning(2)).unwrap();
        let broadcast = ShuffleReaderExec::try_new_broadcast(1, told(), schema, 2).unwrap();
        for reader in [one_to_one, broadcast] {
            let shape = (reader.broadcast, reader.partition.len());
            let plan: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(Arc::new(reader)));
            let cleaned = plan.transform_up(|node| outputs.clean_reader(node)).unwrap().data;
            let reader = cleaned.children()[0].downcast_ref::<ShuffleReaderExec>().unwrap();
            assert_eq!((reader.broadcast, reader.partition.len()), shape);
            let read: Vec<_> = reader.partition.iter().flatten().map(|l| l.map_partition_id).collect();
            assert_eq!(read, [2, 2, 3]);
        }
    }

    #[test]
    fn what_does_not_add_up_is_noticed() {
        assert!(outputs_of(1, &[succeeded("a", 0, &[0], &[0])], 2).is_err(), "a partition is missing");
        let twice = [succeeded("a", 0, &[0, 1], &[0]), succeeded("b", 1, &[1], &[0])];
        assert!(outputs_of(1, &twice, 2).is_err(), "a partition was done twice");
        let mut failed = create_task_info("a".to_string(), 0);
        failed.global_input_partition_ids = vec![0, 1];
        failed.task_status = Status::Failed(FailedTask::default());
        assert_eq!(outputs_of(1, &[failed, succeeded("b", 1, &[0, 1], &[0])], 2).unwrap().len(), 1);
    }
}
