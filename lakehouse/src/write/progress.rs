//! Counters of a writing task, readable while it runs.

use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, Time};

/// Metrics of one task.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    /// `rows_written`: rows taken from the query.
    pub rows: Count,
    /// `bytes_written`: bytes handed to the store.
    pub bytes: Count,
    /// `files_written`: files completed.
    pub files: Count,
    /// `elapsed_compute`: time spent in encoding.
    pub compute: Time,
}

impl Progress {
    pub fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        Self {
            rows: MetricBuilder::new(metrics).counter("rows_written", partition),
            bytes: MetricBuilder::new(metrics).counter("bytes_written", partition),
            files: MetricBuilder::new(metrics).counter("files_written", partition),
            compute: MetricBuilder::new(metrics).elapsed_compute(partition),
        }
    }
}
