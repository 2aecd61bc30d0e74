//! `TrainModelExec`: trains a model on all rows of its input in one task, on all of the task's threads.
//!
//! ```text
//! TrainModelExec: kmeans      rows of a payload: the model, or that the rows do not fit
//!   <training query>          any number of partitions, all run within the task
//! ```
//!
//! Where the rows do not fit the memory of a task they stay in files, and [`pass::TrainingPassExec`] runs each pass over them as a plan of its own.

mod columns;
mod gather;
pub(crate) mod one_partition;
pub(crate) mod pass;
pub(crate) mod payload;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod trainer;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStoreExt as _;
use orrery_models::{Iteration, ModelFile, Trained, Trainer, Trial, train_in_memory};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::models::live::{self, LiveTraining};
use crate::models::training_spec::TrainingSpec;
use crate::operators::one_child::one_child;
use crate::{Blame, Error};
use columns::TrainingColumns;
use gather::{Gathered, Rows};
pub use pass::rows_of_pass;
use trainer::Watch;

/// How often a training says how far it is to those in other processes.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// See the module documentation.
#[derive(Debug)]
pub struct TrainModelExec {
    input: Arc<dyn ExecutionPlan>,
    told: Arc<Instructions>,
    properties: Arc<PlanProperties>,
}

/// What the task is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Instructions {
    spec: TrainingSpec,
    /// Threads that training may use.
    threads: usize,
    /// The object in which the task says how far it is when its process is not the one that follows the training.
    told_at: Option<String>,
}

/// What the task's payload says; behind it come the bytes of the model's file, if there is one.
#[derive(Serialize, Deserialize)]
enum Outcome {
    Trained { rows: u64, iterations: Vec<Iteration>, metrics: BTreeMap<String, f64>, trials: Vec<Trial> },
    DoesNotFit(u64),
}

/// What training in one task led to.
#[derive(Debug)]
pub(crate) enum InOneTask {
    /// A model.
    Trained(Box<Trained>),
    /// The rows take more memory than the task was granted; one of its partitions alone had so many bytes.
    DoesNotFit(u64),
}

impl TrainModelExec {
    /// Trains on all rows of `input`, whose columns are those of `spec` in their order.
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, spec: TrainingSpec, threads: usize, told_at: Option<String>) -> Self {
        Self::told(input, Arc::new(Instructions { spec, threads: threads.max(1), told_at }))
    }

    fn told(input: Arc<dyn ExecutionPlan>, told: Arc<Instructions>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(payload::schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { input, told, properties: Arc::new(properties) }
    }

    /// Threads that training keeps busy.
    pub fn threads(&self) -> usize {
        self.told.threads
    }

    /// What the operator's rows say.
    ///
    /// # Errors
    /// Rows that are not the operator's.
    pub(crate) fn outcome(batches: &[RecordBatch]) -> Result<InOneTask, Error> {
        let bug = |what: String| Error::new(Blame::Bug, format!("the result of a training cannot be read: {what}"));
        let mut payloads = payload::payloads(batches)?;
        let (Some(bytes), true) = (payloads.pop(), payloads.is_empty()) else { return Err(bug("there is not exactly one".to_string())) };
        let (outcome, file) = postcard::take_from_bytes::<Outcome>(&bytes).map_err(|error| bug(error.to_string()))?;
        match outcome {
            Outcome::DoesNotFit(bytes) => Ok(InOneTask::DoesNotFit(bytes)),
            Outcome::Trained { rows, iterations, metrics, trials } => {
                Ok(InOneTask::Trained(Box::new(Trained { file: ModelFile::from_bytes(file)?, rows, iterations, metrics, trials })))
            }
        }
    }
}

impl DisplayAs for TrainModelExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrainModelExec: {}, threads={}", self.told.spec.model_type, self.told.threads)
    }
}

impl ExecutionPlan for TrainModelExec {
    fn name(&self) -> &'static str {
        "TrainModelExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    one_child!(self, input => Self::told(input, Arc::clone(&self.told)));

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("TrainModelExec has one partition");
        }
        let rows = train(Arc::clone(&self.input), Arc::clone(&self.told), context);
        let rows = futures::stream::once(rows).map_ok(|batches| futures::stream::iter(batches).map(Ok)).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(payload::schema(), rows)))
    }
}

/// Everything the task does. Dropping the future stops the training within a moment.
async fn train(input: Arc<dyn ExecutionPlan>, told: Arc<Instructions>, context: Arc<TaskContext>) -> Result<Vec<RecordBatch>> {
    let runtime = context.runtime_env();
    let trainer = trainer::trainer(&told.spec, &runtime).await?;
    let columns = TrainingColumns::new(&told.spec.columns);
    let (outcome, file) = match gather::gather(&input, &context, &columns, trainer.as_ref()).await? {
        Gathered::DoesNotFit(bytes) => (Outcome::DoesNotFit(bytes), Vec::new()),
        Gathered::Rows(rows) => {
            let cancelled = CancellationToken::new();
            let _stop = cancelled.clone().drop_guard();
            let here = live::find(&told.spec.run_id);
            let told_at = told.told_at.as_ref().filter(|_| here.is_none());
            let watch = Watch { live: here.unwrap_or_default(), cancelled };
            let live = Arc::clone(&watch.live);
            let fit = trainer::on_own_thread({
                let threads = told.threads;
                move || fit(trainer.as_ref(), rows, threads, &watch)
            });
            match told_at {
                Some(url) => tokio::select! {
                    fitted = fit => fitted?,
                    never = tell(&live, url, &context) => match never {},
                },
                None => fit.await?,
            }
        }
    };
    let outcome = postcard::to_allocvec(&outcome).map_err(|error| DataFusionError::External(Box::new(error)))?;
    payload::rows(&[&outcome, &file])
}

/// Says now and then how far a training is.
async fn tell(live: &LiveTraining, url: &str, context: &TaskContext) -> std::convert::Infallible {
    let mut before = 0;
    loop {
        tokio::time::sleep(TOLD_EVERY).await;
        let told = live.told();
        if told.iterations.len() == before {
            continue;
        }
        before = told.iterations.len();
        let written = async {
            let (store, path) = trainer::place(url, &context.runtime_env())?;
            let json = serde_json::to_vec(&told).map_err(|error| Error::new(Blame::Bug, error.to_string()))?;
            store.put(&path, json.into()).await.map_err(|error| Error::from(DataFusionError::ObjectStore(Box::new(error))))
        };
        if let Err(error) = written.await {
            tracing::debug!(%error, url, "how far a training is cannot be told");
        }
    }
}

/// What a training leads to, and the model's file.
fn fit(trainer: &dyn Trainer, rows: Rows, threads: usize, watch: &Watch) -> Result<(Outcome, Vec<u8>)> {
    let Rows { collected, reservations } = rows;
    let trained = on_threads(threads, || train_in_memory(trainer, collected, watch))?.map_err(trainer::failed)?;
    drop(reservations);
    let Trained { file, rows, iterations, metrics, trials } = trained;
    Ok((Outcome::Trained { rows, iterations, metrics, trials }, file.to_bytes().map_err(trainer::failed)?))
}

/// Runs work whose parallel loops use so many threads, and no more than there are cores.
pub(crate) fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.clamp(1, cores)).thread_name(|at| format!("training-{at}")).build();
    let pool = pool.map_err(|error| DataFusionError::from(Error::new(Blame::Resources, format!("no threads to train on: {error}"))))?;
    Ok(pool.install(work))
}

pub(crate) mod codec {
    //! What the task is told, as postcard writes it.

    use super::{Arc, DataFusionError, ExecutionPlan, Result, TrainModelExec, internal_err};

    /// The operator's payload; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Vec<u8>>> {
        let Some(train) = plan.downcast_ref::<TrainModelExec>() else { return Ok(None) };
        postcard::to_allocvec(train.told.as_ref()).map(Some).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    /// The operator of a payload.
    pub(crate) fn decode(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = inputs else { return internal_err!("TrainModelExec has one input") };
        let told = postcard::from_bytes(bytes).map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(Arc::new(TrainModelExec::told(Arc::clone(input), Arc::new(told))))
    }
}

#[cfg(test)]
mod tests;
