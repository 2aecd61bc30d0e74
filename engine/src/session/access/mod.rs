//! Rights where they are asked for: one [`Guard`] per session, which every relation, model, function, file and statement passes.
//!
//! Without a principal (the embedded engine) everything is allowed and nothing is filtered. With one, a statement begins by looking up what he may do; names
//! are checked when they are resolved, before anything is planned over them, so that no message tells of what he may not see. What does not exist and what he
//! may not know of are the same to him.
//!
//! A stored view is read with the rights of its owner, and a row filter with those of who has set it. Whoever acts while they are planned is the [`Actor`].

mod authorize;
mod carry_out;
mod expand_functions;
mod files;
mod follow_up;
mod limits;
mod objects;
mod policies;
mod record;
mod set_limits;
mod show;
mod visible;

pub(in crate::session) use authorize::Authorized;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use orrery_lakehouse::TableName;
use parking_lot::{Mutex, RwLock};

use crate::access::{ADMINISTRATORS, Access, EVERYONE, Kind, LOCAL, Principal, Privilege, Rights, Securable, Subject, UserPool};
use crate::session::SYSTEM;
use crate::{Blame, Error, Result};

tokio::task_local! {
    /// The statement that is being carried out.
    static STATEMENT: Arc<StatementRights>;
    /// Who acts, where that is not the session's user: the owner of a view that is being planned.
    static ACTOR: Actor;
}

/// Whose rights decide at the moment.
#[derive(Debug, Clone)]
pub(crate) enum Actor {
    /// The embedded engine, and what it has made.
    Unrestricted,
    /// A user or role.
    As(Arc<Subject>),
}

/// What a statement may do, and what has been noticed while it was planned.
#[derive(Debug)]
struct StatementRights {
    rights: Arc<Rights>,
    /// The session's user; `None` for the embedded engine.
    user: Option<Arc<Subject>>,
    /// Things that were read with another's rights, or in part.
    withheld: Mutex<Vec<String>>,
    /// How often something was read with another's rights that the user could not have read himself.
    borrowed: AtomicUsize,
    /// Tables whose readers do not see all rows and values.
    partial: Mutex<Vec<TableName>>,
    /// Full names of what was read, for the audit.
    objects: Mutex<Vec<String>>,
}

/// The answer to a question for a right.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is there.
    Allowed,
    /// The object is not for the asker to know of.
    Hidden,
    /// He knows the object, and lacks a right.
    Refused(Error),
}

/// See the module documentation.
pub(crate) struct Guard {
    access: Access,
    principal: Option<Principal>,
    /// Without a principal: ends once there are users.
    until_users: bool,
    /// The memory of its statements, where somebody has logged in.
    pool: Option<Arc<UserPool>>,
    /// What the last statement found: for what is planned outside of one, and for the next one if the rights are the same.
    last: RwLock<Option<Found>>,
}

/// Rights, and the session's user as they have him.
#[derive(Clone)]
struct Found {
    rights: Arc<Rights>,
    user: Option<Arc<Subject>>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("principal", &self.principal).finish_non_exhaustive()
    }
}

impl Guard {
    /// The guard of a session; without a principal, of one that may do everything.
    pub fn new(access: Access, principal: Option<Principal>, until_users: bool, pool: Option<Arc<UserPool>>) -> Self {
        Self { access, principal, until_users, pool, last: RwLock::default() }
    }

    pub fn access(&self) -> &Access {
        &self.access
    }

    fn pool(&self) -> Option<&UserPool> {
        self.pool.as_deref()
    }

    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// Whether nothing is checked.
    pub fn is_unrestricted(&self) -> bool {
        self.principal.is_none()
    }

    /// The name under which changes are recorded.
    pub fn user(&self) -> &str {
        self.principal.as_ref().map_or(LOCAL, Principal::user)
    }

    /// Carries out what belongs to a statement, with the rights of this moment.
    ///
    /// # Errors
    /// The rights cannot be read, or the user may not come in any more; and what the work says.
    pub async fn for_statement<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        // Within a statement, everything goes by the same rights.
        if STATEMENT.try_with(|_| ()).is_ok() {
            return work.await;
        }
        let rights = self.access.rights().await?;
        let user = self.admit(&rights)?;
        STATEMENT.scope(Arc::new(StatementRights::new(rights, user)), work).await
    }

    /// The session's user as the rights have him, unless he may not come in any more.
    fn admit(&self, rights: &Arc<Rights>) -> Result<Option<Arc<Subject>>> {
        let user = self.as_they_have_him(rights)?;
        *self.last.write() = Some(Found { rights: Arc::clone(rights), user: user.clone() });
        Ok(user)
    }

    fn as_they_have_him(&self, rights: &Arc<Rights>) -> Result<Option<Arc<Subject>>> {
        let Some(principal) = &self.principal else {
            if self.until_users && !rights.users.is_empty() {
                return Err(Error::new(Blame::Rights, "there are users now: whoever is on this machine may not do everything any more")
                    .hint("log in as a user"));
            }
            return Ok(None);
        };
        if !rights.admits(principal) {
            return Err(Error::new(Blame::Rights, format!("'{}' may not come in any more", principal.user())).hint("log in anew"));
        }
        let last = self.last.read().clone();
        if let Some(Found { rights: last, user: Some(user) }) = last
            && Arc::ptr_eq(&last, rights)
        {
            return Ok(Some(user));
        }
        Ok(rights.subject(principal.user()).map(Arc::new))
    }

    fn statement(&self) -> Arc<StatementRights> {
        STATEMENT.try_with(Arc::clone).unwrap_or_else(|_| {
            let rights = self.last.read().as_ref().map(|last| Arc::clone(&last.rights)).unwrap_or_default();
            // Who is not admitted has no rights at all.
            let nobody = || Subject { name: self.user().to_string(), principals: std::collections::BTreeSet::new() };
            let user = self.principal.as_ref().map(|_| self.as_they_have_him(&rights).ok().flatten().unwrap_or_else(|| Arc::new(nobody())));
            Arc::new(StatementRights::new(rights, user))
        })
    }

    /// The rights that the present statement goes by.
    pub fn rights(&self) -> Arc<Rights> {
        Arc::clone(&self.statement().rights)
    }

    /// The session's user; `None` for the embedded engine.
    pub fn reader(&self) -> Option<Arc<Subject>> {
        self.statement().user.clone()
    }

    /// Whose rights decide at the moment.
    pub fn actor(&self) -> Actor {
        ACTOR.try_with(Clone::clone).unwrap_or_else(|_| self.reader().map_or(Actor::Unrestricted, Actor::As))
    }

    /// Plans with the rights of an object's owner; without one, the embedded engine made it.
    ///
    /// # Errors
    /// The owner does not exist any more; and what the work says.
    pub async fn as_owner<T>(&self, owner: Option<&str>, work: impl Future<Output = Result<T>>) -> Result<T> {
        if self.is_unrestricted() {
            return work.await;
        }
        let actor = match owner {
            None | Some(LOCAL) => Actor::Unrestricted,
            Some(owner) => match self.rights().subject(owner) {
                Some(subject) => Actor::As(Arc::new(subject)),
                None => return Err(Error::new(Blame::Rights, format!("its owner '{owner}' does not exist any more"))),
            },
        };
        ACTOR.scope(actor, work).await
    }

    /// Whether a stored view or a policy is being planned, with the rights of whom it belongs to.
    pub fn plans_for_an_owner(&self) -> bool {
        ACTOR.try_with(|_| ()).is_ok()
    }

    /// Whether the session's user is, or is in, a principal.
    pub fn reader_is(&self, principal: &str) -> bool {
        self.reader().is_none_or(|reader| reader.is(principal))
    }

    /// Whether the session's user may do everything.
    pub fn reader_is_administrator(&self) -> bool {
        self.reader().is_none_or(|reader| reader.is_administrator())
    }

    /// The user and all roles that he is in, as `current_user` and `is_member` know them.
    pub fn identity(&self) -> (String, Vec<String>) {
        match self.reader() {
            None => (LOCAL.to_string(), vec![ADMINISTRATORS.to_string(), EVERYONE.to_string()]),
            Some(reader) => (reader.name.clone(), reader.principals.iter().filter(|name| **name != reader.name).cloned().collect()),
        }
    }

    /// Whether whoever acts may do this; what he has to hold above the object is asked for too.
    pub fn may(&self, privilege: Privilege, on: &Securable) -> Verdict {
        let statement = self.statement();
        match self.actor() {
            Actor::Unrestricted => Verdict::Allowed,
            Actor::As(who) => verdict(&statement.rights, &who, privilege, on),
        }
    }

    /// Whether whoever acts may read a table or view. The program's own tables are read by everybody, each his own rows.
    pub fn may_read(&self, name: &TableName) -> Verdict {
        let on = Securable::table(name);
        let verdict = if policies::is_filtered_by_program(name) { Verdict::Allowed } else { self.may(Privilege::Select, &on) };
        if matches!(verdict, Verdict::Allowed) {
            self.note_read(Privilege::Select, &on);
        }
        verdict
    }

    /// Notes what is read, and whether the session's user could have read it himself.
    pub fn note_read(&self, privilege: Privilege, on: &Securable) {
        let statement = self.statement();
        let Some(user) = &statement.user else { return };
        self.note_object(on.name.clone());
        let is_own = !self.plans_for_an_owner();
        let by_program = on.levels_are_of(SYSTEM);
        if !is_own && !by_program && !matches!(verdict(&statement.rights, user, privilege, on), Verdict::Allowed) {
            statement.borrowed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes an object that the statement reads or changes.
    pub fn note_object(&self, name: String) {
        let statement = self.statement();
        let mut objects = statement.objects.lock();
        if !objects.contains(&name) {
            objects.push(name);
        }
    }

    /// How often something was read with another's rights so far.
    pub fn borrowed(&self) -> usize {
        self.statement().borrowed.load(Ordering::Relaxed)
    }

    /// Notes that something is read with another's rights, or in part.
    pub fn note_withheld(&self, what: String) {
        let statement = self.statement();
        let mut withheld = statement.withheld.lock();
        if !withheld.contains(&what) {
            withheld.push(what);
        }
    }

    /// Notes a file that is read or written with another's rights.
    pub fn note_borrowed(&self) {
        self.statement().borrowed.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that readers of a table do not see all of it.
    pub fn note_partial(&self, table: &TableName) {
        self.note_withheld(format!("rows or columns of {table}"));
        self.statement().partial.lock().push(table.clone());
    }

    /// Whether anything of the statement's plan is not for the user to see.
    pub fn is_withheld(&self) -> bool {
        !self.statement().withheld.lock().is_empty()
    }

    /// Refuses to show a plan that tells of what the user may not read.
    ///
    /// # Errors
    /// What is not his to see.
    pub fn refuse_to_explain(&self) -> Result<()> {
        let statement = self.statement();
        let withheld = statement.withheld.lock();
        match withheld.first() {
            None => Ok(()),
            Some(what) => Err(Error::new(Blame::Rights, format!("the plan tells of {what}, which {} may not see in full", self.user()))
                .hint("whoever may read all of it can explain the statement")),
        }
    }

    /// Refuses to replace a table by what its own filter or masks leave of it.
    ///
    /// # Errors
    /// Rows or values would be lost.
    pub fn refuse_to_lose_rows(&self, target: &TableName) -> Result<()> {
        if !self.statement().partial.lock().contains(target) {
            return Ok(());
        }
        Err(Error::new(Blame::Rights, format!("{target} would be replaced by what its row filter and column masks leave of it"))
            .hint("whoever manages the table can drop the row filter and the masks, write, and set them again"))
    }

    /// Full names of what the statement has read.
    pub fn objects(&self) -> Vec<String> {
        self.statement().objects.lock().clone()
    }

    /// Refuses what would let the holder of a token stay longer than the token: only who has logged in by password may do it, and administrators.
    ///
    /// # Errors
    /// The user came by a token.
    pub fn refuse_by_token(&self, what: &str) -> Result<()> {
        let came_by_token = self.principal.as_ref().is_some_and(|principal| principal.token_id().is_some());
        if !came_by_token || self.reader_is_administrator() {
            return Ok(());
        }
        Err(Error::new(Blame::Rights, format!("{what} by who has logged in with his password, not with a token")))
    }

    /// Refuses what only administrators may do.
    ///
    /// # Errors
    /// The session's user is none.
    pub fn require_administrator(&self, what: &str) -> Result<()> {
        if self.reader_is_administrator() {
            return Ok(());
        }
        Err(Error::new(Blame::Rights, format!("{what} is for administrators; {} is none", self.user()))
            .hint(format!("who is in the role {ADMINISTRATORS} may do it")))
    }
}

impl StatementRights {
    fn new(rights: Arc<Rights>, user: Option<Arc<Subject>>) -> Self {
        Self {
            rights,
            user,
            withheld: Mutex::default(),
            borrowed: AtomicUsize::new(0),
            partial: Mutex::default(),
            objects: Mutex::default(),
        }
    }
}

/// Whether somebody may do this, with everything that he has to hold above the object.
fn verdict(rights: &Rights, who: &Subject, privilege: Privilege, on: &Securable) -> Verdict {
    if who.is_administrator() {
        return Verdict::Allowed;
    }
    if !rights.sees(who, on) {
        return Verdict::Hidden;
    }
    let mut needed = vec![(privilege, on.clone())];
    needed.extend(on.with_ancestors().into_iter().skip(1).filter_map(|above| match above.kind {
        Kind::Catalog => Some((Privilege::UseCatalog, above)),
        Kind::Schema => Some((Privilege::UseSchema, above)),
        _ => None,
    }));
    // What is made in a schema or catalog is made by who may use it.
    let makes = privilege.name().starts_with("CREATE");
    match on.kind {
        Kind::Schema if makes => needed.insert(1, (Privilege::UseSchema, on.clone())),
        Kind::Catalog if makes => needed.insert(1, (Privilege::UseCatalog, on.clone())),
        _ => {}
    }
    // From the outside to the inside.
    match needed.into_iter().rev().find(|(privilege, on)| !rights.holds(who, *privilege, on)) {
        None => Verdict::Allowed,
        Some((privilege, on)) => Verdict::Refused(lacks(who, privilege, &on)),
    }
}

fn lacks(who: &Subject, privilege: Privilege, on: &Securable) -> Error {
    let needs = if privilege == Privilege::Manage { "MANAGE (or to be the owner)".to_string() } else { privilege.to_string() };
    Error::new(Blame::Rights, format!("{} lacks {needs} on {on}", who.name))
        .hint(format!("whoever owns or manages it may GRANT {privilege} ON {on} TO {}", who.name))
}
