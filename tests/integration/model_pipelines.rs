//! The pipelines that train models, on the real data sets and on generated ones, in one process and on a cluster.

use std::path::{Path, PathBuf};

use super::cluster::{Cluster, Options};
use super::data;
use super::orrery::{rows, run};

fn scripts(folder: &str) -> String {
    data::root().join("sql").join(folder).display().to_string()
}

fn pipeline(dir: &Path, folder: &str, source: &Path) {
    let ran = run(dir, &["run", &scripts(folder), "--set", &format!("source={}", source.display()), "--quiet"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

/// A generated table that stands in for a real one.
fn generated(dir: &Path, what: &str, rows: u32, format: &str) -> PathBuf {
    let out = dir.join("generated");
    let ran = run(dir, &["generate", what, "--rows", &rows.to_string(), "--format", format, "--out", out.to_str().unwrap(), "--quiet"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    out.join(format!("{}.{format}", what.replace('-', "_")))
}

/// What the Black Friday pipeline promises, whatever the sales.
fn check_black_friday(dir: &Path) {
    assert_eq!(rows(dir, "SELECT count(*) FROM black_friday.segment_profiles"), ["5"]);
    assert_eq!(rows(dir, "SELECT count(*) FROM ML.TRIAL_INFO(MODEL black_friday.customer_elbow)"), ["9"]);
    let all = "SELECT (SELECT count(*) FROM black_friday.products_for_customers) = 10 * (SELECT count(*) FROM black_friday.customers)";
    assert_eq!(rows(dir, all), ["true"]);
}

#[test]
fn dry_runs_of_all_pipelines_plan_on_an_empty_warehouse() {
    let dir = tempfile::tempdir().unwrap();
    let events = data::generated(dir.path(), 500, "parquet", 0.0);
    let sales = generated(dir.path(), "black-friday", 300, "csv");
    let customers = generated(dir.path(), "customer-personality", 200, "parquet");
    // Each is a pipeline of its own, but for one that goes on with the tables of another.
    let clickstream = scripts("clickstream");
    for (folders, source) in [
        (vec![clickstream.clone()], &events),
        (vec![clickstream, scripts("segmentation")], &events),
        (vec![scripts("black_friday")], &sales),
        (vec![scripts("customer_personality")], &customers),
    ] {
        let source = format!("source={}", source.display());
        let mut args: Vec<&str> = vec!["run"];
        args.extend(folders.iter().map(String::as_str));
        args.extend(["--set", &source, "--dry-run"]);
        let ran = run(dir.path(), &args);
        assert_eq!(ran.code, Some(0), "{folders:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("statements planned"), "{}", ran.stderr);
        assert!(!dir.path().join("warehouse").exists(), "{folders:?} wrote something");
    }
}

#[test]
fn real_sales_make_segments_and_recommendations() {
    let Some(sales) = data::real("black_friday/train.parquet") else { return };
    let dir = tempfile::tempdir().unwrap();
    pipeline(dir.path(), "black_friday", &sales);
    check_black_friday(dir.path());
    // Spark MLlib reaches 0.5960 with the same ratings, rank, iterations and regularization.
    assert_eq!(rows(dir.path(), "SELECT rmse <= 0.5960 FROM black_friday.recommender_metrics"), ["true"]);
    // The best of twenty starts of scikit-learn: 4655.0.
    let cost = "SELECT mean_squared_distance * (SELECT count(*) FROM black_friday.customers) < 4655.0 * 1.001 \
                FROM ML.EVALUATE(MODEL black_friday.customer_segments)";
    assert_eq!(rows(dir.path(), cost), ["true"]);
}

#[test]
fn generated_sales_stand_in_for_real_ones() {
    let dir = tempfile::tempdir().unwrap();
    let sales = generated(dir.path(), "black-friday", 60_000, "csv");
    pipeline(dir.path(), "black_friday", &sales);
    check_black_friday(dir.path());
}

#[test]
fn customers_of_either_kind_are_segmented_and_promoted() {
    let dir = tempfile::tempdir().unwrap();
    let generated = generated(dir.path(), "customer-personality", 2_240, "parquet");
    let real = data::real("customer_personality/marketing_campaign.parquet");
    for source in [Some(generated), real].into_iter().flatten() {
        pipeline(dir.path(), "customer_personality", &source);
        for catalog in ["dev", "staging", "prod"] {
            let profiles = format!("SELECT count(*), min(customers) > 0 FROM {catalog}.customer_personality.segment_profiles");
            assert_eq!(rows(dir.path(), &profiles), ["4,true"]);
        }
    }
    if data::real("customer_personality/marketing_campaign.parquet").is_some() {
        assert_eq!(rows(dir.path(), "SELECT count(*) FROM prod.customer_personality.segmented_customers"), ["2216"]);
    }
}

#[test]
fn users_of_the_clickstream_are_segmented_by_value() {
    let dir = tempfile::tempdir().unwrap();
    let events = data::generated(dir.path(), 30_000, "parquet", 0.01);
    pipeline(dir.path(), "clickstream", &events);
    pipeline(dir.path(), "segmentation", &events);
    let names = rows(dir.path(), "SELECT DISTINCT segment FROM segmentation.user_segments ORDER BY segment");
    assert_eq!(names, ["High Value", "Low Value", "Medium Value"]);
    let ordered = "SELECT max(average_spent) FILTER (WHERE segment = 'Low Value') <= max(average_spent) FILTER (WHERE segment = 'Medium Value') \
                   AND max(average_spent) FILTER (WHERE segment = 'Medium Value') <= max(average_spent) FILTER (WHERE segment = 'High Value') \
                   FROM segmentation.user_segment_summary";
    assert_eq!(rows(dir.path(), ordered), ["true"]);
}

#[test]
fn cluster_and_one_process_train_the_same_models() {
    let dir = tempfile::tempdir().unwrap();
    let sales = generated(dir.path(), "black-friday", 30_000, "parquet");
    let checksums = "SELECT model, version, checksum FROM system.ml.model_versions ORDER BY model, version";
    pipeline(dir.path(), "black_friday", &sales);
    let embedded = rows(dir.path(), checksums);
    assert_eq!(embedded.len(), 3, "{embedded:?}");
    let other = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(other.path(), Options::of(3));
    let ran = cluster.client(&["submit", &scripts("black_friday"), "--set", &format!("source={}", sales.display()), "--quiet"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(rows(other.path(), checksums), embedded);
}
