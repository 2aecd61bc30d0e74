//! Tokens: secrets that stand for a user until they expire or are dropped. Only their hashes are kept; a secret is as long as the hash, so that no salt is needed.

use chrono::{DateTime, Duration, Utc};
use sha2::{Digest as _, Sha256};

use super::tables::TokenRow;
use super::users::missing;
use super::{Access, Secret};
use crate::{Error, Result};

/// Begins every secret, so that scanners of code and logs know one when they see it.
pub(super) const PREFIX: &str = "orrery_";
/// Characters of the hash by which a token is known.
const ID_CHARACTERS: usize = 12;
/// How long dropped and expired tokens are still told apart from ones that never were.
const KEPT_DAYS: i64 = 90;

/// A token to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewToken {
    pub name: Option<String>,
    pub user: String,
    pub comment: Option<String>,
    /// Never, if absent.
    pub expires_at: Option<DateTime<Utc>>,
    pub by: String,
}

/// The hash under which a secret is kept.
pub(super) fn hash_of(secret: &Secret) -> String {
    Sha256::digest(secret.expose().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Access {
    /// Makes a token; the secret is told here and never again.
    pub(crate) async fn create_token(&self, new: NewToken) -> Result<(Secret, TokenRow)> {
        if !self.rights_now().await?.users.contains_key(&new.user) {
            return Err(missing("user", &new.user));
        }
        let now = Utc::now();
        if new.expires_at.is_some_and(|at| at <= now) {
            return Err(Error::sql("the token would have expired already"));
        }
        let secret = Secret::random(PREFIX)?;
        let secret_hash = hash_of(&secret);
        let row = TokenRow {
            id: secret_hash.chars().take(ID_CHARACTERS).collect(),
            name: new.name,
            user: new.user,
            comment: new.comment,
            secret_hash,
            expires_at: new.expires_at,
            revoked_at: None,
            created_by: Some(new.by),
            created_at: now,
        };
        self.change(&self.inner.tables.tokens, |rows: &mut Vec<TokenRow>| {
            let same =
                |other: &TokenRow| other.revoked_at.is_none() && other.user == row.user && other.name.is_some() && other.name == row.name;
            if let Some(other) = rows.iter().find(|other| same(other)) {
                let name = other.name.as_deref().unwrap_or_default();
                return Err(Error::sql(format!("{} has a token '{name}' already", other.user)).hint("choose another name, or DROP TOKEN"));
            }
            rows.retain(|old| !is_long_over(old, now));
            rows.push(row.clone());
            Ok(true)
        })
        .await?;
        Ok((secret, row))
    }

    /// Drops a token by its id, from now on it lets nobody in.
    pub(crate) async fn drop_token(&self, id: &str) -> Result<()> {
        self.change(&self.inner.tables.tokens, |rows: &mut Vec<TokenRow>| {
            let row = rows.iter_mut().find(|row| row.id == id).ok_or_else(|| missing("token", id))?;
            row.revoked_at.get_or_insert_with(Utc::now);
            Ok(true)
        })
        .await
    }
}

fn is_long_over(token: &TokenRow, now: DateTime<Utc>) -> bool {
    let end = [token.revoked_at, token.expires_at].into_iter().flatten().min();
    end.is_some_and(|end| now - end > Duration::days(KEPT_DAYS))
}
