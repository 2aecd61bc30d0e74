//! Questions that the log answers without a scan, and those it must not answer.

use orrery_lakehouse::{WriteMode, WriteRequest};

use crate::support::{Lake, request, rows};

async fn scans(lake: &Lake, sql: &str) -> bool {
    lake.explain(sql).await.contains("DataSourceExec")
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_and_extremes_need_no_scan() {
    let lake = Lake::local().await;
    let sql = "SELECT value AS i, CAST(value AS DECIMAL(20, 3)) / 7 AS dec, CAST(value % 40 AS SMALLINT) AS s, DATE '2020-01-01' + CAST(value AS INT) AS d,
        CASE WHEN value % 10 = 0 THEN NULL ELSE 'name ' || value END AS t, to_timestamp_micros(value) AS n FROM generate_series(1, 1000)";
    let create = WriteRequest { target_file_size: Some(2000), ..request("t", WriteMode::Create) };
    lake.write(create, sql).await.unwrap();
    lake.append("t", &sql.replace("1, 1000", "-5, 0")).await;
    let table = lake.show("t").await;
    assert!(table.num_files() > 1);
    assert_eq!(table.num_rows(), Some(1006));
    lake.session.register_table("expected", lake.session.sql(&sql.replace("1, 1000", "-5, 1000")).await.unwrap().into_view()).unwrap();
    for question in [
        "count(*)",
        "count(t)",
        "min(i), max(i)",
        "min(dec), max(dec)",
        "min(s), max(s)",
        "min(d), max(d)",
        "min(t), max(t)",
        "min(n), max(n)",
    ] {
        let asked = format!("SELECT {question} FROM t");
        assert!(!scans(&lake, &asked).await, "{question} scans");
        let answer = lake.query(&asked).await;
        assert_eq!(rows(&answer), rows(&lake.query(&format!("SELECT {question} FROM expected")).await), "{question}");
    }
    assert!(scans(&lake, "SELECT min(i) FROM t WHERE i > 500").await);
    assert!(scans(&lake, "SELECT sum(i) FROM t").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn floats_and_long_strings_are_read() {
    let lake = Lake::local().await;
    let sql = "SELECT * FROM (VALUES (CAST('NaN' AS DOUBLE), repeat('ab', 100)), (1.5, repeat('ab', 99) || 'zz'), (-0.0, 'short'), (0.0, NULL)) AS v(f, s)";
    lake.create("t", sql).await;
    lake.show("t").await;
    assert!(scans(&lake, "SELECT min(f) FROM t").await);
    assert!(scans(&lake, "SELECT max(s) FROM t").await);
    assert_eq!(rows(&lake.query("SELECT max(length(s)), count(s) FROM t").await), ["200|3"]);
    assert!(lake.query("SELECT max(s) FROM t").await.contains("short"));
    // The greatest value of the shortened column has to come from the file.
    lake.create("u", "SELECT * FROM (VALUES (repeat('ab', 100)), (repeat('ab', 99) || 'zz')) AS v(s)").await;
    lake.show("u").await;
    assert_eq!(rows(&lake.query("SELECT right(max(s), 2), right(min(s), 2) FROM u").await), ["zz|ab"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nan_is_found_by_comparisons() {
    let lake = Lake::local().await;
    lake.create("t", "SELECT * FROM (VALUES (CAST('NaN' AS DOUBLE), CAST('NaN' AS FLOAT)), (1.0, 1.0), (2.0, 2.0)) AS v(f, g)").await;
    lake.show("t").await;
    let expected = rows(&lake.query("SELECT count(*) FROM (VALUES (CAST('NaN' AS DOUBLE)), (1.0), (2.0)) AS v(f) WHERE f > 5").await);
    assert_eq!(rows(&lake.query("SELECT count(*) FROM t WHERE f > 5").await), expected);
    assert_eq!(rows(&lake.query("SELECT count(*) FROM t WHERE g > CAST(5 AS FLOAT)").await), expected);
    assert_eq!(expected, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_nulls_and_empty_files_do_not_spoil_the_rest() {
    let lake = Lake::local().await;
    lake.create("t", "SELECT CAST(NULL AS BIGINT) AS a, 1 AS b").await;
    lake.append("t", "SELECT 5 AS a, 2 AS b").await;
    lake.append("t", "SELECT 6 AS a, 3 AS b WHERE false").await;
    lake.show("t").await;
    assert!(!scans(&lake, "SELECT min(a), max(a), count(a), count(*) FROM t").await);
    assert_eq!(rows(&lake.query("SELECT min(a), max(a), count(a), count(*) FROM t").await), ["5|5|1|2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_asked_for_columns_get_statistics() {
    let lake = Lake::local().await;
    let create = WriteRequest {
        properties: [("delta.dataSkippingNumIndexedCols".to_string(), "1".to_string())].into(),
        ..request("t", WriteMode::Create)
    };
    lake.write(create, "SELECT 1 AS a, 2 AS b").await.unwrap();
    lake.show("t").await;
    assert!(!scans(&lake, "SELECT min(a) FROM t").await && scans(&lake, "SELECT min(b) FROM t").await);
    assert_eq!(rows(&lake.query("SELECT min(b) FROM t").await), ["2"]);
}
