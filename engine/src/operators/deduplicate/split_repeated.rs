//! The second pass in several processes: `SplitRepeatedExec` keeps the rows whose key is unique, or those whose key is repeated. It carries the hashes of the
//! repeated keys, which are few.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties};
use futures::StreamExt as _;

use super::find::{Repeats, hash_keys};

/// Which rows are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Those whose key occurs once.
    Unique,
    /// The others.
    Repeated,
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct SplitRepeatedExec {
    input: Arc<dyn ExecutionPlan>,
    keep: Keep,
    /// Columns of the key.
    keys: Vec<usize>,
    hashes: Arc<Vec<u64>>,
    repeats: Arc<Repeats>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SplitRepeatedExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, keep: Keep, keys: Vec<usize>, hashes: Arc<Vec<u64>>) -> Self {
        let repeats = Arc::new(Repeats::from_hashes(&hashes));
        Self::with_repeats(input, keep, keys, hashes, repeats)
    }

    fn with_repeats(input: Arc<dyn ExecutionPlan>, keep: Keep, keys: Vec<usize>, hashes: Arc<Vec<u64>>, repeats: Arc<Repeats>) -> Self {
        let partitions = Partitioning::UnknownPartitioning(input.output_partitioning().partition_count());
        let properties =
            PlanProperties::new(EquivalenceProperties::new(input.schema()), partitions, EmissionType::Incremental, Boundedness::Bounded);
        Self { input, keep, keys, hashes, repeats, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for SplitRepeatedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.input.schema();
        let keys: Vec<&str> = self.keys.iter().map(|at| schema.field(*at).name().as_str()).collect();
        let which = if self.keep == Keep::Unique { "unique" } else { "repeated" };
        write!(f, "SplitRepeatedExec: keep={which}, keys=[{}], repeated_keys={}", keys.join(", "), self.hashes.len())
    }
}

impl ExecutionPlan for SplitRepeatedExec {
    fn name(&self) -> &'static str {
        "SplitRepeatedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(input) = children.pop().filter(|_| children.is_empty()) else {
            return internal_err!("SplitRepeatedExec has one child");
        };
        let (hashes, repeats) = (Arc::clone(&self.hashes), Arc::clone(&self.repeats));
        Ok(Arc::new(Self::with_repeats(input, self.keep, self.keys.clone(), hashes, repeats)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let (keep, keys, repeats) = (self.keep, self.keys.clone(), Arc::clone(&self.repeats));
        let mut hashes = Vec::new();
        let rows = self.input.execute(partition, context)?.filter_map(move |batch| {
            let kept = batch.and_then(|batch| {
                let _timer = baseline.elapsed_compute().timer();
                Ok(kept(batch, keep, &keys, &repeats, &mut hashes)?.record_output(&baseline))
            });
            // Nearly all batches hold no repeated row; empty ones would only be passed on.
            futures::future::ready(Some(kept).filter(|kept| !matches!(kept, Ok(batch) if batch.num_rows() == 0)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

fn kept(batch: RecordBatch, keep: Keep, keys: &[usize], repeats: &Repeats, hashes: &mut Vec<u64>) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = keys.iter().map(|at| Arc::clone(batch.column(*at))).collect();
    hash_keys(&columns, batch.num_rows(), hashes)?;
    let wanted = keep == Keep::Repeated;
    let mask = BooleanBuffer::collect_bool(hashes.len(), |row| repeats.contains(hashes[row]) == wanted);
    if mask.count_set_bits() == mask.len() {
        return Ok(batch);
    }
    let mask = BooleanArray::new(mask, None);
    debug_assert_eq!(mask.null_count(), 0);
    Ok(filter_record_batch(&batch, &mask)?)
}

pub(crate) mod codec {
    //! What to keep, the columns of the key and the hashes, as numbers of eight bytes, little end first.

    use super::{Arc, ExecutionPlan, Keep, Result, SplitRepeatedExec, internal_err};

    /// The operator's payload; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>) -> Option<Vec<u8>> {
        let split = plan.downcast_ref::<SplitRepeatedExec>()?;
        let head = [u64::from(split.keep == Keep::Repeated), split.keys.len() as u64];
        let keys = split.keys.iter().map(|at| *at as u64);
        Some(head.into_iter().chain(keys).chain(split.hashes.iter().copied()).flat_map(u64::to_le_bytes).collect())
    }

    /// The operator of a payload.
    pub(crate) fn decode(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = inputs else { return internal_err!("SplitRepeatedExec has one input") };
        let (words, rest) = bytes.as_chunks::<8>();
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        let (Some(keep), Some(count), true) = (words.next(), words.next(), rest.is_empty()) else {
            return internal_err!("a SplitRepeatedExec cannot be read");
        };
        let columns = input.schema().fields().len();
        let keys: Vec<usize> = words.by_ref().take(count as usize).map(|at| at as usize).collect();
        if keys.len() as u64 != count || keys.iter().any(|at| *at >= columns) {
            return internal_err!("a SplitRepeatedExec names columns that its input does not have");
        }
        let keep = if keep == 0 { Keep::Unique } else { Keep::Repeated };
        Ok(Arc::new(SplitRepeatedExec::new(Arc::clone(input), keep, keys, Arc::new(words.collect()))))
    }
}
