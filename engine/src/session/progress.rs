//! How far a running plan is, read from the metrics that its operators keep anyway.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use datafusion::common::stats::Precision;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricValue;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::analyze::Report;
use crate::models::live::{LiveTraining, TrainingProgress};

/// A reading of a running statement.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Progress {
    /// Rows that the scans have delivered.
    pub rows_read: u64,
    /// Rows that the scans will deliver, where files or the table log say so.
    pub rows_total: Option<u64>,
    /// Rows written to files.
    pub rows_written: u64,
    /// Bytes written to files.
    pub bytes_written: u64,
    /// How far the tasks are, where there are tasks.
    pub tasks: Option<Tasks>,
    /// How far the training of a model is, once its first pass has begun.
    pub training: Option<TrainingProgress>,
    /// Since the plan started.
    pub elapsed: Duration,
}

/// Tasks of a plan that runs on a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tasks {
    /// Partitions that are done.
    pub done: u32,
    /// Partitions of all stages.
    pub total: u32,
    /// Stages that are done.
    pub stages_done: u32,
    /// Stages of the plan.
    pub stages_total: u32,
}

/// What a backend that runs plans elsewhere knows of one while it runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// Rows that the scans have delivered in tasks that are done.
    pub rows_read: u64,
    /// Rows written to files, likewise.
    pub rows_written: u64,
    /// Bytes written to files, likewise.
    pub bytes_written: u64,
    /// How far the tasks are.
    pub tasks: Tasks,
}

impl Progress {
    /// The time that is left if the rest goes at the pace so far; `None` while that cannot be told.
    pub fn eta(&self) -> Option<Duration> {
        if let Some(training) = self.training {
            return training.eta();
        }
        let total = self.rows_total?;
        let done = self.rows_read.min(total);
        if done == 0 || self.elapsed < Duration::from_millis(500) {
            return None;
        }
        let left = (total - done) as f64 / done as f64;
        Duration::try_from_secs_f64(self.elapsed.as_secs_f64() * left).ok()
    }
}

struct Running {
    plan: Arc<dyn ExecutionPlan>,
    rows_total: Option<u64>,
    started: Instant,
}

/// Follows one statement: the session tells it which plan runs, anybody may read it at any time.
#[derive(Default)]
pub struct Tracker {
    running: Mutex<Option<Running>>,
    elsewhere: Mutex<Option<Reading>>,
    training: Mutex<Option<Arc<LiveTraining>>>,
    reports: Mutex<Vec<Report>>,
    is_analyzed: AtomicBool,
    is_concealed: AtomicBool,
    /// Asked for by [`Tracker::cancel`], maybe before the statement has begun.
    is_cancelled: AtomicBool,
    cancellation: Mutex<CancellationToken>,
}

impl Tracker {
    pub(crate) fn start(&self, plan: &Arc<dyn ExecutionPlan>) {
        let rows_total = scans(plan).map(|scan| rows_of(scan.as_ref())).sum::<Option<u64>>().filter(|total| *total > 0);
        // What a backend said was about the plan before, which may have run elsewhere when this one does not.
        *self.elsewhere.lock() = None;
        *self.running.lock() = Some(Running { plan: Arc::clone(plan), rows_total, started: Instant::now() });
    }

    pub(crate) fn stop_with(&self, token: CancellationToken) {
        *self.cancellation.lock() = token.clone();
        if self.is_cancelled.load(Ordering::SeqCst) {
            token.cancel();
        }
    }

    /// Stops the statement, before it has begun or while it runs; others of its session go on.
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::SeqCst);
        self.cancellation.lock().cancel();
    }

    /// Is cancelled when the statement is.
    pub fn cancellation(&self) -> CancellationToken {
        self.cancellation.lock().clone()
    }

    /// Called by a backend that runs the plan elsewhere, whenever it learns how far it is.
    pub fn follow(&self, reading: Reading) {
        *self.elsewhere.lock() = Some(reading);
    }

    /// The plans that run from now on train a model.
    pub(crate) fn train(&self, training: Arc<LiveTraining>) {
        *self.training.lock() = Some(training);
    }

    /// Called by a backend that ran the plan, or a part of it, elsewhere: what each operator measured, for `EXPLAIN ANALYZE`.
    pub fn add_report(&self, report: Report) {
        self.reports.lock().push(report);
    }

    /// Whether somebody wants to know what each operator measured.
    pub fn is_analyzed(&self) -> bool {
        self.is_analyzed.load(Ordering::Relaxed)
    }

    pub(crate) fn analyze(&self) {
        self.is_analyzed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn take_reports(&self) -> Vec<Report> {
        std::mem::take(&mut *self.reports.lock())
    }

    /// From now on nobody is told the plan: it reads what its user may not see in full.
    pub(crate) fn conceal(&self) {
        self.is_concealed.store(true, Ordering::Relaxed);
    }

    /// The plan that runs, or ran last, unless it is to be concealed.
    pub(crate) fn plan(&self) -> Option<Arc<dyn ExecutionPlan>> {
        if self.is_concealed.load(Ordering::Relaxed) {
            return None;
        }
        self.running.lock().as_ref().map(|running| Arc::clone(&running.plan))
    }

    /// The present reading; `None` before a plan runs.
    pub fn read(&self) -> Option<Progress> {
        let running = self.running.lock();
        let Running { plan, rows_total, started } = running.as_ref()?;
        let mut progress = Progress { rows_total: *rows_total, elapsed: started.elapsed(), ..Progress::default() };
        for scan in scans(plan) {
            progress.rows_read += scan.metrics().and_then(|m| m.output_rows()).unwrap_or(0) as u64;
        }
        count_written(plan.as_ref(), &mut progress);
        if let Some(reading) = *self.elsewhere.lock() {
            progress.rows_read = reading.rows_read;
            progress.rows_written = reading.rows_written;
            progress.bytes_written = reading.bytes_written;
            progress.tasks = Some(reading.tasks);
        }
        let training = self.training.lock().as_ref().map(|training| training.progress());
        progress.training = training.filter(|training| training.iterations_total > 0);
        Some(progress)
    }
}

fn scans(plan: &Arc<dyn ExecutionPlan>) -> Box<dyn Iterator<Item = &Arc<dyn ExecutionPlan>> + '_> {
    let children = plan.children();
    if children.is_empty() { Box::new(std::iter::once(plan)) } else { Box::new(children.into_iter().flat_map(scans)) }
}

/// Rows of a leaf: a file scan knows them; a leaf that reads no files (values, an empty relation) counts as nothing to wait for.
fn rows_of(leaf: &dyn ExecutionPlan) -> Option<u64> {
    if leaf.name() != "DataSourceExec" {
        return Some(0);
    }
    match StatisticsContext::new().compute(leaf, &StatisticsArgs::new()).ok()?.num_rows {
        Precision::Exact(rows) | Precision::Inexact(rows) => Some(rows as u64),
        Precision::Absent => None,
    }
}

fn count_written(plan: &dyn ExecutionPlan, progress: &mut Progress) {
    if let Some(metrics) = plan.metrics() {
        for metric in metrics.iter() {
            if let MetricValue::Count { name, count } = metric.value() {
                match name.as_ref() {
                    "rows_written" => progress.rows_written += count.value() as u64,
                    "bytes_written" => progress.bytes_written += count.value() as u64,
                    _ => {}
                }
            }
        }
    }
    for child in plan.children() {
        count_written(child.as_ref(), progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eta_follows_the_pace_so_far() {
        let mut progress = Progress { rows_read: 25, rows_total: Some(100), elapsed: Duration::from_secs(2), ..Progress::default() };
        assert_eq!(progress.eta(), Some(Duration::from_secs(6)));
        progress.rows_read = 120;
        assert_eq!(progress.eta(), Some(Duration::ZERO));
        progress.rows_total = None;
        assert_eq!(progress.eta(), None);
    }
}
