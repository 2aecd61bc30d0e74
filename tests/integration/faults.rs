//! Faults that are really injected: each must end in one clear error that says where, a non-zero exit, and every table at its previous
//! version.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::orrery::{self, Ran, rows, run, sql};

/// A query that takes long enough to be interrupted, and writes all the while.
const LONG: &str = "SELECT value AS a, repeat(md5(CAST(value AS VARCHAR)), 20) AS b, repeat(md5(CAST(value + 1 AS VARCHAR)), 20) AS c \
                    FROM generate_series(1, 400000000)";

/// Three rows with the same columns. Small files, so that a long write soon has some.
const TABLE: &str = "CREATE TABLE t TBLPROPERTIES ('delta.targetFileSize' = '1mb') AS SELECT * FROM (VALUES (1, 'p', 'q'), (2, 'p', 'q'), (3, 'p', 'q')) AS v(a, b, c)";

/// A table `t` with one version of three rows.
fn with_table() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let made = sql(dir.path(), TABLE);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    dir
}

fn is_unchanged(dir: &Path) {
    assert_eq!(rows(dir, "SELECT count(*), sum(a) FROM t"), ["3,6"]);
    assert_eq!(rows(dir, "SELECT count(*) FROM (SELECT 1 FROM t VERSION AS OF 0)"), ["3"]);
}

fn table_dir(dir: &Path) -> PathBuf {
    dir.join("warehouse/dev/default/t")
}

/// Parquet files below a folder, whether a table knows them or not.
fn parquet_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.map(|e| e.unwrap().path()) {
        if path.is_dir() {
            found.extend(parquet_files(&path));
        } else if path.to_string_lossy().contains(".parquet") {
            found.push(path);
        }
    }
    found
}

fn failed_saying(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "no '{word}' in: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

#[test]
fn an_interrupted_write_leaves_the_previous_version_and_no_files() {
    let dir = with_table();
    let before = parquet_files(dir.path()).len();
    for statement in [
        format!("CREATE OR REPLACE TABLE t TBLPROPERTIES ('delta.targetFileSize' = '1mb') AS {LONG}"),
        format!("INSERT INTO t {LONG}"),
        format!("CREATE TABLE u TBLPROPERTIES ('delta.targetFileSize' = '1mb') AS {LONG}"),
    ] {
        let running = Running::start(dir.path(), &["sql", "-c", &statement]);
        wait_until(|| parquet_files(dir.path()).len() > before);
        running.signal("INT");
        let ran = running.finish();
        assert_eq!(ran.code, Some(130), "{statement}: {}", ran.stderr);
        assert!(ran.stderr.contains("interrupted"), "{}", ran.stderr);
        is_unchanged(dir.path());
        assert_eq!(parquet_files(dir.path()).len(), before, "{statement}");
    }
    assert!(sql(dir.path(), "SELECT * FROM u").stderr.contains("does not exist"));
}

#[test]
fn a_killed_process_leaves_the_previous_version() {
    let dir = with_table();
    let before = parquet_files(dir.path()).len();
    let running = Running::start(dir.path(), &["sql", "-c", &format!("INSERT OVERWRITE t {LONG}")]);
    wait_until(|| parquet_files(dir.path()).len() > before);
    running.signal("KILL");
    assert_eq!(running.finish().code, None);
    is_unchanged(dir.path());
    // And the table goes on working.
    assert_eq!(sql(dir.path(), "INSERT INTO t (a) VALUES (4)").code, Some(0));
    assert_eq!(rows(dir.path(), "SELECT sum(a) FROM t"), ["10"]);
}

#[test]
fn a_full_disk_fails_the_write_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::tmpfs(&dir.path().join("warehouse"), "size=6m") else { return };
    assert_eq!(sql(dir.path(), TABLE).code, Some(0));
    let before = parquet_files(dir.path()).len();
    let ran = sql(dir.path(), &format!("CREATE OR REPLACE TABLE t TBLPROPERTIES ('delta.targetFileSize' = '1mb') AS {LONG}"));
    failed_saying(&ran, &["storage error", "No space left on device"]);
    is_unchanged(dir.path());
    assert_eq!(parquet_files(dir.path()).len(), before);
    assert_eq!(sql(dir.path(), "INSERT INTO t (a) VALUES (4)").code, Some(0));
}

#[test]
fn a_warehouse_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::tmpfs(&dir.path().join("warehouse"), "size=6m") else { return };
    assert_eq!(sql(dir.path(), TABLE).code, Some(0));
    mount.remount("ro");
    for statement in [
        "CREATE TABLE u AS SELECT 1 AS a",
        "INSERT INTO t (a) VALUES (4)",
        "CREATE SCHEMA s",
        "DROP TABLE t",
        "CREATE VIEW v AS SELECT 1 AS a",
    ] {
        failed_saying(&sql(dir.path(), statement), &["storage error", "Read-only file system"]);
    }
    is_unchanged(dir.path());
}

#[test]
fn a_damaged_log_is_named_and_left_alone() {
    let dir = with_table();
    assert_eq!(sql(dir.path(), "INSERT INTO t (a) VALUES (4)").code, Some(0));
    let log = table_dir(dir.path()).join("_delta_log/00000000000000000001.json");
    let good = std::fs::read(&log).unwrap();
    std::fs::write(&log, "{\"add\": this is no json").unwrap();
    for statement in ["SELECT * FROM t", "INSERT INTO t (a) VALUES (5)", "DESCRIBE HISTORY t"] {
        failed_saying(&sql(dir.path(), statement), &["dev.default.t", "00000000000000000001.json"]);
    }
    std::fs::write(&log, good).unwrap();
    assert_eq!(rows(dir.path(), "SELECT sum(a) FROM t"), ["10"]);
    // A version missing in the middle is damage too, not an older table.
    assert_eq!(sql(dir.path(), "INSERT INTO t (a) VALUES (5)").code, Some(0));
    std::fs::remove_file(&log).unwrap();
    failed_saying(&sql(dir.path(), "SELECT * FROM t"), &["dev.default.t"]);
}

#[test]
fn a_truncated_file_of_a_table_is_named() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        sql(dir.path(), "CREATE TABLE t AS SELECT value AS a, md5(CAST(value AS VARCHAR)) AS b FROM generate_series(1, 50000)").code,
        Some(0)
    );
    let file = parquet_files(&table_dir(dir.path())).remove(0);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    failed_saying(&sql(dir.path(), "SELECT count(DISTINCT b) FROM t"), &[&name]);
    failed_saying(&sql(dir.path(), "CREATE TABLE u AS SELECT * FROM t"), &[&name]);
    std::fs::remove_file(&file).unwrap();
    failed_saying(&sql(dir.path(), "SELECT count(DISTINCT b) FROM t"), &[&name]);
    assert!(sql(dir.path(), "SELECT * FROM u").stderr.contains("does not exist"));
}

#[test]
fn a_truncated_input_file_is_named() {
    let dir = with_table();
    assert_eq!(sql(dir.path(), "COPY (SELECT value AS a FROM generate_series(1, 50000)) TO 'in.parquet' STORED AS PARQUET").code, Some(0));
    let file = dir.path().join("in.parquet");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 100]).unwrap();
    failed_saying(&sql(dir.path(), "INSERT INTO t (a) SELECT a FROM read_parquet('in.parquet')"), &["in.parquet"]);
    is_unchanged(dir.path());
}

#[test]
fn too_little_memory_spills_or_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let query = "SELECT count(*) FROM (SELECT a % 400000 AS k, count(*), max(a) FROM (SELECT value AS a FROM generate_series(1, 800000)) GROUP BY 1)";
    let ran = run(dir.path(), &["sql", "--memory-limit", "24MB", "--format", "csv", "-c", query]);
    if ran.code == Some(0) {
        assert_eq!(ran.stdout.lines().nth(1), Some("400000"));
    } else {
        failed_saying(&ran, &["out of resources"]);
    }
}

fn wait_until(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "what was waited for did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A run that is going on; ended with the test, whatever becomes of it.
struct Running(Option<Child>);

impl Running {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let child = orrery::command(dir).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self(Some(child))
    }

    fn signal(&self, name: &str) {
        let id = self.0.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([format!("-{name}"), id]).status().unwrap().success());
    }

    fn finish(mut self) -> Ran {
        orrery::finished(self.0.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _it_may_have_ended = child.kill();
            let _ended = child.wait();
        }
    }
}

/// A small file system of the test's own, unmounted at the end. Needs the right to mount; without it the test says that it skips.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(path: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path).output();
        if mounted.is_ok_and(|m| m.status.success()) {
            return Some(Self(path.to_path_buf()));
        }
        eprintln!("skipped: no right to mount a file system here");
        None
    }

    fn remount(&self, options: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _best_effort = Command::new("umount").args(["-l"]).arg(&self.0).status();
    }
}
