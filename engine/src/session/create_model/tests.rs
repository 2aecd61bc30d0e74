//! `CREATE MODEL` from text to version: what it leaves behind when it is stopped, repeated, or not alone.

use std::collections::BTreeSet;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt as _;

use super::*;
use crate::dialect::split;
use crate::session::SessionOptions;

async fn session(dir: &Path) -> Session {
    let options = SessionOptions { warehouse: dir.join("warehouse").display().to_string(), threads: Some(2), ..SessionOptions::default() };
    Session::open(options).await.unwrap()
}

/// A session with the table `points` of 200 rows.
async fn with_points(dir: &Path) -> Session {
    let session = session(dir).await;
    run(&session, "CREATE TABLE points AS SELECT value % 7 AS x, value * 0.5 AS y FROM generate_series(1, 200) AS g(value)").await.unwrap();
    session
}

const CREATE: &str = "CREATE OR REPLACE MODEL m OPTIONS (model_type = 'kmeans', num_clusters = 3) AS SELECT x, y FROM points";

async fn outcome(session: &Session, sql: &str, mode: Mode) -> Result<Outcome> {
    session.execute(&split(sql)?.remove(0), mode, &Tracker::default()).await
}

/// The rows of a statement, cells joined by spaces; one row with what it said if it has none.
async fn run(session: &Session, sql: &str) -> Result<Vec<String>> {
    match outcome(session, sql, Mode::Run).await? {
        Outcome::Rows(stream) => {
            let batches: Vec<RecordBatch> = stream.try_collect().await?;
            let row = |batch: &RecordBatch, row: usize| {
                let cells = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
                cells.collect::<Vec<_>>().join(" ")
            };
            Ok(batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|at| row(batch, at)).collect::<Vec<_>>()).collect())
        }
        Outcome::Written { .. } => Ok(Vec::new()),
        Outcome::Done(text) => Ok(vec![text]),
    }
}

#[test]
fn losses_are_shown_with_six_digits() {
    let shown = [4655.000001, 0.000_123_456_78, 1.0, 123_456_789.0, 0.0, -2.5, 1e-20].map(rounded);
    assert_eq!(shown, ["4655", "0.000123457", "1", "123456789", "0", "-2.5", "1e-20"]);
}

#[tokio::test]
async fn says_what_was_trained() {
    let dir = tempfile::tempdir().unwrap();
    let session = with_points(dir.path()).await;
    let said = run(&session, CREATE).await.unwrap().remove(0);
    assert!(said.starts_with("dev.default.m version 1: kmeans of 200 rows, ") && said.ends_with(" ms"), "{said}");
    let said = run(&session, CREATE).await.unwrap().remove(0);
    assert!(said.starts_with("dev.default.m version 2: "), "{said}");
    let described = run(&session, "DESCRIBE MODEL m VERSION 1").await.unwrap();
    for expected in [
        "name dev.default.m",
        "type kmeans",
        "version 1",
        "versions 1, 2",
        "option num_clusters 3",
        "rows 200",
        "source dev.default.points version 0",
        "training query SELECT x, y FROM points",
    ] {
        assert!(described.iter().any(|row| row == expected), "{expected} in {described:#?}");
    }
    let explained = run(&session, &format!("EXPLAIN {CREATE}")).await.unwrap();
    assert!(explained[0].starts_with("training model: dev.default.m, kmeans\nrows: 200\n"), "{explained:#?}");
    assert!(explained[0].contains("place: in one task"), "{explained:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_train_at_once_get_different_versions() {
    let dir = tempfile::tempdir().unwrap();
    let sessions = [std::sync::Arc::new(with_points(dir.path()).await), std::sync::Arc::new(session(dir.path()).await)];
    let mut tasks = Vec::new();
    for number in 0..6 {
        let session = std::sync::Arc::clone(&sessions[number % 2]);
        tasks.push(tokio::spawn(async move { run(&session, CREATE).await.unwrap().remove(0) }));
    }
    let mut said = BTreeSet::new();
    for task in tasks {
        said.insert(task.await.unwrap().split(':').next().unwrap().to_string());
    }
    let expected: BTreeSet<String> = (1..=6).map(|version| format!("dev.default.m version {version}")).collect();
    assert_eq!(said, expected);
    let same = run(&sessions[0], "SELECT count(*), count(DISTINCT checksum) FROM system.ml.model_versions").await.unwrap();
    assert_eq!(same, ["6 1"]);
    assert_eq!(run(&sessions[1], "SELECT count(*) FROM system.ml.runs WHERE status = 'succeeded'").await.unwrap(), ["6"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_training_leaves_a_run_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let session = std::sync::Arc::new(with_points(dir.path()).await);
    let endless = "CREATE MODEL endless OPTIONS (model_type = 'kmeans', num_clusters = 20, n_init = 1000, max_iterations = 1000000, tol = 0) \
                   AS SELECT a.x, b.y, a.y AS z FROM points a, points b";
    let training = {
        let session = std::sync::Arc::clone(&session);
        tokio::spawn(async move { run(&session, endless).await })
    };
    while live::iterations("dev.default.endless").is_none_or(|iterations| iterations.is_empty()) {
        assert!(!training.is_finished(), "the training has ended: {:?}", training.await);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    session.cancel();
    let error = training.await.unwrap().unwrap_err();
    assert_eq!(error.blame, Blame::Interrupted);
    session.resume();
    assert_eq!(run(&session, "SELECT model, status FROM system.ml.runs").await.unwrap(), ["dev.default.endless cancelled"]);
    assert!(run(&session, "DESCRIBE MODEL endless").await.is_err());
    assert!(!session.warehouse.has_model_files(&TableName::new("dev", "default", "endless")).await.unwrap());
}

#[tokio::test]
async fn a_statement_that_is_repeated_under_its_name_trains_once() {
    let dir = tempfile::tempdir().unwrap();
    let session = with_points(dir.path()).await;
    session.set_statement_key(Some("run/3".to_string()));
    assert!(run(&session, CREATE).await.unwrap()[0].starts_with("dev.default.m version 1: "));
    assert_eq!(run(&session, CREATE).await.unwrap(), ["dev.default.m version 1 was trained before"]);
    session.set_statement_key(Some("run/4".to_string()));
    assert!(run(&session, CREATE).await.unwrap()[0].starts_with("dev.default.m version 2: "));
}

#[tokio::test]
async fn training_starts_from_the_newest_version_where_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let session = with_points(dir.path()).await;
    let warm = CREATE.replace("num_clusters = 3", "num_clusters = 3, warm_start = TRUE");
    let error = run(&session, &warm).await.unwrap_err();
    assert!(error.message.contains("there is no version of dev.default.m yet"), "{}", error.message);
    assert!(error.position.is_some());
    run(&session, CREATE).await.unwrap();
    run(&session, &warm).await.unwrap();
    let iterations = run(&session, "SELECT iterations FROM system.ml.model_versions ORDER BY version").await.unwrap();
    let iterations: Vec<u32> = iterations.iter().map(|text| text.parse().unwrap()).collect();
    assert!(iterations[1] <= iterations[0], "{iterations:?}");
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_finds_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let session = with_points(dir.path()).await;
    let check = async |sql: &str| outcome(&session, sql, Mode::Check).await.map(|_| ());
    check(CREATE).await.unwrap();
    let transform = CREATE.replace("m OPTIONS", "m TRANSFORM (ML.STANDARD_SCALER(x) OVER () AS x, y) OPTIONS");
    check(&transform).await.unwrap();
    for (from, to) in [("num_clusters = 3", "num_clusters = 0"), ("num_clusters", "clusters"), ("x, y", "x, 'a' AS y"), ("x, y", "x, nope")]
    {
        assert!(check(&CREATE.replace(from, to)).await.is_err(), "{to}");
    }
    assert!(check(&transform.replace("OVER () AS x", "OVER () AS x, nope")).await.is_err());
    assert!(!session.names.registry().exists(&TableName::new("dev", "default", "m")).await.unwrap());
    assert!(session.warehouse.relation(&TableName::new("system", "ml", "runs")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_dry_run_plans_what_uses_a_model_that_it_would_make() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    let check = async |sql: &str| outcome(&session, sql, Mode::Check).await.map(|_| ());
    let script = [
        "CREATE TABLE points AS SELECT value AS x, value * 0.5 AS y, 'a' AS city, [value, 1] AS v FROM generate_series(1, 200) AS g(value)",
        CREATE,
        "SELECT centroid_id + 1, nearest_centroids_distance[1], x FROM ML.PREDICT(MODEL m, TABLE points)",
        "SELECT predict('m', STRUCT(x, y)) FROM points WHERE predict('m@latest', STRUCT(1 AS x, 2 AS y)) = 1",
        "SELECT silhouette, davies_bouldin_index, training_cost FROM ML.EVALUATE(MODEL m)",
        "SELECT mean_squared_distance FROM ML.EVALUATE(MODEL m, TABLE points)",
        "SELECT centroid_id, feature, numerical_value FROM ML.CENTROIDS(MODEL m)",
        "SELECT is_anomaly FROM ML.DETECT_ANOMALIES(MODEL m, STRUCT(0.1 AS contamination), TABLE points)",
        "SELECT iteration, loss FROM ML.TRAINING_INFO(MODEL m)",
        "SELECT input, median FROM ML.FEATURE_INFO(MODEL m)",
        "CREATE VIEW scored AS SELECT centroid_id FROM ML.PREDICT(MODEL m, TABLE points)",
        "SELECT centroid_id FROM scored",
        "CREATE OR REPLACE MODEL m OPTIONS (model_type = 'kmeans', num_clusters = HPARAM_RANGE(2, 3), distance_type = 'cosine') AS SELECT x, y, v FROM points",
        "SELECT hyperparameters['num_clusters'], hparam_tuning_evaluation_metrics['silhouette'], is_optimal FROM ML.TRIAL_INFO(MODEL m)",
        "ALTER MODEL m SET ALIAS production = VERSION 1",
        "SELECT centroid_id FROM ML.PREDICT(MODEL m@production, TABLE points)",
        "SELECT centroid_id FROM ML.PREDICT(MODEL m VERSION AS OF 2, TABLE points)",
        "ALTER MODEL m DROP ALIAS production",
        "ALTER MODEL m SET OPTIONS (description = 'corners')",
        "SHOW MODELS",
        "SHOW MODEL VERSIONS m",
        "DESCRIBE MODEL m VERSION 1",
        "EXPORT MODEL m OPTIONS (uri = '/nowhere/m.onnx')",
        "SELECT model, version FROM system.ml.model_versions",
        "SELECT alias FROM system.ml.aliases",
        "CREATE MODEL p TRANSFORM (ML.STANDARD_SCALER(x) OVER () AS x, ML.ROBUST_SCALER(y) OVER () AS y, ML.ONE_HOT_ENCODER(city) OVER () AS city,
           ML.QUANTILE_BUCKETIZE(y, 4) OVER () AS bucket, ML.LABEL_ENCODER(city) OVER () AS label, ML.MIN_MAX_SCALER(winsorize(x, 0.1, 0.9) OVER ()) OVER () AS capped,
           ML.MAX_ABS_SCALER(ML.IMPUTER(y, 'mean') OVER ()) OVER () AS filled) OPTIONS (model_type = 'transform_only') AS SELECT x, y, city FROM points",
        "SELECT x, bucket, label, capped FROM ML.TRANSFORM(MODEL p, TABLE points)",
        "CREATE MODEL c TRANSFORM (ML.STANDARD_SCALER(x) OVER () AS x, ML.ONE_HOT_ENCODER(city) OVER () AS city) OPTIONS (model_type = 'pca', num_principal_components = 2) AS SELECT x, city FROM points",
        "SELECT principal_component_2 FROM ML.PREDICT(MODEL c, TABLE points)",
        "SELECT total_explained_variance_ratio FROM ML.EVALUATE(MODEL c)",
        "SELECT explained_variance_ratio FROM ML.PRINCIPAL_COMPONENTS_INFO(MODEL c)",
        "SELECT mean_squared_error FROM ML.DETECT_ANOMALIES(MODEL c, STRUCT(0.1 AS contamination), TABLE points)",
        "CREATE MODEL r OPTIONS (model_type = 'matrix_factorization', user_col = 'city', item_col = 'x', rating_col = 'y', l2_reg = HPARAM_RANGE(0.01, 1)) AS SELECT city, x, y FROM points",
        "SELECT city, x, predicted_y FROM ML.RECOMMEND(MODEL r, STRUCT(3 AS top_k, TRUE AS exclude_seen))",
        "SELECT city, x, predicted_y FROM ML.RECOMMEND(MODEL r, (SELECT 1 AS x), STRUCT(TRUE AS for_items))",
        "SELECT median_absolute_error, r2_score FROM ML.EVALUATE(MODEL r)",
        "SELECT mean_average_precision FROM ML.EVALUATE(MODEL r, TABLE points, STRUCT(5 AS top_k, 3 AS wanted_above))",
        "SELECT hyperparameters['l2_reg'], hparam_tuning_evaluation_metrics['mean_squared_error'] FROM ML.TRIAL_INFO(MODEL r)",
        "SELECT processed_input, factor_weights FROM ML.WEIGHTS(MODEL r)",
        "DROP MODEL r",
        "CREATE MODEL r OPTIONS (model_type = 'kmeans', num_clusters = 2, warm_start = FALSE) AS SELECT x FROM points",
        "CREATE OR REPLACE MODEL r OPTIONS (model_type = 'kmeans', num_clusters = 2, warm_start = TRUE) AS SELECT x FROM points",
    ];
    for statement in script {
        check(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    for (statement, part) in [
        (CREATE.replace("OR REPLACE ", "").as_str(), "exists already, at version 2"),
        ("CREATE TABLE m AS SELECT 1 AS a", "is a model"),
        ("CREATE MODEL points OPTIONS (model_type = 'kmeans', num_clusters = 2) AS SELECT x FROM points", "is a table or view"),
        ("SELECT nope FROM ML.PREDICT(MODEL m, TABLE points)", "nope"),
        ("SELECT * FROM ML.PREDICT(MODEL m, (SELECT x FROM points))", "no column 'y'"),
        ("SELECT * FROM ML.PREDICT(MODEL m VERSION AS OF 3, TABLE points)", "no version 3"),
        ("SELECT * FROM ML.PREDICT(MODEL m@production, TABLE points)", "no alias 'production'"),
        ("SELECT * FROM ML.PREDICT(MODEL p, TABLE points)", "predicts nothing"),
        ("ALTER MODEL m SET ALIAS a = VERSION 7", "no version 7"),
        (
            "CREATE OR REPLACE MODEL c OPTIONS (model_type = 'pca', num_principal_components = 5) AS SELECT x, y FROM points",
            "more than there are features",
        ),
        ("DROP MODEL nope", "does not exist"),
    ] {
        let error = check(statement).await.unwrap_err();
        assert!(error.message.contains(part), "{statement}: {}", error.message);
    }
    check("DROP MODEL m").await.unwrap();
    assert!(check("DESCRIBE MODEL m").await.is_err());
    assert!(!dir.path().join("warehouse").exists(), "nothing is written");
}

#[tokio::test]
async fn a_dry_run_lists_the_models_that_there_would_be() {
    let dir = tempfile::tempdir().unwrap();
    let session = with_points(dir.path()).await;
    run(&session, CREATE).await.unwrap();
    run(&session, &CREATE.replace("MODEL m", "MODEL gone")).await.unwrap();
    let listed = async || {
        let rows = run(&session, "SHOW MODELS").await.unwrap();
        rows.iter().map(|row| row.split(' ').take(5).collect::<Vec<_>>().join(" ")).collect::<Vec<String>>()
    };
    assert_eq!(listed().await, ["default gone kmeans 1 1", "default m kmeans 1 1"]);
    for statement in [CREATE, CREATE.replace("MODEL m", "MODEL a").as_str(), "DROP MODEL gone"] {
        outcome(&session, statement, Mode::Check).await.unwrap();
    }
    assert_eq!(listed().await, ["default a kmeans 1 1", "default m kmeans 2 2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_session_sees_how_far_a_training_is() {
    let dir = tempfile::tempdir().unwrap();
    let training = std::sync::Arc::new(with_points(dir.path()).await);
    let other = session(dir.path()).await;
    let endless = "CREATE MODEL seen OPTIONS (model_type = 'kmeans', num_clusters = 20, n_init = 1000, max_iterations = 1000000, tol = 0) \
                   AS SELECT a.x, b.y, a.y AS z FROM points a, points b";
    let running = {
        let training = std::sync::Arc::clone(&training);
        tokio::spawn(async move { run(&training, endless).await })
    };
    let info = "SELECT count(*) > 0, min(iteration), count(loss) = count(*) FROM ML.TRAINING_INFO(MODEL seen)";
    let mut seen = Vec::new();
    while seen != ["true 0 true"] {
        assert!(!running.is_finished(), "the training has ended: {:?}", running.await);
        // Before it has begun there is no such model.
        seen = run(&other, info).await.unwrap_or_default();
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(run(&other, "SELECT * FROM ML.CENTROIDS(MODEL seen)").await.is_err(), "there is no version yet");
    training.cancel();
    assert_eq!(running.await.unwrap().unwrap_err().blame, Blame::Interrupted);
    assert!(run(&other, info).await.is_err());
}

#[tokio::test]
async fn models_are_loaded_once_for_every_use() {
    let dir = tempfile::tempdir().unwrap();
    let session = with_points(dir.path()).await;
    run(&session, &CREATE.replace("num_clusters = 3", "num_clusters = 3, seed = 4711")).await.unwrap();
    let record = session.names.registry().resolve(&TableName::new("dev", "default", "m"), &Selector::Latest).await.unwrap();
    let model = session.names.registry().load(&record.reference).await.unwrap();
    run(&session, "SELECT count(centroid_id) FROM ML.PREDICT(MODEL m, TABLE points)").await.unwrap();
    let again = crate::models::cache::process().load(&record.reference).await.unwrap();
    assert!(std::sync::Arc::ptr_eq(&model, &again));
    // What is in memory needs no file.
    std::fs::remove_file(url::Url::parse(&record.reference.url).unwrap().to_file_path().unwrap()).unwrap();
    let export = |file: &str| format!("EXPORT MODEL m OPTIONS (uri = '{}/{file}')", dir.path().display());
    run(&session, &export("m.onnx")).await.unwrap();
    assert!(run(&session, &export("m.safetensors")).await.is_err());
}

#[tokio::test]
async fn a_damaged_file_fails_what_needs_it_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let session = with_points(dir.path()).await;
    run(&session, CREATE).await.unwrap();
    let record = session.names.registry().resolve(&TableName::new("dev", "default", "m"), &Selector::Latest).await.unwrap();
    let path = url::Url::parse(&record.reference.url).unwrap().to_file_path().unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let target = dir.path().join("out/m.safetensors");
    let export = format!("EXPORT MODEL m OPTIONS (uri = '{}')", target.display());
    let error = run(&session, &export).await.unwrap_err();
    assert!(error.message.contains("is damaged") && error.message.contains(&record.reference.url), "{}", error.message);
    assert!(!target.exists());
    assert!(run(&session, "DESCRIBE MODEL m").await.is_ok());
    std::fs::write(&path, &whole).unwrap();
    run(&session, &export).await.unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), whole);
}
