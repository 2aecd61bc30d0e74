//! History, detail and time travel.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use orrery_lakehouse::{Error, WriteMode, WriteRequest};

use crate::support::{Lake, request, rows};

/// Three versions, committed at noon of the first three days of 2024.
async fn three_days() -> Lake {
    let lake = Lake::local().await;
    lake.create("t", "SELECT 1 AS a").await;
    lake.append("t", "SELECT 2 AS a").await;
    lake.write(request("t", WriteMode::Overwrite), "SELECT 3 AS a").await.unwrap();
    for day in 0..3_u64 {
        let commit = lake.table_folder("t").join(format!("_delta_log/{day:020}.json"));
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_110_400 + day * 86_400);
        std::fs::File::options().write(true).open(commit).unwrap().set_modified(noon).unwrap();
    }
    lake
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn history_says_what_was_done() {
    let lake = three_days().await;
    let table = lake.table("t").await;
    let history = table.history(None).await.unwrap();
    lake.register_batches("history", history.schema(), vec![vec![history.clone()]]);
    let shown = rows(
        &lake
            .query(
                "SELECT version, timestamp, operation, operationparameters['mode'], operationparameters['statement'], operationmetrics['numOutputRows'],
                 isblindappend, readversion, engineinfo FROM (SELECT version, timestamp, operation, \"operationParameters\" AS operationparameters,
                 \"operationMetrics\" AS operationmetrics, \"isBlindAppend\" AS isblindappend, \"readVersion\" AS readversion, \"engineInfo\" AS engineinfo FROM history)",
            )
            .await,
    );
    let engine = format!("orrery/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        shown,
        [
            format!("2|2024-01-03T12:00:00Z|WRITE|Overwrite|Overwrite t|1|false|1|{engine}"),
            format!("1|2024-01-02T12:00:00Z|WRITE|Append|Append t|1|true|0|{engine}"),
            format!("0|2024-01-01T12:00:00Z|CREATE TABLE AS SELECT||Create t|1|false||{engine}"),
        ]
    );
    assert_eq!(table.history(Some(1)).await.unwrap().num_rows(), 1);
    assert_eq!(table.at_version(1).await.unwrap().history(None).await.unwrap().num_rows(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn detail_is_one_row() {
    let lake = Lake::local().await;
    let create = WriteRequest {
        partition_by: vec!["p".into()],
        comment: Some("days".into()),
        properties: [("owner".to_string(), "web".to_string())].into(),
        ..request("t", WriteMode::Create)
    };
    lake.write(create, "SELECT 1 AS a, 'x' AS p").await.unwrap();
    let detail = lake.table("t").await.detail().await.unwrap();
    lake.register_batches("detail", detail.schema(), vec![vec![detail.clone()]]);
    let shown = rows(
        &lake
            .query(
                "SELECT format, name, description, \"partitionColumns\", \"numFiles\", \"numRows\", properties, \"minReaderVersion\", \"minWriterVersion\", version,
                 \"sizeInBytes\" > 0, \"createdAt\" IS NOT NULL, \"lastModified\" IS NOT NULL FROM detail",
            )
            .await,
    );
    assert_eq!(shown, ["delta|dev.default.t|days|[p]|1|1|{owner: web}|1|2|0|true|true|true"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_times_select_a_snapshot() {
    let lake = three_days().await;
    let table = lake.table("t").await;
    for (version, expected) in [(0, vec!["1"]), (1, vec!["1", "2"]), (2, vec!["3"])] {
        lake.register("old", &table.at_version(version).await.unwrap());
        assert_eq!(rows(&lake.query("SELECT a FROM old ORDER BY a").await), expected);
    }
    for (time, version) in [
        ("2024-01-01T12:00:00Z", 0),
        ("2024-01-02T11:59:59Z", 0),
        ("2024-01-02T12:00:00Z", 1),
        ("2024-01-03T12:00:00Z", 2),
        ("2030-01-01T00:00:00Z", 2),
    ] {
        assert_eq!(table.at_timestamp(at(time)).await.unwrap().version(), version, "{time}");
    }
    // An old snapshot can still look forward.
    assert_eq!(table.at_version(0).await.unwrap().at_version(2).await.unwrap().version(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_that_never_were_say_which_were() {
    let lake = three_days().await;
    let table = lake.table("t").await;
    let error = table.at_version(3).await.unwrap_err();
    assert!(matches!(&error, Error::NotFound(message) if message.contains("0 to 2")), "{error}");
    let error = table.at_timestamp(at("2023-12-31T00:00:00Z")).await.unwrap_err();
    assert!(
        matches!(&error, Error::NotFound(message) if message.contains("2024-01-01T12:00:00.000Z") && message.contains("version is 0")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_come_every_tenth_commit_and_are_used() {
    let lake = Lake::local().await;
    lake.write(WriteRequest { partition_by: vec!["p".into()], ..request("t", WriteMode::Create) }, "SELECT 0 AS a, 'p' AS p")
        .await
        .unwrap();
    for value in 1..=11 {
        lake.append("t", &format!("SELECT {value} AS a, 'p{value}' AS p")).await;
    }
    let log = lake.table_folder("t").join("_delta_log");
    assert!(log.join("00000000000000000010.checkpoint.parquet").exists() && log.join("_last_checkpoint").exists());
    // Without the older commits only the checkpoint knows.
    for version in 0..10 {
        std::fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    let fresh = Lake::at(&lake.root().display().to_string()).await;
    let table = fresh.show("t").await;
    assert_eq!((table.version(), table.num_rows()), (11, Some(12)));
    assert_eq!(rows(&fresh.query("SELECT count(*), sum(a), min(a), max(p), count(DISTINCT p) FROM t").await), ["12|66|0|p9|12"]);
    assert!(!fresh.explain("SELECT min(a), max(a) FROM t").await.contains("DataSourceExec"));
    let error = table.at_version(4).await.unwrap_err().to_string();
    assert!(error.contains("10 to 11"), "{error}");
    assert_eq!(table.at_version(10).await.unwrap().num_rows(), Some(11));
    assert_eq!(table.history(None).await.unwrap().num_rows(), 2);
    fresh.append("t", "SELECT 12 AS a, NULL AS p").await;
    assert_eq!(fresh.table("t").await.num_rows(), Some(13));
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoint_interval_follows_the_property() {
    let lake = Lake::local().await;
    let create =
        WriteRequest { properties: [("delta.checkpointInterval".to_string(), "2".to_string())].into(), ..request("t", WriteMode::Create) };
    lake.write(create, "SELECT 1 AS a").await.unwrap();
    lake.append("t", "SELECT 1 AS a").await;
    lake.append("t", "SELECT 1 AS a").await;
    assert!(lake.table_folder("t").join("_delta_log/00000000000000000002.checkpoint.parquet").exists());
}
