//! The rows of a finished job, fetched from the executors that hold them while they are read.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::JobId;
use ballista_core::error::BallistaError;
use ballista_core::execution_plans::ShuffleReaderExec;
use ballista_core::serde::scheduler::PartitionLocation;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use datafusion::prelude::SessionContext;
use futures::StreamExt as _;
use orrery_engine::{Blame, Error, Result};

use crate::embed::Ballista;
use crate::executors::Executors;

/// How long rows are waited for before it is looked whether who holds them is still there.
const LIVENESS_CHECKED_EVERY: Duration = Duration::from_secs(1);
/// A reader takes files of its own process from this folder; the coordinator has none.
const NOT_HERE: &str = "/dev/null/no-shuffle-files-here";

/// A job whose rows lie on the executors.
pub(super) struct Finished {
    pub schema: SchemaRef,
    /// Where the parts of each output partition are, in the order of partitions.
    pub partitions: Vec<Vec<PartitionLocation>>,
    /// Who is alive.
    pub executors: Arc<Executors>,
    pub kept: Kept,
}

/// Removes a job's files from the executors when nobody reads them any more.
pub(super) struct Kept {
    pub ballista: Ballista,
    pub job: JobId,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if tokio::runtime::Handle::try_current().is_ok() {
            self.ballista.state.executor_manager.clean_up_job_data(self.job.clone());
        }
    }
}

/// All rows, partition after partition, so that an ordered result stays ordered. Partitions are opened one at a time: what is not read yet stays on disk.
/// Rows of an executor that is given up meanwhile are lost, even if it only hangs and its connection stays open.
pub(super) fn stream(finished: Finished, session: &SessionContext) -> Result<SendableRecordBatchStream> {
    let Finished { schema, partitions, executors, kept } = finished;
    let count = partitions.len();
    let holders = partitions.iter().map(|parts| parts.iter().map(|part| part.executor_meta.id.clone()).collect()).collect();
    let reader = ShuffleReaderExec::try_new(0, partitions, Arc::clone(&schema), Partitioning::UnknownPartitioning(count))?;
    let reader = Arc::new(reader.with_work_dir(NOT_HERE.to_string()));
    let fetch = Fetch { reader, context: session.task_ctx(), holders, executors, next: 0, open: None, _kept: kept };
    let rows = futures::stream::try_unfold(fetch, |mut fetch| async move {
        let batch = fetch.next().await.map_err(|error| DataFusionError::External(Box::new(lost(error))))?;
        Ok(batch.map(|batch| (batch, fetch)))
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
}

/// The reading of a job's rows.
struct Fetch {
    reader: Arc<ShuffleReaderExec>,
    context: Arc<TaskContext>,
    /// The executors that hold each partition.
    holders: Vec<HashSet<String>>,
    executors: Arc<Executors>,
    /// The partition to open next.
    next: usize,
    open: Option<SendableRecordBatchStream>,
    /// Held until the last row is read.
    _kept: Kept,
}

impl Fetch {
    async fn next(&mut self) -> datafusion::common::Result<Option<RecordBatch>> {
        loop {
            let Some(open) = &mut self.open else {
                if self.next == self.holders.len() {
                    return Ok(None);
                }
                self.open = Some(self.reader.execute(self.next, Arc::clone(&self.context))?);
                self.next += 1;
                continue;
            };
            let held = &self.holders[self.next - 1];
            let fetched = tokio::time::timeout(LIVENESS_CHECKED_EVERY, open.next()).await;
            match fetched {
                Ok(Some(batch)) => return batch.map(Some),
                Ok(None) => self.open = None,
                Err(_) => {
                    if let Some(dead) = held.iter().find(|id| !self.executors.is_alive(id)) {
                        let gone = BallistaError::GrpcConnectionError(format!("executor {dead} is gone"));
                        return Err(gone.into_datafusion());
                    }
                }
            }
        }
    }
}

/// Rows that cannot be fetched are gone with their executor.
pub(super) fn lost(error: DataFusionError) -> Error {
    let is_transport = |error: &BallistaError| {
        matches!(
            error,
            BallistaError::FetchFailed(..)
                | BallistaError::GrpcConnectionError(_)
                | BallistaError::GrpcActionError(_)
                | BallistaError::GrpcError(_)
                | BallistaError::TonicError(_)
        )
    };
    match error.find_root() {
        DataFusionError::External(inner) if inner.downcast_ref::<BallistaError>().is_some_and(is_transport) => {
            Error::new(Blame::Cluster, format!("rows were lost with the executor that held them: {inner}")).hint("run the statement again")
        }
        _ => error.into(),
    }
}
