//! `DeduplicateExec`: one row per key out of an input in which repeated keys are rare.
//!
//! Sorting or hashing whole rows to find a few repetitions moves and holds every row. This operator reads its input twice
//! instead. The first pass reads only the key columns and keeps 64 bits of each key; the keys whose bits occur more than
//! once are the *repeated* ones (a chance collision makes a key look repeated, which costs time but no correctness). In the
//! second pass a row whose key is not repeated goes straight through, without shuffle or buffer. The others are set aside
//! and go through the third child, an ordinary plan that keeps one row per key.
//!
//! ```text
//! DeduplicateExec: keys=[a@0, b@1]
//!   ProjectionExec: expr=[a@0 as key_0, …]        first pass: the keys of the input
//!   DataSourceExec: …                             second pass: the input
//!   AggregateExec: … first_value(…)               keeps one row per key
//!     RepeatedRowsExec                            where the rows that were set aside come in
//! ```
//!
//! If repetitions turn out to be common, or memory is too short for 64 bits per row, the third child gets the whole input.
//!
//! All partitions of one run share what the first pass found, so they must be executed in one process. [`in_stages`] is the same for several.

mod aside;
mod find;
pub mod in_stages;
pub(crate) mod key_hashes;
pub(crate) mod repeated_rows;
mod split;
pub(crate) mod split_repeated;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::Field;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{
    Boundedness, CardinalityEffect, EmissionType, ReplaceChildrenOptions, apply_expression_roots, reset_plan_states,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::OnceCell;

use aside::{RowsAside, SetAside};
pub use repeated_rows::RepeatedRowsExec;
use repeated_rows::RowSource;

use find::Verdict;

/// See the module documentation.
#[derive(Debug, Clone)]
pub struct DeduplicateExec {
    keys: Arc<dyn ExecutionPlan>,
    input: Arc<dyn ExecutionPlan>,
    keep_one: Arc<dyn ExecutionPlan>,
    key_exprs: Vec<Arc<dyn PhysicalExpr>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    run: Arc<Run>,
}

/// What the partitions of one execution share.
#[derive(Debug, Default)]
struct Run {
    has_read_keys: AtomicBool,
    verdict: OnceCell<Arc<Verdict>>,
    /// The plan of the third child, once it runs over the whole input.
    over_everything: OnceCell<Arc<dyn ExecutionPlan>>,
    finished: Mutex<Finished>,
}

/// Partitions that have read their input, and the rows they set aside.
#[derive(Debug, Default)]
struct Finished {
    partitions: usize,
    aside: Vec<SetAside>,
}

impl DeduplicateExec {
    /// An operator over `input` that keeps one row per combination of values of `key_exprs`.
    ///
    /// `keys` gives the values of `key_exprs` for every row that `input` gives, in any order and partitioning; neither may
    /// depend on the other's execution. `keep_one` keeps one row per key of what its [`RepeatedRowsExec`] is given, in
    /// columns of the same types as `input`'s.
    ///
    /// # Errors
    /// If the children do not fit together.
    pub fn try_new(
        keys: Arc<dyn ExecutionPlan>,
        input: Arc<dyn ExecutionPlan>,
        keep_one: Arc<dyn ExecutionPlan>,
        key_exprs: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Self> {
        if keys.schema().fields().len() != key_exprs.len() {
            return internal_err!("DeduplicateExec: {} key columns for {} keys", keys.schema().fields().len(), key_exprs.len());
        }
        let (given, kept) = (input.schema(), keep_one.schema());
        let fits = |(given, kept): (&Arc<Field>, &Arc<Field>)| given.data_type() == kept.data_type();
        if given.fields().len() != kept.fields().len() || !given.fields().iter().zip(kept.fields()).all(fits) {
            return internal_err!("DeduplicateExec: the input gives {given}, the plan that keeps one row per key {kept}");
        }
        let properties = PlanProperties::new(
            EquivalenceProperties::new(given),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Both,
            Boundedness::Bounded,
        );
        let (properties, run) = (Arc::new(properties), Arc::default());
        Ok(Self { keys, input, keep_one, key_exprs, properties, metrics: ExecutionPlanMetricsSet::new(), run })
    }

    /// The expressions of which every combination of values is kept once.
    pub fn key_exprs(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.key_exprs
    }

    /// Whether the operator has a form for the wire: its keys are columns.
    pub fn can_travel(&self) -> bool {
        self.key_columns().is_some()
    }

    /// The places of the keys among the input's columns, if all of them are columns.
    fn key_columns(&self) -> Option<Vec<usize>> {
        self.key_exprs.iter().map(|key| key.downcast_ref::<Column>().map(Column::index)).collect()
    }

    fn partitions(&self) -> usize {
        self.properties.output_partitioning().partition_count()
    }

    /// The rows of one partition, after the first pass has judged.
    async fn start(self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let verdict = self.run.verdict.get_or_try_init(|| self.first_pass(&context)).await?;
        match verdict.as_ref() {
            Verdict::Many => {
                let plan = self.run.over_everything.get_or_try_init(|| async { self.over_everything() }).await?;
                self.with_own_schema(plan.execute(partition, context)?)
            }
            Verdict::Few(_) => split::stream(self.clone(), Arc::clone(verdict), partition, &context),
        }
    }

    /// Reads the keys, all partitions at once. A partition of this operator that is dropped while it reads lets the next
    /// one that waits read anew; when none waits, reading stops.
    async fn first_pass(&self, context: &Arc<TaskContext>) -> Result<Arc<Verdict>> {
        let timer = MetricBuilder::new(&self.metrics).subset_time("first_pass_time", 0);
        let _timer = timer.timer();
        // A scan hands out its files once, so a second reading needs a fresh one.
        let keys = match self.run.has_read_keys.swap(true, Ordering::Relaxed) {
            false => Arc::clone(&self.keys),
            true => reset_plan_states(Arc::clone(&self.keys))?,
        };
        let verdict = Arc::new(find::repeated_keys(&keys, context).await?);
        let global = |name| MetricBuilder::new(&self.metrics).global_gauge(name);
        match verdict.as_ref() {
            Verdict::Many => global("common_repetitions").set(1),
            Verdict::Few(repeats) => global("repeated_keys").set(repeats.len()),
        };
        Ok(verdict)
    }

    /// The third child over the whole input, with as many partitions as this operator has.
    fn over_everything(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let entry = RepeatedRowsExec::find_in(&self.keep_one)?;
        let rows = adapt_partitions(Arc::clone(&self.input), entry.partitions())?;
        entry.fill(RowSource::Plan(rows))?;
        adapt_partitions(Arc::clone(&self.keep_one), self.partitions())
    }

    /// Called by every partition at the end of its input. The last one gets the rows that all have set aside, reduced to
    /// one per key; that way no partition ever waits for another.
    fn finish(&self, aside: SetAside, context: &Arc<TaskContext>) -> Result<Option<SendableRecordBatchStream>> {
        let mut finished = self.run.finished.lock().unwrap_or_else(PoisonError::into_inner);
        finished.partitions += 1;
        finished.aside.push(aside);
        if finished.partitions < self.partitions() {
            return Ok(None);
        }
        let rows = RowsAside::new(std::mem::take(&mut finished.aside));
        if rows.is_empty() {
            return Ok(None);
        }
        let entry = RepeatedRowsExec::find_in(&self.keep_one)?;
        entry.fill(RowSource::aside(rows, entry.partitions()))?;
        let plan = match self.keep_one.output_partitioning().partition_count() {
            1 => Arc::clone(&self.keep_one),
            _ => Arc::new(CoalescePartitionsExec::new(Arc::clone(&self.keep_one))),
        };
        self.with_own_schema(plan.execute(0, Arc::clone(context))?).map(Some)
    }

    /// The third child may not know that a column is never null, as the input does.
    fn with_own_schema(&self, rows: SendableRecordBatchStream) -> Result<SendableRecordBatchStream> {
        let schema = self.schema();
        let rows = rows.map(move |batch| split::with_schema(&schema, &batch?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}

/// `plan` with exactly `partitions` partitions.
fn adapt_partitions(plan: Arc<dyn ExecutionPlan>, partitions: usize) -> Result<Arc<dyn ExecutionPlan>> {
    match plan.output_partitioning().partition_count() {
        count if count == partitions => Ok(plan),
        _ if partitions == 1 => Ok(Arc::new(CoalescePartitionsExec::new(plan))),
        _ => Ok(Arc::new(RepartitionExec::try_new(plan, Partitioning::RoundRobinBatch(partitions))?)),
    }
}

impl DisplayAs for DeduplicateExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.key_exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match format {
            DisplayFormatType::TreeRender => write!(f, "keys: {keys}"),
            _ => write!(f, "DeduplicateExec: keys=[{keys}]"),
        }
    }
}

impl ExecutionPlan for DeduplicateExec {
    fn name(&self) -> &'static str {
        "DeduplicateExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.keys, &self.input, &self.keep_one]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Ok([keys, input, keep_one]) = <[_; 3]>::try_from(children) else {
            return internal_err!("DeduplicateExec has three children");
        };
        Ok(Arc::new(Self::try_new(keys, input, keep_one, self.key_exprs.clone())?))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(datafusion::physical_plan::execution_plan::ChildrenPropertiesMode::Recompute),
        )
    }

    fn apply_expressions(&self, f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        apply_expression_roots(&self.key_exprs, f)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition >= self.partitions() {
            return internal_err!("DeduplicateExec has {} partitions, not {partition}", self.partitions());
        }
        let rows = futures::stream::once(self.clone().start(partition, context)).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::Skip, ChildStats::At(partition), ChildStats::Skip]
    }

    fn statistics_from_inputs(&self, input_stats: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let input = input_stats[1].as_ref().clone().to_inexact();
        Ok(Arc::new(Statistics {
            num_rows: input.num_rows,
            total_byte_size: input.total_byte_size,
            column_statistics: vec![ColumnStatistics::new_unknown(); self.schema().fields().len()],
        }))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::LowerEqual
    }
}

pub(crate) mod codec {
    //! The places of the keys among the input's columns, as numbers of eight bytes, little end first. Keys that are no columns do not travel.

    use super::{Arc, Column, DeduplicateExec, ExecutionPlan, PhysicalExpr, Result, internal_err};

    /// The operator's payload; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>) -> Option<Vec<u8>> {
        let columns = plan.downcast_ref::<DeduplicateExec>()?.key_columns()?;
        Some(columns.into_iter().flat_map(|at| (at as u64).to_le_bytes()).collect())
    }

    /// The operator of a payload.
    pub(crate) fn decode(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        let [keys, input, keep_one] = inputs else { return internal_err!("DeduplicateExec has three inputs") };
        let (columns, rest) = bytes.as_chunks::<8>();
        let schema = input.schema();
        let column = |at: &[u8; 8]| {
            let at = u64::from_le_bytes(*at) as usize;
            let field = schema.fields().get(at)?;
            Some(Arc::new(Column::new(field.name(), at)) as Arc<dyn PhysicalExpr>)
        };
        let columns: Option<Vec<_>> = columns.iter().map(column).collect();
        let (Some(columns), true) = (columns, rest.is_empty()) else { return internal_err!("a DeduplicateExec cannot be read") };
        let (keys, input, keep_one) = (Arc::clone(keys), Arc::clone(input), Arc::clone(keep_one));
        Ok(Arc::new(DeduplicateExec::try_new(keys, input, keep_one, columns)?))
    }
}
