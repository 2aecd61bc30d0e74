//! `CACHE TABLE`: the rows are written once to scratch storage and read from there until the session ends.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Query;
use orrery_lakehouse::Relation;

use super::catalog::Temporary;
use super::scratch::ScratchWrite;
use super::write::cast_to;
use super::{Mode, Outcome, Session, Tracker, planning};
use crate::dialect::{DropRelation, Name, Statement, StatementText};
use crate::{Blame, Error, Result};

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
        let schema = Arc::new(plan.schema().as_arrow().clone());
        let ScratchWrite { warehouse, name: stored, pending } = self.begin_scratch_table(schema, &text.text).await?;
        let plan = cast_to(plan, pending.target_schema().as_ref())?;
        let outcome = self.write(pending, &plan, tracker).await?;
        let Some(Relation::Table(table)) = warehouse.relation(&stored).await? else {
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
}

pub(super) fn select_all(name: &Name) -> Result<Box<Query>> {
    let quoted: Vec<_> = name.parts.iter().map(|p| format!("\"{}\"", p.replace('"', "\"\""))).collect();
    let statement = crate::dialect::split_own(&format!("SELECT * FROM {}", quoted.join(".")))?.remove(0);
    match crate::dialect::parse(&statement.tokens)? {
        Statement::Query(query) => Ok(query),
        _ => Err(Error::new(Blame::Bug, "SELECT * is no query")),
    }
}
