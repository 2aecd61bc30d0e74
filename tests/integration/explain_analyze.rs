//! `EXPLAIN ANALYZE` as a user reads it: one form in one process, in stages on a cluster, and of whole plans in one task.

use std::path::Path;

use super::cluster::{Cluster, Options};
use super::orrery::{rows, run, sql};

/// Files of a thousand rows each, in the order of `id`; and a table that only matches rows of the last of them.
fn tables(dir: &Path) {
    let file = |number: u32| {
        let (from, to) = (number * 1000 + 1, (number + 1) * 1000);
        format!("SELECT /*+ COALESCE(1) */ value AS id, value % 10 AS k FROM generate_series({from}, {to})")
    };
    let mut script = format!("CREATE TABLE facts AS {};", file(0));
    (1..4).for_each(|number| script += &format!("INSERT INTO facts {};", file(number)));
    // More than two row groups.
    script += "CREATE TABLE long AS SELECT /*+ COALESCE(1) */ value AS id FROM generate_series(1, 600000);";
    script += "CREATE TABLE few AS SELECT value AS id, 'few' AS name FROM generate_series(3998, 4000)";
    let ran = sql(dir, &script);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

/// What every backend has to tell alike.
fn tells(backend: &str, analyze: &dyn Fn(&str) -> String) {
    let check = |query: &str, wanted: &[&str]| {
        let text = analyze(query);
        for part in wanted {
            assert!(text.contains(part), "{backend}: {part:?} is not told of {query}\n{text}");
        }
    };
    check(
        "SELECT k, count(*) FROM facts WHERE id BETWEEN 2100 AND 2149 GROUP BY k",
        &[
            "rows max/median",
            "AggregateExec: mode=",
            "DataSourceExec: table=dev.default.facts",
            "files=1/4 (pruned: 3 by the table's log)",
            "row groups=1/1",
        ],
    );
    check("SELECT count(*) FROM long WHERE id + 0 > 5 AND id > 590000", &["rows", "files=1/1", "row groups=1/3 (pruned: 2 by statistics)"]);
    // The files are there to be read, until the join has seen its smaller side.
    check("SELECT sum(f.k) FROM facts f JOIN few ON f.id = few.id", &["build rows=", "files=1/4 (pruned: 3 while running)"]);
    // All rows have one key.
    check("SELECT max(n) FROM (SELECT row_number() OVER (PARTITION BY id * 0 ORDER BY id) AS n FROM facts)", &["4,000/0"]);
    check("SELECT /*+ BROADCAST(few) */ count(*) FROM facts JOIN few ON facts.id = few.id", &["BROADCAST(few) applied"]);
    check("SELECT DISTINCT ON (k) k, id FROM facts ORDER BY k, id", &["number_distinct_on_rows"]);
    // No scan is left to tell it.
    check("SELECT id, k FROM facts WHERE id < -5", &["not read", "dev.default.facts: files=0/4 (pruned: 4 by the table's log)"]);
    let all = analyze("VERBOSE SELECT count(*) FROM facts WHERE k = 3");
    assert!(all.contains("metrics=[output_rows=") && all.contains(".parquet"), "{backend}\n{all}");
}

#[test]
fn one_process_tells_what_it_did() {
    let dir = tempfile::tempdir().unwrap();
    tables(dir.path());
    tells("one process", &|query| {
        let ran = sql(dir.path(), &format!("EXPLAIN ANALYZE {query}"));
        assert_eq!(ran.code, Some(0), "{query}\n{}", ran.stderr);
        ran.stdout
    });
}

#[test]
fn a_cluster_tells_what_its_stages_did() {
    let dir = tempfile::tempdir().unwrap();
    tables(dir.path());
    let cluster = Cluster::start(dir.path(), Options::of(2));
    let analyze = |query: &str| cluster.sql(&format!("EXPLAIN ANALYZE {query}")).stdout;
    tells("stages", &analyze);
    let text = analyze("SELECT k, count(*) FROM facts GROUP BY k");
    for part in [
        "Stage 1: 4 partitions in ",
        " tasks on 2 executors, slowest task ",
        "Stage 2: ",
        "shuffle read ",
        ", written ",
        "ShuffleReaderExec",
    ] {
        assert!(text.contains(part), "{part:?} is not told\n{text}");
    }
    assert!(text.contains("executors") && text.contains(" rows read, "), "{text}");
}

#[test]
fn a_cluster_tells_what_whole_plans_did() {
    let dir = tempfile::tempdir().unwrap();
    tables(dir.path());
    let cluster = Cluster::start(dir.path(), Options::of(1));
    let analyze = |query: &str| cluster.sql(&format!("EXPLAIN ANALYZE {query}")).stdout;
    tells("one task", &analyze);
    let text = analyze("SELECT k, count(*) FROM facts GROUP BY k");
    for part in ["Stage 1: the whole plan in 1 task on 1 executor", "mode=FinalPartitioned", "RepartitionExec", "4,000 "] {
        assert!(text.contains(part), "{part:?} is not told\n{text}");
    }
}

/// Filters that tasks fill themselves leave out files, never rows.
#[test]
fn filters_of_tasks_keep_the_rows() {
    let dir = tempfile::tempdir().unwrap();
    tables(dir.path());
    let queries = [
        "SELECT count(*), sum(f.id) FROM facts f JOIN few ON f.id = few.id",
        "SELECT count(*), sum(f.id) FROM few JOIN facts f ON f.id = few.id + 1 AND f.k = few.id % 10",
        "SELECT count(*), count(few.id) FROM facts f LEFT JOIN few ON f.id = few.id",
        "SELECT count(*), count(f.id) FROM facts f RIGHT JOIN few ON f.id = few.id - 3500",
        "SELECT count(*) FROM facts WHERE id IN (SELECT id FROM few)",
        "SELECT count(*) FROM facts WHERE id NOT IN (SELECT id FROM few)",
        "SELECT count(*) FROM few WHERE id NOT IN (SELECT id FROM facts)",
        "SELECT count(*) FROM facts f JOIN few ON f.id = few.id AND few.name = 'none'",
        "SELECT id FROM facts ORDER BY id DESC LIMIT 3",
        "SELECT min(id), max(id), max(k) FROM facts WHERE k <> 9",
        "SELECT f.id FROM facts f JOIN few ON f.k = few.id % 10 ORDER BY f.id LIMIT 2",
        "SELECT count(*) FROM facts a JOIN facts b ON a.id = b.id JOIN few ON b.id = few.id",
    ];
    let expected: Vec<Vec<String>> = queries.iter().map(|query| rows(dir.path(), query)).collect();
    for executors in [1, 2] {
        let cluster = Cluster::start(dir.path(), Options::of(executors));
        for (query, expected) in queries.iter().zip(&expected) {
            assert_eq!(cluster.rows(query), *expected, "{query} on {executors}");
        }
    }
}

#[test]
fn a_sort_without_memory_tells_of_its_spills() {
    let dir = tempfile::tempdir().unwrap();
    let query = "EXPLAIN ANALYZE SELECT value, repeat('x', 100) AS t FROM generate_series(1, 600000) ORDER BY value % 1000, value";
    let ran = run(dir.path(), &["sql", "--threads", "1", "--memory-limit", "40MB", "--format", "csv", "-c", query]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    tells_of_spills(&ran.stdout);
    tables(dir.path());
    let mut options = Options::of(1);
    options.executor_args.extend(["--memory-limit", "48MB"].map(String::from));
    let cluster = Cluster::start(dir.path(), options);
    tells_of_spills(&cluster.sql("EXPLAIN ANALYZE SELECT id, repeat('x', 100) || id AS t FROM long ORDER BY id % 1000, id").stdout);
}

fn tells_of_spills(text: &str) {
    let sort = text.lines().skip_while(|line| !line.contains("SortExec")).nth(1).unwrap_or_default();
    assert!(sort.contains("spills=") && sort.contains("spilled="), "{text}");
}
