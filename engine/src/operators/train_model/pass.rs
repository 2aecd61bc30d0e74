//! `TrainingPassExec`: one pass of a distributed training, each partition over the rows of its own files.
//!
//! ```text
//! TrainingPassExec: kmeans, layout 0      rows of a payload: a partial result for each block
//!   DataSourceExec: file_groups={…}       or a plan that computes columns and filters rows above one
//! ```
//!
//! The first pass of a task reads the rows into blocks, which the process keeps for the passes that follow ([`blocks`]). A task that is tried again
//! elsewhere reads the same files and gives the same partial results. Blocks that do not fit are made, run and dropped one after the other in every pass.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, Partitioning, PlanProperties};
use futures::{StreamExt as _, TryStreamExt as _};
use orrery_models::{Block, Collector, Trainer};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::columns::TrainingColumns;
use super::gather::is_granted;
use super::one_partition::OnePartition;
use super::trainer::{self, StopOnly, failed, on_own_thread};
use super::{one_partition, payload};
use crate::models::blocks::{self, Claim, Held, Key};
use crate::models::training_spec::TrainingSpec;
use crate::operators::one_child::one_child;
use crate::{Blame, Error};

/// Batches after which other tasks get a turn.
const BATCHES_PER_TURN: usize = 16;

/// What a pass is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// The request itself.
    Inline(Arc<Vec<u8>>),
    /// The URL of an object that holds it.
    At(String),
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct TrainingPassExec {
    input: Arc<dyn ExecutionPlan>,
    spec: Arc<TrainingSpec>,
    rows: LaidOut,
    request: Request,
    properties: Arc<PlanProperties>,
}

/// Which rows a pass is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LaidOut {
    /// Place among the trainer's layouts.
    pub layout: usize,
    /// Whether rows of equal keys have to be in one block; then they lie in files of the same partition value.
    pub is_keyed: bool,
}

impl TrainingPassExec {
    /// A pass over the rows of `input`, which lie as the trainer's layout of that place asks.
    pub fn new(input: Arc<dyn ExecutionPlan>, spec: Arc<TrainingSpec>, rows: LaidOut, request: Request) -> Self {
        let partitions = Partitioning::UnknownPartitioning(input.output_partitioning().partition_count());
        let properties =
            PlanProperties::new(EquivalenceProperties::new(payload::schema()), partitions, EmissionType::Final, Boundedness::Bounded);
        Self { input, spec, rows, request, properties: Arc::new(properties) }
    }
}

/// What tells the passes of a training over the same rows from all others, if a plan is such a pass: partitions of the same number read the same rows.
pub fn rows_of_pass(plan: &Arc<dyn ExecutionPlan>) -> Option<String> {
    let pass = plan.downcast_ref::<TrainingPassExec>()?;
    Some(format!("{} {}", pass.spec.run_id, pass.rows.layout))
}

impl DisplayAs for TrainingPassExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrainingPassExec: {}, layout {}", self.spec.model_type, self.rows.layout)
    }
}

impl ExecutionPlan for TrainingPassExec {
    fn name(&self) -> &'static str {
        "TrainingPassExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    one_child!(self, input => Self::new(input, Arc::clone(&self.spec), self.rows, self.request.clone()));

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let OnePartition { parts, name } = one_partition::only(&self.input, partition, self.rows.is_keyed)?;
        let pass = Pass {
            key: Key { run_id: self.spec.run_id.clone(), layout: self.rows.layout, rows: name },
            parts,
            is_divisible: !self.rows.is_keyed,
            spec: Arc::clone(&self.spec),
            request: self.request.clone(),
            context,
            cancelled: CancellationToken::new(),
        };
        let rows = futures::stream::once(pass.run()).map_ok(|batches| futures::stream::iter(batches).map(Ok)).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(payload::schema(), rows)))
    }
}

/// One partition of a pass.
struct Pass {
    key: Key,
    parts: Vec<(Arc<dyn ExecutionPlan>, usize)>,
    /// Whether a block may end anywhere.
    is_divisible: bool,
    spec: Arc<TrainingSpec>,
    request: Request,
    context: Arc<TaskContext>,
    cancelled: CancellationToken,
}

impl Pass {
    async fn run(self) -> Result<Vec<RecordBatch>> {
        // Dropped with this future: what computes on another thread stops too.
        let _stop = self.cancelled.clone().drop_guard();
        let _turn = blocks::turn().await;
        let request: Arc<Vec<u8>> = match &self.request {
            Request::Inline(request) => Arc::clone(request),
            Request::At(url) => trainer::fetch(url, &self.context.runtime_env()).await?.into(),
        };
        let partials = match blocks::take(&self.key) {
            Some(held) => self.over_kept(held, &request).await?,
            None => self.over_files(&request).await?,
        };
        blocks::forget_later();
        let rows = partials.iter().map(|partial| payload::rows(&[partial])).collect::<Result<Vec<_>>>()?;
        Ok(rows.into_iter().flatten().collect())
    }

    async fn over_kept(&self, held: Held, request: &Arc<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        let Held { blocks, claims } = held;
        let (blocks, partials) = self.over_blocks(blocks, request).await?;
        blocks::put(self.key.clone(), Held { blocks, claims });
        Ok(partials)
    }

    async fn over_blocks(&self, mut blocks: Vec<Box<dyn Block>>, request: &Arc<Vec<u8>>) -> Result<(Vec<Box<dyn Block>>, Vec<Vec<u8>>)> {
        let (request, observer) = (Arc::clone(request), StopOnly(self.cancelled.clone()));
        on_own_thread(move || {
            let partials = blocks.iter_mut().map(|block| block.pass(&request, &observer)).collect::<Result<_, _>>().map_err(failed)?;
            Ok((blocks, partials))
        })
        .await
    }

    async fn trainer(&self) -> Result<Arc<dyn Trainer>> {
        if let Some(trainer) = blocks::trainer(&self.spec.run_id) {
            return Ok(trainer);
        }
        let trainer = trainer::trainer(&self.spec, &self.context.runtime_env()).await?;
        blocks::put_trainer(&self.spec.run_id, Arc::clone(&trainer));
        Ok(trainer)
    }

    async fn over_files(&self, request: &Arc<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        let mut building = Building::new(self, request).await?;
        let columns = TrainingColumns::new(&self.spec.columns);
        let mut batches = 0_usize;
        for (part, partition) in &self.parts {
            let mut rows = part.execute(*partition, Arc::clone(&self.context))?;
            while let Some(batch) = rows.next().await {
                building.add(&columns.of(&batch?)?).await?;
                batches += 1;
                if batches.is_multiple_of(BATCHES_PER_TURN) {
                    tokio::task::yield_now().await;
                }
            }
            building.end_chunk().await?;
        }
        building.finish().await
    }
}

/// The blocks of a partition on their way: chunk after chunk is run as soon as it is full, and kept as long as all of them are.
struct Building<'a> {
    pass: &'a Pass,
    request: &'a Arc<Vec<u8>>,
    trainer: Arc<dyn Trainer>,
    pool: Arc<dyn MemoryPool>,
    chunk_bytes: usize,
    collector: Option<(Box<dyn Collector>, MemoryReservation)>,
    /// What will be kept; `None` once something did not fit.
    kept: Option<Held>,
    partials: Vec<Vec<u8>>,
}

impl<'a> Building<'a> {
    async fn new(pass: &'a Pass, request: &'a Arc<Vec<u8>>) -> Result<Self> {
        let trainer = pass.trainer().await?;
        let pool = Arc::clone(pass.context.memory_pool());
        Ok(Self {
            pass,
            request,
            chunk_bytes: blocks::chunk_bytes(&pool),
            pool,
            trainer,
            collector: None,
            kept: Some(Held { blocks: Vec::new(), claims: Vec::new() }),
            partials: Vec::new(),
        })
    }

    async fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let (collector, memory) = self.collector.get_or_insert_with(|| {
            let memory = MemoryConsumer::new("TrainingPassExec").register(&self.pool);
            (self.trainer.collector(), memory)
        });
        collector.push(batch).map_err(failed)?;
        let bytes = collector.bytes();
        let mut is_full = false;
        if bytes > memory.size() && !is_granted(memory.try_resize(bytes))? {
            // These rows are here already, and nothing of the same training can make room for them.
            self.kept = None;
            let (_, memory) = match &mut self.collector {
                Some(collected) => collected,
                None => return internal_err!("rows are gone"),
            };
            memory.resize(bytes);
            is_full = true;
        }
        if self.pass.is_divisible && (is_full || bytes >= self.chunk_bytes) {
            self.end_chunk().await?;
        }
        Ok(())
    }

    async fn end_chunk(&mut self) -> Result<()> {
        let Some((collector, memory)) = self.collector.take() else { return Ok(()) };
        let (trainer, layout) = (Arc::clone(&self.trainer), self.pass.key.layout);
        let made = on_own_thread(move || trainer.blocks(&[layout], vec![collector], 1).map_err(failed)).await?;
        let blocks: Vec<Box<dyn Block>> = made.into_iter().flatten().collect();
        let (blocks, partials) = self.pass.over_blocks(blocks, self.request).await?;
        self.partials.extend(partials);
        self.keep(blocks, memory);
        Ok(())
    }

    fn keep(&mut self, blocks: Vec<Box<dyn Block>>, memory: MemoryReservation) {
        let Some(mut held) = self.kept.take() else { return };
        let bytes = blocks.iter().map(|block| block.bytes()).sum();
        memory.resize(bytes);
        let claimed: Option<Claim> = blocks::claim(&self.pass.key.run_id, bytes, memory, &self.pool);
        if let Some(claim) = claimed {
            held.blocks.extend(blocks);
            held.claims.push(claim);
            self.kept = Some(held);
        }
    }

    async fn finish(mut self) -> Result<Vec<Vec<u8>>> {
        if self.collector.is_none() && self.partials.is_empty() {
            // No rows: the trainer says what that means.
            let memory = MemoryConsumer::new("TrainingPassExec").register(&self.pool);
            self.collector = Some((self.trainer.collector(), memory));
        }
        self.end_chunk().await?;
        if let Some(held) = self.kept.take() {
            blocks::put(self.pass.key.clone(), held);
        }
        Ok(self.partials)
    }
}

pub(crate) mod codec {
    //! What the training needs, the layout and the request or where it is, as postcard writes them.

    use super::{
        Arc, Blame, DataFusionError, Error, ExecutionPlan, LaidOut, Request, Result, TrainingPassExec, TrainingSpec, internal_err,
    };

    /// The operator's payload; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Vec<u8>>> {
        let Some(pass) = plan.downcast_ref::<TrainingPassExec>() else { return Ok(None) };
        let (inline, url): (&[u8], Option<&str>) = match &pass.request {
            Request::Inline(request) => (request, None),
            Request::At(url) => (&[], Some(url)),
        };
        postcard::to_allocvec(&(pass.spec.as_ref(), pass.rows, url, inline)).map(Some).map_err(unreadable)
    }

    /// The operator of a payload.
    pub(crate) fn decode(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = inputs else { return internal_err!("TrainingPassExec has one input") };
        let (spec, rows, url, inline): (TrainingSpec, LaidOut, Option<String>, Vec<u8>) =
            postcard::from_bytes(bytes).map_err(unreadable)?;
        let request = url.map_or_else(|| Request::Inline(Arc::new(inline)), Request::At);
        Ok(Arc::new(TrainingPassExec::new(Arc::clone(input), Arc::new(spec), rows, request)))
    }

    fn unreadable(error: postcard::Error) -> DataFusionError {
        Error::new(Blame::Bug, format!("a training pass cannot be sent: {error}")).into()
    }
}
