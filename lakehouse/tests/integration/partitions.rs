//! Partitioned tables: values of every type, odd characters, nulls, many values, and filters that are answered by the log.

use std::collections::HashSet;

use orrery_lakehouse::{Error, WriteMode, WriteRequest};

use crate::support::{Lake, request, rows};

fn partitioned(table: &str, by: &[&str]) -> WriteRequest {
    WriteRequest { partition_by: by.iter().map(|c| c.to_string()).collect(), ..request(table, WriteMode::Create) }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_come_back_whatever_their_characters() {
    let lake = Lake::local().await;
    let sql = "SELECT * FROM (VALUES (1, 'plain'), (2, 'a/b'), (3, 'x=y & z'), (4, '100%'), (5, 'é 日本'), (6, NULL), (7, '..'), (8, 'q\"''\\'), (9, ' lead'), (10, 'a:b?*')) AS v(id, p)";
    let outcome = lake.write(partitioned("t", &["p"]), sql).await.unwrap();
    assert_eq!((outcome.rows, outcome.files), (10, 10));
    let table = lake.show("t").await;
    assert_eq!(table.partition_columns(), ["p"]);
    lake.session.register_table("expected", lake.session.sql(sql).await.unwrap().into_view()).unwrap();
    assert_eq!(lake.query("SELECT * FROM t ORDER BY id").await, lake.query("SELECT * FROM expected ORDER BY id").await);
    assert_eq!(rows(&lake.query("SELECT id FROM t WHERE p = 'a/b' OR p IS NULL ORDER BY id").await), ["2", "6"]);
    assert!(lake.data_files("t").iter().any(|file| file.starts_with("p=__HIVE_DEFAULT_PARTITION__/")));
    assert!(lake.data_files("t").iter().any(|file| file.starts_with("p=a%2Fb/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_partition_type_survives() {
    let lake = Lake::local().await;
    let sql = "SELECT value AS id,
        CASE WHEN value % 3 = 0 THEN NULL ELSE CAST(value % 3 AS SMALLINT) END AS si,
        CAST(value % 2 = 0 AS BOOLEAN) AS b,
        CAST('2020-02-28' AS DATE) + CAST(value % 3 AS INT) AS d,
        CAST('2020-01-01T00:00:00.000001Z' AS TIMESTAMP) AS n,
        to_timestamp_micros(value % 2) AT TIME ZONE 'UTC' AS ts,
        CAST(value % 2 AS DECIMAL(5, 2)) - 0.5 AS dec,
        CAST(value % 2 AS DOUBLE) / 4 AS f
        FROM generate_series(1, 60)";
    let columns = ["si", "b", "d", "n", "ts", "dec", "f"];
    lake.write(partitioned("t", &columns), sql).await.unwrap();
    lake.show("t").await;
    lake.session.register_table("expected", lake.session.sql(sql).await.unwrap().into_view()).unwrap();
    assert_eq!(lake.query("SELECT * FROM t ORDER BY id").await, lake.query("SELECT * FROM expected ORDER BY id").await);
    for filter in ["si IS NULL", "b", "d = DATE '2020-02-29'", "dec < 0", "f > 0", "ts > to_timestamp(0)", "si = 1 AND NOT b"] {
        let count = format!("SELECT count(*), sum(id) AS total FROM {{}} WHERE {filter}");
        assert_eq!(lake.query(&count.replace("{}", "t")).await, lake.query(&count.replace("{}", "expected")).await, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partition_filters_are_applied_by_the_log_alone() {
    let lake = Lake::local().await;
    lake.write(partitioned("t", &["p"]), "SELECT value AS id, value % 5 AS p FROM generate_series(1, 1000)").await.unwrap();
    lake.show("t").await;
    let plan = lake.explain("SELECT id FROM t WHERE p IN (1, 2) AND p + 1 = 3").await;
    assert!(!plan.contains("FilterExec"), "{plan}");
    assert!(plan.contains("p=2/") && !plan.contains("p=1/") && !plan.contains("p=3/"), "{plan}");
    let counted = lake.explain("SELECT count(*) FROM t WHERE p = 4").await;
    assert!(!counted.contains("DataSourceExec"), "{counted}");
    assert_eq!(rows(&lake.query("SELECT count(*), min(p), max(p) FROM t WHERE p >= 3").await), ["400|3|4"]);
    assert_eq!(rows(&lake.query("SELECT count(*) FROM t WHERE p = 77").await), ["0"]);
    assert_eq!(rows(&lake.query("SELECT count(*) FROM t WHERE p = 1 AND id > 500").await), ["100"]);
    assert_eq!(rows(&lake.query("SELECT p FROM t WHERE p = id ORDER BY p").await), ["1", "2", "3", "4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_column_may_stand_anywhere() {
    let lake = Lake::local().await;
    lake.write(partitioned("t", &["b", "a"]), "SELECT 1 AS a, 'x' AS b, 2.5 AS c, 'y' AS d").await.unwrap();
    lake.append("t", "SELECT 'yy' AS d, 7 AS a, 3.5 AS c, 'xx' AS b").await;
    let table = lake.show("t").await;
    assert_eq!(table.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!(table.partition_columns(), ["b", "a"]);
    assert_eq!(rows(&lake.query("SELECT * FROM t ORDER BY a").await), ["1|x|2.5|y", "7|xx|3.5|yy"]);
    assert_eq!(rows(&lake.query("SELECT d, a FROM t WHERE b = 'xx'").await), ["yy|7"]);
    assert_eq!(rows(&lake.query("SELECT min(a), max(b), min(c), max(d), count(a) FROM t").await), ["1|xx|2.5|yy|2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_values_than_open_files() {
    let lake = Lake::local().await;
    // Every batch holds rows of every value, the worst order there is.
    let outcome =
        lake.write(partitioned("t", &["p"]), "SELECT value AS id, value % 300 AS p FROM generate_series(1, 60000)").await.unwrap();
    assert_eq!(outcome.rows, 60_000);
    assert!(outcome.files >= 300, "{outcome:?}");
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT count(*), sum(id), count(DISTINCT p) FROM t").await), ["60000|1800030000|300"]);
    assert_eq!(rows(&lake.query("SELECT count(*) FROM t WHERE id % 300 <> p").await), ["0"]);
    let folders: HashSet<String> = lake.data_files("t").iter().map(|file| file.split('/').next().unwrap().to_string()).collect();
    assert_eq!(folders.len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_partitionings_are_refused() {
    let lake = Lake::local().await;
    for (by, expected) in
        [(&["x"][..], "\"x\""), (&["a", "a"], "twice"), (&["a", "b", "l"], "cannot be"), (&["l"], "cannot be a partition column")]
    {
        let error = lake.write(partitioned("t", by), "SELECT 1 AS a, 2 AS b, [1] AS l").await.unwrap_err();
        assert!(matches!(&error, Error::Invalid(message) if message.contains(expected)), "{by:?}: {error}");
    }
    let error = lake.write(partitioned("t", &["a"]), "SELECT 1 AS a").await.unwrap_err().to_string();
    assert!(error.contains("besides"), "{error}");
    let error = lake.write(partitioned("t", &["p"]), "SELECT 1 AS a, '' AS p").await.unwrap_err().to_string();
    assert!(error.contains("NULLIF") && error.contains("\"p\""), "{error}");
    assert!(!lake.table_folder("t").exists());
}
