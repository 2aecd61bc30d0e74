//! Schemas: what Arrow and Delta call the same column, and which query types a table can hold.

mod from_delta;
mod storable;
mod to_delta;

pub(crate) use from_delta::{SchemaError, TableColumns, parse_schema};
pub use storable::{NOT_NULL, delta_schema};
pub(crate) use storable::{new_table_schema, same_storage};
pub(crate) use to_delta::{contains_timestamp_ntz, schema_json};
