//! Models that are trained on a cluster: the same bytes as in one process, in one task or in many, whatever becomes of the executors meanwhile.

use std::path::Path;
use std::time::Duration;

use super::cluster::{Cluster, Options};
use super::orrery::{finished, rows, sql};

/// Statements that make the table `points` of six files.
fn points() -> Vec<String> {
    let rows = |from: u32| {
        format!(
            "SELECT value AS id,
                    sin(value * 0.7) * 10 + CASE value % 5 WHEN 0 THEN 40 WHEN 1 THEN -30 ELSE value % 7 END AS x,
                    cos(value * 1.3) * 5 + CASE value % 3 WHEN 0 THEN 25 ELSE 0 END AS y,
                    CAST(value * 7919 % 1000 AS DOUBLE) / 7 AS z
             FROM generate_series({from}, {})",
            from + 19_999
        )
    };
    let first = format!("CREATE TABLE points AS {}", rows(1));
    std::iter::once(first).chain((1..6).map(|file| format!("INSERT INTO points {}", rows(1 + file * 20_000)))).collect()
}

/// The statement that trains the model `name`; `more` are options.
fn create_model(name: &str, more: &str) -> String {
    format!(
        "CREATE MODEL {name} OPTIONS (model_type = 'kmeans', num_clusters = 40, seed = 42, tol = 0.0, {more})
         AS SELECT x, y, z FROM points WHERE id % 11 <> 0"
    )
}

/// Options of a training that takes long enough for somebody to be killed meanwhile.
const LONG: &str = "max_iterations = 100, n_init = 12";

/// The checksum of the newest version of a model in the warehouse of `dir`, and in how many tasks it was trained.
fn trained(dir: &Path, name: &str) -> (String, u32) {
    let found = rows(dir, &format!("SELECT checksum, tasks FROM system.ml.model_versions WHERE model = 'dev.default.{name}'"));
    let [row] = found.as_slice() else { panic!("{name} has not one version: {found:?}") };
    let (checksum, tasks) = row.split_once(',').unwrap();
    (checksum.to_string(), tasks.parse().unwrap())
}

/// What one process makes of the statement.
fn embedded(dir: &Path, more: &str) -> String {
    for statement in points().iter().chain([&create_model("alone", more)]) {
        let ran = sql(dir, statement);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
    trained(dir, "alone").0
}

#[test]
fn one_task_and_many_give_the_bytes_of_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let expected = embedded(dir.path(), "max_iterations = 5");
    for options in [Options::of(1), Options::of(1).small_plans_whole(), Options::of(3)] {
        let home = tempfile::tempdir_in(dir.path()).unwrap();
        let cluster = Cluster::start(home.path(), options);
        cluster.sql(&points().join(";\n"));
        for place in ["one_task", "distributed"] {
            cluster.sql(&format!("SET orrery.training = '{place}'; {}", create_model(place, "max_iterations = 5")));
            let (checksum, tasks) = trained(home.path(), place);
            assert_eq!(checksum, expected, "{place}\n{}", cluster.logs());
            assert_eq!(tasks > 1, place == "distributed");
        }
    }
}

#[test]
fn an_executor_killed_during_training_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let expected = embedded(dir.path(), LONG);
    for place in ["one_task", "distributed"] {
        let home = tempfile::tempdir_in(dir.path()).unwrap();
        let mut cluster = Cluster::start(home.path(), Options::of(3));
        cluster.sql(&points().join(";\n"));
        let script = home.path().join("train.sql");
        std::fs::write(&script, format!("SET orrery.training = '{place}'; {}", create_model("killed", LONG))).unwrap();
        let mut client = cluster.client_in_background(&["submit", "--quiet", script.to_str().unwrap()]);
        for victim in [0, 1] {
            std::thread::sleep(Duration::from_millis(1500));
            assert!(client.try_wait().unwrap().is_none(), "{place}: it was over before anybody could be killed");
            cluster.executors[victim].kill();
        }
        let said = finished(client.wait_with_output().unwrap());
        assert_eq!(said.code, Some(0), "{place}: {}\n{}", said.stderr, cluster.logs());
        assert_eq!(trained(home.path(), "killed").0, expected, "{place}");
    }
}

#[test]
fn a_cancelled_training_leaves_no_model() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Options::of(1));
    cluster.sql(&points().join(";\n"));
    let script = dir.path().join("train.sql");
    std::fs::write(&script, create_model("given_up", "max_iterations = 1000000, n_init = 1000")).unwrap();
    let client = cluster.client_in_background(&["submit", script.to_str().unwrap()]);
    std::thread::sleep(Duration::from_secs(2));
    let interrupted = std::process::Command::new("kill").args(["-INT", &client.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert_ne!(finished(client.wait_with_output().unwrap()).code, Some(0));
    // The executor is free again: it trains another model at once.
    cluster.sql(&create_model("after", "max_iterations = 2"));
    let found = rows(dir.path(), "SELECT model FROM system.ml.model_versions");
    assert_eq!(found, ["dev.default.after"], "{}", cluster.logs());
}

#[test]
fn large_requests_and_earlier_versions_travel_to_executors() {
    // Factors of 30,000 users are 1.2 MB: requests that lie in scratch storage on their way.
    let ratings = "CREATE TABLE ratings AS SELECT value % 30000 AS user, value * 7919 % 97 AS item, 1.0 + value * 31 % 5 AS rating
                   FROM generate_series(1, 90000)";
    let recommender = "CREATE MODEL recommender OPTIONS (model_type = 'matrix_factorization', max_iterations = 2, seed = 5)
                       AS SELECT \"user\", item, rating FROM ratings";
    let warm = |name: &str| {
        let first = create_model(name, "max_iterations = 2");
        let next =
            first.replace("CREATE MODEL", "CREATE OR REPLACE MODEL").replace("max_iterations = 2", "max_iterations = 3, warm_start = TRUE");
        format!("{first}; {next}")
    };
    let checksums = "SELECT model, version, checksum FROM system.ml.model_versions ORDER BY model, version";
    let dir = tempfile::tempdir().unwrap();
    let statements = format!("{}; {ratings}; {recommender}; {}", points().join(";\n"), warm("warm"));
    let ran = sql(dir.path(), &statements);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let expected = rows(dir.path(), checksums);
    assert_eq!(expected.len(), 3, "{expected:?}");
    assert_ne!(expected[1].rsplit(',').next(), expected[2].rsplit(',').next(), "the second version goes on where the first one was");
    let home = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(home.path(), Options::of(2));
    cluster.sql(&format!("SET orrery.training = 'distributed'; {statements}"));
    assert_eq!(rows(home.path(), checksums), expected, "{}", cluster.logs());
    let tasks = rows(home.path(), "SELECT min(tasks) > 1 FROM system.ml.model_versions");
    assert_eq!(tasks, ["true"]);
}

#[test]
fn another_client_sees_how_far_a_training_on_executors_is() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path(), Options::of(1));
    cluster.sql(&points().join(";\n"));
    for place in ["one_task", "distributed"] {
        let script = dir.path().join(format!("{place}.sql"));
        let endless = create_model(place, "max_iterations = 1000000, n_init = 1000");
        std::fs::write(&script, format!("SET orrery.training = '{place}'; {endless}")).unwrap();
        let mut client = cluster.client_in_background(&["submit", "--quiet", script.to_str().unwrap()]);
        let info = format!("SELECT count(*) > 0 AS some FROM ML.TRAINING_INFO(MODEL {place})");
        cluster.wait(
            |cluster| {
                let seen = cluster.try_sql(&info);
                seen.code == Some(0) && seen.stdout.lines().nth(1) == Some("true")
            },
            "iterations to be seen",
        );
        assert!(client.try_wait().unwrap().is_none(), "{place}: it was over");
        let interrupted = std::process::Command::new("kill").args(["-INT", &client.id().to_string()]).status().unwrap();
        assert!(interrupted.success());
        assert_ne!(finished(client.wait_with_output().unwrap()).code, Some(0));
    }
    assert!(!cluster.try_sql("DESCRIBE MODEL one_task").stderr.is_empty(), "nothing was registered");
}
