//! Readers of other makers: the real `deltalake`, `duckdb` and `onnxruntime` packages. `scripts/test.sh` makes their environment.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::data;
use super::orrery::{Ran, finished, sql};

/// The interpreter with the packages, or `None` with a note.
pub fn interpreter() -> Option<PathBuf> {
    let path = std::env::var_os("ORRERY_TEST_PYTHON").map_or_else(|| data::root().join("target/test-python/bin/python"), PathBuf::from);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no Python with deltalake and duckdb at {}; scripts/test.sh makes it", path.display());
    None
}

pub fn python(interpreter: &Path, args: &[&str]) -> Ran {
    finished(Command::new(interpreter).args(args).output().unwrap())
}

#[test]
fn deltalake_reads_every_type_and_version_as_written() {
    let Some(interpreter) = interpreter() else { return };
    let dir = tempfile::tempdir().unwrap();
    let made = sql(
        dir.path(),
        "CREATE TABLE t (id BIGINT NOT NULL, small INT, price DECIMAL(20, 4), at TIMESTAMP, local TIMESTAMP WITHOUT TIME ZONE, day DATE, flag BOOLEAN, score DOUBLE, name STRING);
         INSERT INTO t VALUES
           (1, -7, 1234567890.1234, TIMESTAMP '2024-02-29 23:59:59.123456', TIMESTAMP WITHOUT TIME ZONE '1999-12-31 00:00:00.000001', DATE '2024-02-29', true, 0.1, 'naïve'),
           (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
         INSERT INTO t (id, name) SELECT value, 'n' || value FROM generate_series(3, 2000);
         CREATE TABLE parts PARTITIONED BY (day, g) AS SELECT value AS id, DATE '2024-01-01' + CAST(value % 3 AS INT) AS day,
           CASE WHEN value % 4 = 0 THEN NULL ELSE 'g ' || value % 4 || '/é=%' END AS g FROM generate_series(1, 100);
         CREATE TABLE nested AS SELECT make_array(1, NULL, 3) AS list, named_struct('x', 1, 'y', 'z') AS s;
         INSERT OVERWRITE nested SELECT make_array(9), named_struct('x', 2, 'y', NULL)",
    );
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let script = data::root().join("tests/oracle/read_back.py");
    let ran = python(&interpreter, &[script.to_str().unwrap(), dir.path().join("warehouse/dev/default").to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn tables_of_deltalake_are_read_and_extended() {
    let Some(interpreter) = interpreter() else { return };
    let dir = tempfile::tempdir().unwrap();
    let schema = dir.path().join("warehouse/dev/default");
    let script = data::root().join("tests/oracle/write_foreign.py");
    let ran = python(&interpreter, &[script.to_str().unwrap(), schema.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let rows = |query: &str| super::orrery::rows(dir.path(), query);
    assert_eq!(rows("SELECT count(*), min(id), max(id), count(DISTINCT part) FROM plain"), ["300,0,299,3"]);
    assert_eq!(rows("SELECT count(*), sum(id) FROM plain WHERE part = 'b' AND id < 50"), ["17,425"]);
    assert_eq!(rows("SELECT max(at) FROM plain"), ["2024-01-01T00:00:00.299999Z"]);
    assert_eq!(rows("SELECT count(*) FROM evolved WHERE added IS NULL"), ["100"]);
    assert_eq!(sql(dir.path(), "INSERT INTO plain (id, part) VALUES (300, 'd')").code, Some(0));
    assert_eq!(rows("SELECT count(*), max(id), count(DISTINCT part) FROM plain"), ["301,300,4"]);
}

#[test]
fn onnxruntime_predicts_what_we_predict() {
    let Some(interpreter) = interpreter() else { return };
    let dir = tempfile::tempdir().unwrap();
    let export = |model: &str| format!("EXPORT MODEL {model} OPTIONS (uri = '{}')", dir.path().join(format!("{model}.onnx")).display());
    let statements = [
        "CREATE TABLE points AS SELECT sin(value) * 10 + value % 3 * 50 AS x, cos(value) * 3 + 7 AS y, CASE WHEN value % 11 > 0 THEN value % 5 * 1.5 END AS z
         FROM generate_series(1, 400)"
            .to_string(),
        "CREATE MODEL clusters OPTIONS (model_type = 'kmeans', num_clusters = 5, standardize_features = TRUE) AS SELECT x, y, z FROM points".to_string(),
        "CREATE MODEL cosine OPTIONS (model_type = 'kmeans', num_clusters = 4, distance_type = 'cosine') AS SELECT x, y, z FROM points".to_string(),
        "CREATE MODEL components OPTIONS (model_type = 'pca', num_principal_components = 2) AS SELECT x, y, z FROM points".to_string(),
        export("clusters"),
        export("cosine"),
        export("components"),
    ];
    let made = sql(dir.path(), &statements.join(";\n"));
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let predicted = sql(
        dir.path(),
        "SELECT x, y, z, predict('clusters', STRUCT(x, y, z)) AS cluster, predict('cosine', STRUCT(x, y, z)) AS cosine,
           predict('components', STRUCT(x, y, z))[1] AS first, predict('components', STRUCT(x, y, z))[2] AS second FROM points",
    );
    assert_eq!(predicted.code, Some(0), "{}", predicted.stderr);
    std::fs::write(dir.path().join("predictions.csv"), predicted.stdout).unwrap();
    let script = data::root().join("tests/oracle/score_onnx.py");
    let ran = python(&interpreter, &[script.to_str().unwrap(), dir.path().to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}
