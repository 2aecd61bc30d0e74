//! Limits of users and roles: how much of a server their statements may take.
//!
//! Statements at the same time and memory are counted for the user and for each of his roles: what a role may take is shared by its members. The longest time
//! of a statement and the largest result are the user's own where he has such a limit, else the most generous one among his roles'.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::rights::{Rights, Subject};
use super::users::{drop_rows, missing};
use super::{ADMINISTRATORS, Access};
use crate::{Error, Result};

/// The limits of a user or role; what is absent is not limited.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LimitRow {
    pub principal: String,
    /// Statements at the same time.
    #[serde(default)]
    pub max_statements: Option<u64>,
    /// Memory that these may hold before they spill or fail.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Longest time of a statement.
    #[serde(default)]
    pub run_time_s: Option<u64>,
    /// Largest result of a query.
    #[serde(default)]
    pub result_bytes: Option<u64>,
    #[serde(default)]
    pub set_by: Option<String>,
    #[serde(default)]
    pub set_at: DateTime<Utc>,
}

/// A limit that is counted for a user or role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    /// For whom.
    pub principal: String,
    pub max_statements: Option<u64>,
    pub memory_bytes: Option<u64>,
}

/// A limit of each statement, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bound<T> {
    pub value: T,
    pub principal: String,
}

/// What holds for the statements of one user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub shares: Vec<Share>,
    pub run_time: Option<Bound<Duration>>,
    pub result_bytes: Option<Bound<u64>>,
}

impl Rights {
    /// The limits of a user.
    pub fn limits_of(&self, who: &Subject) -> Limits {
        let rows: Vec<&LimitRow> = who.principals.iter().filter_map(|principal| self.limits.get(principal)).collect();
        let shares = rows.iter().filter(|row| row.max_statements.is_some() || row.memory_bytes.is_some()).map(|row| Share {
            principal: row.principal.clone(),
            max_statements: row.max_statements,
            memory_bytes: row.memory_bytes,
        });
        let bound = |of: fn(&LimitRow) -> Option<u64>| {
            let given = rows.iter().filter_map(|row| Some(Bound { value: of(row)?, principal: row.principal.clone() }));
            let own = given.clone().find(|bound| bound.principal == who.name);
            own.or_else(|| given.max_by_key(|bound| bound.value))
        };
        let run_time = bound(|row| row.run_time_s);
        Limits {
            shares: shares.collect(),
            run_time: run_time.map(|bound| Bound { value: Duration::from_secs(bound.value), principal: bound.principal }),
            result_bytes: bound(|row| row.result_bytes),
        }
    }
}

impl Access {
    /// Gives a user or role limits in the place of those it had.
    pub(crate) async fn set_limits(&self, limits: &LimitRow, by: &str) -> Result<()> {
        let rights = self.rights_now().await?;
        let name = &limits.principal;
        if rights.subject(name).is_none() {
            return Err(missing("user or role", name));
        }
        if name == ADMINISTRATORS {
            return Err(Error::sql(format!(
                "the role '{ADMINISTRATORS}' has no limits, so that somebody can always look after the server"
            )));
        }
        self.change(&self.inner.tables.limits, |rows: &mut Vec<LimitRow>| {
            rows.retain(|row| row.principal != *name);
            rows.push(LimitRow { set_by: Some(by.to_string()), set_at: Utc::now(), ..limits.clone() });
            Ok(true)
        })
        .await
    }

    /// Takes the limits of a user or role away; returns false if it had none.
    pub(crate) async fn drop_limits(&self, name: &str) -> Result<bool> {
        if self.rights_now().await?.subject(name).is_none() {
            return Err(missing("user or role", name));
        }
        let mut found = false;
        self.change(&self.inner.tables.limits, |rows: &mut Vec<LimitRow>| {
            found = drop_rows(rows, |row| row.principal == name);
            Ok(found)
        })
        .await?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::rights::AllRows;
    use crate::access::tables::{MemberRow, UserRow};

    fn user(name: &str) -> UserRow {
        UserRow {
            name: name.to_string(),
            is_enabled: true,
            comment: None,
            password_hash: None,
            password_set_at: None,
            created_by: None,
            created_at: Utc::now(),
        }
    }

    #[test]
    fn own_limits_win_over_those_of_roles_and_shares_add_up() {
        let member = MemberRow { role: "analysts".into(), member: "ann".into(), granted_by: None, granted_at: Utc::now() };
        let limit = |principal: &str, statements, run_time_s, result_bytes| LimitRow {
            principal: principal.to_string(),
            max_statements: statements,
            run_time_s,
            result_bytes,
            ..LimitRow::default()
        };
        let limits = vec![
            limit("ann", Some(2), Some(10), None),
            limit("analysts", Some(5), Some(60), Some(1_000)),
            limit("everyone", None, Some(600), Some(500)),
            limit("ben", Some(1), None, None),
        ];
        let rights = Rights::new(AllRows { users: vec![user("ann"), user("cy")], members: vec![member], limits, ..AllRows::default() });
        let ann = rights.limits_of(&rights.subject("ann").unwrap());
        let shares: Vec<_> = ann.shares.iter().map(|share| (share.principal.as_str(), share.max_statements)).collect();
        assert_eq!(shares, [("analysts", Some(5)), ("ann", Some(2))]);
        assert_eq!(ann.run_time, Some(Bound { value: Duration::from_secs(10), principal: "ann".into() }));
        assert_eq!(ann.result_bytes, Some(Bound { value: 1_000, principal: "analysts".into() }));
        let cy = rights.limits_of(&rights.subject("cy").unwrap());
        assert_eq!(cy.run_time, Some(Bound { value: Duration::from_secs(600), principal: "everyone".into() }));
        assert!(cy.shares.is_empty());
    }
}
