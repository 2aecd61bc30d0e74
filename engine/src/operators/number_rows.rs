//! Counts the rows of each partition and says which partition they are of: `__task`, a number drawn at random, and `__row`, from 0 on.
//!
//! What it says differs from run to run, and between the attempts of one task. It is for rows that are written down and numbered when it is known how many of
//! them each task wrote (`planner::number_rows`).

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput as _};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, Partitioning, PlanProperties};
use futures::StreamExt as _;

use crate::operators::one_child::one_child;

/// Which execution of which partition a row is of.
pub(crate) const TASK: &str = "__task";
/// How many rows of it come before this one.
pub(crate) const ROW: &str = "__row";

static FIELDS: LazyLock<[FieldRef; 2]> = LazyLock::new(|| [TASK, ROW].map(|name| Arc::new(Field::new(name, DataType::Int64, false))));

/// See the module documentation. Adds `__task` and `__row` (Int64, never null) behind the columns of its input.
#[derive(Debug)]
pub(crate) struct NumberRowsExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl NumberRowsExec {
    pub fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        let fields: Vec<FieldRef> = input.schema().fields().iter().cloned().chain(FIELDS.iter().cloned()).collect();
        let schema = Arc::new(Schema::new_with_metadata(fields, input.schema().metadata().clone()));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self { input, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for NumberRowsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NumberRowsExec")
    }
}

impl ExecutionPlan for NumberRowsExec {
    fn name(&self) -> &'static str {
        "NumberRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    one_child!(self, input => Self::new(input));

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let schema = self.schema();
        let task = uuid::Uuid::new_v4().as_u64_pair().0.cast_signed();
        let mut seen = 0_i64;
        let rows = self.input.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            let _timer = baseline.elapsed_compute().timer();
            let numbered = with_numbers(&schema, &batch, task, seen)?;
            seen += batch.num_rows() as i64;
            Ok(numbered.record_output(&baseline))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let Some(input) = inputs.first() else { return internal_err!("NumberRowsExec has one child") };
        let mut statistics = Statistics::clone(input).to_inexact();
        statistics.column_statistics.extend([ColumnStatistics::new_unknown(), ColumnStatistics::new_unknown()]);
        Ok(Arc::new(statistics))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

fn with_numbers(schema: &SchemaRef, batch: &RecordBatch, task: i64, first: i64) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let tasks = Arc::new(Int64Array::from_value(task, rows)) as ArrayRef;
    let numbers = Arc::new(Int64Array::from_iter_values(first..first + rows as i64)) as ArrayRef;
    let columns = batch.columns().iter().cloned().chain([tasks, numbers]).collect();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

pub(crate) mod codec {
    //! Nothing but the operator itself.

    use super::{Arc, ExecutionPlan, NumberRowsExec, Result, internal_err};

    /// The operator's payload; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>) -> Option<Vec<u8>> {
        plan.is::<NumberRowsExec>().then(Vec::new)
    }

    /// The operator over its input.
    pub(crate) fn decode(inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        match inputs {
            [input] => Ok(Arc::new(NumberRowsExec::new(Arc::clone(input)))),
            _ => internal_err!("NumberRowsExec has one child"),
        }
    }
}
