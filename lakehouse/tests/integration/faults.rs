//! Damage, missing space and missing permission: one clear error each, and every table keeps its previous version.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use datafusion::physical_plan::collect;
use orrery_lakehouse::{Error, WriteMode, WriteRequest};
use serde_json::json;

use crate::foreign::{Foreign, field, legacy, metadata};
use crate::support::{Lake, files_under, name, request, rows};

async fn damage(lake: &Lake, table: &str) -> (String, String) {
    let fresh = Lake::at(&lake.root().display().to_string()).await;
    match fresh.warehouse.relation(&name(table)).await {
        Err(Error::Damaged { path, reason, table: shown }) => {
            assert_eq!(shown, format!("dev.default.{table}"));
            (path, reason)
        }
        other => panic!("{other:?}"),
    }
}

/// A table of four commits and the folder of its log.
async fn four_commits(lake: &Lake, table: &str) -> PathBuf {
    lake.create(table, "SELECT 0 AS a").await;
    for value in 1..4 {
        lake.append(table, &format!("SELECT {value} AS a")).await;
    }
    lake.table_folder(table).join("_delta_log")
}

fn commit_name(version: u64) -> String {
    format!("{version:020}.json")
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_logs_are_reported_with_their_file() {
    let lake = Lake::local().await;
    let log = four_commits(&lake, "garbage").await;
    std::fs::write(log.join(commit_name(2)), "{\"commitInfo\":{}}\nthis is not JSON\n").unwrap();
    let (path, reason) = damage(&lake, "garbage").await;
    assert!(path.ends_with(&commit_name(2)) && reason.contains("line 2"), "{path}: {reason}");

    let log = four_commits(&lake, "cut").await;
    let text = std::fs::read(log.join(commit_name(3))).unwrap();
    std::fs::write(log.join(commit_name(3)), &text[..text.len() / 2]).unwrap();
    assert!(damage(&lake, "cut").await.0.ends_with(&commit_name(3)));

    let log = four_commits(&lake, "empty").await;
    std::fs::write(log.join(commit_name(1)), "").unwrap();
    let (path, reason) = damage(&lake, "empty").await;
    assert!(path.ends_with(&commit_name(1)) && reason.contains("empty"), "{path}: {reason}");

    let log = four_commits(&lake, "gap").await;
    std::fs::remove_file(log.join(commit_name(2))).unwrap();
    let (path, reason) = damage(&lake, "gap").await;
    assert!(path.ends_with(&commit_name(2)) && reason.contains("missing"), "{path}: {reason}");

    lake.create("sound", "SELECT 1 AS a").await;
    let fresh = Lake::at(&lake.root().display().to_string()).await;
    fresh.show("sound").await;
    assert_eq!(rows(&fresh.query("SELECT a FROM sound").await), ["1"]);
    assert_eq!(fresh.warehouse.relations("dev", "default").await.unwrap().len(), 5);
    for table in ["garbage", "cut", "empty", "gap"] {
        assert!(fresh.write(request(table, WriteMode::Append), "SELECT 9 AS a").await.is_err());
        assert!(fresh.warehouse.drop_table(&name(table), false).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_after_the_first_look_is_noticed() {
    let lake = Lake::local().await;
    let log = four_commits(&lake, "t").await;
    assert_eq!(lake.table("t").await.version(), 3);
    std::fs::write(log.join(commit_name(4)), "broken").unwrap();
    assert!(matches!(lake.warehouse.relation(&name("t")).await, Err(Error::Damaged { path, .. }) if path.ends_with(&commit_name(4))));
    std::fs::remove_file(log.join(commit_name(4))).unwrap();
    std::fs::copy(log.join(commit_name(3)), log.join(commit_name(5))).unwrap();
    assert!(matches!(lake.warehouse.relation(&name("t")).await, Err(Error::Damaged { path, .. }) if path.ends_with(&commit_name(4))));
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_without_their_essentials_are_damaged() {
    let lake = Lake::local().await;
    Foreign::new(&lake, "noprotocol").commit(0, &[metadata(vec![field("a", json!("long"))], &[], json!({}))]);
    assert!(damage(&lake, "noprotocol").await.1.contains("protocol"));
    Foreign::new(&lake, "nometadata").commit(0, &[legacy(1, 2)]);
    assert!(damage(&lake, "nometadata").await.1.contains("metaData"));
    Foreign::new(&lake, "badtype").commit(0, &[legacy(1, 2), metadata(vec![field("a", json!("decimal(99,1)"))], &[], json!({}))]);
    assert!(lake.warehouse.relation(&name("badtype")).await.is_err());
    Foreign::new(&lake, "badpartition").commit(0, &[legacy(1, 2), metadata(vec![field("a", json!("long"))], &["z"], json!({}))]);
    assert!(lake.warehouse.relation(&name("badpartition")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_checkpoints_are_reported() {
    let lake = Lake::local().await;
    let create =
        WriteRequest { properties: [("delta.checkpointInterval".to_string(), "2".to_string())].into(), ..request("t", WriteMode::Create) };
    lake.write(create, "SELECT 0 AS a").await.unwrap();
    for value in 1..4 {
        lake.append("t", &format!("SELECT {value} AS a")).await;
    }
    let checkpoint = lake.table_folder("t").join("_delta_log/00000000000000000002.checkpoint.parquet");
    let bytes = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, &bytes[..bytes.len() - 20]).unwrap();
    let (path, reason) = damage(&lake, "t").await;
    assert!(path.ends_with("checkpoint.parquet") && reason.contains("Parquet"), "{path}: {reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_partition_values_are_reported() {
    let lake = Lake::local().await;
    let table = Foreign::new(&lake, "t");
    let values: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1]));
    let file = table.file("a.parquet", vec![("a", values)], json!({"p": "not a number"}), None);
    table.commit(0, &[legacy(1, 2), metadata(vec![field("a", json!("long")), field("p", json!("integer"))], &["p"], json!({})), file]);
    let (path, reason) = damage(&lake, "t").await;
    assert!(path.ends_with(&commit_name(0)) && reason.contains("a.parquet") && reason.contains("not a number"), "{path}: {reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_and_missing_data_files_are_named() {
    let lake = Lake::local().await;
    lake.create("t", "SELECT value AS a FROM generate_series(1, 10000)").await;
    let file = lake.data_files("t").pop().unwrap();
    let path = lake.table_folder("t").join(&file);
    let bytes = std::fs::read(&path).unwrap();
    lake.show("t").await;
    std::fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
    let error = lake.query_error("SELECT sum(a) FROM t").await;
    assert!(error.contains(&file), "{error}");
    std::fs::write(&path, &bytes[..4]).unwrap();
    let error = lake.query_error("SELECT sum(a) FROM t").await;
    assert!(error.contains(&file), "{error}");
    std::fs::remove_file(&path).unwrap();
    let error = lake.query_error("SELECT sum(a) FROM t").await;
    assert!(error.contains(&file), "{error}");
}

/// A file system of its own, or `None` (and a message) where mounting is not allowed.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path()).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: a tmpfs cannot be mounted here");
            return None;
        }
        Some(Self(folder))
    }

    fn remount(&self, options: &str) {
        assert!(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.0.path()).status().unwrap().success());
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

const NOISE: &str = "SELECT value AS a, sha256(CAST(value AS VARCHAR)) AS h FROM generate_series(1, 120000)";

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_the_table_as_it_was() {
    let Some(mount) = Mount::new("size=2m") else { return };
    let lake = Lake::at(&mount.path().display().to_string()).await;
    lake.create("t", "SELECT CAST(0 AS BIGINT) AS a, sha256('x') AS h").await;
    let before = files_under(mount.path());
    for mode in [WriteMode::Append, WriteMode::Overwrite] {
        let error = lake.write(WriteRequest { target_file_size: Some(1 << 20), ..request("t", mode) }, NOISE).await.unwrap_err();
        assert!(error.to_string().contains("No space left"), "{error}");
        assert_eq!(files_under(mount.path()), before);
    }
    let error = lake.write(request("fresh", WriteMode::Create), NOISE).await.unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    assert_eq!(files_under(mount.path()), before);
    assert_eq!(lake.append("t", "SELECT CAST(1 AS BIGINT) AS a, sha256('y') AS h").await.version, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_before_the_commit() {
    let Some(mount) = Mount::new("size=2m") else { return };
    let lake = Lake::at(&mount.path().join("w").display().to_string()).await;
    lake.create("t", "SELECT 0 AS a").await;
    let schema = Arc::new(lake.session.sql("SELECT 1 AS a").await.unwrap().schema().as_arrow().clone());
    let pending = lake.warehouse.begin_write(WriteRequest { schema, ..request("t", WriteMode::Append) }).await.unwrap();
    let plan = lake.plan(&pending, "SELECT 1 AS a").await;
    let files = collect(plan, lake.session.task_ctx()).await.unwrap();
    let mut filler = std::fs::File::create(mount.path().join("filler")).unwrap();
    while filler.write_all(&[0; 1024]).is_ok() {}
    let error = pending.commit(files).await.unwrap_err();
    assert!(matches!(&error, Error::Storage { .. }) && error.to_string().contains("dev/default/t"), "{error}");
    std::fs::remove_file(mount.path().join("filler")).unwrap();
    assert_eq!(lake.table("t").await.version(), 0);
    assert_eq!(files_under(&mount.path().join("w")).len(), 2, "{:?}", files_under(mount.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_cannot_be_written() {
    let Some(mount) = Mount::new("size=2m") else { return };
    let lake = Lake::at(&mount.path().display().to_string()).await;
    lake.create("t", "SELECT 0 AS a").await;
    mount.remount("ro");
    for (table, mode) in [("t", WriteMode::Append), ("fresh", WriteMode::Create)] {
        let error = lake.write(request(table, mode), "SELECT 1 AS a").await.unwrap_err();
        assert!(error.to_string().contains(table) && error.to_string().contains("Read-only"), "{error}");
    }
    let error = lake.warehouse.create_schema("dev", "gold", false, None).await.unwrap_err();
    assert!(matches!(&error, Error::Storage { path, .. } if path.ends_with("gold/_schema.json")), "{error}");
    assert!(lake.warehouse.drop_table(&name("t"), false).await.is_err());
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT a FROM t").await), ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_permission() {
    use std::os::unix::fs::PermissionsExt;
    let lake = Lake::local().await;
    lake.create("t", "SELECT 0 AS a").await;
    let folder = lake.root().join("dev/default");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::File::create(folder.join("probe")).is_ok() {
        eprintln!("skipped: this user may write everywhere");
        return;
    }
    let error = lake.write(request("fresh", WriteMode::Create), "SELECT 1 AS a").await.unwrap_err();
    assert!(error.to_string().contains("fresh") && error.to_string().contains("denied"), "{error}");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}
