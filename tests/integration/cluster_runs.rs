//! Scripts on a cluster: the same tables as in one process, whatever the number of executors; runs that can be listed, followed, cancelled and resumed.

use std::path::Path;
use std::time::Duration;

use super::cluster::{Cluster, Options};
use super::data;
use super::orrery::{rows, run};

/// Tables of the pipeline, with the columns that order their rows.
pub const TABLES: &[&str] = &[
    "bronze.events",
    "silver.events_clean",
    "silver.data_quality",
    "gold.session_summary",
    "gold.dim_users",
    "gold.dim_products",
    "gold.dim_sessions",
    "gold.dim_time",
    "gold.fact_events",
    "gold.conversion_funnel",
    "gold.order_value",
    "gold.hourly_revenue",
    "gold.daily_revenue",
    "gold.peak_hours",
    "gold.product_performance",
    "gold.top_products",
    "gold.top_categories",
    "gold.top_brands",
    "gold.engagement",
    "gold.session_duration",
    "gold.user_segments",
];

/// Every row of every table of the pipeline in the warehouse of `dir`, in an order of its own.
pub fn all_tables(dir: &Path) -> Vec<(&'static str, Vec<String>)> {
    TABLES
        .iter()
        .map(|table| {
            let mut found = rows(dir, &format!("SELECT * FROM {table}"));
            found.sort_unstable();
            (*table, found)
        })
        .collect()
}

/// Asserts that two warehouses hold the same rows.
pub fn assert_same_tables(found: &[(&'static str, Vec<String>)], expected: &[(&'static str, Vec<String>)]) {
    for ((table, found), (_, expected)) in found.iter().zip(expected) {
        assert_eq!(found.len(), expected.len(), "{table} has another number of rows");
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found, expected, "{table}");
        }
    }
}

/// The pipeline in one process.
pub fn embedded(dir: &Path, source: &str) -> Vec<(&'static str, Vec<String>)> {
    let scripts = data::root().join("sql/clickstream");
    let ran = run(dir, &["run", scripts.to_str().unwrap(), "--set", &format!("source={source}"), "--quiet"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    all_tables(dir)
}

/// Submits the pipeline.
pub fn submit_pipeline(cluster: &Cluster, source: &str) -> super::orrery::Ran {
    let scripts = data::root().join("sql/clickstream");
    cluster.client(&["submit", scripts.to_str().unwrap(), "--set", &format!("source={source}"), "--quiet"])
}

#[test]
fn the_pipeline_makes_the_same_tables_on_one_and_three_executors_as_in_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let source = data::generated(dir.path(), 60_000, "parquet", 0.02);
    let source = source.to_str().unwrap();
    let expected = embedded(&dir.path().join("."), source);
    for executors in [1, 3] {
        let home = dir.path().join(format!("cluster{executors}"));
        std::fs::create_dir(&home).unwrap();
        let cluster = Cluster::start(&home, Options::of(executors));
        let ran = submit_pipeline(&cluster, source);
        assert_eq!(ran.code, Some(0), "{}\n{}", ran.stderr, cluster.logs());
        assert_same_tables(&all_tables(&home), &expected);
        let history = "SELECT count(*) FROM system.query.statements WHERE number = 81";
        cluster.wait(|cluster| cluster.try_sql(history).stdout.contains("\n1"), "the run to be recorded");
        let history = cluster.rows("SELECT state, statements_total, statements_done FROM system.query.runs WHERE statements_total = 81");
        assert_eq!(history, ["succeeded,81,81"]);
        let statements = cluster.rows("SELECT count(*), min(number), max(number), count(DISTINCT state) FROM system.query.statements WHERE run_id IN (SELECT run_id FROM system.query.runs WHERE statements_total = 81)");
        assert!(statements[0].ends_with(",1,81,1"), "{statements:?}");
        // Every executor had a part in it.
        let shares = "SELECT count(DISTINCT executor_id), min(tasks) > 0 FROM system.query.statement_executors";
        assert_eq!(cluster.rows(shares), [format!("{executors},true")]);
        let listed = cluster.client(&["runs", "--format", "csv"]).stdout;
        let run = listed.lines().find(|line| line.contains("81 of 81")).unwrap().split(',').next().unwrap();
        let shown = cluster.client(&["runs", run, "--executors", "--format", "csv"]).stdout;
        assert_eq!(shown.lines().count(), 1 + executors, "{shown}");
        // Caches of ended sessions are gone.
        let scratch = home.join("warehouse/_scratch");
        let left = std::fs::read_dir(&scratch).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{}", scratch.display());
    }
}

#[test]
fn results_errors_and_exit_codes_are_those_of_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Options::of(2));
    cluster.sql("CREATE TABLE t AS SELECT value AS id, value % 7 AS k, CAST(value % 3 AS VARCHAR) AS s FROM generate_series(1, 20000)");
    let script = "SELECT k, count(*) AS n, sum(id) AS total, min(s) AS s FROM t GROUP BY k ORDER BY k;
        SELECT id FROM t ORDER BY id DESC LIMIT 3;
        SELECT a.k, count(*) FROM t a JOIN t b ON a.id = b.id WHERE b.k IN (SELECT k FROM t WHERE id < 4) GROUP BY a.k ORDER BY 1;
        SELECT count(DISTINCT k), count(DISTINCT s) FROM t WHERE k NOT IN (SELECT k FROM t WHERE k > 4);
        SELECT array_length(array_agg(k)), array_to_string(array_sort(array_agg(DISTINCT s)), '+') FROM t;
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT sum(i) FROM n;
        SELECT id, row_number() OVER (PARTITION BY k ORDER BY id DESC) AS r FROM t QUALIFY r = 1 ORDER BY id;
        SELECT (SELECT max(id) FROM t) - id AS d FROM t WHERE id > 19998 ORDER BY d;
        SELECT * FROM t WHERE id < 0";
    std::fs::write(dir.path().join("q.sql"), script).unwrap();
    for format in ["csv", "json", "table"] {
        let here = run(dir.path(), &["run", "q.sql", "--format", format, "--quiet"]);
        let there = cluster.client(&["submit", "q.sql", "--format", format, "--quiet"]);
        assert_eq!((there.code, &there.stdout), (here.code, &here.stdout), "{}\n{}", there.stderr, cluster.logs());
    }
    // Errors of the parser, the planner and of data, with their places.
    let wrong = [
        "SELECT 1;\nSELEC 2",
        "SELECT\n  missing FROM t",
        "SELECT 1 / (id - id) FROM t",
        "SELECT * FROM nowhere",
        "ASSERT (SELECT count(*) FROM t) = 1 AS 'too many'",
        "INSERT INTO t SELECT 1",
        "SELECT CAST(s || 'x' AS INT) FROM t WHERE id = 5",
    ];
    for script in wrong {
        std::fs::write(dir.path().join("w.sql"), script).unwrap();
        let here = run(dir.path(), &["run", "w.sql", "--quiet"]);
        let there = cluster.client(&["submit", "w.sql", "--quiet"]);
        assert_eq!(there.code, here.code, "{script}\n{}", there.stderr);
        let first = |text: &str| text.lines().next().unwrap_or_default().to_string();
        assert_eq!(first(&there.stderr), first(&here.stderr), "{script}");
    }
    let dry = cluster.client(&["submit", "q.sql", "--dry-run"]);
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    assert!(dry.stderr.contains("9 statements planned"), "{}", dry.stderr);
}

#[test]
fn writes_are_divided_among_executors() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Options::of(2));
    let source = data::generated(dir.path(), 100_000, "parquet", 0.0);
    cluster.sql(&format!("CREATE TABLE raw AS SELECT * FROM read_parquet('{}')", source.display()));
    let plan = cluster.sql("EXPLAIN CREATE TABLE x AS SELECT user_id, count(*) AS n FROM raw GROUP BY user_id").stdout;
    assert!(plan.contains("on the cluster: 2 stages") && plan.contains("Stage 2: 4 partitions"), "{plan}");
    let analysis = cluster.sql("EXPLAIN ANALYZE SELECT user_id, count(*) AS n FROM raw GROUP BY user_id").stdout;
    assert_eq!(analysis.matches(" rows read, ").count(), 2, "{analysis}");
    cluster.sql(
        "CREATE TABLE days PARTITIONED BY (d) AS SELECT user_id, CAST(event_time AS DATE) AS d FROM raw;
         INSERT INTO days SELECT user_id, DATE '2020-01-01' FROM raw;
         INSERT OVERWRITE days SELECT * FROM days WHERE d < DATE '2019-10-08'",
    );
    let expected = cluster.rows("SELECT count(*) FROM raw WHERE CAST(event_time AS DATE) < DATE '2019-10-08'");
    assert_eq!(cluster.rows("SELECT count(*) FROM days"), expected);
    assert_eq!(rows(dir.path(), "SELECT count(*) FROM days"), expected);
    assert_eq!(rows(dir.path(), "SELECT count(*) FROM days VERSION AS OF 1"), ["200000"]);
}

/// The coordinator selects joins by size once more when it divides a plan, and shuffles by hashes alone.
#[test]
fn hints_hold_on_a_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Options::of(2));
    cluster.sql(
        "CREATE TABLE facts AS SELECT value AS id, value % 7 AS k FROM generate_series(1, 70000);
         CREATE TABLE dims AS SELECT value AS k, 'dim ' || value AS name FROM generate_series(0, 4)",
    );
    let stages = |query: &str| {
        let text = cluster.sql(&format!("EXPLAIN {query}")).stdout;
        text.split_once("on the cluster").unwrap_or_else(|| panic!("{text}")).1.to_string()
    };
    let join = "id, name FROM facts JOIN dims ON facts.k = dims.k";
    for (hint, is_there, is_not) in [
        ("", "mode=CollectLeft", "mode=Partitioned"),
        ("/*+ BROADCAST(facts) */", "mode=CollectLeft", "mode=Partitioned"),
        ("/*+ SHUFFLE_HASH(dims) */", "mode=Partitioned", "mode=CollectLeft"),
        ("/*+ MERGE(dims) */", "SortMergeJoinExec", "HashJoinExec"),
        ("/*+ SKEW('facts', 'k'), SHUFFLE_HASH(dims) */", "SaltHotKeysExec: keys=[k], hot_keys=7", "mode=CollectLeft"),
    ] {
        let stages = stages(&format!("SELECT {hint} {join}"));
        assert!(stages.contains(is_there) && !stages.contains(is_not), "{hint}\n{stages}");
        let found = cluster.rows(&format!("SELECT count(*), sum(id), count(DISTINCT name) FROM (SELECT {hint} {join})"));
        assert_eq!(found, ["50000,1749995000,5"], "{hint}");
    }
    let dealt = stages("SELECT /*+ REPARTITION(6) */ id FROM facts WHERE id % 2 = 0");
    assert!(dealt.contains("shuffled by Hash([__salt") && dealt.contains("], 6)"), "{dealt}");
    assert_eq!(cluster.rows("SELECT count(*), sum(id) FROM (SELECT /*+ REPARTITION(6) */ id FROM facts)"), ["70000,2450035000"]);
    for (hint, files) in [("COALESCE(1)", 1), ("REPARTITION(7)", 7)] {
        cluster.sql(&format!("CREATE OR REPLACE TABLE dealt AS SELECT /*+ {hint} */ * FROM facts"));
        let detail = cluster.sql("DESCRIBE DETAIL dealt").stdout;
        assert!(detail.split(',').any(|value| value == files.to_string()), "{hint}\n{detail}");
    }
}

#[test]
fn partitions_of_a_table_are_written_by_few_tasks_and_a_large_one_by_several() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Options::of(2));
    cluster.sql("CREATE TABLE raw AS SELECT value AS v FROM generate_series(1, 2000000)");
    let create = |table: &str, gathers: bool| {
        format!(
            "CREATE TABLE {table} PARTITIONED BY (k) TBLPROPERTIES ('delta.autoOptimize.optimizeWrite' = '{gathers}') AS
             SELECT v, CASE WHEN v % 10 = 0 THEN 'rare' || (v % 70 / 10) ELSE 'most' END AS k FROM raw"
        )
    };
    let plan = cluster.sql(&format!("EXPLAIN {}", create("gathered", true))).stdout;
    assert!(plan.contains("SaltExec: keys=[k]"), "{plan}");
    assert!(!cluster.sql(&format!("EXPLAIN {}", create("scattered", false))).stdout.contains("SaltExec"));
    for (table, gathers) in [("gathered", true), ("scattered", false)] {
        cluster.sql(&create(table, gathers));
        let found = cluster.rows(&format!("SELECT count(*), sum(v), count(DISTINCT k) FROM {table}"));
        assert_eq!(found, ["2000000,2000001000000,8"], "{table}");
    }
    let files = |table: &str, k: &str| std::fs::read_dir(dir.path().join(format!("warehouse/dev/default/{table}/k={k}"))).unwrap().count();
    for rare in 0..7 {
        assert_eq!(files("gathered", &format!("rare{rare}")), 1);
        assert_eq!(files("scattered", &format!("rare{rare}")), 4);
    }
    assert!((2..=4).contains(&files("gathered", "most")), "{}", files("gathered", "most"));
    assert_eq!(files("scattered", "most"), 4);
    // With eight tasks nobody has to ask for it.
    drop(cluster);
    let wide = Cluster::start(dir.path(), Options { vcores: 4, ..Options::of(2) });
    let plain = create("plain", true).replace("TBLPROPERTIES ('delta.autoOptimize.optimizeWrite' = 'true')", "");
    let plan = wide.sql(&format!("EXPLAIN {plain}")).stdout;
    assert!(plan.contains("SaltExec: keys=[k]"), "{plan}");
    wide.sql(&plain);
    for rare in 0..7 {
        assert_eq!(files("plain", &format!("rare{rare}")), 1);
    }
    assert_eq!(wide.rows("SELECT count(*), sum(v), count(DISTINCT k) FROM plain"), ["2000000,2000001000000,8"]);
}

#[test]
fn runs_are_listed_followed_cancelled_and_survive_their_client() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Options::of(1));
    // Long enough to be caught in the act, and endless unless it is stopped.
    let endless = "SELECT 'before' AS w;\nCREATE TABLE big AS SELECT sum(a.v * b.v) AS s FROM nums a, nums b";
    cluster.sql("CREATE TABLE nums AS SELECT value AS v FROM generate_series(1, 200000)");
    std::fs::write(dir.path().join("long.sql"), endless).unwrap();
    let ran = cluster.client(&["submit", "long.sql", "--detach"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let id = ran.stdout.trim().to_string();
    cluster.wait(|c| c.client(&["runs", &id, "--format", "csv"]).stdout.contains("running"), "the second statement to run");
    let listed = cluster.client(&["runs", "--format", "csv"]);
    assert!(listed.stdout.lines().nth(1).is_some_and(|line| line.starts_with(&format!("{id},running"))), "{}", listed.stdout);
    cluster.wait(|c| c.http("/metrics").is_some_and(|text| text.contains("orrery_jobs_running 1")), "the job to run");

    // Somebody attaches, sees what has been, and the cancellation.
    let attached = cluster.client_in_background(&["attach", &id[..20], "--format", "csv"]);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(cluster.client(&["cancel", &id]).code, Some(0));
    let attached = super::orrery::finished(attached.wait_with_output().unwrap());
    assert_eq!(attached.code, Some(130), "{}", attached.stderr);
    assert!(attached.stdout.contains("before"), "{}", attached.stdout);
    assert!(attached.stderr.contains(&format!("--resume {id}")), "{}", attached.stderr);
    // The slots are free, the work has stopped and nothing is left of the table.
    cluster.wait(|c| c.http("/metrics").is_some_and(|text| text.contains("orrery_jobs_running 0")), "the job to stop");
    let idle = |c: &Cluster| c.executor_page(0, "/metrics").is_some_and(|text| text.contains("orrery_executor_tasks_running 0"));
    cluster.wait(idle, "the executor to stop working");
    // The slots are free: a statement that needs them is carried out.
    assert_eq!(cluster.rows("SELECT count(*) FROM nums"), ["200000"]);
    assert_eq!(cluster.rows("SELECT count(DISTINCT v % 10) FROM nums"), ["10"]);
    assert_eq!(cluster.rows("SELECT 1"), ["1"]);
    assert!(!dir.path().join("warehouse/dev/default/big/_delta_log").exists());
    let state = format!("SELECT state, statements_done FROM system.query.runs WHERE run_id = '{id}'");
    cluster.wait(|cluster| cluster.rows(&state) == ["cancelled,1"], "the run to be recorded");
    // A client that is killed leaves its run alone.
    let mut client = cluster.client_in_background(&["submit", "long.sql", "--run-id", "mine"]);
    cluster.wait(|c| c.client(&["runs", "mine", "--format", "csv"]).stdout.contains("running"), "the run to begin");
    client.kill().unwrap();
    client.wait().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(cluster.client(&["runs", "--format", "csv"]).stdout.contains("mine,running"));
    assert_eq!(cluster.client(&["cancel", "mine"]).code, Some(0));
    assert_eq!(cluster.client(&["cancel", "nobody"]).code, Some(2));
}

#[test]
fn a_scheduler_that_dies_keeps_history_and_resumes_without_repeating() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(dir.path(), Options::of(1));
    cluster.sql("CREATE TABLE nums AS SELECT value AS v FROM generate_series(1, 200000); CREATE TABLE log (n INT)");
    // The third statement does not end; the first two must not be repeated.
    let script = "INSERT INTO log VALUES (1);\nINSERT INTO log VALUES (2);\nSET w = 7;\nCREATE OR REPLACE TABLE big AS SELECT sum(a.v % b.v) AS s FROM nums a, nums b WHERE a.v < ${limit};\nINSERT INTO log VALUES (${w})";
    std::fs::write(dir.path().join("s.sql"), script).unwrap();
    let client = cluster.client_in_background(&["submit", "s.sql", "--run-id", "first", "--set", "limit=1000000"]);
    cluster.wait(|c| c.client(&["runs", "first", "--format", "csv"]).stdout.contains("4,s.sql"), "the fourth statement to run");
    cluster.scheduler.kill();
    std::thread::sleep(Duration::from_millis(300));
    cluster.restart_scheduler();
    let said = super::orrery::finished(client.wait_with_output().unwrap());
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("the scheduler ended while run first was under way"), "{}", said.stderr);
    assert!(cluster.client(&["runs", "--format", "csv"]).stdout.contains("first,interrupted"));
    // The executor finds the scheduler again by itself.
    cluster.wait_for_executors(1);
    assert_eq!(cluster.rows("SELECT n FROM log ORDER BY n"), ["1", "2"]);
    let state = "SELECT state FROM system.query.runs WHERE run_id = 'first'";
    cluster.wait(|cluster| cluster.rows(state) == ["interrupted"], "the run to be recorded");

    // Resuming begins at the fourth statement, with the variables of the run; it is stopped again.
    let resumed = cluster.client_in_background(&["submit", "--resume", "first"]);
    cluster.wait(|c| c.client(&["runs", "--format", "csv"]).stdout.lines().nth(1).is_some_and(|l| l.contains(",running,")), "it to resume");
    let list = cluster.client(&["runs", "--format", "csv"]).stdout;
    let second = list.lines().nth(1).unwrap().split(',').next().unwrap().to_string();
    cluster.wait(|c| c.client(&["runs", &second, "--format", "csv"]).stdout.contains("4,s.sql"), "the fourth statement to run");
    assert_eq!(cluster.client(&["cancel", &second]).code, Some(0));
    let said = super::orrery::finished(resumed.wait_with_output().unwrap());
    assert_eq!(said.code, Some(130), "{}", said.stderr);
    assert_eq!(cluster.rows("SELECT n FROM log ORDER BY n"), ["1", "2"]);
    assert_eq!(cluster.client(&["submit", "--resume", "nothing"]).code, Some(2));
}

#[test]
fn thirty_two_scripts_at_once_all_succeed() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Options::of(2));
    cluster.sql("CREATE TABLE nums AS SELECT value AS v FROM generate_series(1, 50000); CREATE TABLE log (n INT)");
    // A table for each, one that all append to, and a result.
    let clients: Vec<_> = (0..32)
        .map(|n| {
            let file = format!("s{n}.sql");
            let script = format!(
                "CREATE TABLE t{n} AS SELECT v % {} AS k, count(*) AS c FROM nums GROUP BY 1;\n\
                 INSERT INTO log VALUES ({n});\n\
                 SELECT sum(c) FROM t{n}",
                n + 2
            );
            std::fs::write(dir.path().join(&file), script).unwrap();
            cluster.client_in_background(&["submit", &file, "--format", "csv", "--quiet"])
        })
        .collect();
    for (n, client) in clients.into_iter().enumerate() {
        let said = super::orrery::finished(client.wait_with_output().unwrap());
        assert_eq!(said.code, Some(0), "{n}: {}\n{}", said.stderr, cluster.logs());
        assert!(said.stdout.contains("50000"), "{n}: {}", said.stdout);
    }
    let recorded = "SELECT count(*) FROM system.query.runs WHERE state = 'succeeded' AND statements_done = 3";
    cluster.wait(|cluster| cluster.rows(recorded) == ["32"], "all runs to be recorded");
    assert_eq!(cluster.rows("SELECT count(*), count(DISTINCT n), sum(n) FROM log"), ["32,32,496"]);
}

#[test]
fn servers_answer_to_those_who_watch_them() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Options::of(1));
    assert_eq!(cluster.http("/healthz").as_deref(), Some("ok\n"));
    assert_eq!(cluster.http("/readyz").as_deref(), Some("ready\n"));
    let metrics = cluster.http("/metrics").unwrap();
    for line in ["orrery_executors 1", "orrery_vcores 2", "orrery_runs{state=\"failed\"} 0"] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    // An executor that is pointed at a wrong port says so.
    let refused = super::orrery::command(dir.path())
        .args(["executor", "--scheduler-port", &(cluster.internal_port() + 1).to_string(), "--connect-timeout-s", "1"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("does not answer") || said.contains("is no Orrery scheduler"), "{said}");
    // So does one whose port is taken.
    let scheduler = cluster.internal_port().to_string();
    let refused = super::orrery::command(dir.path())
        .args(["executor", "--scheduler-port", &scheduler, "--http-port", "0", "--flight-port", &scheduler])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains(&format!("cannot listen on 127.0.0.1:{scheduler}")), "{said}");
}

/// However many tasks a stage has, each executor fetches the broadcast side of a join once.
#[test]
fn a_broadcast_side_is_fetched_once_by_an_executor() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::of(2);
    options.scheduler_args.push("--partition-size=64KiB".to_string());
    let cluster = Cluster::start(dir.path(), options);
    cluster.rows("CREATE TABLE facts AS SELECT value AS id, value % 100 AS k FROM generate_series(1, 20000)");
    for _ in 0..15 {
        cluster.rows("INSERT INTO facts SELECT value AS id, value % 100 AS k FROM generate_series(1, 20000)");
    }
    cluster.rows("CREATE TABLE dims AS SELECT value AS k, 'dim ' || value AS name FROM generate_series(0, 49)");
    let count = |page: &str, outcome: &str| -> u64 {
        let line = format!("orrery_executor_broadcasts_total{{outcome=\"{outcome}\"}} ");
        page.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap_or(0)
    };
    assert_eq!(cluster.rows("SELECT count(*), count(DISTINCT name) FROM facts JOIN dims USING (k)"), ["160000,50"]);
    let pages: Vec<String> = (0..2).map(|executor| cluster.executor_page(executor, "/metrics").unwrap()).collect();
    assert!(pages.iter().all(|page| count(page, "fetched") <= 1), "{pages:?}");
    assert!(pages.iter().map(|page| count(page, "shared")).sum::<u64>() > 0, "{pages:?}");
}
