//! The report of made-up metrics.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource as _, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::metrics::{Count, Gauge, Label, Metric, MetricValue, MetricsSet, PruningMetrics, Time};
use orrery_lakehouse::{FILES_BY_LOG, TABLE_LABEL};

use super::figures::{Figures, Skew};
use super::{Measured, Part, Report, render, units};

fn count(value: usize) -> Count {
    let count = Count::new();
    count.add(value);
    count
}

fn time(millis: u64) -> Time {
    let time = Time::new();
    time.add_duration(Duration::from_millis(millis));
    time
}

fn counted(name: &'static str, value: usize) -> MetricValue {
    MetricValue::Count { name: name.into(), count: count(value) }
}

fn timed(name: &'static str, millis: u64) -> MetricValue {
    MetricValue::Time { name: name.into(), time: time(millis) }
}

fn pruning(name: &'static str, out: usize, left: usize) -> MetricValue {
    let pruning_metrics = PruningMetrics::new();
    pruning_metrics.add_pruned(out);
    pruning_metrics.add_matched(left);
    MetricValue::PruningMetrics { name: name.into(), pruning_metrics }
}

fn set(values: impl IntoIterator<Item = (usize, MetricValue)>) -> MetricsSet {
    values.into_iter().map(|(partition, value)| Arc::new(Metric::new(value, Some(partition)))).collect()
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]))
}

fn operator() -> Arc<dyn ExecutionPlan> {
    Arc::new(EmptyExec::new(schema()))
}

fn measured(values: impl IntoIterator<Item = (usize, MetricValue)>) -> Measured {
    Measured { operator: operator(), metrics: Some(set(values)), inputs: Vec::new() }
}

/// A scan of three files of a table that has twelve.
fn scan(values: impl IntoIterator<Item = (usize, MetricValue)>) -> Measured {
    let source = ParquetSource::new(schema());
    let label = Label::new(TABLE_LABEL, "dev.default.t");
    source.metrics().register(Arc::new(Metric::new_with_labels(pruning(FILES_BY_LOG, 9, 3), None, vec![label])));
    let file = |name: &str| FileGroup::new(vec![PartitionedFile::new(format!("t/{name}.parquet"), 100)]);
    let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
        .with_file_groups(vec![file("a"), file("b"), file("c")])
        .build();
    Measured { operator: DataSourceExec::from_data_source(config), metrics: Some(set(values)), inputs: Vec::new() }
}

#[test]
fn rows_are_exact_and_the_rest_is_short() {
    assert_eq!([0, 999, 1000, 1_234_567].map(units::count), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!([0, 2047, 3 << 20].map(units::bytes), ["0 B", "2047 B", "3.0 MB"]);
    assert_eq!([0, 20, 1500].map(units::milliseconds), ["0ms", "20ms", "1.50s"]);
}

#[test]
fn skew_is_the_most_by_the_median() {
    let text = |values: &[u64]| Skew::of(values.to_vec()).map(|skew| skew.text(units::count));
    assert_eq!(text(&[10, 40, 10]), Some("4.0".to_string()));
    assert_eq!(text(&[9000, 1000]), Some("9.0".to_string()));
    assert_eq!(text(&[1, 1, 7660]), Some("7,660".to_string()));
    assert_eq!(text(&[0, 0, 5000]), Some("5,000/0".to_string()));
    assert_eq!([text(&[7]), text(&[]), text(&[0, 0])], [None, None, None]);
}

#[test]
fn figures_are_summed_over_partitions() {
    let figures = Figures::of(&measured([
        (0, MetricValue::OutputRows(count(900))),
        (1, MetricValue::OutputRows(count(100))),
        (0, MetricValue::ElapsedCompute(time(6))),
        (1, MetricValue::ElapsedCompute(time(2))),
        (0, MetricValue::OutputBytes(count(5000))),
        (1, MetricValue::SpillCount(count(2))),
        (1, MetricValue::SpilledBytes(count(4 << 20))),
        (0, MetricValue::Gauge { name: "peak_mem_used".into(), gauge: gauge(1 << 22) }),
        (0, counted("build_input_rows", 40)),
        (0, counted("input_rows", 2000)),
        (1, counted("skipped_aggregation_rows", 0)),
    ]));
    assert_eq!((figures.rows, figures.bytes, figures.nanos), (Some(1000), Some(5000), Some(8_000_000)));
    assert_eq!(figures.skew_of_rows, Some(Skew { most: 900, median: 100 }));
    assert_eq!(figures.skew_of_time, Some(Skew { most: 6_000, median: 2_000 }));
    assert_eq!(figures.details, ["build rows=40", "probe rows=2,000", "spills=2", "spilled=4.0 MB", "memory=4.0 MB"]);
}

fn gauge(value: usize) -> Gauge {
    let gauge = Gauge::new();
    gauge.set(value);
    gauge
}

#[test]
fn an_operator_that_measures_nothing_has_no_figures() {
    let figures = Figures::of(&Measured { metrics: None, ..measured([]) });
    assert!(figures.rows.is_none() && figures.nanos.is_none() && figures.details.is_empty());
}

#[test]
fn time_outside_of_elapsed_compute_counts() {
    let figures =
        Figures::of(&measured([(0, MetricValue::ElapsedCompute(time(1))), (0, timed("write_time", 3)), (0, timed("repart_time", 4))]));
    assert_eq!(figures.nanos, Some(7_000_000));
}

#[test]
fn scans_tell_what_they_left_out() {
    let figures = Figures::of(&scan([
        (0, counted("bytes_scanned", 3 << 20)),
        (0, MetricValue::OutputBytes(count(1))),
        (0, pruning("files_ranges_pruned_statistics", 1, 2)),
        (0, pruning("row_groups_pruned_statistics", 4, 6)),
        (1, pruning("row_groups_pruned_bloom_filter", 1, 5)),
        (1, counted("row_groups_pruned_dynamic_filter", 2)),
        (1, pruning("page_index_rows_pruned", 5000, 10)),
    ]));
    assert_eq!(figures.bytes, Some(3 << 20));
    assert_eq!(
        figures.details,
        [
            "files=2/12 (pruned: 9 by the table's log, 1 while running)",
            "row groups=3/10 (pruned: 4 by statistics, 1 by bloom filters, 2 while running)",
            "rows skipped by page index=5,000",
        ]
    );
}

#[test]
fn a_report_is_a_tree_beside_columns() {
    let values = [(0, MetricValue::OutputRows(count(1200))), (1, MetricValue::OutputRows(count(300)))];
    let root = Measured { inputs: vec![scan(values.clone())], ..measured([(0, MetricValue::OutputRows(count(1)))]) };
    let report = Report { parts: vec![Part { title: Some("Stage 1: 2 partitions".into()), root }], executors: Vec::new() };
    let text = render::render(std::slice::from_ref(&report), false);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], " rows  bytes  time  rows max/median  time max/median  operator");
    assert_eq!(lines[1], "Stage 1: 2 partitions");
    assert_eq!(lines[2], format!("    1{}EmptyExec", " ".repeat(49)));
    assert_eq!(lines[3].split_once("DataSourceExec").unwrap().0, format!("1,500{}4.0{}", " ".repeat(27), " ".repeat(21)));
    assert!(lines[3].contains("DataSourceExec: table=dev.default.t, projection=[a]"), "{text}");
    assert!(!text.contains("a.parquet"), "{text}");
    assert_eq!(lines[4].trim(), "· files=3/12 (pruned: 9 by the table's log)");
    let all = render::render(&[report.clone(), report], true);
    assert!(all.contains("Job 2 of 2") && all.contains("metrics=[output_rows=1.50 K]") && all.contains("a.parquet"), "{all}");
}
