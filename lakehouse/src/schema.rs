//! Which Arrow types a Delta table can hold, and what a query's schema becomes when it is stored.

use arrow::datatypes::{Schema, SchemaRef};

use crate::error::{Error, Result};

/// The schema in which Delta holds a query's result.
pub fn delta_schema(query: &Schema) -> Result<SchemaRef> {
    Err(Error::Invalid(format!("cannot store {query}")))
}
