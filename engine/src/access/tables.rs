//! The tables of `system.access`, their columns, and rows as Rust has them.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use orrery_lakehouse::TableName;
use serde::{Deserialize, Serialize};

use super::{Kind, Privilege, Securable};
use crate::stored_table::StoredTable;
use crate::stored_table::columns::{flag, moment, text, texts, whole};

/// Schema of these tables in catalog `system`, and what it is for.
pub(crate) const PLACE: (&str, &str) = ("access", "Users, rights and what was done with them");
/// Columns that nobody sees through SQL.
pub(crate) const HIDDEN_COLUMNS: [&str; 2] = ["password_hash", "secret_hash"];

fn table(name: &str, comment: &'static str, fields: Vec<Field>) -> StoredTable {
    StoredTable::new(PLACE, name, comment, Arc::new(Schema::new(fields)))
}

/// All tables but the audit, which is only appended to.
pub(super) struct Tables {
    pub users: StoredTable,
    pub roles: StoredTable,
    pub members: StoredTable,
    pub tokens: StoredTable,
    pub grants: StoredTable,
    pub owners: StoredTable,
    pub filters: StoredTable,
    pub masks: StoredTable,
    pub functions: StoredTable,
    pub limits: StoredTable,
}

impl Tables {
    pub fn new() -> Self {
        let object = || vec![text("object_type"), text("object"), texts("levels")];
        let with = |mut fields: Vec<Field>, more: Vec<Field>| {
            fields.extend(more);
            fields
        };
        let set = || vec![text("set_by"), moment("set_at")];
        let policy = || vec![text("expression"), text("function"), texts("columns"), text("in_catalog"), text("in_schema")];
        let created = || vec![text("created_by"), moment("created_at")];
        Self {
            users: table(
                "users",
                "Users, one row each",
                with(vec![text("name"), flag("is_enabled"), text("comment"), text("password_hash"), moment("password_set_at")], created()),
            ),
            roles: table("roles", "Roles, one row each", with(vec![text("name"), text("comment")], created())),
            members: table(
                "role_members",
                "Which users and roles are in which roles",
                vec![text("role"), text("member"), text("granted_by"), moment("granted_at")],
            ),
            tokens: table(
                "tokens",
                "Tokens, by the hash of their secret",
                with(
                    vec![
                        text("id"),
                        text("name"),
                        text("user_name"),
                        text("comment"),
                        text("secret_hash"),
                        moment("expires_at"),
                        moment("revoked_at"),
                    ],
                    created(),
                ),
            ),
            grants: table(
                "grants",
                "Who may do what with which object",
                with(vec![text("principal"), text("privilege")], with(object(), vec![text("granted_by"), moment("granted_at")])),
            ),
            owners: table("owners", "Who owns which object", with(object(), with(vec![text("owner")], set()))),
            filters: table(
                "row_filters",
                "Which rows of a table its readers see",
                with(vec![text("table"), texts("levels")], with(policy(), set())),
            ),
            masks: table(
                "column_masks",
                "What readers of a table see in a column",
                with(vec![text("table"), texts("levels"), text("column")], with(policy(), set())),
            ),
            limits: table(
                "limits",
                "How much of a server the statements of users and roles may take",
                with(
                    vec![text("principal"), whole("max_statements"), whole("memory_bytes"), whole("run_time_s"), whole("result_bytes")],
                    set(),
                ),
            ),
            functions: table(
                "functions",
                "Functions written in SQL",
                with(
                    vec![
                        text("function"),
                        texts("levels"),
                        texts("parameters"),
                        texts("types"),
                        text("returns"),
                        text("expression"),
                        text("comment"),
                    ],
                    created(),
                ),
            ),
        }
    }
}

/// Columns of the audit.
pub(super) fn audit_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        moment("time"),
        text("user_name"),
        text("address"),
        text("session"),
        text("kind"),
        text("statement"),
        texts("objects"),
        text("outcome"),
        text("error"),
        whole("rows"),
        whole("duration_us"),
    ]))
}

/// A user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct UserRow {
    pub name: String,
    pub is_enabled: bool,
    #[serde(default)]
    pub comment: Option<String>,
    /// argon2id in PHC form; without one, there is no way in by password.
    #[serde(default)]
    pub password_hash: Option<String>,
    #[serde(default)]
    pub password_set_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub created_by: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoleRow {
    pub name: String,
    #[serde(default)]
    pub comment: Option<String>,
    #[serde(default)]
    pub created_by: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// Somebody is in a role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MemberRow {
    pub role: String,
    /// A user or a role.
    pub member: String,
    #[serde(default)]
    pub granted_by: Option<String>,
    pub granted_at: DateTime<Utc>,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TokenRow {
    /// Names it in statements and logs; no secret.
    pub id: String,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(rename = "user_name")]
    pub user: String,
    #[serde(default)]
    pub comment: Option<String>,
    /// SHA-256 of the secret, hexadecimal.
    pub secret_hash: String,
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub revoked_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub created_by: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// A privilege of a principal on an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GrantRow {
    pub principal: String,
    pub privilege: String,
    pub object_type: String,
    #[serde(default)]
    pub object: String,
    #[serde(default)]
    pub levels: Vec<String>,
    #[serde(default)]
    pub granted_by: Option<String>,
    pub granted_at: DateTime<Utc>,
}

impl GrantRow {
    /// `None` for a row of a newer version of the program, which grants nothing here.
    pub fn privilege(&self) -> Option<Privilege> {
        Privilege::named(&self.privilege)
    }

    pub fn securable(&self) -> Option<Securable> {
        Securable::from_levels(Kind::named(&self.object_type)?, &self.levels)
    }
}

/// The owner of an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OwnerRow {
    pub object_type: String,
    #[serde(default)]
    pub object: String,
    #[serde(default)]
    pub levels: Vec<String>,
    pub owner: String,
    #[serde(default)]
    pub set_by: Option<String>,
    pub set_at: DateTime<Utc>,
}

impl OwnerRow {
    pub fn securable(&self) -> Option<Securable> {
        Securable::from_levels(Kind::named(&self.object_type)?, &self.levels)
    }
}

/// What a row filter or a column mask computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PolicyRow {
    /// `catalog.schema.table`.
    pub table: String,
    pub levels: Vec<String>,
    /// Whose mask it is; absent in a row filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// SQL over the table's columns.
    pub expression: String,
    /// Full name of the function that the expression calls; absent for an expression as it was written.
    #[serde(default)]
    pub function: Option<String>,
    /// Columns that are handed to the function.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Against which names of the expression resolve.
    pub in_catalog: String,
    pub in_schema: String,
    #[serde(default)]
    pub set_by: Option<String>,
    pub set_at: DateTime<Utc>,
}

impl PolicyRow {
    /// Whose rows or values it decides on.
    pub fn name(&self) -> Option<TableName> {
        match self.levels.as_slice() {
            [catalog, schema, table] => Some(TableName::new(catalog, schema, table)),
            _ => None,
        }
    }
}

/// A function written in SQL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FunctionRow {
    /// `catalog.schema.function`.
    pub function: String,
    pub levels: Vec<String>,
    #[serde(default)]
    pub parameters: Vec<String>,
    /// SQL types of the parameters.
    #[serde(default)]
    pub types: Vec<String>,
    /// SQL type of the value; absent: the expression's own.
    #[serde(default)]
    pub returns: Option<String>,
    /// An expression over the parameters.
    pub expression: String,
    #[serde(default)]
    pub comment: Option<String>,
    #[serde(default)]
    pub created_by: Option<String>,
    pub created_at: DateTime<Utc>,
}
