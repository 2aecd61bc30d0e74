//! From an operator's metrics to the few figures that are shown of it.

use std::collections::BTreeMap;

use datafusion::physical_plan::metrics::{MetricValue, MetricsSet};

use super::{Measured, scans, units};

/// Times under names of their own, of operators whose `elapsed_compute` leaves out where most of their work is: reading files, dealing out rows, joining,
/// writing shuffles. Times in which an operator waits for its input are not among them.
const OWN_TIMES: [&str; 6] = ["time_elapsed_processing", "repartition_time", "repart_time", "write_time", "build_time", "join_time"];

/// Times are compared in microseconds: less is noise.
pub(super) const NANOS_OF_SKEW: u64 = 1000;

/// What is shown of one operator. `None` where it was not measured.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub rows: Option<u64>,
    pub bytes: Option<u64>,
    pub nanos: Option<u64>,
    pub skew_of_rows: Option<Skew>,
    pub skew_of_time: Option<Skew>,
    /// What only some operators measure, and only where there is something to tell.
    pub details: Vec<String>,
}

/// How unequal the partitions were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Skew {
    pub most: u64,
    pub median: u64,
}

impl Skew {
    /// `None` for fewer than two partitions, and where there was nothing at all.
    pub fn of(mut values: Vec<u64>) -> Option<Self> {
        values.sort_unstable();
        let most = *values.last()?;
        // Of an even number the lower one, so that one of two partitions can be the odd one.
        (values.len() > 1 && most > 0).then(|| Self { most, median: values[(values.len() - 1) / 2] })
    }

    /// The most by the median, or both where half of the partitions had nothing.
    pub fn text(self, unit: impl Fn(u64) -> String) -> String {
        match self.most.checked_div(self.median) {
            None => format!("{}/0", unit(self.most)),
            Some(times) if times >= 100 => units::count(times),
            Some(_) => format!("{:.1}", self.most as f64 / self.median as f64),
        }
    }
}

impl Figures {
    pub fn of(measured: &Measured) -> Self {
        let Some(metrics) = &measured.metrics else { return Self::default() };
        let rows = by_partition(metrics, |value| match value {
            MetricValue::OutputRows(rows) => Some(rows.value()),
            _ => None,
        });
        let times = times(metrics);
        let mut details = scans::details(measured.operator.as_ref(), metrics);
        details.extend(joins(metrics));
        details.extend(ungrouped(metrics));
        details.extend(spills(metrics));
        details.extend(memory(metrics));
        Self {
            rows: total(&rows),
            bytes: bytes(metrics),
            nanos: total(&times),
            skew_of_rows: skew(rows),
            skew_of_time: skew(times.into_iter().map(|(partition, nanos)| (partition, nanos / NANOS_OF_SKEW)).collect()),
            details,
        }
    }
}

/// Sums by partition; what is not of a partition is under `None`.
type ByPartition = BTreeMap<Option<usize>, u64>;

fn by_partition(metrics: &MetricsSet, pick: impl Fn(&MetricValue) -> Option<usize>) -> ByPartition {
    let mut sums = ByPartition::new();
    for metric in metrics.iter() {
        if let Some(value) = pick(metric.value()) {
            *sums.entry(metric.partition()).or_default() += value as u64;
        }
    }
    sums
}

fn total(sums: &ByPartition) -> Option<u64> {
    (!sums.is_empty()).then(|| sums.values().sum())
}

fn skew(sums: ByPartition) -> Option<Skew> {
    Skew::of(sums.into_iter().filter_map(|(partition, sum)| partition.map(|_| sum)).collect())
}

fn times(metrics: &MetricsSet) -> ByPartition {
    let mut times = by_partition(metrics, |value| match value {
        MetricValue::ElapsedCompute(time) => Some(time.value()),
        _ => None,
    });
    let own = by_partition(metrics, |value| match value {
        MetricValue::Time { name, time } if OWN_TIMES.contains(&name.as_ref()) => Some(time.value()),
        _ => None,
    });
    for (partition, nanos) in own {
        let known = times.entry(partition).or_default();
        *known = nanos.max(*known);
    }
    times
}

/// Bytes that a scan has read from files, that any other operator has put out, or that a reader of shuffles has unpacked. Where rows have no columns, or
/// nobody counts bytes, there are none to show.
fn bytes(metrics: &MetricsSet) -> Option<u64> {
    ["bytes_scanned", "output_bytes", "decoded_bytes"].into_iter().filter_map(|name| sum(metrics, name)).find(|bytes| *bytes > 0)
}

/// The sum of what is counted under a name; `None` where nothing is.
pub(super) fn sum(metrics: &MetricsSet, name: &str) -> Option<u64> {
    let mut values = metrics.iter().map(|metric| metric.value()).filter(|value| value.name() == name).peekable();
    values.peek()?;
    Some(values.map(|value| value.as_usize() as u64).sum())
}

fn joins(metrics: &MetricsSet) -> Vec<String> {
    let Some(build) = sum(metrics, "build_input_rows") else { return Vec::new() };
    let probe = sum(metrics, "input_rows").map(|rows| format!("probe rows={}", units::count(rows)));
    [format!("build rows={}", units::count(build))].into_iter().chain(probe).collect()
}

/// Rows that an aggregation handed on one by one, because grouping them made them hardly fewer.
fn ungrouped(metrics: &MetricsSet) -> Option<String> {
    let rows = sum(metrics, "skipped_aggregation_rows").filter(|rows| *rows > 0)?;
    Some(format!("rows passed on ungrouped={}", units::count(rows)))
}

fn spills(metrics: &MetricsSet) -> Vec<String> {
    let Some(spills) = sum(metrics, "spill_count").filter(|spills| *spills > 0) else { return Vec::new() };
    // Operators and writers of shuffles have a word each.
    let spilled = sum(metrics, "spilled_bytes").or_else(|| sum(metrics, "spill_bytes")).unwrap_or(0);
    vec![format!("spills={}", units::count(spills)), format!("spilled={}", units::bytes(spilled))]
}

/// The peaks of all partitions, which may not have been at one time.
fn memory(metrics: &MetricsSet) -> Option<String> {
    let peaks = metrics.iter().map(|metric| metric.value()).filter(|value| value.name().ends_with("mem_used"));
    let peak: u64 = peaks.map(|value| value.as_usize() as u64).sum();
    (peak > 0).then(|| format!("memory={}", units::bytes(peak)))
}
