//! All rights at one moment, in memory, and the decisions that follow from them. Nothing here waits or reads.
//!
//! A principal is a user or a role; a user acts with his own rights, those of his roles, of their roles and so on, and of the role that everybody is in.
//! A privilege on an object holds for all that lies in it. There are no denials: what nobody granted is not allowed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use orrery_lakehouse::TableName;

use super::authenticate::refusal_of;
use super::limits::LimitRow;
use super::tables::{FunctionRow, GrantRow, MemberRow, OwnerRow, PolicyRow, RoleRow, TokenRow, UserRow};
use super::{ADMINISTRATORS, EVERYONE, Kind, Principal, Privilege, Securable};
use crate::session::SYSTEM;

/// Whose rights decide: a user or a role with everything that comes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    /// Of the user or role itself.
    pub name: String,
    /// Itself and all roles it is in, directly or not.
    pub principals: BTreeSet<String>,
}

impl Subject {
    pub fn is_administrator(&self) -> bool {
        self.principals.contains(ADMINISTRATORS)
    }

    pub fn is(&self, principal: &str) -> bool {
        self.principals.contains(principal)
    }
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    pub users: BTreeMap<String, UserRow>,
    pub roles: BTreeMap<String, RoleRow>,
    pub members: Vec<MemberRow>,
    /// Roles by who is in them directly.
    roles_of: HashMap<String, Vec<String>>,
    /// By the hash of their secret.
    pub tokens: HashMap<String, TokenRow>,
    pub grants: Vec<GrantRow>,
    by_object: HashMap<Securable, Vec<(String, Privilege)>>,
    owners: HashMap<Securable, OwnerRow>,
    /// What each principal has any right in: the catalogs and schemas above his grants and his own objects.
    reached: HashMap<String, HashSet<Securable>>,
    filters: HashMap<TableName, Arc<PolicyRow>>,
    masks: HashMap<TableName, Vec<Arc<PolicyRow>>>,
    functions: HashMap<TableName, Arc<FunctionRow>>,
    /// By user and role.
    pub(super) limits: HashMap<String, LimitRow>,
}

/// All rows of the tables of rights.
#[derive(Debug, Default)]
pub(super) struct AllRows {
    pub users: Vec<UserRow>,
    pub roles: Vec<RoleRow>,
    pub members: Vec<MemberRow>,
    pub tokens: Vec<TokenRow>,
    pub grants: Vec<GrantRow>,
    pub owners: Vec<OwnerRow>,
    pub filters: Vec<PolicyRow>,
    pub masks: Vec<PolicyRow>,
    pub functions: Vec<FunctionRow>,
    pub limits: Vec<LimitRow>,
}

impl Rights {
    pub(super) fn new(rows: AllRows) -> Self {
        let mut rights = Self {
            users: rows.users.into_iter().map(|row| (row.name.clone(), row)).collect(),
            roles: rows.roles.into_iter().map(|row| (row.name.clone(), row)).collect(),
            members: rows.members,
            tokens: rows.tokens.into_iter().map(|row| (row.secret_hash.clone(), row)).collect(),
            ..Self::default()
        };
        for row in &rights.members {
            rights.roles_of.entry(row.member.clone()).or_default().push(row.role.clone());
        }
        for grant in &rows.grants {
            let (Some(privilege), Some(object)) = (grant.privilege(), grant.securable()) else { continue };
            rights.reach(&grant.principal, &object);
            rights.by_object.entry(object).or_default().push((grant.principal.clone(), privilege));
        }
        rights.grants = rows.grants;
        for row in rows.owners {
            let Some(object) = row.securable() else { continue };
            rights.reach(&row.owner, &object);
            rights.owners.insert(object, row);
        }
        rights.filters = rows.filters.into_iter().filter_map(|row| Some((row.name()?, Arc::new(row)))).collect();
        for row in rows.masks {
            if let Some(name) = row.name() {
                rights.masks.entry(name).or_default().push(Arc::new(row));
            }
        }
        rights.limits = rows.limits.into_iter().map(|row| (row.principal.clone(), row)).collect();
        for row in rows.functions {
            if let [catalog, schema, name] = row.levels.as_slice() {
                rights.functions.insert(TableName::new(catalog, schema, name), Arc::new(row));
            }
        }
        rights
    }

    fn reach(&mut self, principal: &str, object: &Securable) {
        let reached = self.reached.entry(principal.to_string()).or_default();
        reached.extend(object.with_ancestors().into_iter().filter(|above| above.kind != Kind::Server && above != object));
    }

    /// Whether there are neither users nor any rights.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
            && self.roles.is_empty()
            && self.grants.is_empty()
            && self.owners.is_empty()
            && self.filters.is_empty()
            && self.masks.is_empty()
            && self.functions.is_empty()
    }

    /// A user or role with all that comes with it, or `None` if there is none of that name.
    pub fn subject(&self, name: &str) -> Option<Subject> {
        let is_user = self.users.contains_key(name);
        if !is_user && !self.is_role(name) {
            return None;
        }
        let mut principals = BTreeSet::from([name.to_string()]);
        if is_user {
            principals.insert(EVERYONE.to_string());
        }
        let mut open: Vec<String> = principals.iter().cloned().collect();
        while let Some(member) = open.pop() {
            for role in self.roles_of.get(&member).into_iter().flatten() {
                if principals.insert(role.clone()) {
                    open.push(role.clone());
                }
            }
        }
        Some(Subject { name: name.to_string(), principals })
    }

    /// Whoever was let in, unless he may not come in any more: the user is disabled, gone or another one of the same name, he has another password since, or
    /// the token does not hold any more.
    pub fn admitted(&self, principal: &Principal) -> Option<Subject> {
        if self.admits(principal) { self.subject(principal.user()) } else { None }
    }

    /// Whether somebody who was let in may go on.
    pub fn admits(&self, principal: &Principal) -> bool {
        let Some(user) = self.users.get(principal.user()).filter(|user| user.is_enabled) else { return false };
        let token_id = principal.token_id();
        let is_earlier = |at: DateTime<Utc>| at <= principal.since();
        let is_same = is_earlier(user.created_at) && (token_id.is_some() || user.password_set_at.is_none_or(is_earlier));
        let token_holds = token_id.is_none_or(|id| {
            let token = self.tokens.values().find(|token| token.id == id);
            token.is_some_and(|token| refusal_of(token, Some(true)).is_none())
        });
        is_same && token_holds
    }

    pub fn is_role(&self, name: &str) -> bool {
        name == ADMINISTRATORS || name == EVERYONE || self.roles.contains_key(name)
    }

    /// The same users, roles and who is in which, without any rights.
    pub(super) fn people(&self) -> AllRows {
        AllRows {
            users: self.users.values().cloned().collect(),
            roles: self.roles.values().cloned().collect(),
            members: self.members.clone(),
            ..AllRows::default()
        }
    }

    /// Users that may log in and are administrators.
    pub fn administrators(&self) -> BTreeSet<String> {
        let enabled = self.users.values().filter(|user| user.is_enabled);
        enabled.filter_map(|user| self.subject(&user.name)).filter(Subject::is_administrator).map(|subject| subject.name).collect()
    }

    /// The owner of exactly this object.
    pub fn owner(&self, object: &Securable) -> Option<&str> {
        self.owners.get(object).map(|row| row.owner.as_str())
    }

    /// Objects that a principal owns itself.
    pub fn owned_by(&self, principal: &str) -> Vec<&Securable> {
        let mut owned: Vec<&Securable> = self.owners.iter().filter(|(_, row)| row.owner == principal).map(|(object, _)| object).collect();
        owned.sort();
        owned
    }

    pub fn owners(&self) -> impl Iterator<Item = (&Securable, &str)> {
        self.owners.iter().map(|(object, row)| (object, row.owner.as_str()))
    }

    /// Owners as they are kept.
    pub(super) fn owner_rows(&self) -> impl Iterator<Item = &OwnerRow> {
        self.owners.values()
    }

    fn is_granted(&self, who: &Subject, on: &Securable, is_meant: impl Fn(Privilege) -> bool) -> bool {
        self.by_object.get(on).is_some_and(|grants| grants.iter().any(|(principal, privilege)| is_meant(*privilege) && who.is(principal)))
    }

    fn owns(&self, who: &Subject, on: &Securable) -> bool {
        self.owners.get(on).is_some_and(|row| who.is(&row.owner))
    }

    /// Whether it has a privilege: granted on the object or on what that lies in, or as the owner.
    pub fn holds(&self, who: &Subject, privilege: Privilege, on: &Securable) -> bool {
        if who.is_administrator() || self.is_open(privilege, on) || self.owns(who, on) {
            return true;
        }
        let stands_for = |granted: Privilege| granted == privilege || granted == Privilege::All && privilege != Privilege::Manage;
        on.with_ancestors().iter().any(|object| {
            self.is_granted(who, object, stands_for) || object != on && privilege.comes_with_a_parent() && self.owns(who, object)
        })
    }

    /// Everybody may look into catalog `system`; what is to be seen there is another question.
    fn is_open(&self, privilege: Privilege, on: &Securable) -> bool {
        matches!(privilege, Privilege::UseCatalog | Privilege::UseSchema) && on.levels_are_of(SYSTEM)
    }

    /// Whether it may grant, change, drop and give away the object.
    pub fn manages(&self, who: &Subject, on: &Securable) -> bool {
        self.holds(who, Privilege::Manage, on)
    }

    /// Whether it may know that the object exists: it has any right in it.
    pub fn sees(&self, who: &Subject, on: &Securable) -> bool {
        if who.is_administrator() || self.is_open(Privilege::UseSchema, on) {
            return true;
        }
        let line = on.with_ancestors();
        let is_meant = |privilege: Privilege| privilege.applies_to(on.kind);
        line.iter().any(|object| self.is_granted(who, object, is_meant) || self.owns(who, object))
            || who.principals.iter().any(|principal| self.reached.get(principal).is_some_and(|reached| reached.contains(on)))
    }

    /// Models, and schemas, catalogs and the server above them, on which it has such a privilege or which it owns.
    pub fn models_with(&self, who: &Subject, is_meant: impl Fn(Privilege) -> bool) -> Vec<Securable> {
        let granted = self.by_object.keys().filter(|object| self.is_granted(who, object, &is_meant));
        let owned = self.owners.keys().filter(|object| self.owns(who, object));
        let kinds = [Kind::Server, Kind::Catalog, Kind::Schema, Kind::Model];
        granted.chain(owned).filter(|object| kinds.contains(&object.kind)).cloned().collect()
    }

    /// Locations on which it has a privilege.
    pub fn locations<'a>(&'a self, who: &'a Subject, privilege: Privilege) -> impl Iterator<Item = &'a str> {
        let locations = self.by_object.keys().chain(self.owners.keys()).filter(|object| object.kind == Kind::Location);
        locations.filter(move |object| self.holds(who, privilege, object)).map(|object| object.name.as_str())
    }

    /// The row filter of a table.
    pub fn row_filter(&self, table: &TableName) -> Option<&Arc<PolicyRow>> {
        self.filters.get(table)
    }

    /// The column masks of a table.
    pub fn column_masks(&self, table: &TableName) -> &[Arc<PolicyRow>] {
        self.masks.get(table).map_or(&[], Vec::as_slice)
    }

    /// All row filters and column masks.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<PolicyRow>> {
        self.filters.values().chain(self.masks.values().flatten())
    }

    pub fn function(&self, name: &TableName) -> Option<&Arc<FunctionRow>> {
        self.functions.get(name)
    }

    pub fn functions(&self) -> impl Iterator<Item = (&TableName, &Arc<FunctionRow>)> {
        self.functions.iter()
    }

    /// All limits, by user and role.
    pub fn limits(&self) -> impl Iterator<Item = &LimitRow> {
        self.limits.values()
    }

    /// The token of an id, or of a name of the user's.
    pub fn token(&self, user: Option<&str>, text: &str) -> Option<&TokenRow> {
        let alive = |token: &&TokenRow| token.revoked_at.is_none();
        let by_id = self.tokens.values().filter(alive).find(|token| token.id == text);
        by_id.or_else(|| {
            self.tokens
                .values()
                .filter(alive)
                .find(|token| token.name.as_deref() == Some(text) && user.is_none_or(|user| token.user == user))
        })
    }
}
