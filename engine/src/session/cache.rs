//! `CACHE TABLE`: the rows are written once to a scratch warehouse, with the same operator as any table, and read from there until the
//! session ends. That keeps them compressed, prunable and out of the memory budget, however many they are.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::sql::sqlparser::ast::Query;
use orrery_lakehouse::{Relation, TableName, Warehouse, WriteMode, WriteRequest};
use tokio::sync::OnceCell;

use super::catalog::{DEFAULT_SCHEMA, Temporary};
use super::write::cast_to;
use super::{Mode, Outcome, Session, Tracker, planning};
use crate::dialect::{DropRelation, Name, Statement, StatementText};
use crate::{Blame, Error, Result};

/// The warehouse of a session's caches; its folder goes with the session.
pub(super) struct Scratch {
    /// Shared storage, or the local file system.
    url: Option<String>,
    opened: OnceCell<(Option<tempfile::TempDir>, Warehouse)>,
    made: AtomicU64,
}

impl Scratch {
    pub(super) fn new(url: Option<String>) -> Self {
        Self { url, opened: OnceCell::new(), made: AtomicU64::new(0) }
    }

    /// Removes what is on shared storage; a local folder goes by itself.
    pub(super) async fn remove(&self) {
        if let Some((None, warehouse)) = self.opened.get()
            && let Err(error) = warehouse.remove_everything().await
        {
            tracing::warn!(scratch = %warehouse.root(), %error, "caches could not be removed");
        }
    }

    async fn warehouse(&self, dir: &std::path::Path) -> Result<&Warehouse> {
        let (_, warehouse) = self
            .opened
            .get_or_try_init(|| async {
                if let Some(url) = &self.url {
                    let url = format!("{}/{}", url.trim_end_matches('/'), uuid::Uuid::new_v4().simple());
                    return Ok((None, Warehouse::open(&url, HashMap::new()).await?));
                }
                let folder = tempfile::Builder::new()
                    .prefix("orrery-cache-")
                    .tempdir_in(dir)
                    .map_err(|e| Error::new(Blame::Storage, format!("cannot make a folder for caches in {}: {e}", dir.display())))?;
                let warehouse = Warehouse::open(&folder.path().to_string_lossy(), HashMap::new()).await?;
                Ok::<_, Error>((Some(folder), warehouse))
            })
            .await?;
        Ok(warehouse)
    }
}

impl Session {
    pub(super) async fn cache(
        &self,
        name: &Name,
        query: Option<Box<Query>>,
        text: &StatementText,
        mode: Mode,
        tracker: &Tracker,
    ) -> Result<Outcome> {
        let existing = query.is_none();
        if !existing && name.parts.len() > 1 {
            return Err(Error::sql(format!("'{name}' cannot name a cache"))
                .at(name.position)
                .hint("CACHE TABLE name AS query takes a single name; without AS it caches a stored table"));
        }
        let query = match query {
            Some(query) => query,
            None => select_all(name)?,
        };
        let state = self.context.state();
        let plan = planning::plan_query(&state, &self.names, query).await?;
        if mode == Mode::Check {
            self.physical(&plan).await?;
            if !existing {
                self.names.put_temporary(&name.to_string(), Temporary::Rows(planning::stand_in(&plan)));
            }
            return Ok(Outcome::Done(format!("would cache {name}")));
        }
        let dir = self.scratch_dir();
        let scratch = self.scratch.warehouse(&dir).await?;
        scratch.register_with(&self.context.runtime_env());
        let stored = TableName::new("dev", DEFAULT_SCHEMA, format!("cache{}", self.scratch.made.fetch_add(1, Ordering::Relaxed)));
        let mut request = WriteRequest::new(stored.clone(), WriteMode::Create, Arc::new(plan.schema().as_arrow().clone()));
        request.statement.clone_from(&text.text);
        let pending = scratch.begin_write(request).await?;
        let plan = cast_to(plan, pending.target_schema().as_ref())?;
        let outcome = self.write(pending, &plan, tracker).await?;
        let Some(Relation::Table(table)) = scratch.relation(&stored).await? else {
            return Err(Error::new(Blame::Bug, format!("the cache of {name} is not where it was written")));
        };
        let is_temporary = self.names.temporary(name).is_some();
        if existing && !is_temporary {
            self.names.put_cached(self.names.resolve(name), self.names.scan(&table));
        } else {
            self.names.put_temporary(&name.to_string(), Temporary::Rows(self.names.scan(&table)));
        }
        Ok(Outcome::Written { table: format!("cache {name}"), outcome })
    }

    pub(super) async fn uncache(&self, drop: &DropRelation, mode: Mode) -> Result<Outcome> {
        let single = matches!(self.names.temporary(&drop.name), Some(Temporary::Rows(_)));
        let found = if single {
            self.names.drop_temporary(&drop.name.to_string()).is_some()
        } else {
            self.names.drop_cached(&self.names.resolve(&drop.name))
        };
        if found || drop.if_exists || mode == Mode::Check {
            return Ok(Outcome::Done(format!("{} is not cached any more", drop.name)));
        }
        Err(Error::sql(format!("'{}' is not cached", drop.name)).at(drop.name.position))
    }

    fn scratch_dir(&self) -> std::path::PathBuf {
        let paths = self.context.runtime_env().disk_manager.temp_dir_paths();
        paths.first().and_then(|p| p.parent()).map_or_else(std::env::temp_dir, std::path::Path::to_path_buf)
    }
}

fn select_all(name: &Name) -> Result<Box<Query>> {
    let quoted: Vec<_> = name.parts.iter().map(|p| format!("\"{}\"", p.replace('"', "\"\""))).collect();
    let statement = crate::dialect::split(&format!("SELECT * FROM {}", quoted.join(".")))?.remove(0);
    match crate::dialect::parse(&statement.tokens)? {
        Statement::Query(query) => Ok(query),
        _ => Err(Error::new(Blame::Bug, "SELECT * is no query")),
    }
}
