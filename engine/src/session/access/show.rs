//! `SHOW USERS`, `ROLES`, `TOKENS`, `LIMITS` and `GRANTS`: administrators see all, everybody else what concerns him.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::access::tables::{GrantRow, TokenRow};
use crate::access::{ADMINISTRATORS, EVERYONE, LimitRow, Privilege, Securable};
use crate::dialect::{AccessStatement, ObjectRef};
use crate::session::rows::{Cells, table};
use crate::session::{Outcome, Session};
use crate::{Blame, Error, Result};

fn shown(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Session {
    pub(super) async fn show_access(&self, statement: &AccessStatement) -> Result<Outcome> {
        match statement {
            AccessStatement::ShowUsers => self.show_users().await,
            AccessStatement::ShowRoles => self.show_roles().await,
            AccessStatement::ShowTokens => self.show_tokens().await,
            AccessStatement::ShowLimits => self.show_limits().await,
            AccessStatement::ShowGrants { principal, object } => self.show_grants(principal.as_deref(), object.as_ref()).await,
            _ => Err(Error::new(Blame::Bug, "a change is no listing")),
        }
    }

    async fn show_users(&self) -> Result<Outcome> {
        let guard = self.names.guard();
        let rights = guard.access().rights_now().await?;
        let (sees_all, me) = (guard.reader_is_administrator(), guard.user());
        let users: Vec<_> = rights.users.values().filter(|user| sees_all || user.name == me).collect();
        let roles =
            |user: &str| rights.members.iter().filter(|row| row.member == user).map(|row| row.role.clone()).collect::<Vec<_>>().join(", ");
        Self::batch(table(vec![
            ("name", Cells::text(users.iter().map(|user| user.name.clone()))),
            ("is_enabled", Cells::Flags(users.iter().map(|user| user.is_enabled).collect())),
            ("has_password", Cells::Flags(users.iter().map(|user| user.password_hash.is_some()).collect())),
            ("roles", Cells::text(users.iter().map(|user| roles(&user.name)))),
            ("comment", Cells::Text(users.iter().map(|user| user.comment.clone()).collect())),
            ("created_at", Cells::text(users.iter().map(|user| shown(user.created_at)))),
        ])?)
    }

    async fn show_roles(&self) -> Result<Outcome> {
        let guard = self.names.guard();
        let rights = guard.access().rights_now().await?;
        let sees_all = guard.reader_is_administrator();
        let built_in = [
            (ADMINISTRATORS.to_string(), Some("May do everything".to_string())),
            (EVERYONE.to_string(), Some("Every user is in it".to_string())),
        ];
        let own = rights.roles.values().map(|role| (role.name.clone(), role.comment.clone()));
        let mut roles: Vec<_> = built_in.into_iter().chain(own).filter(|(name, _)| sees_all || guard.reader_is(name)).collect();
        roles.sort();
        let members = |role: &str| {
            let members = rights.members.iter().filter(|row| row.role == role && (sees_all || guard.reader_is(&row.member)));
            members.map(|row| row.member.clone()).collect::<Vec<_>>().join(", ")
        };
        Self::batch(table(vec![
            ("name", Cells::text(roles.iter().map(|role| role.0.clone()))),
            ("members", Cells::text(roles.iter().map(|role| members(&role.0)))),
            ("comment", Cells::Text(roles.iter().map(|role| role.1.clone()).collect())),
        ])?)
    }

    async fn show_tokens(&self) -> Result<Outcome> {
        let guard = self.names.guard();
        let rights = guard.access().rights_now().await?;
        let (sees_all, me) = (guard.reader_is_administrator(), guard.user());
        let mut tokens: Vec<&TokenRow> =
            rights.tokens.values().filter(|token| token.revoked_at.is_none() && (sees_all || token.user == me)).collect();
        tokens.sort_by(|a, b| (&a.user, a.created_at, &a.id).cmp(&(&b.user, b.created_at, &b.id)));
        Self::batch(table(vec![
            ("id", Cells::text(tokens.iter().map(|token| token.id.clone()))),
            ("name", Cells::Text(tokens.iter().map(|token| token.name.clone()).collect())),
            ("user_name", Cells::text(tokens.iter().map(|token| token.user.clone()))),
            ("comment", Cells::Text(tokens.iter().map(|token| token.comment.clone()).collect())),
            ("created_at", Cells::text(tokens.iter().map(|token| shown(token.created_at)))),
            ("expires_at", Cells::Text(tokens.iter().map(|token| token.expires_at.map(shown)).collect())),
        ])?)
    }

    async fn show_limits(&self) -> Result<Outcome> {
        let guard = self.names.guard();
        let rights = guard.access().rights_now().await?;
        let sees_all = guard.reader_is_administrator();
        let mut limits: Vec<_> = rights.limits().filter(|row| sees_all || guard.reader_is(&row.principal)).collect();
        limits.sort_by(|a, b| a.principal.cmp(&b.principal));
        let numbers = |of: fn(&LimitRow) -> Option<u64>| {
            Cells::Whole(limits.iter().map(|row| of(row).and_then(|value| i64::try_from(value).ok())).collect())
        };
        Self::batch(table(vec![
            ("principal", Cells::text(limits.iter().map(|row| row.principal.clone()))),
            ("max_statements", numbers(|row| row.max_statements)),
            ("memory_bytes", numbers(|row| row.memory_bytes)),
            ("run_time_s", numbers(|row| row.run_time_s)),
            ("result_bytes", numbers(|row| row.result_bytes)),
        ])?)
    }

    /// Grants on an object and on what it lies in; or those of a principal, wherever.
    async fn show_grants(&self, principal: Option<&str>, object: Option<&ObjectRef>) -> Result<Outcome> {
        let guard = self.names.guard();
        let rights = guard.access().rights_now().await?;
        let line = match object {
            None => None,
            Some(object) => {
                let on = self.securable(object).map_err(|e| e.at(object.name.position))?;
                let exists = self.exists(&on).await.map_err(|e| e.at(object.name.position))?;
                if !exists || !guard.sees(&on) {
                    return Err(self.missing(&on).await.at(object.name.position));
                }
                Some(on.with_ancestors())
            }
        };
        // Without either, what concerns oneself.
        let of: Option<std::collections::BTreeSet<String>> = match (principal, object) {
            (Some(principal), _) => {
                let subject = rights.subject(principal).filter(|_| guard.reader_is_administrator() || guard.reader_is(principal));
                let missing = || Error::sql(format!("the user or role '{principal}' does not exist"));
                // A principal's own: what its roles have is asked for by their names.
                subject.ok_or_else(missing)?;
                Some([principal.to_string()].into())
            }
            (None, None) => guard.reader().map(|reader| reader.principals.clone()),
            (None, Some(_)) => None,
        };
        let manages = |on: &Securable| guard.reader().is_none_or(|reader| rights.manages(&reader, on));
        let is_shown = |principal: &str, on: &Securable| {
            line.as_ref().is_none_or(|line| line.contains(on))
                && of.as_ref().is_none_or(|of| of.contains(principal))
                && (guard.reader_is(principal) || manages(on))
        };
        let granted = rights.grants.iter().filter_map(|row: &GrantRow| {
            let on = row.securable()?;
            is_shown(&row.principal, &on).then(|| (on, row.principal.clone(), row.privilege.clone(), row.granted_by.clone()))
        });
        let owned = rights.owners().filter(|(on, owner)| is_shown(owner, on));
        let owned = owned.map(|(on, owner)| (on.clone(), owner.to_string(), "OWNER".to_string(), None));
        let mut rows: Vec<_> = granted.chain(owned).collect();
        rows.sort();
        Self::batch(table(vec![
            ("principal", Cells::text(rows.iter().map(|row| row.1.clone()))),
            ("privilege", Cells::text(rows.iter().map(|row| row.2.clone()))),
            ("object_type", Cells::text(rows.iter().map(|row| row.0.kind.name()))),
            ("object", Cells::text(rows.iter().map(|row| row.0.name.clone()))),
            ("granted_by", Cells::Text(rows.iter().map(|row| row.3.clone()).collect())),
        ])?)
    }

    /// Whether the session's user may see how an object is made: its owner and whoever manages it.
    pub(in crate::session) fn shows_definition(&self, on: &Securable) -> bool {
        matches!(self.names.guard().may(Privilege::Manage, on), super::Verdict::Allowed)
    }
}
