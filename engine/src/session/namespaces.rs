//! `CREATE`, `DROP` and `USE` of catalogs and schemas, and `DROP TABLE`.

use super::{Mode, Outcome, Session, catalog::DEFAULT_SCHEMA};
use crate::dialect::{CreateNamespace, DropNamespace, DropRelation, Name};
use crate::{Error, Position, Result};

impl Session {
    pub(super) async fn create_catalog(&self, create: &CreateNamespace, mode: Mode) -> Result<Outcome> {
        let name = last(&create.name);
        if mode == Mode::Run {
            let made = self.warehouse.create_catalog(name, create.if_not_exists, create.comment.as_deref()).await;
            made.map_err(|e| Error::from(e).at(create.name.position))?;
        } else {
            self.names.plan_schema(name, DEFAULT_SCHEMA);
        }
        Ok(Outcome::Done(format!("catalog {name} is there")))
    }

    pub(super) async fn drop_catalog(&self, drop: &DropNamespace, mode: Mode) -> Result<Outcome> {
        let name = last(&drop.name);
        if mode == Mode::Run {
            self.refuse_to_leave_models(name, None, drop).await?;
            let dropped = self.warehouse.drop_catalog(name, drop.if_exists, drop.cascade).await;
            dropped.map_err(|e| Error::from(e).at(drop.name.position))?;
            self.names.registry().forget_schema(name, None).await?;
            self.names.forget_cached(|cached| cached.catalog == name);
        }
        Ok(Outcome::Done(format!("catalog {name} is dropped")))
    }

    pub(super) async fn create_schema(&self, create: &CreateNamespace, mode: Mode) -> Result<Outcome> {
        let (catalog, schema) = self.schema_of(&create.name);
        self.refuse_listings(&schema, create.name.position)?;
        if mode == Mode::Run {
            let made = self.warehouse.create_schema(&catalog, &schema, create.if_not_exists, create.comment.as_deref()).await;
            made.map_err(|e| Error::from(e).at(create.name.position))?;
        } else {
            self.names.plan_schema(&catalog, &schema);
        }
        Ok(Outcome::Done(format!("schema {catalog}.{schema} is there")))
    }

    pub(super) async fn drop_schema(&self, drop: &DropNamespace, mode: Mode) -> Result<Outcome> {
        let (catalog, schema) = self.schema_of(&drop.name);
        self.refuse_listings(&schema, drop.name.position)?;
        if mode == Mode::Run {
            self.refuse_to_leave_models(&catalog, Some(&schema), drop).await?;
            let dropped = self.warehouse.drop_schema(&catalog, &schema, drop.if_exists, drop.cascade).await;
            dropped.map_err(|e| Error::from(e).at(drop.name.position))?;
            self.names.registry().forget_schema(&catalog, Some(&schema)).await?;
            self.names.forget_cached(|cached| cached.catalog == catalog && cached.schema == schema);
        }
        Ok(Outcome::Done(format!("schema {catalog}.{schema} is dropped")))
    }

    /// The schema that lists everything is there by itself.
    fn refuse_listings(&self, schema: &str, position: Option<Position>) -> Result<()> {
        if schema != super::information_schema::NAME {
            return Ok(());
        }
        Err(Error::sql(format!("every catalog has {schema}; it cannot be created or dropped")).at(position))
    }

    /// A schema or catalog with models goes with `CASCADE` only.
    async fn refuse_to_leave_models(&self, catalog: &str, schema: Option<&str>, drop: &DropNamespace) -> Result<()> {
        if drop.cascade {
            return Ok(());
        }
        match self.names.registry().any_model_in(catalog, schema).await? {
            None => Ok(()),
            Some(model) => {
                let problem = format!("{} is not empty: it has the model {model}", drop.name);
                Err(Error::sql(problem).at(drop.name.position).hint("add CASCADE to drop everything in it"))
            }
        }
    }

    /// `USE c` (one part) prefers a schema of the current catalog, then a catalog of that name, as Spark's users expect of `USE prod`.
    pub(super) async fn use_namespace(&self, catalog_only: bool, name: &Name, mode: Mode) -> Result<Outcome> {
        let (current, _) = self.current();
        let single = name.parts.len() == 1;
        let (catalog, schema) = if catalog_only { (last(name).to_string(), DEFAULT_SCHEMA.to_string()) } else { self.schema_of(name) };
        let schema_found = self.names.schema_planned(&catalog, &schema) || self.schema_to_use(&catalog, &schema).await?;
        let target = if schema_found {
            (catalog, schema)
        } else if single && self.names.catalog_exists(last(name)).await? {
            (last(name).to_string(), DEFAULT_SCHEMA.to_string())
        } else {
            let hint = if catalog_only {
                format!("catalogs are: {}", self.names.visible_catalogs().await?.join(", "))
            } else {
                format!("schemas of {current} are: {}", self.names.visible_schemas(&current).await?.join(", "))
            };
            let what = if catalog_only { "catalog" } else { "schema" };
            return Err(Error::sql(format!("the {what} '{name}' does not exist")).at(name.position).hint(hint));
        };
        let _applies_to_a_dry_run_too = mode;
        self.names.set_current(&target.0, &target.1);
        {
            let state = self.context.state_ref();
            let mut state = state.write();
            let options = state.config_mut().options_mut();
            options.catalog.default_catalog.clone_from(&target.0);
            options.catalog.default_schema.clone_from(&target.1);
        }
        self.names.begin_epoch();
        Ok(Outcome::Done(format!("using {}.{}", target.0, target.1)))
    }

    pub(super) async fn drop_table(&self, drop: &DropRelation, mode: Mode) -> Result<Outcome> {
        let name = self.names.resolve(&drop.name);
        if self.names.temporary(&drop.name).is_some() {
            return Err(Error::sql(format!("'{}' is temporary", drop.name))
                .at(drop.name.position)
                .hint("UNCACHE TABLE or DROP VIEW removes it"));
        }
        if mode == Mode::Check {
            return Ok(Outcome::Done(format!("would drop {name}")));
        }
        let dropped = self.warehouse.drop_table(&name, drop.if_exists).await.map_err(|e| Error::from(e).at(drop.name.position))?;
        self.names.drop_cached(&name);
        Ok(Outcome::Done(if dropped { format!("table {name} is dropped") } else { format!("table {name} does not exist") }))
    }

    /// Catalog and schema of a name that ends in a schema.
    pub(super) fn schema_of(&self, name: &Name) -> (String, String) {
        match name.parts.as_slice() {
            [catalog, schema] => (catalog.clone(), schema.clone()),
            _ => (self.current().0, last(name).to_string()),
        }
    }
}

fn last(name: &Name) -> &str {
    name.parts.last().map_or("", String::as_str)
}
