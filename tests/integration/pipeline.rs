//! The clickstream pipeline from raw files to gold tables, against an independent computation by DuckDB.

use std::path::Path;

use super::orrery::{rows, run};
use super::{data, python};

fn pipeline(dir: &Path, source: &str) {
    let scripts = data::root().join("sql/clickstream");
    let ran = run(dir, &["run", scripts.to_str().unwrap(), "--set", &format!("source={source}"), "--quiet"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

fn equals_duckdb(dir: &Path, source: &str) {
    let Some(interpreter) = python::interpreter() else { return };
    let script = data::root().join("tests/oracle/compare.py");
    let warehouse = dir.join("warehouse");
    let args = [script.to_str().unwrap(), "--warehouse", warehouse.to_str().unwrap(), "--catalog", "dev", "--source", source];
    let ran = python::python(&interpreter, &args);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn real_events_make_the_tables_that_duckdb_computes() {
    let Some(rees46) = data::real("rees46/2019-Oct_head.parquet") else { return };
    let dir = tempfile::tempdir().unwrap();
    pipeline(dir.path(), rees46.to_str().unwrap());
    equals_duckdb(dir.path(), rees46.to_str().unwrap());
    assert_eq!(rows(dir.path(), "SELECT count(*) FROM bronze.events"), ["17434"]);
    assert_eq!(rows(dir.path(), "SELECT count(*) FROM silver.events_clean"), ["17428"]);
}

#[test]
fn dirty_generated_events_of_every_format_make_the_same_tables_as_duckdb_computes() {
    let dir = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    for format in ["parquet", "csv", "csv.gz"] {
        let folder = data::generated(dir.path(), 20_000, format, 0.02);
        let source = format!("{}/*.{format}", folder.display());
        pipeline(dir.path(), &source);
        equals_duckdb(dir.path(), &source);
        // Event ids are the same on every run and partitioning.
        ids.push(rows(
            dir.path(),
            "SELECT count(*), count(DISTINCT event_id), min(event_id), max(event_id), sum(event_id % 1000003) FROM gold.fact_events",
        ));
    }
    assert_eq!(ids[1], ids[2]);
}

#[test]
fn the_pipeline_can_be_run_again_and_from_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let folder = data::generated(dir.path(), 5_000, "parquet", 0.0);
    pipeline(dir.path(), folder.to_str().unwrap());
    let query = "SELECT count(*), sum(event_id % 1000003), sum(price) FROM gold.fact_events";
    let first = rows(dir.path(), query);
    let ran = run(
        dir.path(),
        &[
            "run",
            data::root().join("sql/clickstream").to_str().unwrap(),
            "--set",
            &format!("source={}", folder.display()),
            "--threads",
            "1",
            "--quiet",
        ],
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(rows(dir.path(), query), first);
}
