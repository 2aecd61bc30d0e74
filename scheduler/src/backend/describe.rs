//! What a plan would become on the cluster, for `EXPLAIN`: the stages that Ballista cuts it into, with the partitions of each.

use std::fmt::Write as _;
use std::sync::Arc;

use ballista_core::JobId;
use ballista_core::execution_plans::ShuffleWriter;
use ballista_scheduler::planner::{DefaultDistributedPlanner, DistributedPlanner as _};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::prelude::SessionContext;
use orrery_engine::{Blame, Error, Result};

/// A plan that one task runs.
pub(super) fn one_task(plan: &Arc<dyn ExecutionPlan>) -> String {
    let plan = DisplayableExecutionPlan::new(plan.as_ref()).indent(false).to_string();
    format!("on the cluster: 1 stage, 1 task, which runs the whole plan\n{}", plan.trim_end())
}

/// A plan that is cut into stages.
///
/// # Errors
/// A plan that cannot be cut into stages.
pub(super) fn stages(plan: &Arc<dyn ExecutionPlan>, session: &SessionContext, vcores: usize) -> Result<String> {
    let state = session.state();
    let stages = DefaultDistributedPlanner::new()
        .plan_query_stages(&JobId::from("explain"), Arc::clone(plan), state.config_options())
        .map_err(|error| Error::new(Blame::Bug, format!("the plan cannot be divided into stages: {error}")))?;
    let partitions: Vec<usize> = stages.iter().map(|stage| stage.input_partition_count()).collect();
    let total: usize = partitions.iter().sum();
    let mut text = format!("on the cluster: {} stages, {total} partitions, {vcores} vcores\n", stages.len());
    for (stage, partitions) in stages.iter().zip(partitions) {
        let _ = writeln!(text, "Stage {}: {partitions} partitions{}", stage.stage_id(), output(stage.as_ref()));
        for child in stage.children() {
            for line in DisplayableExecutionPlan::new(child.as_ref()).indent(false).to_string().lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
    }
    Ok(text.trim_end().to_string())
}

fn output(stage: &dyn ShuffleWriter) -> String {
    match stage.shuffle_output_partitioning() {
        Some(partitioning) => format!(", shuffled by {partitioning}"),
        None if stage.properties().partitioning.partition_count() == 1 => ", one partition out".to_string(),
        None => String::new(),
    }
}
