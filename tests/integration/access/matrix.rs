//! privilege × object × statement: each statement with exactly what it needs, and with each part of that missing.

use orrery_engine::session::Mode;

use super::{Lake, kept_out, rows_in, rows_of, said};

const USE: [&str; 2] = ["USE CATALOG ON CATALOG dev", "USE SCHEMA ON SCHEMA dev.s"];

/// A statement, what the administrator does before it is tried, and what is needed beside the use of catalog and schema.
struct Case {
    statement: &'static str,
    before: &'static str,
    needs: &'static [&'static str],
    /// Whether the use of the catalog and of the schema is needed too.
    uses: usize,
}

const fn case(statement: &'static str, needs: &'static [&'static str]) -> Case {
    Case { statement, before: "", needs, uses: 2 }
}

const fn after(before: &'static str, statement: &'static str, needs: &'static [&'static str]) -> Case {
    Case { statement, before, needs, uses: 2 }
}

const SELECT_T: &[&str] = &["SELECT ON TABLE dev.s.t"];
const MANAGE_T: &[&str] = &["MANAGE ON TABLE dev.s.t"];
const PREDICT: &str = "SELECT * FROM ML.PREDICT(MODEL dev.s.m, (SELECT 1 AS a, CAST(2.0 AS DOUBLE) AS price))";

/// privilege × object × statement.
const MATRIX: &[Case] = &[
    case("SELECT * FROM dev.s.t", SELECT_T),
    case("SELECT * FROM dev.s.t VERSION AS OF 0", SELECT_T),
    case("SELECT * FROM dev.s.t TIMESTAMP AS OF now()", SELECT_T),
    case("SELECT * FROM dev.s.v", &["SELECT ON VIEW dev.s.v"]),
    case("SELECT (SELECT max(a) FROM dev.s.t)", SELECT_T),
    case("SELECT 1 WHERE EXISTS (SELECT 1 FROM dev.s.t)", SELECT_T),
    case("WITH x AS (SELECT * FROM dev.s.t) SELECT count(*) FROM x", SELECT_T),
    case("SELECT 1 UNION ALL SELECT a FROM dev.s.t", SELECT_T),
    case("SUMMARIZE dev.s.t", SELECT_T),
    case("DESCRIBE dev.s.t", SELECT_T),
    case("DESCRIBE EXTENDED dev.s.t", SELECT_T),
    case("DESCRIBE HISTORY dev.s.t", SELECT_T),
    case("DESCRIBE DETAIL dev.s.t", SELECT_T),
    case("DESCRIBE SELECT * FROM dev.s.t", SELECT_T),
    case("SHOW COLUMNS IN dev.s.t", SELECT_T),
    case("SHOW CREATE TABLE dev.s.t", SELECT_T),
    case("SHOW TBLPROPERTIES dev.s.t", SELECT_T),
    case("EXPLAIN SELECT * FROM dev.s.t", SELECT_T),
    case("EXPLAIN ANALYZE SELECT * FROM dev.s.t", SELECT_T),
    case("EXPLAIN INSERT INTO dev.s.t SELECT * FROM dev.s.t", &["SELECT ON TABLE dev.s.t", "MODIFY ON TABLE dev.s.t"]),
    case("CACHE TABLE c AS SELECT * FROM dev.s.t", SELECT_T),
    case("CACHE TABLE dev.s.t", SELECT_T),
    case("CREATE OR REPLACE TEMP VIEW tv AS SELECT * FROM dev.s.t", SELECT_T),
    case("ASSERT (SELECT count(*) FROM dev.s.t) > 0", SELECT_T),
    case("SET x = (SELECT max(a) FROM dev.s.t)", SELECT_T),
    case("COPY dev.s.t TO '{files}/out/t.csv' STORED AS CSV", &["SELECT ON TABLE dev.s.t", "WRITE FILES ON LOCATION '{files}/out'"]),
    case(
        "COPY (SELECT a FROM dev.s.t) TO '{files}/out/q.csv' STORED AS CSV",
        &["SELECT ON TABLE dev.s.t", "WRITE FILES ON LOCATION '{files}/out'"],
    ),
    Case {
        uses: 0,
        ..after(
            "COPY (SELECT 1 AS a) TO '{files}/in.parquet' STORED AS PARQUET",
            "SELECT * FROM read_parquet('{files}/in.parquet')",
            &["READ FILES ON LOCATION '{files}'"],
        )
    },
    case("INSERT INTO dev.s.t VALUES (4, 'eu', 1.0)", &["MODIFY ON TABLE dev.s.t"]),
    case("INSERT OVERWRITE dev.s.t VALUES (1, 'eu', 1.0), (2, 'us', 1.0)", &["MODIFY ON TABLE dev.s.t"]),
    case("VACUUM dev.s.t DRY RUN", &["MODIFY ON TABLE dev.s.t", "SELECT ON TABLE dev.s.t"]),
    after("DROP TABLE IF EXISTS dev.s.n", "CREATE TABLE dev.s.n AS SELECT 1 AS a", &["CREATE TABLE ON SCHEMA dev.s"]),
    after("DROP TABLE IF EXISTS dev.s.n", "CREATE TABLE dev.s.n (a INT)", &["CREATE TABLE ON SCHEMA dev.s"]),
    after(
        "DROP TABLE IF EXISTS dev.s.n",
        "CREATE OR REPLACE TABLE dev.s.n AS SELECT a FROM dev.s.t",
        &["CREATE TABLE ON SCHEMA dev.s", "SELECT ON TABLE dev.s.t"],
    ),
    after(
        "CREATE OR REPLACE TABLE dev.s.r AS SELECT 1 AS a",
        "CREATE OR REPLACE TABLE dev.s.r AS SELECT 2 AS a",
        &["MANAGE ON TABLE dev.s.r"],
    ),
    after("DROP VIEW IF EXISTS dev.s.w", "CREATE VIEW dev.s.w AS SELECT 1 AS a", &["CREATE TABLE ON SCHEMA dev.s"]),
    after(
        "DROP VIEW IF EXISTS dev.s.w",
        "CREATE VIEW dev.s.w AS SELECT a FROM dev.s.t",
        &["CREATE TABLE ON SCHEMA dev.s", "SELECT ON TABLE dev.s.t"],
    ),
    after("CREATE OR REPLACE TABLE dev.s.g AS SELECT 1 AS a", "DROP TABLE dev.s.g", &["MANAGE ON TABLE dev.s.g"]),
    after("CREATE OR REPLACE VIEW dev.s.x AS SELECT 1 AS a", "DROP VIEW dev.s.x", &["MANAGE ON VIEW dev.s.x"]),
    Case { uses: 1, ..after("DROP SCHEMA IF EXISTS dev.made", "CREATE SCHEMA dev.made", &["CREATE SCHEMA ON CATALOG dev"]) },
    Case { uses: 1, ..after("CREATE SCHEMA IF NOT EXISTS dev.gone", "DROP SCHEMA dev.gone", &["MANAGE ON SCHEMA dev.gone"]) },
    Case { uses: 0, ..after("DROP CATALOG IF EXISTS made", "CREATE CATALOG made", &["CREATE CATALOG ON SERVER"]) },
    Case { uses: 0, ..after("CREATE CATALOG IF NOT EXISTS gone", "DROP CATALOG gone", &["MANAGE ON CATALOG gone"]) },
    after(
        "DROP MODEL IF EXISTS dev.s.k",
        "CREATE MODEL dev.s.k OPTIONS (model_type = 'kmeans', num_clusters = 1) AS SELECT a FROM dev.s.t",
        &["CREATE MODEL ON SCHEMA dev.s", "SELECT ON TABLE dev.s.t"],
    ),
    case(PREDICT, &["EXECUTE ON MODEL dev.s.m"]),
    case("SELECT predict('dev.s.m', STRUCT(1 AS a, CAST(2.0 AS DOUBLE) AS price))", &["EXECUTE ON MODEL dev.s.m"]),
    case("SELECT * FROM ML.CENTROIDS(MODEL dev.s.m)", &["EXECUTE ON MODEL dev.s.m"]),
    case("SELECT * FROM ML.TRAINING_INFO(MODEL dev.s.m)", &["EXECUTE ON MODEL dev.s.m"]),
    case("DESCRIBE MODEL dev.s.m", &["EXECUTE ON MODEL dev.s.m"]),
    case("SHOW MODEL VERSIONS IN dev.s.m", &["EXECUTE ON MODEL dev.s.m"]),
    case("DESCRIBE HISTORY MODEL dev.s.m", &["EXECUTE ON MODEL dev.s.m"]),
    case("ALTER MODEL dev.s.m SET OPTIONS (description = 'x')", &["MANAGE ON MODEL dev.s.m"]),
    case("ALTER MODEL dev.s.m SET ALIAS best = VERSION 1", &["MANAGE ON MODEL dev.s.m"]),
    case(
        "EXPORT MODEL dev.s.m OPTIONS (uri = '{files}/out/m.safetensors')",
        &["EXECUTE ON MODEL dev.s.m", "WRITE FILES ON LOCATION '{files}/out'"],
    ),
    after(
        "CREATE OR REPLACE MODEL dev.s.d OPTIONS (model_type = 'kmeans', num_clusters = 1) AS SELECT a FROM dev.s.t",
        "DROP MODEL dev.s.d",
        &["MANAGE ON MODEL dev.s.d"],
    ),
    case("GRANT SELECT ON TABLE dev.s.t TO somebody", MANAGE_T),
    case("REVOKE SELECT ON TABLE dev.s.t FROM somebody", MANAGE_T),
    case("ALTER TABLE dev.s.t SET ROW FILTER (a > 0)", MANAGE_T),
    after("ALTER TABLE dev.s.t SET ROW FILTER (a > 0)", "ALTER TABLE dev.s.t DROP ROW FILTER", MANAGE_T),
    case("ALTER TABLE dev.s.t ALTER COLUMN region SET MASK ('x')", MANAGE_T),
    after("ALTER TABLE dev.s.t ALTER COLUMN region SET MASK ('x')", "ALTER TABLE dev.s.t ALTER COLUMN region DROP MASK", MANAGE_T),
    case("CREATE OR REPLACE FUNCTION dev.s.made(x INT) RETURN x + 1", &["CREATE FUNCTION ON SCHEMA dev.s"]),
    after("CREATE OR REPLACE FUNCTION dev.s.twice(x INT) RETURN 2 * x", "SELECT dev.s.twice(4)", &["EXECUTE ON FUNCTION dev.s.twice"]),
    after("CREATE OR REPLACE FUNCTION dev.s.gone(x INT) RETURN x", "DROP FUNCTION dev.s.gone", &["MANAGE ON FUNCTION dev.s.gone"]),
];

/// Every statement succeeds with what it needs, and fails when any single part of it is missing, in a dry run too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_matrix() {
    let lake = Lake::new().await;
    lake.all("CREATE USER somebody").await;
    for (n, case) in MATRIX.iter().enumerate() {
        let (name, fill) = (format!("u{n}"), |text: &str| text.replace("{files}", &lake.files()));
        let statement = fill(case.statement);
        let user = lake.user(&name).await;
        let needs: Vec<String> = USE.iter().take(case.uses).chain(case.needs).map(|need| fill(need)).collect();
        for need in &needs {
            lake.all(&fill(case.before)).await;
            lake.all(&format!("GRANT {need} TO {name}")).await;
        }
        for missing in &needs {
            lake.all(&format!("REVOKE {missing} FROM {name}")).await;
            kept_out(&user, &statement).await;
            if let Ok(rows) = rows_in(&user, &statement, Mode::Check).await
                && !statement.starts_with("ALTER TABLE")
                && !statement.starts_with("GRANT")
                && !statement.starts_with("REVOKE")
                && !statement.contains("FUNCTION")
            {
                panic!("{statement} is planned without {missing}: {rows:?}");
            }
            lake.all(&format!("GRANT {missing} TO {name}")).await;
        }
        let done = rows_of(&user, &statement).await;
        done.unwrap_or_else(|error| panic!("{statement} with {needs:?}: {}", said(&error)));
        if statement.starts_with("ALTER TABLE") {
            lake.all("ALTER TABLE dev.s.t SET ROW FILTER (true); ALTER TABLE dev.s.t DROP ROW FILTER").await;
            lake.all("ALTER TABLE dev.s.t ALTER COLUMN region SET MASK ('x'); ALTER TABLE dev.s.t ALTER COLUMN region DROP MASK").await;
        }
    }
}
