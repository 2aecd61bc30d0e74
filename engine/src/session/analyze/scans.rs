//! What is shown of file scans: which table, and how much of it was not read and why.

use std::collections::HashSet;

use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::metrics::{Metric, MetricValue, MetricsSet};
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};
use orrery_lakehouse::{FILES_BY_LOG, TABLE_LABEL};

use super::figures::sum;
use super::units;

/// The file scan that an operator is.
fn file_scan(operator: &dyn ExecutionPlan) -> Option<&FileScanConfig> {
    operator.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()
}

/// An operator on one line. Of a scan the names of its files are left out, and the form of the predicate that row groups are compared with.
pub(super) fn label(operator: &dyn ExecutionPlan, verbose: bool) -> String {
    let text = OneLine(operator).to_string();
    match file_scan(operator) {
        Some(scan) if !verbose => shortened(&text, &source_of(operator, scan)),
        _ => text,
    }
}

fn shortened(text: &str, source: &str) -> String {
    let text = text.split_once(", pruning_predicate=").map_or(text, |(before, _)| before);
    let Some((before, rest)) = text.split_once("file_groups=") else { return text.to_string() };
    let mut depth = 0_usize;
    let end = rest.find(|c: char| {
        depth += usize::from(c == '{');
        depth -= usize::from(c == '}' && depth > 0);
        depth == 0
    });
    format!("{before}{source}{}", end.map_or("", |end| &rest[end + 1..]))
}

fn source_of(operator: &dyn ExecutionPlan, scan: &FileScanConfig) -> String {
    let metrics = operator.metrics().unwrap_or_default();
    let label = by_log(&metrics).and_then(|metric| metric.labels().iter().find(|label| label.name() == TABLE_LABEL));
    if let Some(table) = label {
        return format!("table={}", table.value());
    }
    let files = files(scan);
    match files.iter().next() {
        Some(only) if files.len() == 1 => format!("path={only}"),
        Some(one) => format!("path={}", one.rsplit_once('/').map_or("", |(folder, _)| folder)),
        None => "no files".to_string(),
    }
}

/// The files that were left when the scan was planned.
fn files(scan: &FileScanConfig) -> HashSet<&str> {
    scan.file_groups.iter().flat_map(FileGroup::iter).map(|file| file.object_meta.location.as_ref()).collect()
}

fn by_log(metrics: &MetricsSet) -> Option<&Metric> {
    metrics.iter().find(|metric| metric.value().name() == FILES_BY_LOG).map(|metric| &**metric)
}

/// What came of looking at statistics before reading: how many were ruled out and how many were not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pruned {
    out: u64,
    left: u64,
}

fn pruned(metrics: &MetricsSet, wanted: &str) -> Option<Pruned> {
    let mut found = None;
    for metric in metrics.iter() {
        if let MetricValue::PruningMetrics { name, pruning_metrics } = metric.value()
            && name == wanted
        {
            let sums: &mut Pruned = found.get_or_insert_default();
            sums.out += pruning_metrics.pruned() as u64;
            sums.left += pruning_metrics.matched() as u64;
        }
    }
    found
}

/// Files, row groups and rows that a scan left out, and why.
pub(super) fn details(operator: &dyn ExecutionPlan, metrics: &MetricsSet) -> Vec<String> {
    let Some(scan) = file_scan(operator) else { return Vec::new() };
    // The log is read while the plan is made: the operator knows of it, wherever it was then run.
    let planned = operator.metrics().and_then(|own| pruned(&own, FILES_BY_LOG));
    let mut details = vec![files_read(scan, planned, pruned(metrics, "files_ranges_pruned_statistics"))];
    details.extend(row_groups_read(metrics));
    for (name, what) in [("page_index_rows_pruned", "rows skipped by page index"), ("pushdown_rows_pruned", "rows dropped while decoding")]
    {
        let rows = pruned(metrics, name).map(|rows| rows.out).or_else(|| sum(metrics, name)).unwrap_or(0);
        if rows > 0 {
            details.push(format!("{what}={}", units::count(rows)));
        }
    }
    details
}

fn files_read(scan: &FileScanConfig, planned: Option<Pruned>, opened: Option<Pruned>) -> String {
    let left = files(scan).len() as u64;
    let ranges: u64 = scan.file_groups.iter().map(|group| group.len() as u64).sum();
    let out_by_log = planned.map_or(0, |planned| planned.out);
    // A file that was cut into ranges counts as read if any of them was.
    let read = opened.map_or(left, |opened| opened.left.min(left));
    let out_at_run_time = opened.map_or(0, |opened| opened.out);
    let what = if ranges > left { " ranges of files while running" } else { " while running" };
    reasoned("files", read, left + out_by_log, &[(out_by_log, " by the table's log"), (out_at_run_time, what)])
}

fn row_groups_read(metrics: &MetricsSet) -> Option<String> {
    let statistics = pruned(metrics, "row_groups_pruned_statistics").filter(|groups| groups.out + groups.left > 0)?;
    let out = |name| pruned(metrics, name).map(|groups| groups.out).or_else(|| sum(metrics, name)).unwrap_or(0);
    let reasons = [
        (statistics.out, " by statistics"),
        (out("row_groups_pruned_bloom_filter"), " by bloom filters"),
        (out("limit_pruned_row_groups"), " by the limit"),
        (out("row_groups_pruned_dynamic_filter"), " while running"),
    ];
    let total = statistics.out + statistics.left;
    let read = total.saturating_sub(reasons.iter().map(|(out, _)| out).sum());
    Some(reasoned("row groups", read, total, &reasons))
}

/// A table of which no file is left to be read: `t: files=0/4 (pruned: 4 by the table's log)`.
pub(super) fn ruled_out(table: &str, files: u64) -> String {
    format!("{table}: {}", reasoned("files", 0, files, &[(files, " by the table's log")]))
}

/// `files=3/12 (9 pruned by the table's log)`.
fn reasoned(what: &str, read: u64, total: u64, reasons: &[(u64, &str)]) -> String {
    let reasons: Vec<String> =
        reasons.iter().filter(|(out, _)| *out > 0).map(|(out, why)| format!("{}{why}", units::count(*out))).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(" (pruned: {})", reasons.join(", ")) };
    format!("{what}={}/{}{reasons}", units::count(read), units::count(total))
}

struct OneLine<'a>(&'a dyn ExecutionPlan);

impl std::fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt_as(DisplayFormatType::Default, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_left_out() {
        let text =
            "DataSourceExec: file_groups={2 groups: [[a{1}.parquet], [b]]}, projection=[x], predicate=x > 1, pruning_predicate=x_max > 1";
        assert_eq!(shortened(text, "table=t"), "DataSourceExec: table=t, projection=[x], predicate=x > 1");
        assert_eq!(shortened("DataSourceExec: partitions=1", "table=t"), "DataSourceExec: partitions=1");
    }

    #[test]
    fn says_why_something_was_not_read() {
        assert_eq!(
            reasoned("files", 3, 12, &[(9, " by the table's log"), (0, " while running")]),
            "files=3/12 (pruned: 9 by the table's log)"
        );
        assert_eq!(reasoned("row groups", 4, 4, &[(0, " by statistics")]), "row groups=4/4");
    }
}
