//! The statements of the dialect, as parsed: names not yet resolved, queries still syntax trees.

use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{DataType, Expr, Ident, Query};

pub use super::access_statements::*;
pub use super::model_statements::*;
use crate::Position;

/// A name of one to three parts with its place, as written (unquoted parts lower-cased).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// `[catalog.[schema.]]object`.
    pub parts: Vec<String>,
    /// Where it stands.
    pub position: Option<Position>,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.parts.join("."))
    }
}

/// One parsed statement.
#[derive(Debug, Clone)]
pub enum Statement {
    /// `SELECT`, `VALUES`, `WITH … SELECT`, `FROM …`.
    Query(Box<Query>),
    /// `EXPLAIN [ANALYZE] [VERBOSE] statement`.
    Explain {
        /// Run it and show measurements.
        analyze: bool,
        /// Show every plan of the way.
        verbose: bool,
        /// What is explained.
        statement: Box<Statement>,
    },
    /// `SET name = expression`.
    SetVariable {
        /// Lower-cased name.
        name: String,
        /// A constant expression or scalar subquery.
        value: Box<Expr>,
    },
    /// `SET section.key = literal`, a setting of the engine.
    SetOption {
        /// Dotted key.
        key: Name,
        /// The literal's text.
        value: String,
    },
    /// `CREATE CATALOG`.
    CreateCatalog(CreateNamespace),
    /// `CREATE SCHEMA` / `CREATE DATABASE`.
    CreateSchema(CreateNamespace),
    /// `DROP CATALOG`.
    DropCatalog(DropNamespace),
    /// `DROP SCHEMA` / `DROP DATABASE`.
    DropSchema(DropNamespace),
    /// `USE CATALOG c`, `USE [SCHEMA] [c.]s`.
    Use {
        /// A catalog rather than a schema.
        catalog: bool,
        /// What becomes current.
        name: Name,
    },
    /// `CREATE TABLE`, with or without `AS`.
    CreateTable(Box<CreateTable>),
    /// `INSERT INTO` / `INSERT OVERWRITE`.
    Insert(Box<Insert>),
    /// `CREATE VIEW`.
    CreateView(Box<CreateView>),
    /// `DROP TABLE`.
    DropTable(DropRelation),
    /// `DROP VIEW`.
    DropView(DropRelation),
    /// `CACHE TABLE name [AS query]`.
    Cache {
        /// The temporary name, or an existing relation.
        name: Name,
        /// What it holds; without it, the relation of that name.
        query: Option<Box<Query>>,
    },
    /// `UNCACHE TABLE [IF EXISTS] name`.
    Uncache(DropRelation),
    /// `DESCRIBE [TABLE] [EXTENDED] name`, `DESCRIBE HISTORY name [LIMIT n]`, `DESCRIBE DETAIL name`, `DESCRIBE query`.
    Describe(Describe),
    /// `SHOW …`.
    Show(Show),
    /// `SUMMARIZE name` / `SUMMARIZE query`.
    Summarize(Box<Query>),
    /// `ASSERT expression [AS 'message']`.
    Assert {
        /// Must be true.
        condition: Box<Expr>,
        /// Said when it is not.
        message: Option<String>,
        /// The condition as written.
        text: String,
    },
    /// `VACUUM [TABLE] name [RETAIN n HOURS] [FORCE] [DRY RUN]`.
    Vacuum(Vacuum),
    /// `CREATE MODEL`.
    CreateModel(Box<CreateModel>),
    /// `ALTER MODEL`.
    AlterModel(Box<AlterModel>),
    /// `DROP MODEL`.
    DropModel(DropModel),
    /// `EXPORT MODEL`.
    ExportModel(ExportModel),
    /// About users and rights.
    Access(Box<AccessStatement>),
    /// A statement of DataFusion's own that works unchanged (`COPY … TO`).
    DataFusion(Box<DataFusionStatement>),
}

/// `CREATE {CATALOG | SCHEMA} [IF NOT EXISTS] name [COMMENT 'text']`.
#[derive(Debug, Clone)]
pub struct CreateNamespace {
    /// Its name.
    pub name: Name,
    /// No error when it exists.
    pub if_not_exists: bool,
    /// What it is for.
    pub comment: Option<String>,
}

/// `DROP {CATALOG | SCHEMA} [IF EXISTS] name [CASCADE | RESTRICT]`.
#[derive(Debug, Clone)]
pub struct DropNamespace {
    /// Its name.
    pub name: Name,
    /// No error when it does not exist.
    pub if_exists: bool,
    /// With all it holds.
    pub cascade: bool,
}

/// `DROP {TABLE | VIEW} [IF EXISTS] name`.
#[derive(Debug, Clone)]
pub struct DropRelation {
    /// Its name.
    pub name: Name,
    /// No error when it does not exist.
    pub if_exists: bool,
}

/// A column of `CREATE TABLE t (…)`.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its SQL type.
    pub data_type: DataType,
    /// `NOT NULL`.
    pub not_null: bool,
    /// `COMMENT 'text'`.
    pub comment: Option<String>,
    /// Where it stands.
    pub position: Option<Position>,
}

/// `CREATE [OR REPLACE] TABLE [IF NOT EXISTS] name [(columns)] [USING DELTA] [PARTITIONED BY (…)] [COMMENT …] [TBLPROPERTIES (…)] [AS query]`.
#[derive(Debug, Clone)]
pub struct CreateTable {
    /// Its name.
    pub name: Name,
    /// Replaces an existing table in one commit.
    pub or_replace: bool,
    /// No error, and nothing done, when it exists.
    pub if_not_exists: bool,
    /// Declared columns; empty when the query gives them.
    pub columns: Vec<Column>,
    /// Partition columns.
    pub partitioned_by: Vec<String>,
    /// What it is for.
    pub comment: Option<String>,
    /// Table properties in the order written.
    pub properties: Vec<(String, String)>,
    /// `AS query`.
    pub query: Option<Box<Query>>,
}

/// `INSERT {INTO | OVERWRITE} [TABLE] name [(columns)] query`.
#[derive(Debug, Clone)]
pub struct Insert {
    /// The target.
    pub name: Name,
    /// The columns that the query gives, in its order; empty: all, in the table's order.
    pub columns: Vec<Ident>,
    /// Replaces the table's rows.
    pub overwrite: bool,
    /// The rows.
    pub query: Box<Query>,
}

/// `CREATE [OR REPLACE] [TEMP] VIEW [IF NOT EXISTS] name [(columns)] [COMMENT …] AS query`.
#[derive(Debug, Clone)]
pub struct CreateView {
    /// Its name.
    pub name: Name,
    /// Replaces an existing view.
    pub or_replace: bool,
    /// No error when it exists.
    pub if_not_exists: bool,
    /// Lives and dies with the session.
    pub temporary: bool,
    /// Names for the query's columns; empty: the query's own.
    pub columns: Vec<String>,
    /// What it is for.
    pub comment: Option<String>,
    /// The query, variables already replaced.
    pub query: Box<Query>,
    /// The query as it was written, with its comments; variables are replaced here too.
    pub text: String,
}

/// `VACUUM [TABLE] name [RETAIN n HOURS] [FORCE] [DRY RUN]`.
#[derive(Debug, Clone)]
pub struct Vacuum {
    /// The table.
    pub name: Name,
    /// Hours for which files are kept after they were replaced; the table's own retention when absent.
    pub retain_hours: Option<u64>,
    /// Even if that is less than the table's own retention.
    pub force: bool,
    /// Only list the files.
    pub dry_run: bool,
}

/// What `DESCRIBE` is asked for.
#[derive(Debug, Clone)]
pub enum Describe {
    /// Columns of a table or view.
    Relation {
        /// Which.
        name: Name,
        /// With location, version and properties.
        extended: bool,
    },
    /// Columns of a query.
    Query(Box<Query>),
    /// Commits, newest first.
    History {
        /// Of which table.
        name: Name,
        /// How many at most.
        limit: Option<usize>,
    },
    /// One row of facts about a table.
    Detail(Name),
    /// What is known of a model.
    Model(super::ModelName),
    /// Attempts to train a model, newest first.
    ModelHistory {
        /// Of which model.
        name: Name,
        /// How many at most.
        limit: Option<usize>,
    },
}

/// What `SHOW` is asked for; `like` is a pattern with `%`, `_` or `*`.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum Show {
    Catalogs { like: Option<String> },
    Schemas { catalog: Option<Name>, like: Option<String> },
    Tables { schema: Option<Name>, like: Option<String> },
    Views { schema: Option<Name>, like: Option<String> },
    Columns { name: Name },
    CreateTable { name: Name },
    Properties { name: Name },
    Functions { like: Option<String> },
    Models { schema: Option<Name>, like: Option<String> },
    ModelVersions { name: Name },
    Variables,
}

impl Statement {
    /// The kind of statement in a few upper-case words, for progress lines and records.
    pub fn kind(&self) -> &'static str {
        match self {
            Statement::Query(_) => "SELECT",
            Statement::Explain { .. } => "EXPLAIN",
            Statement::SetVariable { .. } | Statement::SetOption { .. } => "SET",
            Statement::CreateCatalog(_) => "CREATE CATALOG",
            Statement::CreateSchema(_) => "CREATE SCHEMA",
            Statement::DropCatalog(_) => "DROP CATALOG",
            Statement::DropSchema(_) => "DROP SCHEMA",
            Statement::Use { .. } => "USE",
            Statement::CreateTable(create) if create.query.is_some() => "CREATE TABLE AS",
            Statement::CreateTable(_) => "CREATE TABLE",
            Statement::Insert(insert) if insert.overwrite => "INSERT OVERWRITE",
            Statement::Insert(_) => "INSERT INTO",
            Statement::CreateView(_) => "CREATE VIEW",
            Statement::DropTable(_) => "DROP TABLE",
            Statement::DropView(_) => "DROP VIEW",
            Statement::Cache { .. } => "CACHE TABLE",
            Statement::Uncache(_) => "UNCACHE TABLE",
            Statement::Describe(_) => "DESCRIBE",
            Statement::Show(_) => "SHOW",
            Statement::Summarize(_) => "SUMMARIZE",
            Statement::Assert { .. } => "ASSERT",
            Statement::Vacuum(_) => "VACUUM",
            Statement::CreateModel(_) => "CREATE MODEL",
            Statement::AlterModel(_) => "ALTER MODEL",
            Statement::DropModel(_) => "DROP MODEL",
            Statement::ExportModel(_) => "EXPORT MODEL",
            Statement::Access(access) => access.kind(),
            Statement::DataFusion(_) => "COPY",
        }
    }
}
