//! The first pass in several processes: `KeyHashesExec` makes 64 bits of every key, and, after a shuffle by those, `RepeatedHashesExec` finds the ones that
//! occur more than once.
//!
//! ```text
//! RepeatedHashesExec                   hash, rows: every repeated hash with 0, then the hash 0 with the partition's number of rows
//!   RepartitionExec: Hash([hash])
//!     KeyHashesExec                    hash
//!       <the key columns>
//! ```

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err, resources_datafusion_err};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties};
use futures::{StreamExt as _, TryStreamExt as _};

use super::find::{Buckets, hash_keys};
use crate::operators::one_child::one_child;

static HASHES: LazyLock<SchemaRef> = LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("hash", DataType::UInt64, false)])));

static FOUND: LazyLock<SchemaRef> = LazyLock::new(|| {
    let field = |name: &str| Field::new(name, DataType::UInt64, false);
    Arc::new(Schema::new(vec![field("hash"), field("rows")]))
});

/// Which of the two operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Hash,
    Find,
}

/// One of the two operators of the module documentation.
#[derive(Debug)]
pub(crate) struct KeyHashesExec {
    input: Arc<dyn ExecutionPlan>,
    step: Step,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl KeyHashesExec {
    /// 64 bits of each row of `input`.
    pub fn hash(input: Arc<dyn ExecutionPlan>) -> Self {
        Self::new(input, Step::Hash)
    }

    /// The hashes of `input` that occur more than once in a partition of it.
    pub fn find(input: Arc<dyn ExecutionPlan>) -> Self {
        Self::new(input, Step::Find)
    }

    fn new(input: Arc<dyn ExecutionPlan>, step: Step) -> Self {
        let (schema, emission) = match step {
            Step::Hash => (Arc::clone(&HASHES), EmissionType::Incremental),
            Step::Find => (Arc::clone(&FOUND), EmissionType::Final),
        };
        let partitions = Partitioning::UnknownPartitioning(input.output_partitioning().partition_count());
        let properties = PlanProperties::new(EquivalenceProperties::new(schema), partitions, emission, Boundedness::Bounded);
        Self { input, step, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for KeyHashesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for KeyHashesExec {
    fn name(&self) -> &'static str {
        match self.step {
            Step::Hash => "KeyHashesExec",
            Step::Find => "RepeatedHashesExec",
        }
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    one_child!(self, input => Self::new(input, self.step));

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let input = self.input.execute(partition, Arc::clone(&context))?;
        if self.step == Step::Hash {
            let rows = input.map(move |batch| {
                let batch = batch?;
                let _timer = baseline.elapsed_compute().timer();
                let mut hashes = Vec::new();
                hash_keys(batch.columns(), batch.num_rows(), &mut hashes)?;
                let column: ArrayRef = Arc::new(UInt64Array::from(hashes));
                Ok(RecordBatch::try_new(Arc::clone(&HASHES), vec![column])?.record_output(&baseline))
            });
            return Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&HASHES), rows)));
        }
        let consumer = MemoryConsumer::new(format!("RepeatedHashesExec[{partition}]"));
        let buckets = Buckets::new(consumer.register(context.memory_pool()));
        let found = futures::stream::once(async move { Ok(find(input, buckets).await?.record_output(&baseline)) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&FOUND), found)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

async fn find(mut input: SendableRecordBatchStream, mut buckets: Buckets) -> Result<RecordBatch> {
    while let Some(batch) = input.try_next().await? {
        let Some(hashes) = batch.column(0).as_any().downcast_ref::<UInt64Array>() else {
            return internal_err!("RepeatedHashesExec: its input gives no hashes");
        };
        if !buckets.add(hashes.values()) {
            return Err(resources_datafusion_err!("no memory for 64 bits per row while looking for repeated keys"));
        }
    }
    let rows = buckets.rows() as u64;
    let mut hashes = buckets.repeated().await;
    let mut counts = vec![0; hashes.len()];
    hashes.push(0);
    counts.push(rows);
    Ok(RecordBatch::try_new(Arc::clone(&FOUND), vec![Arc::new(UInt64Array::from(hashes)), Arc::new(UInt64Array::from(counts))])?)
}

pub(crate) mod codec {
    //! Nothing but the name has to travel.

    use super::{Arc, ExecutionPlan, KeyHashesExec, Result, Step, internal_err};

    /// An empty payload for the operator of that name.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>, name: &str) -> Option<Vec<u8>> {
        plan.downcast_ref::<KeyHashesExec>().filter(|found| found.name() == name).map(|_| Vec::new())
    }

    /// The first operator.
    pub(crate) fn decode_hash(inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        decode(inputs, Step::Hash)
    }

    /// The second one.
    pub(crate) fn decode_find(inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        decode(inputs, Step::Find)
    }

    fn decode(inputs: &[Arc<dyn ExecutionPlan>], step: Step) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = inputs else { return internal_err!("an operator over hashes has one input") };
        Ok(Arc::new(KeyHashesExec::new(Arc::clone(input), step)))
    }
}
