//! What the program tells of itself: its own tables, the audit, and no secrets.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use orrery_engine::access::{Access, called_from};
use orrery_engine::dialect::split;
use orrery_engine::script::{self, RunOptions, ScriptFile};
use orrery_engine::session::append_system_rows;
use orrery_engine::{Error, Warehouse};

use super::{FROM, Lake, kept_out, one, refused, rows_of, said, session};

#[tokio::test]
async fn system_tables_show_what_is_ones_own() {
    let lake = Lake::new().await;
    let ann = lake.user_with("ann", "GRANT SELECT ON TABLE dev.s.t TO {u}").await;
    let bob = lake.user_with("bob", "").await;
    rows_of(&ann, "CREATE TOKEN a").await.unwrap();
    rows_of(&bob, "CREATE TOKEN b").await.unwrap();
    for (sql, expected) in [
        ("SELECT name FROM system.access.users", vec!["ann"]),
        ("SELECT name FROM system.access.tokens", vec!["a"]),
        ("SELECT name FROM system.access.tokens VERSION AS OF 1", vec!["a"]),
        ("SELECT privilege FROM system.access.grants ORDER BY 1", vec!["SELECT", "USE CATALOG", "USE SCHEMA"]),
        ("SELECT count(*) FROM system.ml.models", vec!["0"]),
        ("SELECT count(*) FROM system.ml.model_versions", vec!["0"]),
        ("SELECT count(*) FROM system.ml.runs", vec!["0"]),
    ] {
        let rows = rows_of(&ann, sql).await.unwrap_or_else(|error| panic!("{sql}: {}", said(&error)));
        assert_eq!(rows.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), expected, "{sql}");
    }
    kept_out(&ann, "DESCRIBE HISTORY system.access.grants").await;
    lake.all("GRANT EXECUTE ON SCHEMA dev.s TO ann").await;
    assert_eq!(one(&ann, "SELECT count(*) FROM system.ml.models").await, "1");
    // Not even an administrator reads hashes.
    assert_eq!(one(&lake.admin, "SELECT count(password_hash) FROM system.access.users").await, "0");
    assert_eq!(one(&lake.admin, "SELECT count(secret_hash) FROM system.access.tokens").await, "0");
    assert_eq!(one(&lake.admin, "SELECT count(*) FROM system.access.tokens").await, "2");
}

#[tokio::test]
async fn the_audit_tells_who_did_what() {
    let lake = Lake::new().await;
    let ann = lake.user_with("ann", "GRANT SELECT ON TABLE dev.s.t TO {u}").await;
    rows_of(&ann, "SELECT * FROM dev.s.t").await.unwrap();
    kept_out(&ann, "DROP TABLE dev.s.t").await;
    refused(&ann, "SELECT nothing FROM dev.s.t").await;
    lake.all("CREATE USER eve PASSWORD 'hunter22 is secret'").await;
    lake.access.flush_audit().await.unwrap();
    let rows = rows_of(
        &ann,
        "SELECT kind, outcome, \"rows\", array_to_string(objects, ','), address, session FROM system.access.audit ORDER BY time",
    )
    .await;
    let rows: Vec<String> = rows.unwrap().into_iter().map(|row| row.join("|")).collect();
    assert_eq!(
        rows,
        ["SELECT|succeeded|3|dev.s.t|test|s1", "DROP TABLE|refused|NULL|dev.s.t|test|s1", "SELECT|failed|NULL|dev.s.t|test|s1"]
    );
    let users = one(&lake.admin, "SELECT statement FROM system.access.audit WHERE statement LIKE 'CREATE USER eve%'").await;
    assert_eq!(users, "CREATE USER eve PASSWORD '***'");
}

/// Preparing a statement tells what there is, so that it is noted too, above all where it is refused.
#[tokio::test]
async fn the_audit_tells_what_was_prepared() {
    let lake = Lake::new().await;
    let ann = lake.user_with("ann", "GRANT SELECT ON TABLE dev.s.t TO {u}").await;
    for sql in ["SELECT a FROM dev.s.t WHERE a > $1", "INSERT INTO dev.s.t VALUES (4, 'eu', 1.0)", "SELECT * FROM dev.s.v"] {
        let statement = split(sql).unwrap().remove(0);
        let described = ann.describe_statement(&statement).await;
        assert_eq!(described.is_ok(), sql.contains("$1"), "{sql}");
    }
    lake.access.flush_audit().await.unwrap();
    let rows = rows_of(&ann, "SELECT kind || ' ' || outcome FROM system.access.audit ORDER BY time").await.unwrap();
    assert_eq!(rows.concat(), ["SELECT (prepare) succeeded", "INSERT INTO (prepare) refused", "SELECT (prepare) failed"]);
    let read = "SELECT objects[1] FROM system.access.audit WHERE kind = 'INSERT INTO (prepare)'";
    assert_eq!(one(&ann, read).await, "dev.s.t");
}

/// A session goes on from wherever its token is used.
#[tokio::test]
async fn the_audit_tells_where_each_call_came_from() {
    let lake = Lake::new().await;
    let ann = lake.user("ann").await;
    for address in ["10.0.0.1", "10.0.0.2"] {
        called_from(address.to_string(), rows_of(&ann, "SELECT 1")).await.unwrap();
    }
    rows_of(&ann, "SELECT 1").await.unwrap();
    lake.access.flush_audit().await.unwrap();
    let rows = rows_of(&ann, "SELECT address FROM system.access.audit ORDER BY time").await.unwrap();
    assert_eq!(rows.concat(), ["10.0.0.1", "10.0.0.2", FROM]);
}

/// A run that a scheduler has written down.
async fn recorded_run(lake: &Lake, id: &str, user: &str) {
    let text = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = TimestampMicrosecondArray::from(vec![i64::try_from(now.as_millis()).unwrap() * 1000]).with_timezone("UTC");
    let run = vec![("run_id", text(id), true), ("user_name", text(user), true)];
    let begun: Vec<_> = run.iter().cloned().chain([("started_at", Arc::new(now) as ArrayRef, true)]).collect();
    for (table, columns) in [("runs", begun), ("statements", run)] {
        let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        append_system_rows(lake.access.warehouse(), "query", table, "", rows, id).await.unwrap();
    }
}

/// Whoever comes to have a name of old is not whoever had it.
#[tokio::test]
async fn a_user_sees_nothing_of_an_earlier_one_of_his_name() {
    let lake = Lake::new().await;
    let first = lake.user("ann").await;
    rows_of(&first, "SELECT 'the first'").await.unwrap();
    recorded_run(&lake, "of-the-first", "ann").await;
    assert_eq!(one(&first, "SELECT run_id FROM system.query.statements").await, "of-the-first");
    lake.all("DROP USER ann").await;
    let second = lake.user("ann").await;
    rows_of(&second, "SELECT 'the second'").await.unwrap();
    lake.access.flush_audit().await.unwrap();
    assert_eq!(rows_of(&second, "SELECT statement FROM system.access.audit").await.unwrap(), [["SELECT 'the second'"]]);
    for table in ["runs", "statements"] {
        assert_eq!(one(&second, &format!("SELECT count(*) FROM system.query.{table}")).await, "0", "{table}");
    }
    recorded_run(&lake, "of-the-second", "ann").await;
    for table in ["runs", "statements"] {
        let sql = format!("SELECT run_id FROM system.query.{table}");
        assert_eq!(rows_of(&second, &sql).await.unwrap(), [["of-the-second"]], "{table}");
        assert_eq!(one(&lake.admin, &format!("SELECT count(*) FROM system.query.{table}")).await, "2", "{table}");
    }
    let both = "SELECT count(*) FROM system.access.audit WHERE user_name = 'ann' AND statement LIKE 'SELECT ''the %'";
    assert_eq!(one(&lake.admin, both).await, "2");
}

/// No text that the program keeps or sends holds a secret.
#[tokio::test]
async fn secrets_are_not_repeated() {
    let lake = Lake::new().await;
    for sql in [
        "CREATE USER ann PASSWORD 'hunter22 x'; SELECT nothing",
        "CREATE USER ann PASSWORD 'hunter22 x'",
        "ALTER USER ann SET PASSWORD 'hunter22 x' NOW",
    ] {
        let files = [ScriptFile { path: "a.sql".to_string(), text: sql.to_string() }];
        let statements = script::statements(&files).unwrap();
        assert!(statements[0].text.tells_secrets());
        let mut heard = Heard::default();
        let outcome = script::run(&lake.admin, &statements, RunOptions::default(), &mut heard).await;
        let failure = outcome.err().map(|failure| format!("{failure} {:?} {:?}", failure.statement, failure.error)).unwrap_or_default();
        assert!(!failure.contains("hunter22") && !heard.0.contains("hunter22"), "{failure} {}", heard.0);
    }
    let debug = format!("{:?}", lake.admin.parse(&split("CREATE USER x PASSWORD 'hunter22 x'").unwrap()[0]).unwrap());
    assert!(!debug.contains("hunter22"), "{debug}");
    let mut found = Vec::new();
    for entry in walk(lake.dir.path()) {
        if String::from_utf8_lossy(&std::fs::read(&entry).unwrap()).contains("hunter22") {
            found.push(entry);
        }
    }
    assert!(found.is_empty(), "{found:?}");
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// Everything that an observer of a run is told.
#[derive(Default)]
struct Heard(String);

impl script::Observer for Heard {
    fn started(&mut self, statement: &script::Located, kind: &'static str, _: usize) {
        self.0 += &format!("{} {kind}\n", statement.text.text);
    }

    fn progress(&mut self, _: &orrery_engine::session::Progress) {}

    fn schema(&mut self, _: &datafusion::arrow::datatypes::SchemaRef) -> Result<(), Error> {
        Ok(())
    }

    fn batch(&mut self, _: &RecordBatch) -> Result<(), Error> {
        Ok(())
    }

    fn finished(&mut self, statement: &script::Located, finished: &script::Finished) -> Result<(), Error> {
        self.0 += &format!("{} {}\n", statement.text.text, finished.summary);
        Ok(())
    }
}

/// Without a principal there is nothing to ask for, and nobody has to be.
#[tokio::test]
async fn the_embedded_engine_may_do_everything() {
    let dir = tempfile::tempdir().unwrap();
    let local = session(dir.path(), None).await;
    assert_eq!(one(&local, "SELECT current_user()").await, "local");
    rows_of(&local, "CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a; DROP TABLE s.t").await.unwrap();
    assert!(!dir.path().join("warehouse/system/access").exists(), "no tables of rights are made for it");
    rows_of(&local, "CREATE USER ann PASSWORD 'correct horse'; GRANT USE CATALOG ON CATALOG dev TO ann").await.unwrap();
    rows_of(&local, "CREATE TABLE s.t AS SELECT 1 AS a; GRANT USE SCHEMA, SELECT ON SCHEMA s TO ann").await.unwrap();
    let access = Access::open(Warehouse::open(&dir.path().join("warehouse").display().to_string(), Default::default()).await.unwrap());
    let ann = session(dir.path(), Some(access.authenticate_password("ann", "correct horse", FROM).await.unwrap())).await;
    assert_eq!(one(&ann, "SELECT a FROM s.t").await, "1");
    kept_out(&ann, "DROP TABLE s.t").await;
    // What the embedded engine drops takes its grants along.
    rows_of(&local, "GRANT MODIFY ON TABLE s.t TO ann; DROP TABLE s.t; CREATE TABLE s.t AS SELECT 2 AS a").await.unwrap();
    assert_eq!(one(&local, "SELECT count(*) FROM system.access.grants WHERE privilege = 'MODIFY'").await, "0");
}
