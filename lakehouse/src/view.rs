//! Views: a query kept under a name.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A stored query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewDefinition {
    /// The query's text.
    pub sql: String,
    /// Column names given in `CREATE VIEW v (a, b)`; empty when the query's own names are used.
    #[serde(default)]
    pub columns: Vec<String>,
    /// The text of `COMMENT`.
    #[serde(default)]
    pub comment: Option<String>,
    /// Catalog against which unqualified names in `sql` resolve.
    pub catalog: String,
    /// Schema against which unqualified names in `sql` resolve.
    pub schema: String,
    /// Who created or last replaced it; absent: the embedded engine, where nobody logs in.
    #[serde(default)]
    pub created_by: Option<String>,
    /// When the view was created or last replaced.
    pub created_at: DateTime<Utc>,
}
