//! Names of things in the warehouse. A name becomes a folder on an object store, so what cannot be a folder there is refused, never rewritten.

use std::fmt;

use crate::error::{Error, Result};

/// The full name of a table or view.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// First level, such as `dev`.
    pub catalog: String,
    /// Second level, such as `silver`.
    pub schema: String,
    /// Third level, such as `events`.
    pub table: String,
}

impl TableName {
    /// Joins three levels; nothing is checked until the name is used.
    pub fn new(catalog: impl Into<String>, schema: impl Into<String>, table: impl Into<String>) -> Self {
        Self { catalog: catalog.into(), schema: schema.into(), table: table.into() }
    }

    /// Refuses a name of which any level cannot be a folder.
    pub(crate) fn check(&self) -> Result<()> {
        check_identifier("catalog", &self.catalog)?;
        check_identifier("schema", &self.schema)?;
        check_identifier("table", &self.table)
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.catalog, self.schema, self.table)
    }
}

/// Longest name in bytes: file systems allow 255 per folder, and object stores 1024 for a whole path.
const MAX_NAME_BYTES: usize = 200;

/// Refuses names that cannot be a folder or that would collide with the warehouse's own objects. `what` is "catalog", "schema" or "table".
pub(crate) fn check_identifier(what: &str, name: &str) -> Result<()> {
    let refuse = |reason: &str| Err(Error::Invalid(format!("{name:?} cannot be the name of a {what}: {reason}")));
    if name.is_empty() {
        return refuse("it is empty");
    }
    if name.len() > MAX_NAME_BYTES {
        return refuse(&format!("it is longer than {MAX_NAME_BYTES} bytes"));
    }
    if name.starts_with('_') || name.starts_with('.') {
        return refuse("a name must not start with '_' or '.'");
    }
    if name.ends_with('.') || name.ends_with(' ') || name.starts_with(' ') {
        return refuse("a name must not start with a space, nor end with a space or '.'");
    }
    if let Some(bad) = name.chars().find(|c| c.is_control() || "/\\:*?\"<>|#%{}^~[]`".contains(*c)) {
        return refuse(&format!("the character {bad:?} is not allowed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_be_a_folder() {
        for bad in
            ["", "_views", ".hidden", "a/b", "a\\b", "tab\there", "50%", "a:b", "x#1", "..", "trailing.", " padded", &"n".repeat(201)]
        {
            assert!(matches!(check_identifier("table", bad), Err(Error::Invalid(_))), "{bad:?}");
        }
    }

    #[test]
    fn accepts_ordinary_and_foreign_names() {
        for good in ["events", "fact_events", "größe", "日本", "two words", "a-b", "2024", "a.b"] {
            check_identifier("table", good).unwrap();
        }
    }
}
