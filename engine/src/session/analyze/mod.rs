//! `EXPLAIN ANALYZE`: runs a plan to its end and shows what each operator measured, in one form wherever the plan ran.
//!
//! ```text
//! in one process   the operators' own metrics       ┐
//! in stages        what the tasks sent, by stage    ├─ Report ─ figures, scans ─ render ─ text
//! in one task      what the task sent               ┘
//! ```

mod figures;
mod render;
mod scans;
#[cfg(test)]
mod tests;
mod units;

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use futures::TryStreamExt as _;

use super::compute_once::Prepared;
use super::rows::{Cells, table};
use super::{Outcome, Session, Tracker};
use crate::Result;

pub use units::{bytes, count, milliseconds};

/// What was measured of one run of a plan.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The plan, or its stages in the order in which they ran.
    pub parts: Vec<Part>,
    /// A line for every process that worked on it, where there are several.
    pub executors: Vec<String>,
}

/// A plan, or a stage of one.
#[derive(Debug, Clone)]
pub struct Part {
    /// What can be said of a stage as a whole.
    pub title: Option<String>,
    /// Its topmost operator.
    pub root: Measured,
}

/// An operator that ran, with what it measured.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The operator as it was planned.
    pub operator: Arc<dyn ExecutionPlan>,
    /// What it measured, by partition; `None` for one that measures nothing.
    pub metrics: Option<MetricsSet>,
    /// What it ran over.
    pub inputs: Vec<Measured>,
}

impl Report {
    /// A plan that ran in this process.
    pub fn of_plan(plan: &Arc<dyn ExecutionPlan>) -> Self {
        Self { parts: vec![Part { title: None, root: Measured::of_plan(plan) }], executors: Vec::new() }
    }
}

impl Measured {
    fn of_plan(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let inputs = plan.children().into_iter().map(Self::of_plan).collect();
        Self { operator: Arc::clone(plan), metrics: plan.metrics(), inputs }
    }
}

/// What planning did, which no operator tells.
#[derive(Debug, Default)]
pub(super) struct Planning {
    pub hints: Vec<String>,
    pub rewrites: Vec<String>,
    /// Tables of which nothing was read, with the number of their files.
    pub ruled_out: Vec<(String, u64)>,
}

impl Planning {
    /// The rows of `EXPLAIN` about it.
    pub fn rows(self) -> impl Iterator<Item = (&'static str, String)> {
        let files: Vec<String> = self.ruled_out.iter().map(|(table, files)| scans::ruled_out(table, *files)).collect();
        let rows = [("hints", self.hints.join("\n")), ("rewrites", self.rewrites.join(", ")), ("not read", files.join("\n"))];
        rows.into_iter().filter(|(_, text)| !text.is_empty())
    }
}

impl Session {
    /// Runs the plan to its end, drops the rows and shows what each operator measured.
    pub(super) async fn analyze(&self, prepared: Prepared, planning: Planning, verbose: bool, tracker: &Tracker) -> Result<Outcome> {
        let physical = Arc::clone(&prepared.physical);
        tracker.start(&physical);
        let started = Instant::now();
        let mut stream = self.backend.stream(Arc::clone(&physical), &self.context, tracker).await?;
        let mut rows = 0usize;
        while let Some(batch) = stream.try_next().await? {
            rows += batch.num_rows();
        }
        let elapsed = started.elapsed() + prepared.ran.iter().map(|ran| ran.elapsed).sum::<Duration>();
        let reports = measured(tracker.take_reports(), &physical);
        let mut shown = Vec::new();
        for ran in &prepared.ran {
            let reports = measured(ran.reports.clone(), &ran.physical);
            shown.push((ran.name.clone(), render::render(&reports, verbose)));
        }
        shown.extend(lines(&reports, planning, rows, elapsed, verbose).into_iter().map(|(kind, text)| (kind.to_string(), text)));
        prepared.finish().await;
        Self::batch(explained(shown)?)
    }
}

/// What a backend reported, or what the operators of this process measured themselves.
fn measured(reports: Vec<Report>, plan: &Arc<dyn ExecutionPlan>) -> Vec<Report> {
    if reports.is_empty() { vec![Report::of_plan(plan)] } else { reports }
}

fn lines(reports: &[Report], planning: Planning, rows: usize, elapsed: Duration, verbose: bool) -> Vec<(&'static str, String)> {
    let mut lines = vec![("plan_with_metrics", render::render(reports, verbose))];
    lines.extend(planning.rows());
    let executors: Vec<&str> = reports.iter().flat_map(|report| &report.executors).map(String::as_str).collect();
    if !executors.is_empty() {
        lines.push(("executors", executors.join("\n")));
    }
    lines.push(("result", format!("{} rows in {:.3} s", count(rows as u64), elapsed.as_secs_f64())));
    lines
}

/// Rows of `EXPLAIN`.
pub(super) fn explained<Kind: AsRef<str>>(lines: Vec<(Kind, String)>) -> Result<datafusion::arrow::array::RecordBatch> {
    let (kinds, plans): (Vec<String>, Vec<String>) = lines.into_iter().map(|(kind, plan)| (kind.as_ref().to_string(), plan)).unzip();
    table(vec![("plan_type", Cells::text(kinds)), ("plan", Cells::text(plans))])
}
