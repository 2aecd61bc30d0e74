//! Tests of the registry: versions appear whole or not at all, numbers are given once, and what is damaged is named.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use orrery_lakehouse::{TableName, Warehouse};
use orrery_models::{OptionValue, Options};

use super::*;
use crate::models::{Selector, SourceTable};

async fn warehouse(folder: &tempfile::TempDir) -> Warehouse {
    Warehouse::open(folder.path().to_str().unwrap(), HashMap::new()).await.unwrap()
}

fn name(model: &str) -> TableName {
    TableName::new("dev", "default", model)
}

fn record(run_id: &str) -> ModelRecord {
    ModelRecord {
        reference: ModelReference { name: String::new(), version: 0, url: String::new(), checksum: String::new() },
        run_id: run_id.to_string(),
        model_type: "kmeans".to_string(),
        statement: "CREATE MODEL m …".to_string(),
        query: "SELECT 1".to_string(),
        options: Options(BTreeMap::from([("seed".to_string(), OptionValue::Int(42))])),
        seed: Some(42),
        inputs: vec![orrery_models::InputColumn { name: "a".into(), data_type: arrow::datatypes::DataType::Float64 }],
        preparation: None,
        sources: vec![SourceTable { name: "dev.default.t".to_string(), version: Some(3) }],
        metrics: BTreeMap::from([("loss".to_string(), 1.5), ("none".to_string(), f64::INFINITY)]),
        iterations: Vec::new(),
        trials: Vec::new(),
        rows: 10,
        bytes: 0,
        duration_ms: 1.5,
        tasks: 1,
        created_at_micros: 0,
        engine_version: "0".to_string(),
    }
}

fn run(record: &ModelRecord) -> RunRow {
    RunRow {
        run_id: record.run_id.clone(),
        model: record.reference.name.clone(),
        model_type: record.model_type.clone(),
        statement: record.statement.clone(),
        status: RunStatus::Succeeded,
        error: None,
        version: Some(record.reference.version),
        rows: Some(record.rows),
        iterations: Some(0),
        tasks: Some(1),
        duration_ms: 1.0,
        started_at: 0,
        finished_at: 1,
        engine_version: "0",
    }
}

/// Names and versions of the models of `dev.default`.
async fn listed(registry: &Registry) -> Vec<(String, Vec<u64>)> {
    registry.listing("dev", "default").await.unwrap().into_iter().map(|listing| (listing.name, listing.versions)).collect()
}

async fn add(registry: &Registry, model: &str, run_id: &str, file: &str) -> u64 {
    match try_add(registry, model, run_id, file, IfExists::AddVersion).await.unwrap() {
        Registered::Version(record) => record.reference.version,
        Registered::Existed => panic!("{model} was to get a version"),
    }
}

async fn try_add(registry: &Registry, model: &str, run_id: &str, file: &str, if_exists: IfExists) -> Result<Registered> {
    let file = Bytes::from(file.to_string());
    let new = NewVersion { name: name(model), if_exists, file, record: record(run_id), description: None, labels: None };
    registry.register(new, run).await
}

#[tokio::test]
async fn what_is_registered_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(warehouse(&folder).await);
    assert!(!registry.exists(&name("m")).await.unwrap());
    assert_eq!((add(&registry, "m", "r1", "one").await, add(&registry, "m", "r2", "two").await), (1, 2));
    assert_eq!(add(&registry, "other", "r3", "three").await, 1);
    // Another process sees the same.
    for registry in [&registry, &Registry::new(warehouse(&folder).await)] {
        assert!(registry.exists(&name("m")).await.unwrap());
        let found = registry.resolve(&name("m"), &Selector::Latest).await.unwrap();
        let expected = ModelRecord {
            reference: found.reference.clone(),
            bytes: 3,
            created_at_micros: found.created_at_micros,
            metrics: found.metrics.clone(),
            ..record("r2")
        };
        assert_eq!(*found, expected);
        assert_eq!((found.reference.name.as_str(), found.reference.version), ("dev.default.m", 2));
        assert_eq!(found.metrics.get("loss"), Some(&1.5));
        assert_eq!(registry.file_of(&found.reference).await.unwrap(), Bytes::from("two"));
        let first = registry.resolve(&name("m"), &Selector::Version(1)).await.unwrap();
        assert_eq!(registry.file_of(&first.reference).await.unwrap(), Bytes::from("one"));
        assert_eq!(registry.versions_of(&name("m")).await.unwrap().len(), 2);
        assert_eq!(listed(registry).await, [("m".to_string(), vec![1, 2]), ("other".to_string(), vec![1])]);
        assert_eq!(registry.version_of_run(&name("m"), "r2").await.unwrap(), Some(2));
        assert_eq!(registry.version_of_run(&name("m"), "r3").await.unwrap(), None);
    }
    let rows = registry.model_rows().await.unwrap();
    let newest: Vec<(&str, u64, u64)> = rows.iter().map(|row| (row.model.as_str(), row.newest_version, row.last_version)).collect();
    assert_eq!(newest, [("dev.default.m", 2, 2), ("dev.default.other", 1, 1)]);
}

/// Many creations at once, of two processes, get as many versions; none is lost and no number is given twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_creations_get_different_versions() {
    const EACH: usize = 8;
    let folder = tempfile::tempdir().unwrap();
    let registries = [Arc::new(Registry::new(warehouse(&folder).await)), Arc::new(Registry::new(warehouse(&folder).await))];
    let mut tasks = Vec::new();
    for (process, registry) in registries.iter().enumerate() {
        for number in 0..EACH {
            let registry = Arc::clone(registry);
            tasks.push(tokio::spawn(async move {
                let file = format!("{process}/{number}");
                (add(&registry, "m", &file, &file).await, file)
            }));
        }
    }
    let mut given = BTreeMap::new();
    for task in tasks {
        let (version, file) = task.await.unwrap();
        assert_eq!(given.insert(version, file), None, "version {version} was given twice");
    }
    let numbers: Vec<u64> = given.keys().copied().collect();
    assert_eq!(numbers, (1..=2 * EACH as u64).collect::<Vec<_>>());
    let registry = Registry::new(warehouse(&folder).await);
    for (version, file) in given {
        let record = registry.resolve(&name("m"), &Selector::Version(version)).await.unwrap();
        assert_eq!(registry.file_of(&record.reference).await.unwrap(), Bytes::from(file));
    }
    assert_eq!(runs(&registry).await.len(), 2 * EACH);
}

/// Run ids with the versions that came of them.
async fn runs(registry: &Registry) -> BTreeSet<(String, String)> {
    let batch = registry.runs.read(registry.place()).await.unwrap().batch.clone();
    let text = |column: &str, row: usize| {
        let column = arrow::compute::cast(batch.column_by_name(column).unwrap(), &arrow::datatypes::DataType::Utf8).unwrap();
        arrow::array::AsArray::as_string::<i32>(&column).value(row).to_string()
    };
    (0..batch.num_rows()).map(|row| (text("run_id", row), text("status", row))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_plain_creations_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let registries = [Arc::new(Registry::new(warehouse(&folder).await)), Arc::new(Registry::new(warehouse(&folder).await))];
    let mut tasks = Vec::new();
    for number in 0..6 {
        let registry = Arc::clone(&registries[number % 2]);
        tasks.push(tokio::spawn(async move { try_add(&registry, "m", &number.to_string(), "x", IfExists::Refuse).await }));
    }
    let mut created = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => created += 1,
            Err(error) => assert!(error.message.contains("exists already"), "{}", error.message),
        }
    }
    assert_eq!(created, 1);
    // The files of those that lost are gone.
    assert_eq!(registries[0].warehouse.model_files(&name("m")).await.unwrap().len(), 1);
    assert_eq!(try_add(&registries[1], "m", "again", "y", IfExists::Keep).await.unwrap(), Registered::Existed);
    assert_eq!(registries[0].warehouse.model_files(&name("m")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn many_versions_stay_in_few_files() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(warehouse(&folder).await);
    for number in 0..40 {
        assert_eq!(add(&registry, "m", &number.to_string(), "x").await, number + 1);
    }
    let orrery_lakehouse::Relation::Table(table) =
        registry.warehouse.relation(&TableName::new("system", "ml", "model_versions")).await.unwrap().unwrap()
    else {
        panic!("a table")
    };
    assert!(table.num_files() < 32, "{} files", table.num_files());
    assert_eq!(table.num_rows(), Some(40));
    let fresh = Registry::new(warehouse(&folder).await);
    assert_eq!(fresh.versions_of(&name("m")).await.unwrap().len(), 40);
    assert_eq!(runs(&fresh).await.len(), 40);
}

#[tokio::test]
async fn what_does_not_exist_is_named_with_what_does() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(warehouse(&folder).await);
    let error = registry.resolve(&name("segments"), &Selector::Latest).await.unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("dev.default has no models"));
    for file in ["a", "b", "c"] {
        add(&registry, "segments", file, file).await;
    }
    let error = registry.resolve(&name("segment"), &Selector::Latest).await.unwrap_err();
    assert_eq!(
        (error.message.as_str(), error.hint.as_deref()),
        ("the model 'dev.default.segment' does not exist", Some("did you mean 'segments'?"))
    );
    let error = registry.resolve(&name("segments"), &Selector::Version(7)).await.unwrap_err();
    assert_eq!(
        (error.message.as_str(), error.hint.as_deref()),
        ("dev.default.segments has no version 7", Some("its versions are 1, 2, 3"))
    );
    let error = registry.resolve(&name("segments"), &Selector::Alias("prod".into())).await.unwrap_err();
    assert!(error.message.contains("has no alias 'prod'") && error.hint.unwrap().contains("it has no aliases"), "{}", error.message);
    let elsewhere = TableName::new("dev", "nowhere", "segments");
    let error = registry.resolve(&elsewhere, &Selector::Latest).await.unwrap_err();
    assert_eq!(error.message, "the schema 'dev.nowhere' does not exist");
    let elsewhere = TableName::new("prod", "default", "segments");
    let error = registry.resolve(&elsewhere, &Selector::Latest).await.unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("did you mean 'dev.default.segments'?"));
}

#[tokio::test]
async fn aliases_hold_versions() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(warehouse(&folder).await);
    for file in ["a", "b"] {
        add(&registry, "m", file, file).await;
    }
    let m = name("m");
    assert_eq!(registry.set_alias(&m, "prod", 1).await.unwrap(), None);
    let prod = Selector::Alias("prod".into());
    assert_eq!(registry.resolve(&m, &prod).await.unwrap().reference.version, 1);
    let error = registry.drop_version(&m, 1).await.unwrap_err();
    assert!(error.message.contains("the alias 'prod' points to it"), "{}", error.message);
    assert_eq!(registry.set_alias(&m, "prod", 2).await.unwrap(), Some(1));
    assert_eq!(registry.resolve(&m, &prod).await.unwrap().reference.version, 2);
    assert!(registry.set_alias(&m, "prod", 9).await.unwrap_err().message.contains("no version 9"));
    registry.drop_version(&m, 1).await.unwrap();
    let error = registry.resolve(&m, &Selector::Version(1)).await.unwrap_err();
    assert_eq!((error.message.as_str(), error.hint.as_deref()), ("version 1 of dev.default.m was dropped", Some("its versions are 2")));
    let other = registry.drop_alias(&m, "test").await.unwrap_err();
    assert_eq!(other.hint.as_deref(), Some("its aliases are prod"));
    registry.drop_alias(&m, "prod").await.unwrap();
    assert!(registry.resolve(&m, &prod).await.is_err());
}

#[tokio::test]
async fn a_dropped_number_is_never_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(warehouse(&folder).await);
    let m = name("m");
    for file in ["a", "b", "c"] {
        add(&registry, "m", file, file).await;
    }
    registry.drop_version(&m, 3).await.unwrap();
    assert_eq!(registry.warehouse.model_files(&m).await.unwrap().len(), 2);
    assert_eq!(registry.resolve(&m, &Selector::Latest).await.unwrap().reference.version, 2);
    assert_eq!(registry.model_rows().await.unwrap()[0].newest_version, 2);
    assert_eq!(add(&registry, "m", "d", "d").await, 4);
    registry.set_alias(&m, "prod", 4).await.unwrap();
    registry.drop_model(&m).await.unwrap();
    assert!(!registry.exists(&m).await.unwrap());
    assert!(registry.warehouse.model_files(&m).await.unwrap().is_empty());
    assert!(registry.aliases_of(&m).await.unwrap().is_empty());
    assert!(registry.model_rows().await.unwrap().is_empty());
    assert_eq!(runs(&registry).await.len(), 4);
    assert_eq!(add(&registry, "m", "e", "e").await, 1);
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(warehouse(&folder).await);
    add(&registry, "m", "a", "the model's bytes").await;
    let record = registry.resolve(&name("m"), &Selector::Latest).await.unwrap();
    let path = url::Url::parse(&record.reference.url).unwrap().to_file_path().unwrap();
    for damage in ["the model's byte", "the model's bytez", ""] {
        std::fs::write(&path, damage).unwrap();
        let error = registry.file_of(&record.reference).await.unwrap_err();
        assert!(error.message.contains("is damaged") && error.message.contains(&record.reference.url), "{}", error.message);
        assert_eq!(error.blame, Blame::Storage);
    }
    std::fs::remove_file(&path).unwrap();
    let error = registry.file_of(&record.reference).await.unwrap_err();
    assert!(error.message.contains("is missing") && error.message.contains(&record.reference.url), "{}", error.message);
}

/// What is left of a creation that was killed between its file and its row is no version, and goes when it is old.
#[tokio::test]
async fn files_without_a_version_are_nobodys() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(warehouse(&folder).await);
    add(&registry, "m", "a", "a").await;
    let m = name("m");
    let young = registry.warehouse.put_model_file(&m, "young.safetensors", Bytes::from("x")).await.unwrap();
    let old = registry.warehouse.put_model_file(&m, "old.safetensors", Bytes::from("x")).await.unwrap();
    let old_path = url::Url::parse(&old).unwrap().to_file_path().unwrap();
    let two_days_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(48 * 3600);
    std::fs::File::options().write(true).open(old_path).unwrap().set_modified(two_days_ago).unwrap();
    assert_eq!(add(&registry, "m", "b", "b").await, 2);
    let left: BTreeSet<String> = registry.warehouse.model_files(&m).await.unwrap().into_iter().map(|file| file.url).collect();
    assert_eq!(left.len(), 3);
    assert!(left.contains(&young) && !left.contains(&old));
    // A name whose only file has no row is free.
    registry.warehouse.put_model_file(&name("ghost"), "x.safetensors", Bytes::from("x")).await.unwrap();
    assert!(!registry.exists(&name("ghost")).await.unwrap());
}

#[tokio::test]
async fn descriptions_outlive_versions() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(warehouse(&folder).await);
    add(&registry, "m", "a", "a").await;
    let labels = BTreeMap::from([("team".to_string(), "growth".to_string())]);
    registry.describe(&name("m"), Some("what it is for"), Some(&labels)).await.unwrap();
    add(&registry, "m", "b", "b").await;
    let rows = Registry::new(warehouse(&folder).await).model_rows().await.unwrap();
    assert_eq!((rows[0].description.as_deref(), &rows[0].labels, rows[0].newest_version), (Some("what it is for"), &labels, 2));
    registry.describe(&name("m"), Some(""), None).await.unwrap();
    assert_eq!(
        (registry.model_rows().await.unwrap()[0].description.as_deref(), &registry.model_rows().await.unwrap()[0].labels),
        (None, &labels)
    );
    assert!(registry.describe(&name("none"), Some("x"), None).await.is_err());
}
