//! Statements about models, as parsed: names not yet resolved, queries still syntax trees.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::{Query, SelectItem};
use orrery_models::{OptionValue, Options};

use super::{ModelName, Name};
use crate::Position;

/// One entry of `OPTIONS (…)`.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelOption {
    /// Lower-case name.
    pub name: String,
    /// As written.
    pub value: OptionValue,
    /// Where its name stands.
    pub position: Option<Position>,
}

/// All of `OPTIONS (…)`; no name occurs twice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelOptions(pub Vec<ModelOption>);

impl ModelOptions {
    /// The option of a lower-case name.
    pub fn get(&self, name: &str) -> Option<&ModelOption> {
        self.0.iter().find(|option| option.name == name)
    }

    /// Values by name, but for the names of `without`.
    pub fn values(&self, without: &[&str]) -> Options {
        let kept = self.0.iter().filter(|option| !without.contains(&option.name.as_str()));
        Options(kept.map(|option| (option.name.clone(), option.value.clone())).collect())
    }

    /// Places by name.
    pub fn positions(&self) -> BTreeMap<String, Option<Position>> {
        self.0.iter().map(|option| (option.name.clone(), option.position)).collect()
    }
}

/// `CREATE [OR REPLACE] MODEL [IF NOT EXISTS] name [TRANSFORM (…)] OPTIONS (…) AS query`.
#[derive(Debug, Clone)]
pub struct CreateModel {
    /// Its name.
    pub name: Name,
    /// Adds a version to an existing model.
    pub or_replace: bool,
    /// No error, and nothing done, when it exists.
    pub if_not_exists: bool,
    /// `TRANSFORM (…)`.
    pub transform: Option<Transform>,
    /// `OPTIONS (…)`.
    pub options: ModelOptions,
    /// The training rows.
    pub query: Box<Query>,
    /// The query as it was written, variables replaced.
    pub query_text: String,
}

/// `TRANSFORM (select list)`.
#[derive(Debug, Clone)]
pub struct Transform {
    /// The select list.
    pub items: Vec<SelectItem>,
    /// As it was written, variables replaced.
    pub text: String,
    /// Where the word stands.
    pub position: Option<Position>,
}

/// `ALTER MODEL [IF EXISTS] name …`.
#[derive(Debug, Clone)]
pub struct AlterModel {
    /// Which.
    pub name: Name,
    /// No error when it does not exist.
    pub if_exists: bool,
    /// What changes.
    pub change: ModelChange,
}

/// What `ALTER MODEL` changes.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelChange {
    /// `SET ALIAS alias = VERSION n`.
    SetAlias {
        /// Lower-case unless quoted.
        alias: String,
        /// What it stands for from now on.
        version: u64,
        /// Where the alias stands.
        position: Option<Position>,
    },
    /// `DROP ALIAS alias`.
    DropAlias {
        /// Lower-case unless quoted.
        alias: String,
        /// Where the alias stands.
        position: Option<Position>,
    },
    /// `SET OPTIONS (…)`.
    SetOptions(ModelOptions),
}

/// `DROP MODEL [IF EXISTS] name [VERSION n]`.
#[derive(Debug, Clone)]
pub struct DropModel {
    /// Which.
    pub name: Name,
    /// No error when it does not exist.
    pub if_exists: bool,
    /// This version only.
    pub version: Option<u64>,
}

/// `EXPORT MODEL model OPTIONS (uri = '…', format = '…')`.
#[derive(Debug, Clone)]
pub struct ExportModel {
    /// Which, and which version.
    pub model: ModelName,
    /// `OPTIONS (…)`.
    pub options: ModelOptions,
}
