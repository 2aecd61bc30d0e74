//! Objects that statements name: found, and asked for the right to them. What does not exist and what the user may not know of end with the same error.

use orrery_lakehouse::TableName;

use super::Verdict;
use crate::access::{Kind, Location, Privilege, Securable};
use crate::dialect::{Name, ObjectRef};
use crate::session::{SYSTEM, Session, planning};
use crate::{Blame, Error, Result};

impl Session {
    /// The object that a statement about rights names, if it exists and the user has a privilege on it.
    ///
    /// # Errors
    /// There is none that he may know of, or he lacks the privilege.
    pub(super) async fn object(&self, object: &ObjectRef, privilege: Privilege) -> Result<Securable> {
        let at = |error: Error| error.at(object.name.position);
        let on = self.securable(object).map_err(at)?;
        let exists = self.exists(&on).await.map_err(at)?;
        self.require(&on, privilege, exists).await.map_err(at)?;
        Ok(on)
    }

    pub(super) fn securable(&self, object: &ObjectRef) -> Result<Securable> {
        Ok(match object.kind {
            Kind::Server => Securable::server(),
            Kind::Location => Securable::location(&Location::parse(object.location.as_deref().unwrap_or_default())?.to_string()),
            Kind::Catalog => Securable::catalog(object.name.parts.last().map_or("", String::as_str)),
            Kind::Schema => {
                let (catalog, schema) = self.schema_of(&object.name);
                Securable::schema(&catalog, &schema)
            }
            Kind::Table => Securable::table(&self.names.resolve(&object.name)),
            Kind::Model => Securable::model(&self.names.resolve(&object.name)),
            Kind::Function => Securable::function(&self.names.resolve(&object.name)),
        })
    }

    /// Whether there is such an object. A location is what is granted, whether there is anything or not.
    pub(super) async fn exists(&self, on: &Securable) -> Result<bool> {
        Ok(match on.kind {
            Kind::Server | Kind::Location => true,
            Kind::Catalog => self.warehouse.catalog_exists(&on.name).await?,
            Kind::Schema => {
                let name = on.table_name();
                self.warehouse.schema_exists(&name.catalog, &name.schema).await?
            }
            Kind::Table => self.warehouse.relation(&on.table_name()).await?.is_some(),
            Kind::Model => self.names.registry().exists(&on.table_name()).await?,
            Kind::Function => self.names.guard().rights().function(&on.table_name()).is_some(),
        })
    }

    /// Asks for a privilege on an object.
    ///
    /// # Errors
    /// It does not exist as far as the user may know, or he lacks the privilege.
    pub(super) async fn require(&self, on: &Securable, privilege: Privilege, exists: bool) -> Result<()> {
        let guard = self.names.guard();
        guard.note_object(on.name.clone());
        match guard.may(privilege, on) {
            Verdict::Allowed if exists => Ok(()),
            Verdict::Refused(error) if exists => Err(error),
            // Places of files and the server are no secret; that they were granted is.
            Verdict::Hidden if matches!(on.kind, Kind::Server | Kind::Location) => {
                Err(Error::new(Blame::Rights, format!("{} lacks {privilege} on {on}", guard.user())).hint("an administrator may grant it"))
            }
            _ => Err(self.missing(on).await),
        }
    }

    /// The error for an object that does not exist, as far as the user may know.
    pub(super) async fn missing(&self, on: &Securable) -> Error {
        let name = on.table_name();
        match on.kind {
            Kind::Table | Kind::Catalog | Kind::Schema => planning::missing_relation(&self.names, &name).await,
            Kind::Model => self.names.missing_model(&name).await,
            _ => Error::sql(format!("the {} '{}' does not exist", on.kind.name().to_lowercase(), on.name)),
        }
    }

    /// Refuses to write what the program writes itself.
    ///
    /// # Errors
    /// The name is in catalog `system`, and the session has a user.
    pub(super) fn refuse_system(&self, catalog: &str, name: &Name) -> Result<()> {
        if catalog != SYSTEM || self.names.guard().is_unrestricted() {
            return Ok(());
        }
        Err(Error::new(Blame::Rights, format!("{name} is in catalog {SYSTEM}, which the program writes itself"))
            .at(name.position)
            .hint("choose another catalog"))
    }
}

impl Securable {
    /// Its levels as those of a table; levels that it does not have are empty.
    pub(super) fn table_name(&self) -> TableName {
        let mut levels = self.level_names();
        levels.resize(3, String::new());
        let mut levels = levels.into_iter();
        let mut next = || levels.next().unwrap_or_default();
        TableName { catalog: next(), schema: next(), table: next() }
    }
}
