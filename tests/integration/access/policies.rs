//! Row filters and column masks.

use orrery_engine::Blame;
use orrery_engine::session::Mode;

use super::{Lake, kept_out, one, refused, rows_in, rows_of, said, session};

#[tokio::test]
async fn row_filters_and_masks() {
    let lake = Lake::new().await;
    lake.all(
        "CREATE ROLE hr;
         CREATE FUNCTION dev.s.own_region(r STRING) RETURN r = 'eu' OR is_member('hr');
         CREATE FUNCTION dev.s.hide(p DOUBLE, r STRING) RETURNS DOUBLE RETURN CASE WHEN is_member('hr') THEN p WHEN r = 'eu' THEN -1.0 END;
         ALTER TABLE dev.s.t SET ROW FILTER dev.s.own_region ON (region);
         ALTER TABLE dev.s.t ALTER COLUMN price SET MASK dev.s.hide USING COLUMNS (region)",
    )
    .await;
    let select = "GRANT SELECT ON TABLE dev.s.t TO {u}; GRANT SELECT ON VIEW dev.s.v TO {u}";
    let ann = lake.user_with("ann", select).await;
    let hr = lake.user_with("hal", &format!("{select}; GRANT ROLE hr TO {{u}}")).await;
    let text = |rows: Vec<Vec<String>>| rows.into_iter().map(|row| row.join(" ")).collect::<Vec<_>>();
    let all = "SELECT a, region, price FROM dev.s.t ORDER BY a";
    assert_eq!(text(rows_of(&ann, all).await.unwrap()), ["1 eu -1.0", "3 eu -1.0"]);
    assert_eq!(text(rows_of(&hr, all).await.unwrap()), ["1 eu 10.0", "2 us 20.0", "3 eu 30.0"]);
    for (sql, expected) in [
        ("SELECT count(*) FROM dev.s.t", "2"),
        ("SELECT max(price) FROM dev.s.t", "-1.0"),
        ("SELECT max(a) FROM dev.s.t WHERE price > 0", "NULL"),
        ("SELECT count(*) FROM dev.s.t WHERE region = 'us'", "0"),
        ("SELECT count(*) FROM dev.s.t VERSION AS OF 0", "2"),
        ("SELECT count(*) FROM dev.s.v", "1"),
        ("SELECT count(*) FROM dev.s.t AS x JOIN dev.s.t AS y ON x.a = y.a", "2"),
        ("SELECT price FROM dev.s.t WHERE a = 3", "-1.0"),
        ("SELECT count(DISTINCT price) FROM dev.s.t", "1"),
    ] {
        assert_eq!(one(&ann, sql).await, expected, "{sql}");
    }
    // Models learn from what their maker sees.
    lake.all("GRANT CREATE MODEL ON SCHEMA dev.s TO ann").await;
    rows_of(&ann, "CREATE MODEL dev.s.mine OPTIONS (model_type = 'kmeans', num_clusters = 1) AS SELECT a, price FROM dev.s.t")
        .await
        .unwrap();
    assert!(rows_of(&ann, "DESCRIBE MODEL dev.s.mine").await.unwrap().contains(&vec!["rows".to_string(), "2".to_string()]));
    // Even an administrator reads through them, and everybody but the embedded engine.
    assert_eq!(one(&lake.admin, "SELECT count(*) FROM dev.s.t").await, "2");
    let local = session(lake.dir.path(), None).await;
    assert_eq!(one(&local, "SELECT count(*) FROM dev.s.t").await, "3");
    // Plans would tell of them.
    kept_out(&ann, "EXPLAIN SELECT * FROM dev.s.t").await;
    // What a reader does not see is not lost by his rewriting the table.
    lake.all("GRANT MODIFY, MANAGE ON TABLE dev.s.t TO ann").await;
    for statement in [
        "INSERT OVERWRITE dev.s.t SELECT * FROM dev.s.t",
        "INSERT OVERWRITE dev.s.t SELECT a, region, price FROM (SELECT * FROM dev.s.t WHERE a > 0) AS x",
        "CREATE OR REPLACE TABLE dev.s.t AS SELECT * FROM dev.s.t",
    ] {
        assert_eq!(kept_out(&ann, statement).await.blame, Blame::Rights, "{statement}");
    }
    rows_of(&ann, "INSERT INTO dev.s.t VALUES (9, 'us', 1.0)").await.unwrap();
    assert_eq!(one(&local, "SELECT count(*) FROM dev.s.t").await, "4");
    assert_eq!(one(&ann, "SELECT count(*) FROM dev.s.t").await, "2");
    // A function that a filter calls stays.
    assert!(refused(&lake.admin, "DROP FUNCTION dev.s.own_region").await.message.contains("row filter"));
}

/// No expression of a query is evaluated on a row that its reader may not see.
#[tokio::test]
async fn hidden_rows_do_not_speak_through_errors() {
    let lake = Lake::new().await;
    lake.all("ALTER TABLE dev.s.t SET ROW FILTER (region = 'eu')").await;
    lake.all("CREATE VIEW dev.s.eu AS SELECT a, region FROM dev.s.t WHERE region = 'eu'").await;
    lake.all("CREATE TABLE dev.s.b AS SELECT * FROM (VALUES (1, 'eu'), (2, 'us')) AS v(a, region)").await;
    lake.all("CREATE VIEW dev.s.b_eu AS SELECT a, region FROM dev.s.b WHERE region = 'eu'").await;
    let ann = lake.user_with("ann", "GRANT SELECT ON TABLE dev.s.t TO {u}; GRANT SELECT ON VIEW dev.s.b_eu TO {u}").await;
    for relation in ["dev.s.t", "dev.s.b_eu"] {
        for condition in [
            "10 / (a - 2) > 0 OR true",
            "10 / (a - 2) <> 77",
            "CAST(CASE WHEN region = 'us' THEN 'x' ELSE '1' END AS INT) = 1",
            "a > 0 AND 10 / (a - 2) <> 77",
            "CAST(replace(region, 'eu', '1') AS INT) = 1",
        ] {
            let sql = format!("SELECT count(*) FROM {relation} WHERE {condition}");
            let expected = if relation == "dev.s.t" { "2" } else { "1" };
            assert_eq!(one(&ann, &sql).await, expected, "{sql}");
        }
        for sql in [
            format!("SELECT sum(10 / (a - 2)) FROM {relation}"),
            format!("SELECT count(*) FROM {relation} AS x JOIN {relation} AS y ON 10 / (x.a - 2) = 10 / (y.a - 2)"),
            format!("SELECT max(10 / (a - 2)) OVER () FROM {relation} LIMIT 1"),
            format!("SELECT a FROM {relation} ORDER BY 10 / (a - 2) LIMIT 1"),
        ] {
            one(&ann, &sql).await;
        }
    }
}

/// A policy reads what there is: neither what its reader has kept of a table, nor what he has only tried out.
#[tokio::test]
async fn readers_cannot_stand_in_for_what_a_policy_reads() {
    let lake = Lake::new().await;
    lake.all("CREATE TABLE dev.s.denied AS SELECT 'nobody' AS who").await;
    lake.all("ALTER TABLE dev.s.t SET ROW FILTER (NOT EXISTS (SELECT 1 FROM denied AS d WHERE d.who = current_user()))").await;
    let grants =
        "GRANT SELECT ON TABLE dev.s.t TO {u}; GRANT SELECT ON TABLE dev.s.denied TO {u}; GRANT CREATE TABLE ON SCHEMA dev.s TO {u}";
    let ann = lake.user_with("ann", grants).await;
    assert_eq!(one(&ann, "SELECT count(*) FROM dev.s.t").await, "3");
    rows_of(&ann, "CACHE TABLE dev.s.denied").await.unwrap();
    rows_of(&ann, "USE dev.s; CREATE TEMP VIEW denied AS SELECT 'nobody' AS who").await.unwrap();
    lake.all("INSERT INTO dev.s.denied VALUES ('ann')").await;
    assert_eq!(one(&ann, "SELECT count(*) FROM dev.s.t").await, "0");
    let bob = lake.user_with("bob", grants).await;
    lake.all("INSERT INTO dev.s.denied VALUES ('bob')").await;
    let _tried_out = rows_in(&bob, "CREATE TABLE dev.s.denied AS SELECT 'nobody' AS who", Mode::Check).await;
    assert_eq!(one(&bob, "SELECT count(*) FROM dev.s.t").await, "0");
}

/// A reader's settings are for what he writes himself.
#[tokio::test]
async fn readers_cannot_change_what_a_policy_or_view_means() {
    let lake = Lake::new().await;
    lake.all(
        "CREATE VIEW dev.s.typed AS SELECT arrow_typeof(0.1) AS t;
         CREATE TABLE dev.s.u AS SELECT * FROM (VALUES (1, 'Float64'), (2, 'Decimal128(1, 1)')) AS v(a, t);
         ALTER TABLE dev.s.u SET ROW FILTER (t = arrow_typeof(0.1));
         ALTER TABLE dev.s.t ALTER COLUMN region SET MASK (arrow_typeof(0.1))",
    )
    .await;
    let grants = "GRANT SELECT ON VIEW dev.s.typed TO {u}; GRANT SELECT ON TABLE dev.s.t TO {u}; GRANT SELECT ON TABLE dev.s.u TO {u}";
    let ann = lake.user_with("ann", grants).await;
    rows_of(&ann, "SET datafusion.sql_parser.parse_float_as_decimal = true").await.unwrap();
    assert!(one(&ann, "SELECT arrow_typeof(0.1)").await.starts_with("Decimal"), "the setting is in force");
    assert_eq!(one(&ann, "SELECT t FROM dev.s.typed").await, "Float64");
    assert_eq!(one(&ann, "SELECT max(region) FROM dev.s.t").await, "Float64");
    assert_eq!(rows_of(&ann, "SELECT a FROM dev.s.u").await.unwrap(), [["1"]]);
}

/// A policy that does not work lets nobody read.
#[tokio::test]
async fn broken_policies_close_the_table() {
    let lake = Lake::new().await;
    lake.all("CREATE TABLE dev.s.allowed AS SELECT 'ann' AS who, 'eu' AS region").await;
    lake.all(
        "ALTER TABLE dev.s.t SET ROW FILTER (EXISTS (SELECT 1 FROM allowed AS x WHERE x.who = current_user() AND x.region = t.region))",
    )
    .await;
    let ann = lake.user_with("ann", "GRANT SELECT ON TABLE dev.s.t TO {u}").await;
    let bob = lake.user_with("bob", "GRANT SELECT ON TABLE dev.s.t TO {u}").await;
    assert_eq!(one(&ann, "SELECT count(*) FROM dev.s.t").await, "2", "the filter reads with the rights of who has set it");
    assert_eq!(one(&bob, "SELECT count(*) FROM dev.s.t").await, "0");
    kept_out(&ann, "SELECT * FROM dev.s.allowed").await;
    lake.all("DROP TABLE dev.s.allowed").await;
    let error = refused(&ann, "SELECT count(*) FROM dev.s.t").await;
    assert!(error.message.contains("does not work") && !said(&error).contains("allowed"), "{}", said(&error));
    // A masked column cannot slip out under another name.
    lake.all("ALTER TABLE dev.s.t DROP ROW FILTER; ALTER TABLE dev.s.t ALTER COLUMN price SET MASK (NULL)").await;
    assert_eq!(one(&ann, "SELECT max(price) FROM dev.s.t").await, "NULL");
    let local = session(lake.dir.path(), None).await;
    rows_of(&local, "CREATE OR REPLACE TABLE dev.s.t AS SELECT a, price AS cost FROM dev.s.t").await.unwrap();
    assert!(refused(&ann, "SELECT * FROM dev.s.t").await.message.contains("does not work"));
    for statement in [
        "ALTER TABLE dev.s.t SET ROW FILTER (nothing = 1)",
        "ALTER TABLE dev.s.t SET ROW FILTER dev.s.nothing ON (a)",
        "ALTER TABLE dev.s.t SET ROW FILTER (EXISTS (SELECT 1 FROM dev.s.t))",
        "ALTER TABLE dev.s.t ALTER COLUMN nothing SET MASK ('x')",
        "ALTER TABLE dev.s.v SET ROW FILTER (true)",
        "ALTER TABLE dev.s.t SET ROW FILTER (EXISTS (SELECT 1 FROM dev.s.t TIMESTAMP AS OF (SELECT now())))",
    ] {
        refused(&lake.admin, statement).await;
    }
}
