//! The two sides of a join of which some keys are frequent: `SaltHotKeysExec` deals the rows of a frequent key out by numbers, its salts, and
//! `ReplicateHotKeysExec` gives the other side's rows of that key once for every number.
//!
//! ```text
//! k   __salt          k   __salt
//! 7   3               7   3          7 is frequent; its salts are 3 and 8
//! 7   8               7   8          a copy of the same row
//! 7   3               5   0
//! 5   0
//! ```
//!
//! A join by key and salt gives every pair of rows once, as one by the key alone does, and a shuffle by key and salt sends the rows of a frequent key to as
//! many tasks as it has salts. Which keys are frequent has been found out before (`planner::salt_skewed_joins`) and travels with the operators.

mod finder;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::operators::one_child::one_child;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet, RecordOutput as _};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use finder::Finder;
pub(crate) use finder::{HotKey, hash_rows, rows_with_nulls};

/// The name of the column of salts.
pub(crate) const SALT: &str = "__salt";

static SALT_FIELD: LazyLock<FieldRef> = LazyLock::new(|| Arc::new(Field::new(SALT, DataType::UInt32, false)));

/// What is done to the rows of frequent keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Salt,
    Replicate,
}

/// One of the two operators of the module documentation. Adds the column `__salt` (UInt32, never null) behind the columns of its input; it is zero for the
/// rows of keys that are not frequent.
#[derive(Debug)]
pub(crate) struct HotKeysExec {
    input: Arc<dyn ExecutionPlan>,
    step: Step,
    keys: Vec<usize>,
    hot: Arc<[HotKey]>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl HotKeysExec {
    /// The rows of each frequent key dealt out over its salts; the key is in the columns at `keys`.
    pub fn salt(input: Arc<dyn ExecutionPlan>, keys: Vec<usize>, hot: Arc<[HotKey]>) -> Self {
        Self::new(input, Step::Salt, keys, hot)
    }

    /// The rows of each frequent key once for every salt of it. Keys that match nothing are left as they are.
    pub fn replicate(input: Arc<dyn ExecutionPlan>, keys: Vec<usize>, hot: &[HotKey]) -> Self {
        Self::new(input, Step::Replicate, keys, hot.iter().filter(|key| !key.matches_nothing).cloned().collect())
    }

    fn new(input: Arc<dyn ExecutionPlan>, step: Step, keys: Vec<usize>, hot: Arc<[HotKey]>) -> Self {
        let fields: Vec<FieldRef> = input.schema().fields().iter().cloned().chain([Arc::clone(&SALT_FIELD)]).collect();
        let schema = Arc::new(Schema::new_with_metadata(fields, input.schema().metadata().clone()));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            // Rows of one key get several salts: however the input is partitioned, it is not so by key and salt.
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self { input, step, keys, hot, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }

    /// What one partition does.
    fn worker(&self, partition: usize, context: &TaskContext) -> Worker {
        let counted = if self.step == Step::Salt { "salted_rows" } else { "replicated_rows" };
        Worker {
            schema: self.schema(),
            keys: self.keys.clone(),
            finder: Finder::new(&self.hot),
            // Tasks that see few rows of a key do not all begin with its first salt.
            turns: vec![partition; self.hot.len()],
            hot: Arc::clone(&self.hot),
            found: Vec::new(),
            batch_rows: context.session_config().batch_size().max(1),
            count: MetricBuilder::new(&self.metrics).counter(counted, partition),
        }
    }
}

impl DisplayAs for HotKeysExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.input.schema();
        let keys: Vec<&str> = self.keys.iter().map(|at| schema.field(*at).name().as_str()).collect();
        let salts: usize = self.hot.iter().map(|key| key.salts.len()).sum();
        write!(f, "{}: keys=[{}], hot_keys={}, salts={salts}", self.name(), keys.join(", "), self.hot.len())
    }
}

impl ExecutionPlan for HotKeysExec {
    fn name(&self) -> &'static str {
        match self.step {
            Step::Salt => "SaltHotKeysExec",
            Step::Replicate => "ReplicateHotKeysExec",
        }
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    one_child!(self, input => Self::new(input, self.step, self.keys.clone(), Arc::clone(&self.hot)));

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let mut worker = self.worker(partition, &context);
        let step = self.step;
        let input = self.input.execute(partition, context)?;
        let elapsed = baseline.elapsed_compute().clone();
        let rows = input.map(move |batch| {
            let batch = batch?;
            let _timer = elapsed.timer();
            match step {
                Step::Salt => worker.salted(&batch).map(|salted| Box::new(std::iter::once(Ok(salted))) as Batches),
                Step::Replicate => worker.replicated(batch),
            }
        });
        let rows = rows.map_ok(stream::iter).try_flatten().map(move |batch| Ok(batch?.record_output(&baseline)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    /// Sizes are those of the input: planners above go by them as they would without salts.
    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let Some(input) = inputs.first() else { return internal_err!("{} has one child", self.name()) };
        let mut statistics = Statistics::clone(input).to_inexact();
        statistics.column_statistics.push(ColumnStatistics::new_unknown());
        Ok(Arc::new(statistics))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        if self.step == Step::Salt { CardinalityEffect::Equal } else { CardinalityEffect::GreaterEqual }
    }
}

/// The batches that come of one.
type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// One partition at work.
struct Worker {
    schema: SchemaRef,
    keys: Vec<usize>,
    hot: Arc<[HotKey]>,
    finder: Finder,
    /// For every frequent key, how many salts have been dealt out.
    turns: Vec<usize>,
    /// Rows of frequent keys with the places of these, of one batch.
    found: Vec<(u32, usize)>,
    batch_rows: usize,
    count: Count,
}

impl Worker {
    fn key_columns(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.keys.iter().map(|at| Arc::clone(batch.column(*at))).collect()
    }

    fn salted(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.key_columns(batch);
        let mut salts = vec![0u32; batch.num_rows()];
        let (hot, turns, mut count) = (&self.hot, &mut self.turns, 0);
        self.finder.each(&columns, batch.num_rows(), |row, place| {
            let choice = &hot[place].salts;
            salts[row] = choice[turns[place] % choice.len()];
            turns[place] += 1;
            count += 1;
        })?;
        self.count.add(count);
        with_salts(&self.schema, batch, UInt32Array::from(salts))
    }

    fn replicated(&mut self, batch: RecordBatch) -> Result<Batches> {
        let columns = self.key_columns(&batch);
        let found = &mut self.found;
        found.clear();
        self.finder.each(&columns, batch.num_rows(), |row, place| found.push((row as u32, place)))?;
        self.count.add(found.len());
        if found.is_empty() {
            let salts = UInt32Array::from(vec![0; batch.num_rows()]);
            return Ok(Box::new(std::iter::once(with_salts(&self.schema, &batch, salts))));
        }
        let (rows, salts) = copies(batch.num_rows() as u32, found, &self.hot);
        let (schema, step) = (Arc::clone(&self.schema), self.batch_rows);
        let (rows, salts) = (UInt32Array::from(rows), UInt32Array::from(salts));
        Ok(Box::new((0..rows.len()).step_by(step).map(move |at| {
            let length = step.min(rows.len() - at);
            let taken = take_record_batch(&batch, &rows.slice(at, length))?;
            with_salts(&schema, &taken, salts.slice(at, length))
        })))
    }
}

/// The numbers of all rows, those in `found` as often as their key has salts, each with its salt.
fn copies(rows: u32, found: &[(u32, usize)], hot: &[HotKey]) -> (Vec<u32>, Vec<u32>) {
    let more: usize = found.iter().map(|(_, place)| hot[*place].salts.len() - 1).sum();
    let (mut numbers, mut salts) = (Vec::with_capacity(rows as usize + more), Vec::with_capacity(rows as usize + more));
    let mut next = 0;
    for (row, place) in found {
        numbers.extend(next..*row);
        salts.resize(numbers.len(), 0);
        salts.extend_from_slice(&hot[*place].salts);
        numbers.resize(salts.len(), *row);
        next = row + 1;
    }
    numbers.extend(next..rows);
    salts.resize(numbers.len(), 0);
    (numbers, salts)
}

fn with_salts(schema: &SchemaRef, batch: &RecordBatch, salts: UInt32Array) -> Result<RecordBatch> {
    let columns = batch.columns().iter().cloned().chain([Arc::new(salts) as ArrayRef]).collect();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

pub(crate) mod codec {
    //! Numbers of eight bytes, little end first: how many columns the key has and which, then for each frequent key its hash, whether it matches nothing,
    //! how many salts it has and which.

    use super::{Arc, ExecutionPlan, HotKey, HotKeysExec, Result, Step, internal_err};

    /// The payload of the operator of that name; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>, name: &str) -> Option<Vec<u8>> {
        let operator = plan.downcast_ref::<HotKeysExec>().filter(|operator| ExecutionPlan::name(*operator) == name)?;
        let mut words = vec![operator.keys.len() as u64];
        words.extend(operator.keys.iter().map(|at| *at as u64));
        for key in operator.hot.iter() {
            words.extend([key.hash, u64::from(key.matches_nothing), key.salts.len() as u64]);
            words.extend(key.salts.iter().copied().map(u64::from));
        }
        Some(words.into_iter().flat_map(u64::to_le_bytes).collect())
    }

    /// A `SaltHotKeysExec` of a payload.
    pub(crate) fn decode_salt(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        decode(bytes, inputs, Step::Salt)
    }

    /// A `ReplicateHotKeysExec` of a payload.
    pub(crate) fn decode_replicate(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        decode(bytes, inputs, Step::Replicate)
    }

    fn decode(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>], step: Step) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = inputs else { return internal_err!("an operator of frequent keys has one input") };
        let (words, rest) = bytes.as_chunks::<8>();
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        let read = if rest.is_empty() { read(&mut words) } else { None };
        let Some((keys, hot)) = read else { return internal_err!("an operator of frequent keys cannot be read") };
        if keys.iter().any(|at| *at >= input.schema().fields().len()) || hot.iter().any(|key| key.salts.is_empty()) {
            return internal_err!("an operator of frequent keys does not fit its input");
        }
        Ok(Arc::new(HotKeysExec::new(Arc::clone(input), step, keys, hot.into())))
    }

    fn read(words: &mut impl Iterator<Item = u64>) -> Option<(Vec<usize>, Vec<HotKey>)> {
        let count = words.next()?;
        let keys = (0..count).map(|_| words.next().map(|at| at as usize)).collect::<Option<Vec<_>>>()?;
        let mut hot = Vec::new();
        while let Some(hash) = words.next() {
            let (matches_nothing, salts) = (words.next()? != 0, words.next()?);
            let salts = (0..salts).map(|_| u32::try_from(words.next()?).ok()).collect::<Option<Vec<_>>>()?;
            hot.push(HotKey { hash, salts, matches_nothing });
        }
        Some((keys, hot))
    }
}
