//! Files and row groups that a query does not need are not read, and none that it needs is left out.

use orrery_lakehouse::{WriteMode, WriteRequest};

use crate::support::{Lake, request, rows};

/// Ten files, each with a hundred neighbouring numbers.
async fn ten_files() -> Lake {
    let lake = Lake::local().await;
    lake.create("t", "SELECT 1 AS i, 'x' AS s, to_timestamp_micros(0) AS n WHERE false").await;
    for start in 0..10 {
        let sql = format!(
            "SELECT value AS i, CASE WHEN value % 2 = 0 THEN NULL ELSE 'key' || lpad(CAST(value AS VARCHAR), 4, '0') END AS s, to_timestamp_micros(value) AS n
             FROM generate_series({}, {})",
            start * 100,
            start * 100 + 99
        );
        lake.append("t", &sql).await;
    }
    lake.show("t").await;
    lake
}

async fn files_in_plan(lake: &Lake, sql: &str) -> usize {
    lake.explain(sql).await.matches(".zstd.parquet").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_skipped_by_their_bounds() {
    let lake = ten_files().await;
    for (filter, files, count) in [
        ("i = 250", 1, "1"),
        ("i BETWEEN 150 AND 349", 3, "200"),
        ("i < 0", 0, "0"),
        ("i > 899 OR i < 1", 2, "101"),
        ("s = 'key0333'", 1, "1"),
        ("s LIKE 'key09%'", 1, "50"),
        ("n >= to_timestamp_micros(950)", 1, "50"),
        ("s IS NULL AND i < 100", 1, "50"),
        ("i IN (5, 995)", 2, "2"),
        ("i % 100 = 7", 10, "10"),
        ("i <> 5", 10, "999"),
    ] {
        let sql = format!("SELECT i FROM t WHERE {filter}");
        assert_eq!(files_in_plan(&lake, &sql).await, files, "{filter}");
        assert_eq!(rows(&lake.query(&format!("SELECT count(i) FROM t WHERE {filter}")).await), [count], "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_reach_the_parquet_reader() {
    let lake = ten_files().await;
    let plan = lake.explain("SELECT i FROM t WHERE i > 250 AND s = 'key0333'").await;
    assert!(plan.contains("predicate=") && plan.contains("pruning_predicate="), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_stop_early() {
    let lake = ten_files().await;
    assert_eq!(files_in_plan(&lake, "SELECT i FROM t LIMIT 150").await, 2);
    assert_eq!(rows(&lake.query("SELECT i FROM t LIMIT 150").await).len(), 150);
    assert_eq!(rows(&lake.query("SELECT count(*) FROM (SELECT i FROM t LIMIT 150)").await), ["150"]);
    assert_eq!(rows(&lake.query("SELECT i FROM t WHERE i % 100 = 7 LIMIT 8").await).len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_spread_over_the_sessions_partitions() {
    let lake = ten_files().await;
    assert!(lake.explain("SELECT i FROM t").await.contains("file_groups={2 groups"));
    let create = WriteRequest { target_file_size: Some(u64::MAX), ..request("big", WriteMode::Create) };
    lake.write(create, "SELECT value AS a, random() AS r, sha256(CAST(value AS VARCHAR)) AS h FROM generate_series(1, 400000)")
        .await
        .unwrap();
    lake.show("big").await;
    let plan = lake.explain("SELECT sum(a) FROM big").await;
    assert!(plan.contains("file_groups={2 groups"), "{plan}");
    assert_eq!(rows(&lake.query("SELECT count(a), sum(a) FROM big").await), ["400000|80000200000"]);
}
