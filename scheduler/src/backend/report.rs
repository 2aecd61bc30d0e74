//! What a finished job measured, as text for `EXPLAIN ANALYZE`: its stages with their tasks, and under each the operators with their metrics.

use std::fmt::Write as _;
use std::sync::Arc;

use ballista_scheduler::state::execution_graph::ExecutionGraph;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};

use super::measure::{StageView, inputs, shares, stages, succeeded};

/// See the module documentation.
pub(super) fn analysis(graph: &dyn ExecutionGraph) -> String {
    let mut text = String::new();
    for stage in stages(graph) {
        let _ = writeln!(text, "Stage {}: {}", stage.id, tasks(&stage));
        let mut metrics = stage.metrics.iter();
        operator(stage.plan, 1, &mut metrics, &mut text);
    }
    for share in shares(graph) {
        let _ = writeln!(
            text,
            "Executor {}: {} partitions, {} rows read, {} bytes written, {:.3} s",
            share.executor_id,
            share.tasks,
            share.rows,
            share.bytes,
            share.busy_ms as f64 / 1000.0
        );
    }
    text.trim_end().to_string()
}

fn tasks(stage: &StageView<'_>) -> String {
    let mut times: Vec<u128> = succeeded(stage.tasks).map(|(_, task)| task.end_exec_time.saturating_sub(task.start_exec_time)).collect();
    times.sort_unstable();
    let failed = stage.tasks.len() - times.len();
    let attempts = if failed > 0 { format!(" ({failed} more attempts failed)") } else { String::new() };
    let spread = match (times.get(times.len() / 2), times.last()) {
        (Some(median), Some(slowest)) => format!(", median {median} ms, slowest {slowest} ms"),
        _ => String::new(),
    };
    format!("{} partitions in {} tasks{attempts}{spread}", stage.partitions, times.len())
}

fn operator<'a>(plan: &Arc<dyn ExecutionPlan>, depth: usize, metrics: &mut impl Iterator<Item = &'a MetricsSet>, text: &mut String) {
    let _ = write!(text, "{:indent$}{}", "", OneLine(plan.as_ref()), indent = depth * 2);
    if plan.metrics().is_some()
        && let Some(set) = metrics.next()
    {
        let set = set.aggregate_by_name().sorted_for_display().timestamps_removed();
        let _ = write!(text, ", metrics=[{set}]");
    }
    text.push('\n');
    inputs(plan).into_iter().for_each(|child| operator(child, depth + 1, metrics, text));
}

struct OneLine<'a>(&'a dyn ExecutionPlan);

impl std::fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt_as(DisplayFormatType::Default, f)
    }
}
