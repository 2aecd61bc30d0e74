//! Grants and owners of objects, and what becomes of them when objects go.

use chrono::Utc;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::rights::Rights;
use super::tables::{FunctionRow, GrantRow, OwnerRow, PolicyRow};
use super::users::{drop_rows, missing};
use super::{Access, Kind, Privilege, Securable};
use crate::stored_table::StoredTable;
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
            rows.push(owner_row(on, owner, by));
            Ok(true)
        })
        .await
    }

    /// Makes a user the owner of an object that he has made, unless it has one: of two who made it at the same time, the first owns it.
    pub(crate) async fn own_new(&self, on: &Securable, maker: &str) -> Result<()> {
        self.rights_now().await?.subject(maker).ok_or_else(|| missing("user or role", maker))?;
        self.change(&self.inner.tables.owners, |rows: &mut Vec<OwnerRow>| {
            if rows.iter().any(|row| row.securable().as_ref() == Some(on)) {
                return Ok(false);
            }
            rows.push(owner_row(on, maker, maker));
            Ok(true)
        })
        .await
    }

    /// Forgets the owner of an object.
    pub(crate) async fn forget_owner(&self, on: &Securable) -> Result<()> {
        self.change(&self.inner.tables.owners, |rows: &mut Vec<OwnerRow>| Ok(drop_rows(rows, |row| row.securable().as_ref() == Some(on))))
            .await
    }

    /// Forgets those rights on an object, and on what lies in it, that were known at a moment after which the object did not exist. Rights that came later are
    /// those of whoever makes another object of that name meanwhile, and stay.
    pub(crate) async fn forget(&self, on: &Securable, known: &Rights) -> Result<()> {
        let is_within = |object: Option<Securable>| object.is_some_and(|object| object.is_within(on));
        let tables = &self.inner.tables;
        let grants: Vec<&GrantRow> = known.grants.iter().filter(|row| is_within(row.securable())).collect();
        self.drop_known(&tables.grants, &grants).await?;
        let owners: Vec<&OwnerRow> = known.owner_rows().filter(|row| is_within(row.securable())).collect();
        self.drop_known(&tables.owners, &owners).await?;
        let policies = known.policies().map(|row| &**row).filter(|row| is_within(Securable::from_levels(Kind::Table, &row.levels)));
        let (masks, filters): (Vec<&PolicyRow>, Vec<&PolicyRow>) = policies.partition(|row| row.column.is_some());
        self.drop_known(&tables.filters, &filters).await?;
        self.drop_known(&tables.masks, &masks).await?;
        if matches!(on.kind, Kind::Catalog | Kind::Schema) {
            let functions = known.functions().filter(|(name, _)| Securable::function(name).is_within(on));
            let functions: Vec<&FunctionRow> = functions.map(|(_, row)| &**row).collect();
            self.drop_known(&tables.functions, &functions).await?;
        }
        Ok(())
    }

    /// Removes rows that are still as they were known.
    async fn drop_known<T: PartialEq + Serialize + DeserializeOwned>(&self, table: &StoredTable, known: &[&T]) -> Result<()> {
        if known.is_empty() {
            return Ok(());
        }
        self.change(table, |rows: &mut Vec<T>| Ok(drop_rows(rows, |row| known.contains(&row)))).await
    }
}

fn owner_row(on: &Securable, owner: &str, by: &str) -> OwnerRow {
    OwnerRow {
        object_type: on.kind.name().to_string(),
        object: on.name.clone(),
        levels: on.levels().to_vec(),
        owner: owner.to_string(),
        set_by: Some(by.to_string()),
        set_at: Utc::now(),
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
