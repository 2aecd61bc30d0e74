//! Numbers that spread the rows of frequent keys: after a shuffle by the key and its salt, a frequent key's rows are on many tasks and a rare one's on one.
//!
//! The salt of a row is how many rows of its key the task has seen before it, divided by the size of a chunk. Tasks that see a key equally often give it the
//! same salts, so that a key with few rows gets only the salt 0, and one with many gets as many salts as it has chunks in a task. Nothing has to be known of
//! the data beforehand. (The salting of skewed joins, as in Spark notebooks, draws random salts for all keys alike, which scatters the rare ones too.)

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::hash_utils::{QualityRandomState, create_hashes};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::StreamExt as _;
use hashbrown::HashMap;

use crate::operators::one_child::one_child;

/// Keys that a task counts at most; the rows of others get the salt 0. Bounds the memory of a task to a few megabytes.
const KEYS_MAX: usize = 1 << 17;

const HASH_STATE: QualityRandomState = QualityRandomState::with_seed(0x6f72_7265_7279_736c);

static SALT: LazyLock<FieldRef> = LazyLock::new(|| Arc::new(Field::new("__salt", DataType::UInt32, false)));

/// Adds the column `__salt` (UInt32, never null) behind the columns of its input. Order and partitions stay.
#[derive(Debug)]
pub(crate) struct SaltExec {
    input: Arc<dyn ExecutionPlan>,
    keys: Vec<usize>,
    rows_per_chunk: u64,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SaltExec {
    /// Salts by the columns at `keys`; a chunk has at least one row.
    pub fn new(input: Arc<dyn ExecutionPlan>, keys: Vec<usize>, rows_per_chunk: u64) -> Self {
        let fields: Vec<FieldRef> = input.schema().fields().iter().cloned().chain([Arc::clone(&SALT)]).collect();
        let schema = Arc::new(Schema::new_with_metadata(fields, input.schema().metadata().clone()));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            input.output_partitioning().clone(),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self {
            input,
            keys,
            rows_per_chunk: rows_per_chunk.max(1),
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for SaltExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.input.schema();
        let names: Vec<&str> = self.keys.iter().map(|at| schema.field(*at).name().as_str()).collect();
        write!(f, "SaltExec: keys=[{}], rows_per_chunk={}", names.join(", "), self.rows_per_chunk)
    }
}

impl ExecutionPlan for SaltExec {
    fn name(&self) -> &'static str {
        "SaltExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    one_child!(self, input => Self::new(input, self.keys.clone(), self.rows_per_chunk));

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let mut salts = Salts { seen: HashMap::new(), rows_per_chunk: self.rows_per_chunk, hashes: Vec::new() };
        let (keys, schema) = (self.keys.clone(), self.schema());
        let salted = Arc::clone(&schema);
        let rows = self.input.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            let _timer = baseline.elapsed_compute().timer();
            let columns: Vec<ArrayRef> = keys.iter().map(|at| Arc::clone(batch.column(*at))).collect();
            let salt: ArrayRef = Arc::new(salts.of(&columns, batch.num_rows())?);
            let columns = batch.columns().iter().cloned().chain([salt]).collect();
            Ok(RecordBatch::try_new(Arc::clone(&salted), columns)?.record_output(&baseline))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// How many rows of each key have been seen, by the key's hash: two keys of one hash share their salts, which does no harm.
struct Salts {
    seen: HashMap<u64, u64>,
    rows_per_chunk: u64,
    hashes: Vec<u64>,
}

impl Salts {
    fn of(&mut self, keys: &[ArrayRef], rows: usize) -> Result<UInt32Array> {
        self.hashes.clear();
        self.hashes.resize(rows, 0);
        create_hashes(keys, &HASH_STATE, &mut self.hashes)?;
        let mut salts = Vec::with_capacity(rows);
        // Rows of one key often follow each other: one look-up for all of them.
        for run in self.hashes.chunk_by(|a, b| a == b) {
            let is_full = self.seen.len() >= KEYS_MAX;
            let mut uncounted = 0;
            let seen = match self.seen.get_mut(&run[0]) {
                Some(seen) => seen,
                None if is_full => &mut uncounted,
                None => self.seen.entry(run[0]).or_insert(0),
            };
            for _ in run {
                salts.push(u32::try_from(*seen / self.rows_per_chunk).unwrap_or(u32::MAX));
                *seen += 1;
            }
        }
        Ok(UInt32Array::from(salts))
    }
}

pub(crate) mod codec {
    //! The size of a chunk and the columns of the key, as numbers of eight bytes, little end first.

    use super::{Arc, ExecutionPlan, Result, SaltExec, internal_err};

    /// The operator's payload; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>) -> Option<Vec<u8>> {
        let salt = plan.downcast_ref::<SaltExec>()?;
        Some([salt.rows_per_chunk].into_iter().chain(salt.keys.iter().map(|at| *at as u64)).flat_map(u64::to_le_bytes).collect())
    }

    /// The operator of a payload.
    pub(crate) fn decode(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = inputs else { return internal_err!("SaltExec has one input") };
        let (words, rest) = bytes.as_chunks::<8>();
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        let (Some(rows_per_chunk), true) = (words.next(), rest.is_empty()) else { return internal_err!("a SaltExec cannot be read") };
        let keys: Vec<usize> = words.map(|at| at as usize).collect();
        if keys.iter().any(|at| *at >= input.schema().fields().len()) {
            return internal_err!("a SaltExec names columns that its input does not have");
        }
        Ok(Arc::new(SaltExec::new(Arc::clone(input), keys, rows_per_chunk)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, StringArray};

    fn salts(rows_per_chunk: u64) -> Salts {
        Salts { seen: HashMap::new(), rows_per_chunk, hashes: Vec::new() }
    }

    #[test]
    fn counts_each_key_by_itself_over_batches() {
        let mut salts = salts(2);
        let batch = |keys: &[i32]| vec![Arc::new(Int32Array::from(keys.to_vec())) as ArrayRef];
        assert_eq!(salts.of(&batch(&[7, 7, 7, 8, 7]), 5).unwrap().values(), &[0, 0, 1, 0, 1]);
        assert_eq!(salts.of(&batch(&[8, 8, 7, 9]), 4).unwrap().values(), &[0, 1, 2, 0]);
        assert_eq!(salts.of(&batch(&[]), 0).unwrap().values(), &[] as &[u32]);
    }

    #[test]
    fn nulls_are_a_key_of_several_columns_too() {
        let mut salts = salts(1);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int32Array::from(vec![None, None, Some(1)])), Arc::new(StringArray::from(vec![None, Some("a"), None]))];
        assert_eq!(salts.of(&columns, 3).unwrap().values(), &[0, 0, 0]);
        assert_eq!(salts.of(&columns, 3).unwrap().values(), &[1, 1, 1]);
    }
}
