//! `session_start`, `session_index` and `session_id` over rows in any order.
//!
//! A window operator would sort whole rows by key and time to hand out one number each. What has to be in order is only the runs of close rows of each key,
//! which are put together as the rows come; where sessions have a greatest length, the instants of each key. The rows stay where they are and come out in the
//! order they came in, with their numbers behind them.
//!
//! All rows of a task are in memory meanwhile. Where there is too little of it, the operator does what it replaces: it sorts, which can spill, and
//! hands the rows to the window operator.

mod rows;
mod sorted;

use std::fmt;

use crate::operators::one_child::one_child;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::window::{StandardWindowExpr, WindowExpr};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::{CardinalityEffect, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet, RecordOutput as _};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::{WindowAggExec, WindowUDFExpr};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, PlanProperties};
use futures::{StreamExt as _, TryStreamExt as _};
use orrery_udfs::window::session_function::{FoundSessions, GroupedSessions};

use rows::Rows;

/// See the module documentation. Its columns are those of the window operator that it stands for.
#[derive(Debug)]
pub(crate) struct SessionizeExec {
    input: Arc<dyn ExecutionPlan>,
    /// The window operator, over no rows.
    window: Arc<dyn ExecutionPlan>,
    calls: Vec<Call>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// A window expression as this operator computes it.
#[derive(Debug, Clone)]
struct Call {
    function: GroupedSessions,
    args: Vec<Arc<dyn PhysicalExpr>>,
}

impl SessionizeExec {
    /// The operator that does what `window` does; `None` where that needs sorted rows after all.
    ///
    /// # Errors
    /// A gap that is not positive.
    pub fn instead_of(window: &WindowAggExec) -> Result<Option<Self>> {
        let schema = window.input().schema();
        let mut calls = Vec::new();
        for expr in window.window_expr() {
            match Call::of(expr, &schema)? {
                Some(call) if expr.partition_by() == window.window_expr()[0].partition_by() => calls.push(call),
                _ => return Ok(None),
            }
        }
        if calls.is_empty() || keys(window).is_empty() {
            return Ok(None);
        }
        let over_nothing = WindowAggExec::try_new(window.window_expr().to_vec(), Arc::new(EmptyExec::new(schema)), true)?;
        Ok(Some(Self::over(Arc::clone(window.input()), Arc::new(over_nothing), calls)))
    }

    fn over(input: Arc<dyn ExecutionPlan>, window: Arc<dyn ExecutionPlan>, calls: Vec<Call>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(window.schema()),
            input.output_partitioning().clone(),
            EmissionType::Final,
            input.boundedness(),
        );
        Self { input, window, calls, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }

    fn window(&self) -> Result<&WindowAggExec> {
        self.window.downcast_ref::<WindowAggExec>().ok_or_else(|| internal_datafusion_err!("SessionizeExec stands for a window"))
    }
}

fn keys(window: &WindowAggExec) -> &[Arc<dyn PhysicalExpr>] {
    window.window_expr().first().map_or(&[], |expr| expr.partition_by())
}

impl Call {
    fn of(expr: &Arc<dyn WindowExpr>, schema: &arrow::datatypes::Schema) -> Result<Option<Self>> {
        let Some(standard) = expr.as_any().downcast_ref::<StandardWindowExpr>() else { return Ok(None) };
        let Some(udf) = standard.get_standard_func_expr().as_any().downcast_ref::<WindowUDFExpr>() else { return Ok(None) };
        let function = GroupedSessions::of(udf.fun(), udf.args(), schema)?;
        Ok(function.map(|function| Self { function, args: udf.args().to_vec() }))
    }
}

impl DisplayAs for SessionizeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(window) = self.window() else { return f.write_str("SessionizeExec") };
        let list = |items: Vec<String>| items.join(", ");
        let names = list(window.window_expr().iter().map(|expr| expr.name().to_string()).collect());
        write!(f, "SessionizeExec: keys=[{}], columns=[{names}]", list(keys(window).iter().map(ToString::to_string).collect()))
    }
}

impl ExecutionPlan for SessionizeExec {
    fn name(&self) -> &'static str {
        "SessionizeExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![self.window().map_or(Distribution::SinglePartition, |window| Distribution::KeyPartitioned(keys(window).to_vec()))]
    }

    fn apply_expressions(&self, visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        for expr in keys(self.window()?).iter().chain(self.calls.iter().flat_map(|call| &call.args)) {
            if visit(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    one_child!(self, input => Self::over(input, Arc::clone(&self.window), self.calls.clone()));

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let task = Task {
            window: Arc::clone(&self.window),
            calls: self.calls.clone(),
            keys: keys(self.window()?).to_vec(),
            baseline: BaselineMetrics::new(&self.metrics, partition),
            sorted: MetricBuilder::new(&self.metrics).counter("sorted_for_want_of_memory", partition),
        };
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let rows = futures::stream::once(task.run(input, partition, context)).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

/// One partition's work.
struct Task {
    window: Arc<dyn ExecutionPlan>,
    calls: Vec<Call>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    baseline: BaselineMetrics,
    sorted: Count,
}

impl Task {
    async fn run(
        self,
        mut input: SendableRecordBatchStream,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        // Not as one that can spill: it would get no more than an equal share beside consumers that hardly hold anything.
        let reservation = MemoryConsumer::new(format!("SessionizeExec[{partition}]")).register(context.memory_pool());
        let most = most_bytes(&context);
        let mut rows = Rows::new(&self.keys, &self.calls, &input.schema())?;
        while let Some(batch) = input.next().await.transpose()? {
            let elapsed = self.baseline.elapsed_compute().clone();
            let _timer = elapsed.timer();
            let has_room = rows.push(batch)? && rows.bytes() <= most && reservation.try_resize(rows.bytes()).is_ok();
            if !has_room {
                self.sorted.add(1);
                drop(reservation);
                let sorted = sorted::by_sorting(&self.window, rows.into_batches(), input, context)?;
                let counted = sorted.map_ok(move |batch| batch.record_output(&self.baseline));
                return Ok(Box::pin(RecordBatchStreamAdapter::new(self.window.schema(), counted)));
            }
        }
        drop(input);
        let (found, batches) = {
            let _timer = self.baseline.elapsed_compute().timer();
            rows.find()?
        };
        let schema = self.window.schema();
        let numbered = Numbered { task: self, found, batches: batches.into_iter(), at: 0, _reservation: reservation };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(numbered))))
    }
}

/// The most that a task holds: all tasks together half of the memory, so that the operators around them have some, too.
fn most_bytes(context: &TaskContext) -> usize {
    let tasks = context.session_config().target_partitions().max(1);
    match context.memory_pool().memory_limit() {
        MemoryLimit::Finite(bytes) => bytes / 2 / tasks.min(threads()),
        _ => usize::MAX,
    }
}

/// Tasks that run at a time.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The rows of a task on their way out, with the sessions that were found.
struct Numbered {
    task: Task,
    found: Vec<FoundSessions>,
    batches: std::vec::IntoIter<RecordBatch>,
    /// Rows that are out.
    at: usize,
    /// Of the memory of the rows; held until the last of them is out.
    _reservation: MemoryReservation,
}

impl Iterator for Numbered {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.next()?;
        Some(self.numbered(&batch))
    }
}

impl Numbered {
    fn numbered(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let _timer = self.task.baseline.elapsed_compute().timer();
        let mut columns = batch.columns().to_vec();
        for (call, sessions) in self.task.calls.iter().zip(&self.found) {
            let of_batch = sessions.slice(self.at, batch.num_rows());
            columns.push(call.function.results(of_batch, &call.rest(batch)?)?);
        }
        self.at += batch.num_rows();
        Ok(RecordBatch::try_new(self.task.window.schema(), columns)?.record_output(&self.task.baseline))
    }
}

impl Call {
    /// The arguments behind the first, as far as results need them.
    fn rest(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        if !self.function.needs_args() {
            return Ok(Vec::new());
        }
        self.args.iter().skip(1).map(|arg| arg.evaluate(batch)?.into_array(batch.num_rows())).collect()
    }
}

pub(crate) mod codec {
    //! The window operator over no rows, as DataFusion writes it.

    use datafusion_proto::physical_plan::{AsExecutionPlan as _, PhysicalExtensionCodec};
    use datafusion_proto::protobuf::PhysicalPlanNode;

    use super::{Arc, Call, ExecutionPlan, Result, SessionizeExec, TaskContext, WindowAggExec, internal_err};

    /// The operator's payload; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>, codec: &dyn PhysicalExtensionCodec) -> Result<Option<Vec<u8>>> {
        let Some(sessionize) = plan.downcast_ref::<SessionizeExec>() else { return Ok(None) };
        let mut bytes = Vec::new();
        PhysicalPlanNode::try_from_physical_plan(Arc::clone(&sessionize.window), codec)?.try_encode(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// The operator over its input.
    pub(crate) fn decode(
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let window = PhysicalPlanNode::try_decode(bytes)?.try_into_physical_plan(context, codec)?;
        let ([input], Some(found)) = (inputs, window.downcast_ref::<WindowAggExec>()) else {
            return internal_err!("a SessionizeExec cannot be read");
        };
        let schema = found.input().schema();
        let calls = found.window_expr().iter().map(|expr| Call::of(expr, &schema)).collect::<Result<Option<Vec<_>>>>()?;
        let Some(calls) = calls else { return internal_err!("a SessionizeExec of other functions") };
        Ok(Arc::new(SessionizeExec::over(Arc::clone(input), window, calls)))
    }
}

#[cfg(test)]
mod tests;
