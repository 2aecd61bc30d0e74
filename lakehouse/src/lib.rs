//! The lakehouse: Delta Lake tables under three-level names on any object store.
//!
//! The way of the data through this crate:
//!
//! * [`Warehouse`] turns names into locations (`<root>/<catalog>/<schema>/<table>`), and knows which catalogs, schemas, tables and views exist.
//! * [`Table`] is one snapshot of one table; its [`provider`](Table::provider) plans a scan as plain Parquet file scans, so that it runs on any DataFusion executor.
//! * [`Warehouse::begin_write`] starts a write. Its [`plan`](PendingWrite::write_plan) writes Parquet files and emits one row per file; nothing is visible
//!   before [`PendingWrite::commit`] puts all of them into the table in one transaction.

mod error;
mod log;
mod names;
mod partition_value;
mod provider;
mod schema;
mod stores;
mod table;
mod view;
mod warehouse;
mod write;

pub use error::{Error, Result};
pub use names::TableName;
pub use provider::{FILES_BY_LOG, RuledOut, ScanOptions, TABLE_LABEL, is_same_snapshot, snapshot_of};
pub use schema::{NOT_NULL, delta_schema};
pub use stores::Stores;
pub use table::Table;
pub use view::ViewDefinition;
pub use warehouse::{ModelFileEntry, Relation, RelationEntry, RelationKind, Vacuum, VacuumedFile, Warehouse};
pub use write::codec as write_codec;
pub use write::{PendingWrite, WriteMode, WriteOutcome, WriteRequest};
