//! The write operator: as many partitions out as in, each writing files of its own and emitting one row per file.
//!
//! ```text
//! DeltaWriteExec          one row per file: add (JSON), rows, bytes
//!   <query>               rows of the table
//! ```
//!
//! Nothing it writes is visible in the table. Only rows of tasks that succeeded reach the commit, so an attempt that is repeated cannot duplicate data.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties};
use futures::StreamExt;

use super::live::LiveTasks;
use super::parquet_file::FinishedFile;
use super::progress::Progress;
use super::spec::WriteSpec;
use super::task::WriteTask;

/// Batches after which a task lets others run, and can be cancelled, even if its input never waits.
const BATCHES_PER_TURN: usize = 8;

static OUTPUT: LazyLock<SchemaRef> = LazyLock::new(|| {
    let field = |name: &str, data_type| Field::new(name, data_type, false);
    Arc::new(Schema::new(vec![field("add", DataType::Utf8), field("rows", DataType::UInt64), field("bytes", DataType::UInt64)]))
});

/// Schema of the rows that the operator emits.
pub(crate) fn output_schema() -> SchemaRef {
    Arc::clone(&OUTPUT)
}

/// Writes its input's partitions into data files of a Delta table.
#[derive(Debug)]
pub(crate) struct DeltaWriteExec {
    input: Arc<dyn ExecutionPlan>,
    spec: Arc<WriteSpec>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    live: LiveTasks,
}

impl DeltaWriteExec {
    /// The input's columns have to be those that `spec` was made for.
    pub fn new(input: Arc<dyn ExecutionPlan>, spec: Arc<WriteSpec>, live: LiveTasks) -> Self {
        let partitions = Partitioning::UnknownPartitioning(input.output_partitioning().partition_count());
        let properties =
            PlanProperties::new(EquivalenceProperties::new(output_schema()), partitions, EmissionType::Final, Boundedness::Bounded);
        Self { input, spec, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new(), live }
    }

    /// What the tasks are told.
    pub fn spec(&self) -> &WriteSpec {
        &self.spec
    }
}

impl DisplayAs for DeltaWriteExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "DeltaWriteExec: table={}", self.spec.table_name)?;
        if !self.spec.partition_columns.is_empty() {
            let names: Vec<&str> =
                self.spec.partition_columns.iter().map(|&index| self.spec.columns.field(index).name().as_str()).collect();
            write!(f, ", partitioned_by=[{}]", names.join(", "))?;
        }
        Ok(())
    }
}

impl ExecutionPlan for DeltaWriteExec {
    fn name(&self) -> &str {
        "DeltaWriteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(&self, _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::new(input, Arc::clone(&self.spec), self.live.clone()))),
            _ => Err(DataFusionError::Internal("DeltaWriteExec has exactly one child".into())),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let store = context.runtime_env().object_store(ObjectStoreUrl::parse(&self.spec.store_url)?)?;
        let memory = MemoryConsumer::new(format!("DeltaWriteExec[{partition}]")).register(context.memory_pool());
        let progress = Progress::new(&self.metrics, partition);
        let task = WriteTask::new(Arc::clone(&self.spec), store, partition, self.live.enter(), progress, memory)?;
        let input = self.input.execute(partition, context)?;
        let rows = futures::stream::once(run(task, input));
        Ok(Box::pin(RecordBatchStreamAdapter::new(output_schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

async fn run(mut task: WriteTask, mut input: SendableRecordBatchStream) -> Result<RecordBatch> {
    match drain(&mut task, &mut input).await {
        Ok(()) => file_rows(&task.finish().await?),
        Err(error) => {
            task.discard().await;
            Err(error)
        }
    }
}

async fn drain(task: &mut WriteTask, input: &mut SendableRecordBatchStream) -> Result<()> {
    let mut batches = 0_usize;
    while let Some(batch) = input.next().await {
        task.write(&batch?).await?;
        batches += 1;
        if batches.is_multiple_of(BATCHES_PER_TURN) {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

fn file_rows(files: &[FinishedFile]) -> Result<RecordBatch> {
    let adds = files.iter().map(|file| serde_json::to_string(&file.add)).collect::<Result<Vec<_>, _>>();
    let adds = adds.map_err(|error| DataFusionError::External(Box::new(error)))?;
    let rows: UInt64Array = files.iter().map(|file| file.rows).collect();
    let bytes: UInt64Array = files.iter().map(|file| file.bytes).collect();
    Ok(RecordBatch::try_new(output_schema(), vec![Arc::new(StringArray::from(adds)), Arc::new(rows), Arc::new(bytes)])?)
}
