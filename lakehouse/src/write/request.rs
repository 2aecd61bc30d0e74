//! What the caller asks of a write, and what it gets back.

use std::collections::HashMap;

use arrow::datatypes::SchemaRef;

use crate::names::TableName;

/// How a write changes the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// A new table; it is an error if the name is taken.
    Create,
    /// A new table, or a new content and schema for the existing one, whose history is kept.
    CreateOrReplace,
    /// A new table; nothing happens if it exists.
    CreateIfNotExists,
    /// Rows are added to an existing table.
    Append,
    /// All rows of an existing table are replaced; its schema stays.
    Overwrite,
}

/// One write: a query's result into one table.
#[derive(Debug, Clone)]
pub struct WriteRequest {
    /// The table.
    pub name: TableName,
    /// What happens to the table's existing content.
    pub mode: WriteMode,
    /// Schema of the query's result, as the query produces it.
    pub schema: SchemaRef,
    /// Partition columns, in order; only for the `Create…` modes (the others follow the table).
    pub partition_by: Vec<String>,
    /// The table's comment.
    pub comment: Option<String>,
    /// Comments by column name.
    pub column_comments: HashMap<String, String>,
    /// `TBLPROPERTIES`.
    pub properties: HashMap<String, String>,
    /// The statement's text, recorded in the table's history.
    pub statement: String,
    /// Whether the statement has a query, which decides how the history calls it.
    pub has_query: bool,
    /// Size in bytes at which a task starts a new file; 256 MiB when absent.
    pub target_file_size: Option<u64>,
    /// Identifies this run: when the same `run_id` was committed to the table before, nothing is committed again and the earlier outcome is returned.
    pub run_id: Option<String>,
    /// The version of the table that the rows were worked out from: the write is a conflict if the table has another by the time it is committed, even where
    /// it only adds rows.
    pub base_version: Option<u64>,
}

impl WriteRequest {
    /// A request with the given essentials and defaults for the rest.
    pub fn new(name: TableName, mode: WriteMode, schema: SchemaRef) -> Self {
        Self {
            name,
            mode,
            schema,
            partition_by: Vec::new(),
            comment: None,
            column_comments: HashMap::new(),
            properties: HashMap::new(),
            statement: String::new(),
            has_query: true,
            target_file_size: None,
            run_id: None,
            base_version: None,
        }
    }
}

/// What a committed write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOutcome {
    /// The table's version that holds the write.
    pub version: u64,
    /// Rows written.
    pub rows: u64,
    /// Bytes of the Parquet files written.
    pub bytes: u64,
    /// Number of Parquet files written.
    pub files: u64,
}
