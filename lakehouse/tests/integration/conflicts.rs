//! Several writers at once, and runs that are repeated.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::physical_plan::collect;
use orrery_lakehouse::{Error, PendingWrite, WriteMode, WriteOutcome, WriteRequest};

use crate::support::{Lake, name, request, rows};

async fn begun(lake: &Lake, request: WriteRequest, sql: &str) -> (PendingWrite, Vec<RecordBatch>) {
    let schema = Arc::new(lake.session.sql(sql).await.unwrap().schema().as_arrow().clone());
    let pending = lake.warehouse.begin_write(WriteRequest { schema, ..request }).await.unwrap();
    let plan = lake.plan(&pending, sql).await;
    let files = collect(plan, lake.session.task_ctx()).await.unwrap();
    (pending, files)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_two_creators_wins() {
    let lake = Lake::local().await;
    for (mode, expect_conflict) in [(WriteMode::Create, false), (WriteMode::CreateOrReplace, true), (WriteMode::CreateIfNotExists, false)] {
        let table = format!("t{}", mode as u8);
        let (first, first_files) = begun(&lake, request(&table, mode), "SELECT 1 AS a").await;
        let (second, second_files) = begun(&lake, request(&table, mode), "SELECT 2 AS a").await;
        first.commit(first_files).await.unwrap();
        match (mode, second.commit(second_files).await) {
            (WriteMode::CreateIfNotExists, Ok(outcome)) => assert_eq!((outcome.version, outcome.rows), (0, 0)),
            (_, Err(Error::AlreadyExists(_))) => assert!(!expect_conflict),
            (_, Err(Error::Conflict(_))) => assert!(expect_conflict),
            (_, other) => panic!("{mode:?}: {other:?}"),
        }
        lake.show(&table).await;
        assert_eq!(rows(&lake.query(&format!("SELECT a FROM {table}")).await), ["1"]);
        assert_eq!(lake.data_files(&table).len(), 1, "{mode:?} left files");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_do_not_disturb_each_other() {
    let lake = Arc::new(Lake::local().await);
    lake.create("t", "SELECT 0 AS a").await;
    let writers: Vec<_> = (1..=20)
        .map(|value| {
            let lake = Arc::clone(&lake);
            tokio::spawn(async move { lake.append("t", &format!("SELECT {value} AS a")).await.version })
        })
        .collect();
    let mut versions = Vec::new();
    for writer in writers {
        versions.push(writer.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=20).collect::<Vec<_>>());
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT count(*), sum(a) FROM t").await), ["21|210"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_what_changed_meanwhile_is_a_conflict() {
    let lake = Lake::local().await;
    lake.create("t", "SELECT 0 AS a").await;
    for mode in [WriteMode::Overwrite, WriteMode::CreateOrReplace] {
        let (pending, files) = begun(&lake, request("t", mode), "SELECT 9 AS a").await;
        let before = lake.append("t", "SELECT 1 AS a").await.version;
        let error = pending.commit(files).await.unwrap_err();
        assert!(matches!(&error, Error::Conflict(message) if message.contains("again")), "{error}");
        let table = lake.table("t").await;
        assert_eq!(table.version(), before);
        assert_eq!(lake.data_files("t").len() as u64, table.num_files());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_to_replaced_rows_is_a_conflict() {
    let lake = Lake::local().await;
    lake.create("t", "SELECT 0 AS a").await;
    let (pending, files) = begun(&lake, request("t", WriteMode::Append), "SELECT 9 AS a").await;
    lake.write(request("t", WriteMode::CreateOrReplace), "SELECT 'text' AS b").await.unwrap();
    assert!(matches!(pending.commit(files).await, Err(Error::Conflict(_))));
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT * FROM t").await), ["text"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_does_not_come_back() {
    let lake = Lake::local().await;
    lake.create("t", "SELECT 0 AS a").await;
    let (pending, files) = begun(&lake, request("t", WriteMode::Append), "SELECT 9 AS a").await;
    lake.warehouse.drop_table(&name("t"), false).await.unwrap();
    assert!(matches!(pending.commit(files).await, Err(Error::Conflict(message)) if message.contains("dropped")));
    assert!(lake.warehouse.relation(&name("t")).await.unwrap().is_none());
    assert!(!lake.table_folder("t").exists());
    let (pending, files) = {
        lake.create("t", "SELECT 0 AS a").await;
        begun(&lake, request("t", WriteMode::Append), "SELECT 9 AS a").await
    };
    lake.warehouse.drop_table(&name("t"), false).await.unwrap();
    std::thread::sleep(std::time::Duration::from_millis(5));
    lake.create("t", "SELECT 1 AS a").await;
    assert!(matches!(pending.commit(files).await, Err(Error::Conflict(_))));
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT a FROM t").await), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_handle_sees_every_change() {
    let lake = Lake::local().await;
    let other = Lake::at(&lake.root().display().to_string()).await;
    lake.create("t", "SELECT 0 AS a").await;
    assert_eq!(other.table("t").await.version(), 0);
    lake.append("t", "SELECT 1 AS a").await;
    assert_eq!(other.table("t").await.num_rows(), Some(2));
    assert!(Arc::ptr_eq(&other.table("t").await, &other.table("t").await));
    lake.warehouse.drop_table(&name("t"), false).await.unwrap();
    std::thread::sleep(std::time::Duration::from_millis(5));
    lake.create("t", "SELECT 'new' AS b").await;
    lake.append("t", "SELECT 'newer' AS b").await;
    let table = other.show("t").await;
    assert_eq!(table.schema().field(0).name(), "b");
    assert_eq!(rows(&other.query("SELECT b FROM t ORDER BY b").await), ["new", "newer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_run_is_recognised() {
    let lake = Lake::local().await;
    let run = |mode| WriteRequest { run_id: Some("nightly-7".into()), ..request("t", mode) };
    let first = lake.write(run(WriteMode::Create), "SELECT 1 AS a").await.unwrap();
    let again = lake.write(run(WriteMode::Create), "SELECT 1 AS a").await.unwrap();
    assert_eq!(again, first);
    let append = |run_id: &str| WriteRequest { run_id: Some(run_id.into()), ..request("t", WriteMode::Append) };
    let second = lake.write(append("nightly-8"), "SELECT 2 AS a UNION ALL SELECT 3").await.unwrap();
    lake.append("t", "SELECT 4 AS a").await;
    let expected = WriteOutcome { version: 1, rows: 2, ..second };
    assert_eq!(lake.write(append("nightly-8"), "SELECT 2 AS a UNION ALL SELECT 3").await.unwrap(), expected);
    assert_eq!(lake.table("t").await.version(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_attempts_of_a_run_commit_once() {
    let lake = Lake::local().await;
    lake.create("t", "SELECT 0 AS a").await;
    let attempt = || WriteRequest { run_id: Some("r".into()), ..request("t", WriteMode::Append) };
    let (first, first_files) = begun(&lake, attempt(), "SELECT 1 AS a").await;
    let (second, second_files) = begun(&lake, attempt(), "SELECT 1 AS a").await;
    let outcome = first.commit(first_files).await.unwrap();
    assert_eq!(second.commit(second_files).await.unwrap(), outcome);
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT a FROM t ORDER BY a").await), ["0", "1"]);
    assert_eq!(lake.data_files("t").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_another_write_are_not_committed() {
    let lake = Lake::local().await;
    let (first, first_files) = begun(&lake, request("t", WriteMode::Create), "SELECT 1 AS a").await;
    let (second, _) = begun(&lake, request("u", WriteMode::Create), "SELECT 1 AS a").await;
    assert!(matches!(second.commit(first_files.clone()).await, Err(Error::Invalid(message)) if message.contains("another write")));
    first.commit(first_files).await.unwrap();
}
