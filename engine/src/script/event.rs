//! What a run tells its observer.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::physical_plan::ExecutionPlan;

use super::Located;
use crate::Result;
use crate::session::Progress;

/// How a statement ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// In a few words.
    pub summary: String,
    /// Rows shown or written.
    pub rows: Option<u64>,
    /// Bytes written.
    pub bytes: Option<u64>,
    /// From start to commit or last row.
    pub elapsed: Duration,
}

/// Watches a run. Calls come in order: `started`, any number of `progress`, for a query `schema` and `batch`es, then `finished` (not after
/// a failure).
pub trait Observer: Send {
    /// A statement begins; `total` counts the statements of the whole run.
    fn started(&mut self, statement: &Located, kind: &'static str, total: usize);

    /// The plan of the statement, where it has one; before it is done.
    fn planned(&mut self, plan: &Arc<dyn ExecutionPlan>) {
        let _ = plan;
    }

    /// How far it is; about ten times a second.
    fn progress(&mut self, progress: &Progress);

    /// The columns of the rows that follow.
    ///
    /// # Errors
    /// Where the rows go cannot be written.
    fn schema(&mut self, schema: &SchemaRef) -> Result<()>;

    /// Some rows.
    ///
    /// # Errors
    /// Where the rows go cannot be written.
    fn batch(&mut self, batch: &RecordBatch) -> Result<()>;

    /// The statement is done; a query's rows are complete.
    ///
    /// # Errors
    /// Where the rows go cannot be written.
    fn finished(&mut self, statement: &Located, finished: &Finished) -> Result<()>;
}
