//! Grants and owners of objects, and what becomes of them when objects go.

use chrono::Utc;

use super::tables::{FunctionRow, GrantRow, OwnerRow, PolicyRow};
use super::users::{drop_rows, missing};
use super::{Access, Kind, Privilege, Securable};
use crate::{Error, Result};

impl Access {
    /// Grants privileges on an object; what was granted before stays as it was.
    pub(crate) async fn grant(&self, privileges: &[Privilege], on: &Securable, principals: &[String], by: &str) -> Result<()> {
        check_privileges(privileges, on.kind)?;
        let rights = self.rights_now().await?;
        for principal in principals {
            rights.subject(principal).ok_or_else(|| missing("user or role", principal))?;
        }
        self.change(&self.inner.tables.grants, |rows: &mut Vec<GrantRow>| {
            let count = rows.len();
            for principal in principals {
                for privilege in privileges {
                    if !rows.iter().any(|row| is_same(row, principal, *privilege, on)) {
                        rows.push(GrantRow {
                            principal: principal.clone(),
                            privilege: privilege.name().to_string(),
                            object_type: on.kind.name().to_string(),
                            object: on.name.clone(),
                            levels: on.levels().to_vec(),
                            granted_by: Some(by.to_string()),
                            granted_at: Utc::now(),
                        });
                    }
                }
            }
            Ok(rows.len() > count)
        })
        .await
    }

    /// Takes privileges on an object back; `ALL PRIVILEGES` takes every one. Returns how many grants there were.
    pub(crate) async fn revoke(&self, privileges: &[Privilege], on: &Securable, principals: &[String]) -> Result<usize> {
        check_privileges(privileges, on.kind)?;
        let mut gone = 0;
        self.change(&self.inner.tables.grants, |rows: &mut Vec<GrantRow>| {
            let count = rows.len();
            rows.retain(|row| {
                let is_meant = |privilege: &Privilege| {
                    *privilege == Privilege::All && row.securable().as_ref() == Some(on) || row.privilege() == Some(*privilege)
                };
                !(principals.contains(&row.principal) && row.securable().as_ref() == Some(on) && privileges.iter().any(is_meant))
            });
            gone = count - rows.len();
            Ok(gone > 0)
        })
        .await?;
        Ok(gone)
    }

    /// Makes a user or role the owner of an object.
    pub(crate) async fn set_owner(&self, on: &Securable, owner: &str, by: &str) -> Result<()> {
        self.rights_now().await?.subject(owner).ok_or_else(|| missing("user or role", owner))?;
        self.change(&self.inner.tables.owners, |rows: &mut Vec<OwnerRow>| {
            rows.retain(|row| row.securable().as_ref() != Some(on));
            rows.push(OwnerRow {
                object_type: on.kind.name().to_string(),
                object: on.name.clone(),
                levels: on.levels().to_vec(),
                owner: owner.to_string(),
                set_by: Some(by.to_string()),
                set_at: Utc::now(),
            });
            Ok(true)
        })
        .await
    }

    /// Forgets the owner of an object.
    pub(crate) async fn forget_owner(&self, on: &Securable) -> Result<()> {
        self.change(&self.inner.tables.owners, |rows: &mut Vec<OwnerRow>| Ok(drop_rows(rows, |row| row.securable().as_ref() == Some(on))))
            .await
    }

    /// Forgets all rights on an object and on what lies in it, which is gone or was never there.
    pub(crate) async fn forget(&self, on: &Securable) -> Result<()> {
        let is_within = |object: Option<Securable>| object.is_some_and(|object| object.is_within(on));
        let tables = &self.inner.tables;
        self.change(&tables.grants, |rows: &mut Vec<GrantRow>| Ok(drop_rows(rows, |row| is_within(row.securable())))).await?;
        self.change(&tables.owners, |rows: &mut Vec<OwnerRow>| Ok(drop_rows(rows, |row| is_within(row.securable())))).await?;
        let of_table = |row: &PolicyRow| is_within(Securable::from_levels(Kind::Table, &row.levels));
        self.change(&tables.filters, |rows: &mut Vec<PolicyRow>| Ok(drop_rows(rows, of_table))).await?;
        self.change(&tables.masks, |rows: &mut Vec<PolicyRow>| Ok(drop_rows(rows, of_table))).await?;
        if matches!(on.kind, Kind::Catalog | Kind::Schema) {
            let of_function = |row: &FunctionRow| is_within(Securable::from_levels(Kind::Function, &row.levels));
            self.change(&tables.functions, |rows: &mut Vec<FunctionRow>| Ok(drop_rows(rows, of_function))).await?;
        }
        Ok(())
    }
}

fn is_same(row: &GrantRow, principal: &str, privilege: Privilege, on: &Securable) -> bool {
    row.principal == principal && row.privilege() == Some(privilege) && row.securable().as_ref() == Some(on)
}

fn check_privileges(privileges: &[Privilege], kind: Kind) -> Result<()> {
    match privileges.iter().find(|privilege| !privilege.applies_to(kind)) {
        None => Ok(()),
        Some(privilege) => Err(Error::sql(format!("{privilege} is no privilege on a {}", kind.name().to_lowercase())).hint(format!(
            "privileges on a {} are: {}",
            kind.name().to_lowercase(),
            Privilege::names_for(kind)
        ))),
    }
}
