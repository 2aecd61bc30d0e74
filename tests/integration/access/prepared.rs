//! Statements that were prepared before rights changed: each run has the rights of its own moment.

use std::sync::Arc;

use futures::TryStreamExt as _;
use orrery_engine::Blame;
use orrery_engine::dialect::split;
use orrery_engine::session::{Outcome, Parameters, PreparedStatement, Session, Tracker};

use super::{Lake, one, refused};

fn prepare(sql: &str) -> Arc<PreparedStatement> {
    Arc::new(PreparedStatement::new(split(sql).unwrap().remove(0)))
}

async fn count(session: &Session, prepared: &Arc<PreparedStatement>) -> Result<usize, Blame> {
    let outcome = session.execute_prepared(prepared, Parameters::default(), &Tracker::default()).await.map_err(|error| error.blame)?;
    let Outcome::Rows(rows) = outcome else { panic!("no rows") };
    let batches: Vec<_> = rows.try_collect().await.map_err(|_| Blame::Bug)?;
    Ok(batches.iter().map(|batch| batch.num_rows()).sum())
}

#[tokio::test]
async fn a_plan_is_not_kept_beyond_its_rights() {
    let lake = Lake::new().await;
    let ann = lake.user_with("ann", "GRANT SELECT ON TABLE dev.s.t TO {u}; GRANT SELECT ON VIEW dev.s.v TO {u}").await;
    let (table, view) = (prepare("SELECT * FROM dev.s.t"), prepare("SELECT * FROM dev.s.v"));
    for _ in 0..3 {
        assert_eq!(count(&ann, &table).await, Ok(3));
        assert_eq!(count(&ann, &view).await, Ok(2));
    }
    lake.all("ALTER TABLE dev.s.t SET ROW FILTER (region = 'eu')").await;
    for _ in 0..3 {
        assert_eq!(count(&ann, &table).await, Ok(2));
    }
    lake.all("ALTER TABLE dev.s.t DROP ROW FILTER").await;
    assert_eq!(count(&ann, &table).await, Ok(3));
    lake.all("REVOKE SELECT ON TABLE dev.s.t FROM ann").await;
    // There is no such table any more as far as she may know.
    assert_eq!(count(&ann, &table).await, Err(Blame::Sql));
    assert_eq!(count(&ann, &view).await, Ok(2));
    lake.all("REVOKE SELECT ON VIEW dev.s.v FROM ann").await;
    assert!(count(&ann, &view).await.is_err());
    lake.all("GRANT SELECT ON TABLE dev.s.t TO ann").await;
    assert_eq!(count(&ann, &table).await, Ok(3));
    lake.all("ALTER USER ann DISABLE").await;
    assert_eq!(count(&ann, &table).await, Err(Blame::Rights));
    refused(&ann, "SELECT * FROM dev.s.t").await;
}

/// The audit names what a kept plan reads as it does for a new one.
#[tokio::test]
async fn every_run_is_in_the_audit() {
    let lake = Lake::new().await;
    let ann = lake.user_with("ann", "GRANT SELECT ON TABLE dev.s.t TO {u}").await;
    let prepared = prepare("SELECT * FROM dev.s.t");
    for _ in 0..3 {
        assert_eq!(count(&ann, &prepared).await, Ok(3));
    }
    lake.access.flush_audit().await.unwrap();
    let noted = "SELECT count(*) FROM system.access.audit WHERE objects[1] = 'dev.s.t' AND \"rows\" = 3 AND outcome = 'succeeded'";
    assert_eq!(one(&ann, noted).await, "3");
}
