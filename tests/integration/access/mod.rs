//! Rights as users meet them: who may run which statement on what, and every way around that somebody could try.

mod borrowed;
mod files;
mod matrix;
mod names;
mod policies;
mod prepared;
mod records;

use std::path::Path;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt as _;
use orrery_engine::access::{Access, Principal};
use orrery_engine::dialect::split;
use orrery_engine::session::{Mode, Outcome, Session, SessionOptions, Tracker};
use orrery_engine::{Blame, Error, Warehouse};

const FROM: &str = "test";
const PASSWORD: &str = "correct horse";

/// A warehouse with an administrator, a table of three rows, a view of it and a model.
struct Lake {
    dir: tempfile::TempDir,
    access: Access,
    admin: Session,
}

impl Lake {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("warehouse").display().to_string();
        let warehouse = Warehouse::open(&path, Default::default()).await.unwrap();
        let access = Access::open(warehouse);
        access.bootstrap_administrator(Some(PASSWORD)).await.unwrap().unwrap();
        let admin = session(dir.path(), Some(access.trusted("admin", FROM).await.unwrap())).await;
        std::fs::create_dir_all(dir.path().join("files/out")).unwrap();
        let lake = Self { dir, access, admin };
        lake.all(
            "CREATE SCHEMA dev.s;
             CREATE TABLE dev.s.t AS SELECT * FROM (VALUES (1, 'eu', 10.0), (2, 'us', 20.0), (3, 'eu', 30.0)) AS v(a, region, price);
             CREATE VIEW dev.s.v AS SELECT a, region FROM dev.s.t WHERE a > 1;
             CREATE MODEL dev.s.m OPTIONS (model_type = 'kmeans', num_clusters = 1) AS SELECT a, price FROM dev.s.t",
        )
        .await;
        lake
    }

    fn files(&self) -> String {
        self.dir.path().join("files").display().to_string()
    }

    /// Statements of the administrator, all of which succeed.
    async fn all(&self, sql: &str) {
        rows_of(&self.admin, sql).await.unwrap_or_else(|error| panic!("{sql}: {error} {:?}", error.hint));
    }

    /// A session of a user, who is made if there is none.
    async fn user(&self, name: &str) -> Session {
        self.all(&format!("CREATE USER IF NOT EXISTS {name}")).await;
        session(self.dir.path(), Some(self.access.trusted(name, FROM).await.unwrap())).await
    }

    /// A user who may use the schema, and what else is granted to `{u}`.
    async fn user_with(&self, name: &str, grants: &str) -> Session {
        let user = self.user(name).await;
        self.all(&format!("GRANT USE CATALOG ON CATALOG dev TO {name}; GRANT USE SCHEMA ON SCHEMA dev.s TO {name}")).await;
        self.all(&grants.replace("{u}", name)).await;
        user
    }
}

async fn session(dir: &Path, principal: Option<Principal>) -> Session {
    let options = SessionOptions {
        warehouse: dir.join("warehouse").display().to_string(),
        threads: Some(2),
        principal,
        session_name: Some("s1".to_string()),
        ..SessionOptions::default()
    };
    Session::open(options).await.unwrap()
}

async fn rows_in(session: &Session, sql: &str, mode: Mode) -> Result<Vec<Vec<String>>, Error> {
    let mut rows = Vec::new();
    for statement in split(sql)? {
        let tracker = Tracker::default();
        rows = match session.execute(&statement, mode, &tracker).await? {
            Outcome::Rows(stream) => {
                let batches: Vec<RecordBatch> = match stream.try_collect().await {
                    Ok(batches) => batches,
                    Err(error) => return Err(session.explain_error(error.into(), &statement, &tracker).await),
                };
                batches.iter().flat_map(cells).collect()
            }
            Outcome::Written { outcome, .. } => vec![vec![outcome.rows.to_string()]],
            Outcome::Done(text) => vec![vec![text]],
        };
    }
    Ok(rows)
}

async fn rows_of(session: &Session, sql: &str) -> Result<Vec<Vec<String>>, Error> {
    rows_in(session, sql, Mode::Run).await
}

fn cells(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let formatters: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
    (0..batch.num_rows()).map(|row| formatters.iter().map(|f| f.value(row).to_string()).collect()).collect()
}

/// Everything that a user reads of an error.
fn said(error: &Error) -> String {
    format!("{} hint: {}", error.message, error.hint.as_deref().unwrap_or_default())
}

async fn refused(session: &Session, sql: &str) -> Error {
    match rows_of(session, sql).await {
        Ok(rows) => panic!("{sql} is not refused: {rows:?}"),
        Err(error) => error,
    }
}

/// Refused for want of a right, or because nothing of the kind is known to the user.
async fn kept_out(session: &Session, sql: &str) -> Error {
    let error = refused(session, sql).await;
    let is_hidden = error.message.contains("does not exist") || error.message.contains("unction");
    assert!(error.blame == Blame::Rights || is_hidden, "{sql}: {error}");
    error
}

async fn one(session: &Session, sql: &str) -> String {
    let rows = rows_of(session, sql).await.unwrap_or_else(|error| panic!("{sql}: {error} {:?}", error.hint));
    rows.first().and_then(|row| row.first()).cloned().unwrap_or_default()
}
