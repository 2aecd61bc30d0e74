//! How a model is named in a statement, and how one version of it travels to whoever scores with it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which version of a model a statement means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Selector {
    /// `m`: the newest version.
    #[default]
    Latest,
    /// `m@production`.
    Alias(String),
    /// `m VERSION AS OF 3`, `m VERSION 3`.
    Version(u64),
}

/// One version of a model, by reference: plans carry this and never the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModelReference {
    /// `catalog.schema.model`.
    pub name: String,
    /// From 1.
    pub version: u64,
    /// Where its file lies: the URL of an object.
    pub url: String,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub checksum: String,
}

impl fmt::Display for ModelReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {}", self.name, self.version)
    }
}
