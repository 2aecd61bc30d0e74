//! Privileges, and on which kinds of objects each makes sense.

use std::fmt;

use super::Kind;

/// What a principal may be allowed to do with an object and with all that lies below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Privilege {
    UseCatalog,
    UseSchema,
    CreateCatalog,
    CreateSchema,
    CreateTable,
    CreateModel,
    CreateFunction,
    Select,
    Modify,
    Execute,
    ReadFiles,
    WriteFiles,
    /// Grant, change, drop and give away.
    Manage,
    /// Everything that makes sense on the object but `MANAGE`.
    All,
}

impl Privilege {
    /// Every privilege.
    pub const ALL: [Privilege; 14] = [
        Self::UseCatalog,
        Self::UseSchema,
        Self::CreateCatalog,
        Self::CreateSchema,
        Self::CreateTable,
        Self::CreateModel,
        Self::CreateFunction,
        Self::Select,
        Self::Modify,
        Self::Execute,
        Self::ReadFiles,
        Self::WriteFiles,
        Self::Manage,
        Self::All,
    ];

    /// As `GRANT` writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::UseCatalog => "USE CATALOG",
            Self::UseSchema => "USE SCHEMA",
            Self::CreateCatalog => "CREATE CATALOG",
            Self::CreateSchema => "CREATE SCHEMA",
            Self::CreateTable => "CREATE TABLE",
            Self::CreateModel => "CREATE MODEL",
            Self::CreateFunction => "CREATE FUNCTION",
            Self::Select => "SELECT",
            Self::Modify => "MODIFY",
            Self::Execute => "EXECUTE",
            Self::ReadFiles => "READ FILES",
            Self::WriteFiles => "WRITE FILES",
            Self::Manage => "MANAGE",
            Self::All => "ALL PRIVILEGES",
        }
    }

    /// The privilege of an upper-case name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|privilege| privilege.name() == name)
    }

    /// Whether it means anything on an object of this kind, or on what lies below it.
    pub fn applies_to(self, kind: Kind) -> bool {
        use Kind::{Catalog, Function, Location, Model, Schema, Server, Table};
        match self {
            Self::Manage | Self::All => true,
            Self::CreateCatalog => kind == Server,
            Self::UseCatalog | Self::CreateSchema => matches!(kind, Server | Catalog),
            Self::UseSchema | Self::CreateTable | Self::CreateModel | Self::CreateFunction => matches!(kind, Server | Catalog | Schema),
            Self::Select | Self::Modify => matches!(kind, Server | Catalog | Schema | Table),
            Self::Execute => matches!(kind, Server | Catalog | Schema | Model | Function),
            Self::ReadFiles | Self::WriteFiles => matches!(kind, Server | Location),
        }
    }

    /// Whether the owner of what the object lies in has it too. Rows and files are read and written only by whom they were granted to.
    pub(super) fn comes_with_a_parent(self) -> bool {
        !matches!(self, Self::Select | Self::Modify | Self::Execute | Self::ReadFiles | Self::WriteFiles | Self::All)
    }

    /// Names of the privileges that mean something on a kind, for messages.
    pub(crate) fn names_for(kind: Kind) -> String {
        Self::ALL.into_iter().filter(|p| p.applies_to(kind)).map(Self::name).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
