//! Statements about users and rights, as parsed: names of objects not yet resolved.

use datafusion::sql::sqlparser::ast::{DataType, Expr, Ident};

use super::{ModelOptions, Name};
use crate::Position;
use crate::access::{Kind, Privilege, Secret};

/// One statement about users and rights.
#[derive(Debug, Clone)]
pub enum AccessStatement {
    /// `CREATE USER [IF NOT EXISTS] name [PASSWORD '…'] [COMMENT '…']`.
    CreateUser {
        /// As written; unquoted names in lower case.
        name: String,
        /// No error when there is one.
        if_not_exists: bool,
        /// Without one, only tokens let the user in.
        password: Option<Secret>,
        /// Who it is.
        comment: Option<String>,
    },
    /// `ALTER USER name …`.
    AlterUser {
        /// Which.
        name: String,
        /// What changes.
        change: UserChange,
    },
    /// `ALTER {USER | ROLE} name SET LIMITS (limit = value, …)`, or `… DROP LIMITS`.
    SetLimits {
        /// Whose.
        principal: String,
        /// All of them from now on; none when empty.
        limits: ModelOptions,
    },
    /// `DROP USER [IF EXISTS] name`.
    DropUser(DropPrincipal),
    /// `CREATE ROLE [IF NOT EXISTS] name [COMMENT '…']`.
    CreateRole {
        /// Its name.
        name: String,
        /// No error when there is one.
        if_not_exists: bool,
        /// What it is for.
        comment: Option<String>,
    },
    /// `DROP ROLE [IF EXISTS] name`.
    DropRole(DropPrincipal),
    /// `GRANT [ROLE] role TO principal, …`.
    GrantRole {
        /// The role.
        role: String,
        /// Who is put into it.
        members: Vec<String>,
    },
    /// `REVOKE [ROLE] role FROM principal, …`.
    RevokeRole {
        /// The role.
        role: String,
        /// Who is taken out of it.
        members: Vec<String>,
    },
    /// `CREATE TOKEN [name] [FOR USER user] [EXPIRES IN INTERVAL … | EXPIRES AT …] [COMMENT '…']`.
    CreateToken {
        /// By which it is dropped.
        name: Option<String>,
        /// Whose it is; the present user's when absent.
        user: Option<String>,
        /// Never, when absent.
        expires: Option<Box<Expiry>>,
        /// What it is for.
        comment: Option<String>,
    },
    /// `DROP TOKEN [IF EXISTS] {name | 'id'} [FOR USER user]`.
    DropToken {
        /// Its name or id.
        token: String,
        /// Whose name it is; the present user's when absent.
        user: Option<String>,
        /// No error when there is none.
        if_exists: bool,
    },
    /// `GRANT privilege, … ON object TO principal, …`.
    Grant(GrantRights),
    /// `REVOKE privilege, … ON object FROM principal, …`.
    Revoke(GrantRights),
    /// `ALTER object OWNER TO principal`.
    SetOwner {
        /// What.
        object: ObjectRef,
        /// Who owns it from now on.
        owner: String,
    },
    /// `ALTER TABLE t SET ROW FILTER …`.
    SetRowFilter {
        /// Which table.
        table: Name,
        /// What it computes.
        policy: Policy,
    },
    /// `ALTER TABLE t DROP ROW FILTER`.
    DropRowFilter(Name),
    /// `ALTER TABLE t ALTER COLUMN c SET MASK …`.
    SetMask {
        /// Which table.
        table: Name,
        /// Which column.
        column: Ident,
        /// What it computes.
        policy: Policy,
    },
    /// `ALTER TABLE t ALTER COLUMN c DROP MASK`.
    DropMask {
        /// Which table.
        table: Name,
        /// Which column.
        column: Ident,
    },
    /// `CREATE [OR REPLACE] FUNCTION f (…) …`.
    CreateFunction(Box<CreateFunction>),
    /// `DROP FUNCTION [IF EXISTS] f`.
    DropFunction {
        /// Which.
        name: Name,
        /// No error when there is none.
        if_exists: bool,
    },
    /// `SHOW USERS`.
    ShowUsers,
    /// `SHOW ROLES`.
    ShowRoles,
    /// `SHOW TOKENS`.
    ShowTokens,
    /// `SHOW LIMITS`.
    ShowLimits,
    /// `SHOW GRANTS [TO principal] [ON object]`.
    ShowGrants {
        /// Whose; everybody's with an object, else the present user's.
        principal: Option<String>,
        /// On what.
        object: Option<ObjectRef>,
    },
}

/// What `ALTER USER` changes.
#[derive(Debug, Clone)]
pub enum UserChange {
    /// `SET PASSWORD '…'`.
    Password(Secret),
    /// `ENABLE`.
    Enable,
    /// `DISABLE`.
    Disable,
}

/// `DROP {USER | ROLE} [IF EXISTS] name`.
#[derive(Debug, Clone)]
pub struct DropPrincipal {
    /// Which.
    pub name: String,
    /// No error when there is none.
    pub if_exists: bool,
}

/// When a token ends; constant expressions.
#[derive(Debug, Clone)]
pub enum Expiry {
    /// `EXPIRES IN INTERVAL '30' DAY`.
    In(Expr),
    /// `EXPIRES AT TIMESTAMP '…'`.
    At(Expr),
}

/// Privileges, an object and principals.
#[derive(Debug, Clone)]
pub struct GrantRights {
    /// Which.
    pub privileges: Vec<Privilege>,
    /// On what.
    pub object: ObjectRef,
    /// To or from whom.
    pub principals: Vec<String>,
    /// Where the first privilege stands.
    pub position: Option<Position>,
}

/// An object as a statement names it.
#[derive(Debug, Clone)]
pub struct ObjectRef {
    /// Of which kind.
    pub kind: Kind,
    /// Its name; without parts for the server and for locations.
    pub name: Name,
    /// Path or URL of a location.
    pub location: Option<String>,
    /// It was called a view, which only views are.
    pub is_view: bool,
}

/// What a row filter or a mask computes.
#[derive(Debug, Clone)]
pub enum Policy {
    /// `f ON (columns)`, or `f USING COLUMNS (columns)`.
    Function {
        /// Which.
        name: Name,
        /// What is handed to it.
        columns: Vec<Ident>,
    },
    /// `(expression)` over the table's columns.
    Expression {
        /// As written, variables replaced.
        text: String,
        /// Where it stands.
        position: Option<Position>,
    },
}

/// `CREATE [OR REPLACE] FUNCTION name (parameter TYPE, …) [RETURNS TYPE] [COMMENT '…'] RETURN expression`.
#[derive(Debug, Clone)]
pub struct CreateFunction {
    /// Its name.
    pub name: Name,
    /// Replaces an existing one.
    pub or_replace: bool,
    /// No error when there is one.
    pub if_not_exists: bool,
    /// Names and types.
    pub parameters: Vec<(Ident, DataType)>,
    /// The type of its value; the expression's own when absent.
    pub returns: Option<DataType>,
    /// What it is for.
    pub comment: Option<String>,
    /// As written, variables replaced.
    pub expression: String,
    /// The same as a tree.
    pub body: Box<Expr>,
    /// Where the expression stands.
    pub position: Option<Position>,
}

impl AccessStatement {
    /// The kind of statement in a few upper-case words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CreateUser { .. } => "CREATE USER",
            Self::AlterUser { .. } => "ALTER USER",
            Self::SetLimits { .. } => "SET LIMITS",
            Self::DropUser(_) => "DROP USER",
            Self::CreateRole { .. } => "CREATE ROLE",
            Self::DropRole(_) => "DROP ROLE",
            Self::GrantRole { .. } | Self::Grant(_) => "GRANT",
            Self::RevokeRole { .. } | Self::Revoke(_) => "REVOKE",
            Self::CreateToken { .. } => "CREATE TOKEN",
            Self::DropToken { .. } => "DROP TOKEN",
            Self::SetOwner { .. } => "ALTER OWNER",
            Self::SetRowFilter { .. } | Self::DropRowFilter(_) | Self::SetMask { .. } | Self::DropMask { .. } => "ALTER TABLE",
            Self::CreateFunction(_) => "CREATE FUNCTION",
            Self::DropFunction { .. } => "DROP FUNCTION",
            Self::ShowUsers | Self::ShowRoles | Self::ShowTokens | Self::ShowLimits | Self::ShowGrants { .. } => "SHOW",
        }
    }
}
