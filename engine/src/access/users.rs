//! Users and roles come, change and go.

use chrono::Utc;

use super::limits::LimitRow;
use super::rights::{AllRows, Rights};
use super::tables::{GrantRow, MemberRow, RoleRow, TokenRow, UserRow};
use super::{ADMINISTRATORS, Access, EVERYONE, LOCAL, Secret, passwords};
use crate::{Error, Result};

/// Longest name of a user or role in bytes.
pub(super) const NAME_BYTES_MAX: usize = 200;

fn check_name(name: &str) -> Result<()> {
    if [ADMINISTRATORS, EVERYONE, LOCAL].contains(&name) {
        return Err(Error::sql(format!("the name '{name}' has a meaning of its own")).hint("choose another name"));
    }
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) || name.trim() != name {
        return Err(Error::sql(format!("{name:?} cannot be the name of a user or role"))
            .hint(format!("1 to {NAME_BYTES_MAX} bytes, no control characters, no blanks around it")));
    }
    Ok(())
}

impl Access {
    /// Makes a user; returns false if there was one and `if_not_exists` was given.
    pub(crate) async fn create_user(
        &self,
        name: &str,
        password: Option<&Secret>,
        comment: Option<&str>,
        if_not_exists: bool,
        by: &str,
    ) -> Result<bool> {
        check_name(name)?;
        let rights = self.rights_now().await?;
        if rights.users.contains_key(name) && if_not_exists {
            return Ok(false);
        }
        self.refuse_taken(name).await?;
        let hash = match password {
            Some(password) => Some(passwords::hash(password.clone()).await?),
            None => None,
        };
        // What was left of a user of that name is not his.
        self.forget_principal(name).await?;
        self.change(&self.inner.tables.users, |rows: &mut Vec<UserRow>| {
            if rows.iter().any(|row| row.name == name) {
                return Err(taken("user", name));
            }
            rows.push(UserRow {
                name: name.to_string(),
                is_enabled: true,
                comment: comment.map(str::to_string),
                password_set_at: hash.is_some().then(Utc::now),
                password_hash: hash.clone(),
                created_by: Some(by.to_string()),
                created_at: Utc::now(),
            });
            Ok(true)
        })
        .await?;
        Ok(true)
    }

    /// Gives a user another password.
    pub(crate) async fn set_password(&self, name: &str, password: &Secret) -> Result<()> {
        let hash = passwords::hash(password.clone()).await?;
        self.change_user(name, |row| {
            row.password_hash = Some(hash.clone());
            row.password_set_at = Some(Utc::now());
        })
        .await
    }

    /// Lets a user in, or not any more.
    pub(crate) async fn enable_user(&self, name: &str, is_enabled: bool) -> Result<()> {
        if !is_enabled {
            self.refuse_to_lose_administrators(&format!("'{name}'"), |people| people.users.retain(|user| user.name != name)).await?;
        }
        self.change_user(name, |row| row.is_enabled = is_enabled).await
    }

    async fn change_user(&self, name: &str, change: impl Fn(&mut UserRow)) -> Result<()> {
        self.change(&self.inner.tables.users, |rows: &mut Vec<UserRow>| {
            let row = rows.iter_mut().find(|row| row.name == name).ok_or_else(|| missing("user", name))?;
            change(row);
            Ok(true)
        })
        .await
    }

    /// Removes a user who owns nothing; returns false if there is none and `if_exists` was given.
    pub(crate) async fn drop_user(&self, name: &str, if_exists: bool) -> Result<bool> {
        if !self.rights_now().await?.users.contains_key(name) {
            return if if_exists { Ok(false) } else { Err(missing("user", name)) };
        }
        self.refuse_to_lose_administrators(&format!("'{name}'"), |people| people.users.retain(|user| user.name != name)).await?;
        self.refuse_owner(name).await?;
        self.change(&self.inner.tables.users, |rows: &mut Vec<UserRow>| {
            rows.retain(|row| row.name != name);
            Ok(true)
        })
        .await?;
        self.forget_principal(name).await?;
        Ok(true)
    }

    /// Makes a role; returns false if there was one and `if_not_exists` was given.
    pub(crate) async fn create_role(&self, name: &str, comment: Option<&str>, if_not_exists: bool, by: &str) -> Result<bool> {
        check_name(name)?;
        if self.rights_now().await?.roles.contains_key(name) && if_not_exists {
            return Ok(false);
        }
        self.refuse_taken(name).await?;
        self.forget_principal(name).await?;
        self.change(&self.inner.tables.roles, |rows: &mut Vec<RoleRow>| {
            if rows.iter().any(|row| row.name == name) {
                return Err(taken("role", name));
            }
            rows.push(RoleRow {
                name: name.to_string(),
                comment: comment.map(str::to_string),
                created_by: Some(by.to_string()),
                created_at: Utc::now(),
            });
            Ok(true)
        })
        .await?;
        Ok(true)
    }

    /// Removes a role that owns nothing; returns false if there is none and `if_exists` was given.
    pub(crate) async fn drop_role(&self, name: &str, if_exists: bool) -> Result<bool> {
        if [ADMINISTRATORS, EVERYONE].contains(&name) {
            return Err(Error::sql(format!("the role '{name}' always exists")));
        }
        if !self.rights_now().await?.roles.contains_key(name) {
            return if if_exists { Ok(false) } else { Err(missing("role", name)) };
        }
        self.refuse_to_lose_administrators(&format!("the role '{name}'"), |people| {
            people.members.retain(|row| row.role != name && row.member != name);
        })
        .await?;
        self.refuse_owner(name).await?;
        self.change(&self.inner.tables.roles, |rows: &mut Vec<RoleRow>| {
            rows.retain(|row| row.name != name);
            Ok(true)
        })
        .await?;
        self.forget_principal(name).await?;
        Ok(true)
    }

    /// Puts a user or role into a role.
    pub(crate) async fn grant_role(&self, role: &str, member: &str, by: &str) -> Result<()> {
        let rights = self.rights_now().await?;
        if !rights.is_role(role) {
            return Err(missing("role", role));
        }
        if role == EVERYONE {
            return Err(Error::sql("every user is in the role 'everyone' already"));
        }
        if rights.subject(member).is_none() {
            return Err(missing("user or role", member));
        }
        if [ADMINISTRATORS, EVERYONE].contains(&member) {
            return Err(Error::sql(format!("the role '{member}' cannot be in another role")));
        }
        if rights.subject(role).is_some_and(|subject| subject.is(member)) {
            return Err(Error::sql(format!("the role '{role}' is in '{member}' itself")).hint("roles cannot be in one another in a circle"));
        }
        self.change(&self.inner.tables.members, |rows: &mut Vec<MemberRow>| {
            if rows.iter().any(|row| row.role == role && row.member == member) {
                return Ok(false);
            }
            rows.push(MemberRow {
                role: role.to_string(),
                member: member.to_string(),
                granted_by: Some(by.to_string()),
                granted_at: Utc::now(),
            });
            Ok(true)
        })
        .await
    }

    /// Takes a user or role out of a role; returns false if it was not in it.
    pub(crate) async fn revoke_role(&self, role: &str, member: &str) -> Result<bool> {
        self.refuse_to_lose_administrators(&format!("'{member}' in the role '{role}'"), |people| {
            people.members.retain(|row| row.role != role || row.member != member);
        })
        .await?;
        let mut found = false;
        self.change(&self.inner.tables.members, |rows: &mut Vec<MemberRow>| {
            let count = rows.len();
            rows.retain(|row| row.role != role || row.member != member);
            found = rows.len() < count;
            Ok(found)
        })
        .await?;
        Ok(found)
    }

    /// Somebody has to be left who can let others in.
    async fn refuse_to_lose_administrators(&self, leaving: &str, change: impl FnOnce(&mut AllRows)) -> Result<()> {
        let rights = self.rights_now().await?;
        let mut people = rights.people();
        change(&mut people);
        if !rights.administrators().is_empty() && Rights::new(people).administrators().is_empty() {
            return Err(Error::sql(format!("without {leaving} there is no administrator left"))
                .hint(format!("GRANT ROLE {ADMINISTRATORS} TO another user first")));
        }
        Ok(())
    }

    async fn refuse_owner(&self, name: &str) -> Result<()> {
        const SHOWN: usize = 3;
        let rights = self.rights_now().await?;
        if let Some(policy) = rights.policies().find(|policy| policy.set_by.as_deref() == Some(name)) {
            let what = if policy.column.is_some() { "a column mask" } else { "the row filter" };
            return Err(Error::sql(format!("'{name}' has set {what} of {}, which is read with his rights", policy.table))
                .hint("set it anew as somebody else, or drop it"));
        }
        let owned = rights.owned_by(name);
        if owned.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> = owned.iter().take(SHOWN).map(ToString::to_string).collect();
        let more = if owned.len() > SHOWN { format!(" and {} more", owned.len() - SHOWN) } else { String::new() };
        Err(Error::sql(format!("'{name}' owns {}{more}", shown.join(", "))).hint("ALTER … OWNER TO somebody else, or drop them"))
    }

    async fn refuse_taken(&self, name: &str) -> Result<()> {
        let rights = self.rights_now().await?;
        match (rights.users.contains_key(name), rights.is_role(name)) {
            (true, _) => Err(taken("user", name)),
            (_, true) => Err(taken("role", name)),
            _ => Ok(()),
        }
    }

    /// Removes what a principal of this name was granted, so that another of the same name does not have it.
    async fn forget_principal(&self, name: &str) -> Result<()> {
        let tables = &self.inner.tables;
        self.change(&tables.members, |rows: &mut Vec<MemberRow>| Ok(drop_rows(rows, |row| row.member == name || row.role == name))).await?;
        self.change(&tables.grants, |rows: &mut Vec<GrantRow>| Ok(drop_rows(rows, |row| row.principal == name))).await?;
        self.change(&tables.limits, |rows: &mut Vec<LimitRow>| Ok(drop_rows(rows, |row| row.principal == name))).await?;
        self.change(&tables.tokens, |rows: &mut Vec<TokenRow>| Ok(drop_rows(rows, |row| row.user == name))).await
    }
}

/// Removes rows; whether there were any.
pub(super) fn drop_rows<T>(rows: &mut Vec<T>, gone: impl Fn(&T) -> bool) -> bool {
    let count = rows.len();
    rows.retain(|row| !gone(row));
    rows.len() < count
}

pub(super) fn missing(what: &str, name: &str) -> Error {
    Error::sql(format!("the {what} '{name}' does not exist"))
}

fn taken(what: &str, name: &str) -> Error {
    Error::sql(format!("the {what} '{name}' exists already")).hint("users and roles share their names")
}
