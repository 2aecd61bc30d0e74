//! A write between its plan and its commit.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::physical_plan::ExecutionPlan;

use super::{WriteOutcome, WriteRequest};
use crate::error::{Error, Result};
use crate::warehouse::Warehouse;

/// A write that has been planned and not yet committed. Nothing of it is visible in the table.
#[derive(Debug)]
pub struct PendingWrite {
    request: WriteRequest,
    target: SchemaRef,
    already_exists: bool,
}

impl PendingWrite {
    /// True when `CreateIfNotExists` met an existing table: there is nothing to run; `commit` reports the existing version.
    pub fn already_exists(&self) -> bool {
        self.already_exists
    }

    /// The schema that the input of [`write_plan`](Self::write_plan) must have: the caller casts the query's result to it, by position.
    pub fn target_schema(&self) -> SchemaRef {
        Arc::clone(&self.target)
    }

    /// The operator that writes `child`'s partitions, each on its own, and emits one row per file.
    pub fn write_plan(&self, child: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        Err(Error::Unsupported { what: child.name().to_string(), table: self.request.name.to_string() })
    }

    /// Makes the files visible in one transaction. `files` are the rows that the write plan emitted; none is a valid commit.
    pub async fn commit(self, files: Vec<RecordBatch>) -> Result<WriteOutcome> {
        Err(Error::Unsupported { what: format!("commit of {} batches", files.len()), table: self.request.name.to_string() })
    }

    /// Gives the write up and removes its files as far as possible. The table keeps its version.
    pub async fn abort(self) {}
}

impl Warehouse {
    /// Starts a write: checks the request against the table and fixes what the query has to produce. Nothing is written yet.
    pub async fn begin_write(&self, request: WriteRequest) -> Result<PendingWrite> {
        Err(Error::Unsupported { what: "writing".into(), table: request.name.to_string() })
    }
}
