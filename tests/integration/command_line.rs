//! The program as a user meets it: exit codes, where errors point, dry runs, formats.

use std::path::Path;

use super::orrery::{rows, run, sql};

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn runs_a_folder_in_order_and_reports_each_statement() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "scripts/20_b.sql", "SELECT sum(a) AS total FROM t;");
    write(
        dir.path(),
        "scripts/10_a.sql",
        "-- first\nCREATE TABLE t AS SELECT * FROM (VALUES (1), (2)) AS v(a);\nINSERT INTO t VALUES (${more});",
    );
    let ran = run(dir.path(), &["run", "scripts", "--set", "more=39"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("total") && ran.stdout.contains("42"), "{}", ran.stdout);
    for line in ["[1/3] 10_a.sql:2 CREATE TABLE t AS", "[2/3] 10_a.sql:3 INSERT INTO t", "[3/3] 20_b.sql:1", "3 statements run"] {
        assert!(ran.stderr.contains(line), "no '{line}' in:\n{}", ran.stderr);
    }
}

#[test]
fn stops_at_the_first_error_with_its_place_and_goes_on_from_there() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "a.sql",
        "SET n = 2;\nCREATE TABLE t AS SELECT 1 AS a;\nCREATE TABLE u AS\n  SELECT b + ${n} AS c\n  FROM t;\nSELECT 'never';\n",
    );
    let ran = run(dir.path(), &["run", "a.sql"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("a.sql:4:10: ") && ran.stderr.contains("No field named b"), "{}", ran.stderr);
    assert!(ran.stderr.contains("in statement 3: CREATE TABLE u AS") && ran.stderr.contains("--from 3"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("never"));
    write(
        dir.path(),
        "a.sql",
        "SET n = 2;\nCREATE TABLE t AS SELECT 1 AS a;\nCREATE TABLE u AS\n  SELECT a + ${n} AS c\n  FROM t;\nSELECT 'now';\n",
    );
    let ran = run(dir.path(), &["run", "a.sql", "--from", "3"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("1 skipped"), "{}", ran.stderr);
    assert_eq!(rows(dir.path(), "SELECT c FROM u"), ["3"]);
}

#[test]
fn finds_a_slip_in_the_last_statement_before_the_first_runs() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.sql", "CREATE TABLE t AS SELECT 1 AS a;\nSELECT 1 +;\n");
    let ran = run(dir.path(), &["run", "a.sql"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("a.sql:2:"), "{}", ran.stderr);
    assert!(sql(dir.path(), "SELECT * FROM t").stderr.contains("does not exist"));
    write(dir.path(), "b.sql", "CREATE TABLE t AS SELECT 1 AS a;\nSELECT 'open;\n");
    let ran = run(dir.path(), &["run", "b.sql"]);
    assert!(ran.stderr.contains("b.sql:2:8: the script ends inside a string"), "{}", ran.stderr);
    write(dir.path(), "c.sql", "CREATE TABLE t AS SELECT 1 AS a;\nSELECT ${unset};\n");
    let ran = run(dir.path(), &["run", "c.sql"]);
    assert!(ran.stderr.contains("c.sql:2:8: the variable ${unset} is not set"), "{}", ran.stderr);
    assert!(!dir.path().join("warehouse").exists());
}

#[test]
fn a_dry_run_plans_everything_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let script = "CREATE SCHEMA s;\nUSE s;\nSET k = (SELECT 5);\nCREATE TABLE t AS SELECT 1 AS a, 'x' AS b;\nINSERT INTO t VALUES (${k}, 'y');\n\
                  CREATE VIEW v AS SELECT a * 2 AS d FROM t;\nCACHE TABLE c AS SELECT * FROM v;\nASSERT (SELECT count(*) FROM c) > 100;\nSELECT d FROM c;\n";
    write(dir.path(), "a.sql", script);
    let ran = run(dir.path(), &["run", "a.sql", "--dry-run"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("9 statements planned") && ran.stderr.contains("would create dev.s.t"), "{}", ran.stderr);
    assert!(!dir.path().join("warehouse").exists());
    write(dir.path(), "b.sql", &format!("{script}SELECT nope FROM v;"));
    let ran = run(dir.path(), &["run", "b.sql", "--dry-run"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("b.sql:10:8: ") && ran.stderr.contains("nope"), "{}", ran.stderr);
    // Nothing was carried out that could be continued.
    assert!(!ran.stderr.contains("--from"), "{}", ran.stderr);
}

#[test]
fn wrong_usage_exits_with_two() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.sql", "SELECT 1;");
    for args in [
        &["run"][..],
        &["frobnicate"],
        &["run", "a.sql", "--set", "novalue"],
        &["run", "a.sql", "--set", "1x=2"],
        &["run", "a.sql", "--from", "0"],
        &["run", "a.sql", "--from", "9"],
        &["run", "a.sql", "--memory-limit", "lots"],
        &["sql", "--format", "xml", "-c", "SELECT 1"],
        &["generate", "clickstream", "--events", "0", "--out", "x"],
        &["generate", "clickstream", "--events", "5", "--out", "x", "--dirty", "2"],
    ] {
        let ran = run(dir.path(), args);
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty());
    }
}

#[test]
fn one_script_serves_every_catalog() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.sql", "CREATE SCHEMA IF NOT EXISTS s; CREATE OR REPLACE TABLE s.t AS SELECT '${who}' AS who;");
    for catalog in ["dev", "staging", "prod"] {
        let ran = run(dir.path(), &["run", "a.sql", "--catalog", catalog, "--set", &format!("who={catalog}")]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
    assert_eq!(rows(dir.path(), "SELECT d.who, s.who, p.who FROM dev.s.t d, staging.s.t s, prod.s.t p"), ["dev,staging,prod"]);
    let ran = run(dir.path(), &["run", "a.sql", "--catalog", "nowhere", "--set", "who=x"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("the catalog 'nowhere' does not exist"), "{}", ran.stderr);
}

#[test]
fn writes_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let query = "SELECT 1 AS a, 'x,y' AS b UNION ALL SELECT 2, NULL ORDER BY a";
    let csv = run(dir.path(), &["sql", "--format", "csv", "-c", query]);
    assert_eq!(csv.stdout, "a,b\n1,\"x,y\"\n2,\n");
    let nested = run(dir.path(), &["sql", "--format", "csv", "-c", "SELECT make_array(1, NULL) AS l, named_struct('x', 1) AS s"]);
    assert_eq!(nested.stdout, "l,s\n\"[1, ]\",{x: 1}\n");
    let empty = run(dir.path(), &["sql", "--format", "csv", "-c", "SELECT 1 AS a, 'x' AS b WHERE false"]);
    assert_eq!(empty.stdout, "a,b\n");
    let json = run(dir.path(), &["sql", "--format", "json", "-c", query]);
    assert_eq!(json.stdout, "{\"a\":1,\"b\":\"x,y\"}\n{\"a\":2,\"b\":null}\n");
    let table = run(dir.path(), &["sql", "-c", query]);
    assert!(table.stdout.contains("NULL") && table.stdout.contains("x,y"), "{}", table.stdout);
    let parquet = super::orrery::command(dir.path()).args(["sql", "--format", "parquet", "-c", query]).output().unwrap();
    std::fs::write(dir.path().join("out.parquet"), parquet.stdout).unwrap();
    assert_eq!(rows(dir.path(), "SELECT sum(a), count(b) FROM read_parquet('out.parquet')"), ["3,1"]);
}

#[test]
fn long_tables_say_what_they_leave_out() {
    let dir = tempfile::tempdir().unwrap();
    let cut = run(dir.path(), &["sql", "--max-rows", "3", "-c", "SELECT * FROM generate_series(1, 1000)"]);
    assert!(cut.stdout.contains("997 more rows"), "{}", cut.stdout);
    let whole = run(dir.path(), &["sql", "--max-rows", "0", "-c", "SELECT * FROM generate_series(1, 100)"]);
    assert!(whole.stdout.lines().count() >= 100);
}

#[test]
fn plans_are_printed_as_lines() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["sql", "-c", "EXPLAIN SELECT value + 1 AS v FROM generate_series(1, 3) WHERE value > 1"]);
    assert!(ran.stdout.starts_with("logical plan:\n  Projection: "), "{}", ran.stdout);
    assert!(ran.stdout.contains("\nphysical plan:\n  ProjectionExec: "), "{}", ran.stdout);
    let csv = run(dir.path(), &["sql", "--format", "csv", "-c", "EXPLAIN SELECT 1"]);
    assert!(csv.stdout.starts_with("plan_type,plan\n"), "{}", csv.stdout);
}

#[test]
fn the_shell_takes_statements_from_a_pipe_and_a_file() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.sql", "SELECT 'from a file' AS said;");
    let ran = run(dir.path(), &["sql", "-f", "a.sql"]);
    assert!(ran.stdout.contains("from a file"), "{}", ran.stderr);
    let mut child = super::orrery::command(dir.path())
        .args(["sql", "--format", "csv"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"SET a = 20; SELECT ${a} + 1 AS b;").unwrap();
    let ran = super::orrery::finished(child.wait_with_output().unwrap());
    assert_eq!(ran.stdout, "b\n21\n");
}
