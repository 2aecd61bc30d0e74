//! What each statement needs before it begins. What a statement reads is asked for where names are resolved; here is what it writes, makes and drops.

use datafusion::sql::parser::Statement as DataFusionStatement;
use orrery_lakehouse::TableName;
use orrery_models::OptionValue;

use super::follow_up::FollowUp;
use crate::access::{Privilege, Securable};
use crate::dialect::{CreateView, DropNamespace, DropRelation, Name, Statement};
use crate::session::options::RESTRICTED;
use crate::session::{Mode, Session};
use crate::{Blame, Error, Position, Result};

/// The answer to a statement.
pub(in crate::session) enum Authorized {
    /// It may begin; what is to be done once it has succeeded.
    Go(FollowUp),
    /// Nothing is to be done, since there is no such object as far as the user may know.
    Absent(String),
}

impl Authorized {
    const GO: Self = Self::Go(FollowUp::Nothing);
}

impl Session {
    /// Asks for the rights to a statement.
    ///
    /// # Errors
    /// The first right that is missing, with the place of the object's name.
    pub(in crate::session) async fn authorize(&self, statement: &Statement, mode: Mode) -> Result<Authorized> {
        let guard = self.names.guard();
        // Nobody has any rights yet that a statement of the embedded engine could touch.
        if guard.is_unrestricted() && guard.rights().is_empty() {
            return Ok(Authorized::GO);
        }
        match statement {
            Statement::Explain { statement, .. } => {
                Box::pin(self.authorize(statement, Mode::Check)).await?;
                Ok(Authorized::GO)
            }
            Statement::SetOption { key, .. } => {
                if RESTRICTED.contains(&key.to_string().as_str()) {
                    guard.require_administrator(&format!("the setting '{key}'")).map_err(|e| e.at(key.position))?;
                }
                Ok(Authorized::GO)
            }
            Statement::CreateCatalog(create) => {
                let on = Securable::catalog(create.name.parts.last().map_or("", String::as_str));
                self.authorize_creation(&on, Privilege::CreateCatalog, Securable::server(), false, &create.name, mode).await
            }
            Statement::CreateSchema(create) => {
                let (catalog, schema) = self.schema_of(&create.name);
                self.refuse_system(&catalog, &create.name)?;
                let on = Securable::schema(&catalog, &schema);
                self.authorize_creation(&on, Privilege::CreateSchema, Securable::catalog(&catalog), false, &create.name, mode).await
            }
            Statement::DropCatalog(drop) => {
                self.authorize_drop_of_namespace(Securable::catalog(drop.name.parts.last().map_or("", String::as_str)), drop).await
            }
            Statement::DropSchema(drop) => {
                let (catalog, schema) = self.schema_of(&drop.name);
                self.refuse_system(&catalog, &drop.name)?;
                self.authorize_drop_of_namespace(Securable::schema(&catalog, &schema), drop).await
            }
            Statement::CreateTable(create) => {
                self.authorize_third_level(&create.name, Securable::table, Privilege::CreateTable, create.or_replace, mode).await
            }
            Statement::CreateModel(create) => {
                self.authorize_third_level(&create.name, Securable::model, Privilege::CreateModel, create.or_replace, mode).await
            }
            Statement::CreateView(create) if create.temporary => Ok(Authorized::GO),
            Statement::CreateView(create) => self.authorize_view(create, mode).await,
            Statement::Insert(insert) => self.authorize_change(&insert.name, Privilege::Modify, mode).await,
            Statement::Vacuum(vacuum) => self.authorize_change(&vacuum.name, Privilege::Modify, mode).await,
            Statement::DropTable(drop) | Statement::DropView(drop) => self.authorize_drop(drop, statement, mode).await,
            Statement::AlterModel(alter) => {
                let name = self.names.resolve(&alter.name);
                self.authorize_model(&name, alter.if_exists, alter.name.position, FollowUp::Nothing).await
            }
            Statement::DropModel(drop) => {
                let name = self.names.resolve(&drop.name);
                let follow_up = FollowUp::ForgetIfGone(Securable::model(&name));
                self.authorize_model(&name, drop.if_exists, drop.name.position, follow_up).await
            }
            Statement::ExportModel(export) => {
                if let Some(option) = export.options.get("uri")
                    && let OptionValue::Text(uri) = &option.value
                {
                    guard.may_write_file(&self.warehouse, uri).map_err(|e| e.at(option.position))?;
                }
                Ok(Authorized::GO)
            }
            Statement::DataFusion(statement) => self.authorize_foreign(statement),
            // What they read is asked for where it is resolved, and listings leave out what is not to be seen.
            Statement::Query(_)
            | Statement::SetVariable { .. }
            | Statement::Use { .. }
            | Statement::Cache { .. }
            | Statement::Uncache(_)
            | Statement::Describe(_)
            | Statement::Show(_)
            | Statement::Summarize(_)
            | Statement::Assert { .. }
            // Each asks for itself.
            | Statement::Access(_) => Ok(Authorized::GO),
        }
    }

    fn authorize_foreign(&self, statement: &DataFusionStatement) -> Result<Authorized> {
        match statement {
            DataFusionStatement::CopyTo(copy) => {
                self.names.guard().may_write_file(&self.warehouse, &copy.target)?;
                Ok(Authorized::GO)
            }
            other if !self.names.guard().is_unrestricted() => {
                Err(Error::new(Blame::Rights, format!("{other} is for the embedded engine only")))
            }
            _ => Ok(Authorized::GO),
        }
    }

    async fn authorize_third_level(
        &self,
        written: &Name,
        of: impl Fn(&TableName) -> Securable,
        privilege: Privilege,
        or_replace: bool,
        mode: Mode,
    ) -> Result<Authorized> {
        let name = self.names.resolve(written);
        self.refuse_system(&name.catalog, written)?;
        let schema = Securable::schema(&name.catalog, &name.schema);
        self.authorize_creation(&of(&name), privilege, schema, or_replace, written, mode).await
    }

    /// The right to make an object in its parent, or to put another in its place.
    async fn authorize_creation(
        &self,
        on: &Securable,
        privilege: Privilege,
        parent: Securable,
        or_replace: bool,
        written: &Name,
        mode: Mode,
    ) -> Result<Authorized> {
        let at = |error: Error| error.at(written.position);
        self.names.guard().note_object(on.name.clone());
        let parent_exists = self.exists(&parent).await.map_err(at)?;
        if !parent_exists {
            // In a dry run an earlier statement would have made it. The embedded engine is told by the statement itself.
            let planned = parent.table_name();
            let is_planned = mode == Mode::Check && self.names.schema_planned(&planned.catalog, &planned.schema);
            if is_planned || self.names.guard().is_unrestricted() {
                return Ok(Authorized::GO);
            }
            return Err(at(self.missing(&parent).await));
        }
        let exists = self.exists(on).await.map_err(at)?;
        if exists && or_replace {
            self.require(on, Privilege::Manage, true).await.map_err(|error| match error.blame {
                Blame::Rights => at(error),
                // He may not know of it, and still cannot have the name.
                _ => at(Error::new(Blame::Rights, format!("{} may not replace {on}", self.names.guard().user()))),
            })?;
            return Ok(Authorized::GO);
        }
        self.require(&parent, privilege, true).await.map_err(at)?;
        if exists {
            return Ok(Authorized::GO);
        }
        if mode == Mode::Run {
            // What was granted on an earlier object of that name was not granted on this one.
            self.forget_if_gone(on).await?;
        }
        Ok(Authorized::Go(FollowUp::Own(on.clone())))
    }

    async fn authorize_view(&self, create: &CreateView, mode: Mode) -> Result<Authorized> {
        let authorized =
            self.authorize_third_level(&create.name, Securable::table, Privilege::CreateTable, create.or_replace, mode).await?;
        let guard = self.names.guard();
        let on = Securable::table(&self.names.resolve(&create.name));
        let replaces = create.or_replace && matches!(authorized, Authorized::Go(FollowUp::Nothing)) && self.exists(&on).await?;
        if replaces && mode == Mode::Run {
            // First: the new text must not be read with the rights of whom the old one belonged to.
            match guard.principal() {
                Some(principal) => guard.access().set_owner(&on, principal.user(), principal.user()).await?,
                None => guard.access().forget_owner(&on).await?,
            }
        }
        Ok(authorized)
    }

    async fn authorize_change(&self, written: &Name, privilege: Privilege, mode: Mode) -> Result<Authorized> {
        let name = self.names.resolve(written);
        if mode == Mode::Check && self.names.planned(&name).is_some() {
            return Ok(Authorized::GO);
        }
        self.refuse_system(&name.catalog, written)?;
        let on = Securable::table(&name);
        let exists = self.exists(&on).await.map_err(|e| e.at(written.position))?;
        self.require(&on, privilege, exists).await.map_err(|e| e.at(written.position))?;
        Ok(Authorized::GO)
    }

    async fn authorize_drop(&self, drop: &DropRelation, statement: &Statement, mode: Mode) -> Result<Authorized> {
        // Of temporary ones only views are dropped so; the statement itself says so of others.
        if self.names.temporary(&drop.name).is_some() {
            return Ok(Authorized::GO);
        }
        let name = self.names.resolve(&drop.name);
        let on = Securable::table(&name);
        self.refuse_system(&name.catalog, &drop.name)?;
        if mode == Mode::Check && self.names.planned(&name).is_some() {
            return Ok(Authorized::GO);
        }
        if self.names.guard().is_unrestricted() {
            // A damaged table can be dropped too, so it is not looked at.
            return Ok(Authorized::Go(FollowUp::ForgetIfGone(on)));
        }
        let exists = self.exists(&on).await.map_err(|e| e.at(drop.name.position))?;
        match self.require(&on, Privilege::Manage, exists).await {
            Ok(()) => Ok(Authorized::Go(FollowUp::ForgetIfGone(on))),
            Err(error) if drop.if_exists && error.blame != Blame::Rights => {
                let what = if matches!(statement, Statement::DropView(_)) { "view" } else { "table" };
                Ok(Authorized::Absent(format!("{what} {name} does not exist")))
            }
            Err(error) => Err(error.at(drop.name.position)),
        }
    }

    async fn authorize_drop_of_namespace(&self, on: Securable, drop: &DropNamespace) -> Result<Authorized> {
        let at = |error: Error| error.at(drop.name.position);
        let exists = self.exists(&on).await.map_err(at)?;
        match self.require(&on, Privilege::Manage, exists).await {
            Ok(()) => Ok(Authorized::Go(FollowUp::ForgetIfGone(on))),
            Err(error) if drop.if_exists && error.blame != Blame::Rights => {
                Ok(Authorized::Absent(format!("{} {} does not exist", on.kind.name().to_lowercase(), on.name)))
            }
            Err(error) => Err(at(error)),
        }
    }

    async fn authorize_model(
        &self,
        name: &TableName,
        if_exists: bool,
        position: Option<Position>,
        follow_up: FollowUp,
    ) -> Result<Authorized> {
        match self.names.require_model(name, Privilege::Manage).await {
            Ok(()) => Ok(Authorized::Go(follow_up)),
            Err(error) if if_exists && error.blame != Blame::Rights => Ok(Authorized::Absent(format!("model {name} does not exist"))),
            Err(error) => Err(error.at(position)),
        }
    }

    /// The schema or catalog that becomes current exists, as far as the user may know.
    pub(in crate::session) async fn schema_to_use(&self, catalog: &str, schema: &str) -> Result<bool> {
        Ok(self.names.catalog_exists(catalog).await? && self.names.schema_exists(catalog, schema).await?)
    }
}
