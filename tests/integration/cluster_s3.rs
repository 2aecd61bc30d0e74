//! A cluster whose warehouse is an S3 bucket, served by moto: every node opens the store by itself, and nobody repeats the credentials.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::cluster::{Cluster, Options, free_port};
use super::cluster_runs::{TABLES, assert_same_tables, embedded, submit_pipeline};
use super::data;
use super::orrery::{command, finished};
use super::python::interpreter;

/// What must not turn up anywhere.
const SECRET: &str = "hushhushsecretkey";
const KEY_ID: &str = "AKIDNOBODYREADS";

/// A server of one bucket, `lake`; ends with the test.
struct S3 {
    process: Child,
    port: u16,
}

impl S3 {
    fn start() -> Option<Self> {
        let interpreter = interpreter()?;
        let port = free_port();
        let script = data::root().join("tests/oracle/serve_s3.py");
        let process = Command::new(interpreter)
            .arg(script)
            .args([&port.to_string(), "lake"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self { process, port };
        let said = BufReader::new(server.process.stdout.take().unwrap()).lines();
        assert!(said.map_while(Result::ok).any(|line| line == "ready"), "the S3 server did not start");
        Some(server)
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", KEY_ID.to_string()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_string()),
            ("AWS_REGION", "us-east-1".to_string()),
            ("AWS_ENDPOINT", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ALLOW_HTTP", "true".to_string()),
        ]
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Rows of a query over the bucket in one process of its own.
fn rows_on(s3: &S3, dir: &Path, query: &str) -> Vec<String> {
    let mut sql = command(dir);
    sql.args(["sql", "--warehouse", "s3://lake/warehouse", "--format", "csv", "-c", query]).envs(s3.environment());
    let ran = finished(sql.output().unwrap());
    assert_eq!(ran.code, Some(0), "{query}\n{}", ran.stderr);
    ran.stdout.lines().skip(1).map(str::to_string).collect()
}

/// Everything that the cluster wrote on this machine, and that its pages say.
fn everything_said(cluster: &Cluster) -> String {
    let mut said = String::new();
    let mut waiting = vec![cluster.dir.clone()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                waiting.push(entry.path());
            } else {
                said.push_str(&String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap_or_default()));
            }
        }
    }
    for page in ["/api/executors", "/api/runs", "/metrics"] {
        said.push_str(&cluster.http(page).unwrap());
    }
    said
}

#[test]
fn the_pipeline_runs_on_an_s3_warehouse_and_nobody_repeats_the_credentials() {
    let Some(s3) = S3::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = data::generated(dir.path(), 20_000, "parquet", 0.02);
    let expected = embedded(dir.path(), source.to_str().unwrap());
    let home = dir.path().join("cluster");
    std::fs::create_dir(&home).unwrap();
    let mut options = Options::of(2);
    options.warehouse = Some("s3://lake/warehouse".to_string());
    options.env = s3.environment();
    // The most talkative of logs.
    for args in [&mut options.scheduler_args, &mut options.executor_args] {
        args.extend(["--log", "debug", "--log-format", "json"].map(String::from));
    }
    let cluster = Cluster::start(&home, options);
    let ran = submit_pipeline(&cluster, source.to_str().unwrap());
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stderr, cluster.logs());
    let tables: Vec<_> = TABLES
        .iter()
        .map(|table| {
            let mut found = rows_on(&s3, &home, &format!("SELECT * FROM {table}"));
            found.sort_unstable();
            (*table, found)
        })
        .collect();
    assert_same_tables(&tables, &expected);

    // Errors of the store name places, not settings.
    for failing in ["SELECT * FROM read_parquet('s3://nobody-has-this/x.parquet')", "COPY (SELECT 1) TO 's3://nobody-has-this/x.parquet'"] {
        let ran = cluster.try_sql(failing);
        assert_ne!(ran.code, Some(0), "{failing}");
        assert!(ran.stderr.contains("nobody-has-this"), "{}", ran.stderr);
        assert!(!ran.stderr.contains(SECRET) && !ran.stderr.contains(KEY_ID), "{}", ran.stderr);
    }
    let plans = cluster.sql("EXPLAIN VERBOSE SELECT count(*) FROM gold.fact_events").stdout;
    assert!(plans.contains("fact_events"), "{plans}");
    let said = everything_said(&cluster) + &plans;
    assert!(said.contains("\"level\":\"DEBUG\""), "the logs are not the talkative ones");
    for hidden in [SECRET, KEY_ID] {
        assert_eq!(said.lines().find(|line| line.contains(hidden)), None);
    }
}
