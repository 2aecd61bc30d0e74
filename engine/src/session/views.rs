//! Views: stored as text with the names it resolves against, and planned anew at every use; temporary ones live in the session.

use chrono::Utc;
use orrery_lakehouse::ViewDefinition;

use super::catalog::{StoredQuery, Temporary};
use super::{Mode, Outcome, Session, planning};
use crate::dialect::{CreateView, DropRelation};
use crate::{Error, Result};

impl Session {
    pub(super) async fn create_view(&self, create: &CreateView, mode: Mode) -> Result<Outcome> {
        let (catalog, schema) = self.current();
        let stored = StoredQuery { query: create.query.clone(), columns: create.columns.clone(), catalog, schema };
        // Planning now finds what is wrong while its author is looking.
        let planned = if create.temporary { self.names.plan_view(&stored).await } else { self.names.plan_stored(&stored).await };
        let plan = planned.map_err(|e| e.at(create.name.position))?;
        if create.temporary {
            let name = create.name.to_string();
            if self.names.temporary(&create.name).is_some() && !create.or_replace {
                if create.if_not_exists {
                    return Ok(Outcome::Done(format!("temporary view {name} exists already")));
                }
                return Err(Error::sql(format!("the temporary view '{name}' exists already"))
                    .at(create.name.position)
                    .hint("CREATE OR REPLACE TEMP VIEW"));
            }
            self.names.put_temporary(&name, Temporary::View(stored));
            return Ok(Outcome::Done(format!("temporary view {name}")));
        }
        let name = self.names.resolve(&create.name);
        self.require_schema(&name).await.map_err(|e| e.at(create.name.position))?;
        self.refuse_model_name(&name).await.map_err(|e| e.at(create.name.position))?;
        if mode == Mode::Check {
            self.names.put_planned(name.clone(), planning::stand_in(&plan));
            return Ok(Outcome::Done(format!("would create view {name}")));
        }
        let definition = ViewDefinition {
            sql: create.text.clone(),
            columns: stored.columns,
            comment: create.comment.clone(),
            catalog: stored.catalog,
            schema: stored.schema,
            created_by: self.names.guard().principal().map(|principal| principal.user().to_string()),
            created_at: Utc::now(),
        };
        let created = self
            .warehouse
            .create_view(&name, definition, create.or_replace, create.if_not_exists)
            .await
            .map_err(|e| Error::from(e).at(create.name.position))?;
        self.names.drop_cached(&name);
        Ok(Outcome::Done(if created { format!("view {name}") } else { format!("view {name} exists already") }))
    }

    pub(super) async fn drop_view(&self, drop: &DropRelation, mode: Mode) -> Result<Outcome> {
        match (self.names.temporary(&drop.name), drop.name.parts.as_slice()) {
            (Some(Temporary::View(_)), [single]) => {
                self.names.drop_temporary(single);
                return Ok(Outcome::Done(format!("temporary view {single} is dropped")));
            }
            (Some(_), _) => {
                let problem = format!("'{}' is a cached table, not a view", drop.name);
                return Err(Error::sql(problem).at(drop.name.position).hint("UNCACHE TABLE removes it"));
            }
            (None, _) => {}
        }
        let name = self.names.resolve(&drop.name);
        if mode == Mode::Check {
            return Ok(Outcome::Done(format!("would drop view {name}")));
        }
        let dropped = self.warehouse.drop_view(&name, drop.if_exists).await.map_err(|e| Error::from(e).at(drop.name.position))?;
        self.names.drop_cached(&name);
        Ok(Outcome::Done(if dropped { format!("view {name} is dropped") } else { format!("view {name} does not exist") }))
    }
}
