//! What rights are granted on: objects by kind and full name, and what each lies in.

use std::fmt;

use orrery_lakehouse::TableName;

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    /// Everything.
    Server,
    Catalog,
    Schema,
    /// Tables and views, which share their names.
    Table,
    Model,
    Function,
    /// Files below a path or URL.
    Location,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 7] = [Self::Server, Self::Catalog, Self::Schema, Self::Table, Self::Model, Self::Function, Self::Location];

    /// One upper-case word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "SERVER",
            Self::Catalog => "CATALOG",
            Self::Schema => "SCHEMA",
            Self::Table => "TABLE",
            Self::Model => "MODEL",
            Self::Function => "FUNCTION",
            Self::Location => "LOCATION",
        }
    }

    /// The kind of an upper-case name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// An object that rights can be granted on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Securable {
    /// Of which kind.
    pub kind: Kind,
    /// Full name, levels joined by dots (as in `SHOW GRANTS`), or the normalised URL of a location; empty for the server.
    pub name: String,
    /// Levels of the name; dots may be part of a level.
    levels: Vec<String>,
}

impl Securable {
    /// Everything.
    pub fn server() -> Self {
        Self { kind: Kind::Server, name: String::new(), levels: Vec::new() }
    }

    /// A catalog.
    pub fn catalog(name: &str) -> Self {
        Self::of(Kind::Catalog, vec![name.to_string()])
    }

    /// A schema.
    pub fn schema(catalog: &str, schema: &str) -> Self {
        Self::of(Kind::Schema, vec![catalog.to_string(), schema.to_string()])
    }

    /// A table or view.
    pub fn table(name: &TableName) -> Self {
        Self::third_level(Kind::Table, name)
    }

    /// A model.
    pub fn model(name: &TableName) -> Self {
        Self::third_level(Kind::Model, name)
    }

    /// A function.
    pub fn function(name: &TableName) -> Self {
        Self::third_level(Kind::Function, name)
    }

    /// Files below a normalised URL.
    pub fn location(url: &str) -> Self {
        Self { kind: Kind::Location, name: url.to_string(), levels: vec![url.to_string()] }
    }

    fn third_level(kind: Kind, name: &TableName) -> Self {
        Self::of(kind, vec![name.catalog.clone(), name.schema.clone(), name.table.clone()])
    }

    fn of(kind: Kind, levels: Vec<String>) -> Self {
        Self { kind, name: levels.join("."), levels }
    }

    /// From the levels that a table of rights keeps; `None` if they do not fit the kind.
    pub(super) fn from_levels(kind: Kind, levels: &[String]) -> Option<Self> {
        let wanted = match kind {
            Kind::Server => 0,
            Kind::Catalog | Kind::Location => 1,
            Kind::Schema => 2,
            Kind::Table | Kind::Model | Kind::Function => 3,
        };
        (levels.len() == wanted).then(|| Self { kind, name: levels.join("."), levels: levels.to_vec() })
    }

    /// The levels of its name.
    pub(crate) fn level_names(&self) -> Vec<String> {
        self.levels.clone()
    }

    /// The levels of its name.
    pub(super) fn levels(&self) -> &[String] {
        &self.levels
    }

    /// Whether it is a catalog or lies in it.
    pub(crate) fn levels_are_of(&self, catalog: &str) -> bool {
        self.kind != Kind::Location && self.levels.first().is_some_and(|first| first == catalog)
    }

    /// What it lies in directly; the server lies in nothing.
    pub(crate) fn parent(&self) -> Option<Self> {
        match (self.kind, self.levels.as_slice()) {
            (Kind::Server, _) => None,
            (Kind::Catalog | Kind::Location, _) => Some(Self::server()),
            (Kind::Schema, [catalog, ..]) => Some(Self::catalog(catalog)),
            (_, [catalog, schema, ..]) => Some(Self::schema(catalog, schema)),
            _ => None,
        }
    }

    /// Itself, then what it lies in, the server last.
    pub(crate) fn with_ancestors(&self) -> Vec<Self> {
        let mut line = vec![self.clone()];
        while let Some(parent) = line.last().and_then(Self::parent) {
            line.push(parent);
        }
        line
    }

    /// Whether it is `other` or lies in it.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self == other || self.parent().is_some_and(|parent| parent.is_within(other))
    }
}

impl fmt::Display for Securable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Server => f.write_str("SERVER"),
            Kind::Location => write!(f, "LOCATION '{}'", self.name),
            kind => write!(f, "{} {}", kind.name(), self.name),
        }
    }
}
