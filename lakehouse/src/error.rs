//! What can go wrong in the lakehouse, one variant per party to blame, so that callers can choose a hint, an exit code or a retry without reading text.

use datafusion::error::DataFusionError;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the lakehouse. The message says what happened, where, and what would be right; it never contains credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller asked for something that cannot be: a bad name, an unsupported type, mismatching columns.
    #[error("{0}")]
    Invalid(String),
    /// A catalog, schema, relation or version that does not exist.
    #[error("{0}")]
    NotFound(String),
    /// A catalog, schema or relation that exists already.
    #[error("{0}")]
    AlreadyExists(String),
    /// The table uses a Delta feature that this engine cannot honour exactly.
    #[error("table {table} uses {what}, which is not supported")]
    Unsupported {
        /// The feature, as a user would look it up.
        what: String,
        /// Full name of the table.
        table: String,
    },
    /// The table's transaction log or one of its files is not what the Delta protocol prescribes.
    #[error("table {table} is damaged: {path}: {reason}")]
    Damaged {
        /// Full name of the table.
        table: String,
        /// The file that is damaged or missing, relative to the warehouse's root.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The object store failed: no permission, no space, no connection.
    #[error("{path}: {source}")]
    Storage {
        /// The object or folder that was accessed.
        path: String,
        /// The store's own report.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another writer changed the table at the same time in a way that contradicts this write. The statement can be run again.
    #[error("{0}")]
    Conflict(String),
    /// The query engine failed.
    #[error(transparent)]
    Engine(#[from] DataFusionError),
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        match error {
            Error::Engine(inner) => inner,
            other => DataFusionError::External(Box::new(other)),
        }
    }
}

/// An error of the store or the file system at `path`.
pub(crate) fn storage_error(path: &str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Storage { path: path.to_string(), source: Box::new(source) }
}
