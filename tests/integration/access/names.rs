//! What a user may not know of, and what is for administrators.

use orrery_engine::Blame;
use orrery_engine::session::Mode;

use super::{FROM, Lake, one, refused, rows_in, rows_of, said};

/// What is for administrators is for nobody else, whatever he was granted.
#[tokio::test]
async fn what_only_administrators_do() {
    let lake = Lake::new().await;
    let user = lake.user_with("ann", "GRANT ALL PRIVILEGES ON SERVER TO {u}; GRANT MANAGE ON CATALOG dev TO {u}").await;
    for statement in [
        "CREATE USER eve PASSWORD 'correct horse'",
        "ALTER USER admin SET PASSWORD 'correct horse'",
        "ALTER USER admin DISABLE",
        "DROP USER admin",
        "CREATE ROLE r",
        "DROP ROLE administrators",
        "GRANT ROLE administrators TO ann",
        "REVOKE ROLE administrators FROM admin",
        "CREATE TOKEN t FOR USER admin",
        "SET datafusion.execution.target_partitions = 100000",
        "SET datafusion.execution.batch_size = 100000000",
        "SET orrery.common_subplan_bytes = 0",
        "INSERT INTO system.access.role_members VALUES ('administrators', 'ann', NULL, NULL)",
        "CREATE TABLE system.access.mine AS SELECT 1 AS a",
        "CREATE OR REPLACE TABLE system.access.users AS SELECT 'ann' AS name",
        "DROP TABLE system.access.grants",
        "DROP SCHEMA system.access CASCADE",
        "GRANT SELECT ON TABLE system.access.users TO ann",
    ] {
        let error = refused(&user, statement).await;
        assert_eq!(error.blame, Blame::Rights, "{statement}: {error}");
    }
    // His own password and tokens are his.
    rows_of(&user, "ALTER USER ann SET PASSWORD 'another horse'").await.unwrap();
    assert!(lake.access.authenticate_password("ann", "another horse", FROM).await.is_ok());
    let token = one(&user, "CREATE TOKEN mine EXPIRES IN INTERVAL '30' DAY").await;
    assert_eq!(lake.access.authenticate_token(&token, FROM).await.unwrap().user(), "ann");
    assert!(rows_of(&user, "SHOW TOKENS").await.unwrap().iter().flatten().all(|cell| !cell.contains(&token)));
    rows_of(&user, "SET orrery.approximate_distinct = true").await.unwrap();
    // What is computed before a statement has its turn reads nothing.
    for expires in ["AT (SELECT TIMESTAMP '2999-01-01' FROM dev.s.t)", "IN (SELECT INTERVAL '1' DAY)", "AT now() + (SELECT now())"] {
        for mode in [Mode::Run, Mode::Check] {
            let error = rows_in(&user, &format!("CREATE TOKEN endless EXPIRES {expires}"), mode).await.unwrap_err();
            assert!(error.message.contains("a subquery in EXPIRES") && error.hint.is_some(), "{error}");
        }
    }
}

/// Nobody learns from an error whether there is what he may not know of.
#[tokio::test]
async fn hidden_is_as_missing() {
    let lake = Lake::new().await;
    lake.all("CREATE SCHEMA dev.hidden; CREATE TABLE dev.hidden.secret AS SELECT 1 AS a; CREATE CATALOG vault; CREATE SCHEMA vault.s")
        .await;
    let user = lake.user_with("ann", "GRANT USE SCHEMA ON SCHEMA dev.s TO {u}").await;
    for (hidden, missing) in [
        ("SELECT * FROM dev.s.t", "SELECT * FROM dev.s.zz"),
        ("SELECT * FROM dev.s.t VERSION AS OF 0", "SELECT * FROM dev.s.zz VERSION AS OF 0"),
        ("DESCRIBE dev.s.t", "DESCRIBE dev.s.zz"),
        ("DESCRIBE HISTORY dev.s.t", "DESCRIBE HISTORY dev.s.zz"),
        ("INSERT INTO dev.s.t VALUES (1)", "INSERT INTO dev.s.zz VALUES (1)"),
        ("DROP TABLE dev.s.t", "DROP TABLE dev.s.zz"),
        ("VACUUM dev.s.t", "VACUUM dev.s.zz"),
        ("SHOW GRANTS ON TABLE dev.s.t", "SHOW GRANTS ON TABLE dev.s.zz"),
        ("GRANT SELECT ON TABLE dev.s.t TO ann", "GRANT SELECT ON TABLE dev.s.zz TO ann"),
        ("SELECT * FROM ML.PREDICT(MODEL dev.s.m, TABLE dev.s.t)", "SELECT * FROM ML.PREDICT(MODEL dev.s.zz, TABLE dev.s.t)"),
        ("DESCRIBE MODEL dev.s.m", "DESCRIBE MODEL dev.s.zz"),
        ("DROP MODEL dev.s.m", "DROP MODEL dev.s.zz"),
        ("SELECT * FROM dev.hidden.secret", "SELECT * FROM dev.zz.secret"),
        ("SHOW TABLES IN dev.hidden", "SHOW TABLES IN dev.zz"),
        ("SHOW MODELS IN dev.hidden", "SHOW MODELS IN dev.zz"),
        ("USE dev.hidden", "USE dev.zz"),
        ("DROP SCHEMA dev.hidden", "DROP SCHEMA dev.zz"),
        ("CREATE TABLE dev.hidden.n AS SELECT 1 AS a", "CREATE TABLE dev.zz.n AS SELECT 1 AS a"),
        ("SHOW SCHEMAS IN vault", "SHOW SCHEMAS IN zz"),
        ("USE CATALOG vault", "USE CATALOG zz"),
        ("SELECT * FROM vault.s.t", "SELECT * FROM zz.s.t"),
        ("DROP CATALOG vault", "DROP CATALOG zz"),
    ] {
        let (of_hidden, of_missing) = (refused(&user, hidden).await, refused(&user, missing).await);
        let alike = |text: String| {
            text.replace("dev.s.t", "X").replace("dev.s.m", "X").replace("dev.s.zz", "X").replace("hidden", "zz").replace("vault", "zz")
        };
        assert_eq!(alike(said(&of_hidden)), alike(said(&of_missing)), "{hidden} against {missing}");
        assert!(!said(&of_hidden).contains("secret") || hidden.contains("secret"));
    }
    for (statement, expected) in [
        ("SHOW TABLES IN dev.s", Vec::<&str>::new()),
        ("SHOW MODELS IN dev.s", vec![]),
        ("SHOW SCHEMAS IN dev", vec!["s"]),
        ("SHOW CATALOGS", vec!["dev", "system"]),
    ] {
        let rows = rows_of(&user, statement).await.unwrap();
        assert_eq!(rows.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), expected, "{statement}");
    }
    rows_of(&user, "DROP TABLE IF EXISTS dev.s.t").await.unwrap();
    rows_of(&user, "DROP MODEL IF EXISTS dev.s.m").await.unwrap();
    assert_eq!(one(&lake.admin, "SELECT count(*) FROM dev.s.t").await, "3", "nothing was dropped");
}

#[tokio::test]
async fn names_do_not_lead_out_of_the_warehouse() {
    let lake = Lake::new().await;
    let ann = lake.user_with("ann", "GRANT ALL PRIVILEGES ON SCHEMA dev.s TO {u}").await;
    for name in [
        "\"..\".\"..\".\"x\"",
        "dev.\"../system\".t",
        "dev.s.\"../../system/access/users\"",
        "dev.s.\"_views\"",
        "dev.s.\"a%2fb\"",
        "dev.s.\"\u{1}scan1\"",
    ] {
        for statement in [format!("SELECT * FROM {name}"), format!("CREATE TABLE {name} AS SELECT 1 AS a"), format!("DROP TABLE {name}")] {
            refused(&ann, &statement).await;
        }
    }
}
