//! What the engine tells of a run, written down as the run's events.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use orrery_engine::script::{Finished, Located, Observer};
use orrery_engine::session::Progress;
use orrery_engine::{Blame, Error, Result};
use orrery_proto::v1::run_event::Event;
use orrery_proto::v1::{PlanReady, ResultBatch, StatementStarted};

use super::messages;
use super::run::Run;
use crate::backend::Cluster;

/// Rows of one message; more would not fit what clients accept.
const ROWS_PER_MESSAGE: usize = 8192;

/// See the module documentation.
pub(crate) struct Recorder {
    run: Arc<Run>,
    cluster: Cluster,
    number: u32,
    schema: Option<SchemaRef>,
    result_limit_bytes: u64,
}

impl Recorder {
    pub fn new(run: Arc<Run>, cluster: Cluster, result_limit_bytes: u64) -> Self {
        Self { run, cluster, number: 0, schema: None, result_limit_bytes }
    }

    /// The statement that began last.
    pub fn number(&self) -> u32 {
        self.number
    }

    fn tell(&self, event: Event) -> Result<()> {
        self.run.tell(event).map_err(|error| Error::new(Blame::Storage, format!("the journal of runs cannot be written: {error}")))
    }

    fn rows(&self, schema: &SchemaRef, batch: Option<&RecordBatch>) -> Result<()> {
        if self.run.bytes() > self.result_limit_bytes {
            let limit = bytesize::ByteSize(self.result_limit_bytes);
            return Err(Error::new(
                Blame::Resources,
                format!("the results of this run are larger than {limit}, which the scheduler keeps"),
            )
            .hint("write large results to a table, or LIMIT them"));
        }
        self.tell(Event::Batch(ResultBatch { number: self.number, ipc: messages::ipc(schema, batch)? }))
    }
}

impl Observer for Recorder {
    fn started(&mut self, statement: &Located, kind: &'static str, _total: usize) {
        self.number = messages::number(statement.number);
        self.schema = None;
        let started = StatementStarted { statement: Some(messages::statement(statement, kind)) };
        if let Err(error) = self.tell(Event::StatementStarted(started)) {
            tracing::error!(run = %self.run.id, %error, "an event is lost");
        }
    }

    fn planned(&mut self, plan: &Arc<dyn ExecutionPlan>) {
        let plan = DisplayableExecutionPlan::new(plan.as_ref()).indent(false).to_string();
        if let Err(error) = self.tell(Event::Plan(PlanReady { number: self.number, plan })) {
            tracing::error!(run = %self.run.id, %error, "an event is lost");
        }
    }

    fn progress(&mut self, progress: &Progress) {
        self.run.tell_progress(messages::progress(self.number, progress));
    }

    fn schema(&mut self, schema: &SchemaRef) -> Result<()> {
        self.schema = Some(Arc::clone(schema));
        self.rows(schema, None)
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let schema = self.schema.clone().unwrap_or_else(|| batch.schema());
        for start in (0..batch.num_rows()).step_by(ROWS_PER_MESSAGE) {
            let rows = ROWS_PER_MESSAGE.min(batch.num_rows() - start);
            self.rows(&schema, Some(&batch.slice(start, rows)))?;
        }
        Ok(())
    }

    fn finished(&mut self, _statement: &Located, finished: &Finished) -> Result<()> {
        self.tell(Event::StatementFinished(messages::finished(self.number, finished, self.cluster.take_shares())))
    }
}
