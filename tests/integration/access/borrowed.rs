//! Views, owners and revokes: nobody acts with another's rights, or with rights that he had.

use orrery_engine::Blame;

use super::{FROM, Lake, kept_out, one, refused, rows_of, said, session};

#[tokio::test]
async fn views_run_with_their_owners_rights() {
    let lake = Lake::new().await;
    let ann = lake.user_with("ann", "GRANT SELECT ON TABLE dev.s.t TO {u}; GRANT CREATE TABLE ON SCHEMA dev.s TO {u}").await;
    let bob = lake.user_with("bob", "GRANT CREATE TABLE ON SCHEMA dev.s TO {u}").await;
    rows_of(&ann, "CREATE VIEW dev.s.of_ann AS SELECT a FROM dev.s.t; GRANT SELECT ON VIEW dev.s.of_ann TO bob").await.unwrap();
    assert_eq!(one(&bob, "SELECT count(*) FROM dev.s.of_ann").await, "3");
    kept_out(&bob, "SELECT * FROM dev.s.t").await;
    // A view over a view goes by the owner of each.
    rows_of(&bob, "CREATE VIEW dev.s.of_bob AS SELECT max(a) AS m FROM dev.s.of_ann").await.unwrap();
    assert_eq!(one(&bob, "SELECT m FROM dev.s.of_bob").await, "3");
    // He cannot make one over what he may not read, and sees neither its text nor its plan.
    kept_out(&bob, "CREATE VIEW dev.s.steal AS SELECT * FROM dev.s.t").await;
    kept_out(&bob, "SHOW CREATE TABLE dev.s.of_ann").await;
    assert!(!rows_of(&bob, "DESCRIBE EXTENDED dev.s.of_ann").await.unwrap().iter().flatten().any(|cell| cell.contains("dev.s.t")));
    for explain in ["EXPLAIN", "EXPLAIN VERBOSE", "EXPLAIN ANALYZE"] {
        let error = kept_out(&bob, &format!("{explain} SELECT * FROM dev.s.of_ann")).await;
        assert!(!said(&error).contains("dev.s.t"), "{}", said(&error));
    }
    rows_of(&ann, "EXPLAIN SELECT * FROM dev.s.of_ann").await.unwrap();
    // An owner who has lost the right breaks the view, and its reader is not told why.
    lake.all("REVOKE SELECT ON TABLE dev.s.t FROM ann").await;
    let error = refused(&bob, "SELECT * FROM dev.s.of_ann").await;
    assert!(error.message.contains("does not work any more") && !said(&error).contains("dev.s.t "), "{}", said(&error));
    refused(&bob, "SELECT * FROM dev.s.of_bob").await;
    assert!(refused(&ann, "SELECT * FROM dev.s.of_ann").await.message.contains("dev.s.t"), "its owner is");
}

#[tokio::test]
async fn nobody_borrows_anothers_rights() {
    let lake = Lake::new().await;
    let ann = lake.user_with("ann", "GRANT SELECT ON TABLE dev.s.t TO {u}; GRANT CREATE TABLE ON SCHEMA dev.s TO {u}").await;
    let eve = lake.user_with("eve", "GRANT CREATE TABLE ON SCHEMA dev.s TO {u}").await;
    rows_of(&ann, "CREATE VIEW dev.s.w AS SELECT 1 AS one").await.unwrap();
    rows_of(&ann, "GRANT MANAGE ON VIEW dev.s.w TO eve; GRANT SELECT ON VIEW dev.s.w TO eve").await.unwrap();
    // Who may replace the view does not get to write its text for the owner's rights.
    kept_out(&eve, "CREATE OR REPLACE VIEW dev.s.w AS SELECT * FROM dev.s.t").await;
    assert_eq!(one(&eve, "SELECT * FROM dev.s.w").await, "1");
    rows_of(&eve, "CREATE OR REPLACE VIEW dev.s.w AS SELECT 2 AS two").await.unwrap();
    assert!(
        rows_of(&eve, "SHOW GRANTS ON VIEW dev.s.w")
            .await
            .unwrap()
            .contains(&["eve", "OWNER", "TABLE", "dev.s.w", "NULL"].map(String::from).to_vec())
    );
    // Nor does he give a view of his own to somebody who may read more.
    rows_of(&eve, "CREATE VIEW dev.s.trap AS SELECT 1 AS a").await.unwrap();
    let error = kept_out(&eve, "ALTER VIEW dev.s.trap OWNER TO ann").await;
    assert!(error.message.contains("himself"), "{error}");
    kept_out(&eve, "ALTER VIEW dev.s.trap OWNER TO administrators").await;
    // Who may hide rows of a table may not look into another by the condition.
    lake.all("CREATE TABLE dev.s.open AS SELECT 1 AS a; GRANT MANAGE, SELECT ON TABLE dev.s.open TO eve").await;
    kept_out(&eve, "ALTER TABLE dev.s.open SET ROW FILTER (EXISTS (SELECT 1 FROM dev.s.t WHERE price > 20))").await;
    kept_out(&eve, "ALTER TABLE dev.s.open ALTER COLUMN a SET MASK ((SELECT max(a) FROM dev.s.t))").await;
    // A name that was granted is not a right to what comes to have it later.
    rows_of(&eve, "CREATE TABLE dev.s.mine AS SELECT 1 AS a").await.unwrap();
    rows_of(&eve, "GRANT SELECT ON TABLE dev.s.mine TO bob").await.err().unwrap();
    let bob = lake.user_with("bob", "").await;
    rows_of(&eve, "GRANT SELECT ON TABLE dev.s.mine TO bob").await.unwrap();
    assert_eq!(one(&bob, "SELECT a FROM dev.s.mine").await, "1");
    rows_of(&eve, "DROP TABLE dev.s.mine").await.unwrap();
    rows_of(&ann, "CREATE TABLE dev.s.mine AS SELECT 7 AS a").await.unwrap();
    kept_out(&bob, "SELECT a FROM dev.s.mine").await;
    kept_out(&eve, "SELECT a FROM dev.s.mine").await;
}

/// What is revoked is gone for every version, every copy and every open session.
#[tokio::test]
async fn a_revoke_holds_for_the_past_too() {
    let lake = Lake::new().await;
    let ann = lake.user_with("ann", "GRANT SELECT ON TABLE dev.s.t TO {u}").await;
    rows_of(&ann, "CACHE TABLE dev.s.t; CREATE TEMP VIEW tv AS SELECT * FROM dev.s.t").await.unwrap();
    lake.all("INSERT INTO dev.s.t VALUES (4, 'eu', 40.0)").await;
    for statement in ["SELECT * FROM dev.s.t VERSION AS OF 0", "SELECT * FROM dev.s.t", "SELECT * FROM tv", "DESCRIBE HISTORY dev.s.t"] {
        rows_of(&ann, statement).await.unwrap();
    }
    lake.all("REVOKE SELECT ON TABLE dev.s.t FROM ann").await;
    for statement in [
        "SELECT * FROM dev.s.t VERSION AS OF 0",
        "SELECT * FROM dev.s.t TIMESTAMP AS OF now()",
        "SELECT * FROM dev.s.t",
        "SELECT * FROM tv",
        "DESCRIBE HISTORY dev.s.t",
        "DESCRIBE dev.s.t",
    ] {
        kept_out(&ann, statement).await;
    }
    // A row filter holds for old versions as well.
    lake.all("GRANT SELECT ON TABLE dev.s.t TO ann; ALTER TABLE dev.s.t SET ROW FILTER (region = 'us')").await;
    assert_eq!(one(&ann, "SELECT count(*) FROM dev.s.t VERSION AS OF 0").await, "1");
    // Who may not come in any more is out, in the middle of a session.
    lake.all("ALTER USER ann DISABLE").await;
    let error = refused(&ann, "SELECT 1").await;
    assert!(error.blame == Blame::Rights && error.message.contains("may not come in"), "{error}");
    lake.all("ALTER USER ann ENABLE").await;
    let secret = one(&ann, "CREATE TOKEN t").await;
    let by_token = session(lake.dir.path(), Some(lake.access.authenticate_token(&secret, FROM).await.unwrap())).await;
    assert_eq!(one(&by_token, "SELECT current_user()").await, "ann");
    rows_of(&ann, "DROP TOKEN t").await.unwrap();
    refused(&by_token, "SELECT 1").await;
    lake.all("DROP USER ann").await;
    refused(&ann, "SELECT 1").await;
}
