//! The leaf through which rows enter the third child of a `DeduplicateExec`: it has no rows of its own until it is filled.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties};

use super::aside::RowsAside;

/// See the module documentation.
#[derive(Debug, Clone)]
pub struct RepeatedRowsExec {
    properties: Arc<PlanProperties>,
    source: Arc<OnceLock<RowSource>>,
}

/// Where the rows come from.
#[derive(Debug)]
pub(super) enum RowSource {
    /// Another plan with as many partitions.
    Plan(Arc<dyn ExecutionPlan>),
    /// Rows that were set aside, by partition; each partition is taken once.
    Aside(Vec<Mutex<Option<RowsAside>>>),
}

impl RowSource {
    /// Deals the rows out to `partitions`.
    pub(super) fn aside(rows: RowsAside, partitions: usize) -> Self {
        Self::Aside(rows.deal(partitions).into_iter().map(|rows| Mutex::new(Some(rows))).collect())
    }
}

impl RepeatedRowsExec {
    /// An empty leaf for rows of `schema` in `partitions` partitions.
    pub fn new(schema: SchemaRef, partitions: usize) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { properties: Arc::new(properties), source: Arc::default() }
    }

    /// The leaf of `plan`.
    pub(super) fn find_in(plan: &Arc<dyn ExecutionPlan>) -> Result<Self> {
        let mut found = None;
        plan.apply(|node| {
            found = node.downcast_ref::<Self>().cloned();
            Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        found.ok_or_else(|| internal_datafusion_err!("DeduplicateExec: its third child has no RepeatedRowsExec"))
    }

    pub(super) fn partitions(&self) -> usize {
        self.properties.output_partitioning().partition_count()
    }

    /// Gives the leaf its rows, once per execution.
    pub(super) fn fill(&self, source: RowSource) -> Result<()> {
        let partitions = match &source {
            RowSource::Plan(plan) => plan.output_partitioning().partition_count(),
            RowSource::Aside(rows) => rows.len(),
        };
        if partitions != self.partitions() {
            return internal_err!("RepeatedRowsExec: {partitions} partitions for {}", self.partitions());
        }
        self.source.set(source).or_else(|_| internal_err!("RepeatedRowsExec is filled already"))
    }
}

impl DisplayAs for RepeatedRowsExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match format {
            DisplayFormatType::TreeRender => Ok(()),
            _ => write!(f, "RepeatedRowsExec"),
        }
    }
}

impl ExecutionPlan for RepeatedRowsExec {
    fn name(&self) -> &'static str {
        "RepeatedRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))
    }

    fn apply_expressions(&self, _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self { properties: Arc::clone(&self.properties), source: Arc::default() }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        match self.source.get() {
            Some(RowSource::Plan(plan)) => plan.execute(partition, context),
            Some(RowSource::Aside(rows)) => {
                let rows = rows.get(partition).and_then(|rows| rows.lock().unwrap_or_else(PoisonError::into_inner).take());
                let rows =
                    rows.ok_or_else(|| internal_datafusion_err!("RepeatedRowsExec: partition {partition} is not there or was read"))?;
                rows.stream(self.schema())
            }
            None => internal_err!("RepeatedRowsExec is only executed by the DeduplicateExec above it"),
        }
    }
}

pub(crate) mod codec {
    //! The number of partitions, in eight bytes, little end first, and the schema as an Arrow IPC stream without rows.

    use arrow::ipc::reader::StreamReader;
    use arrow::ipc::writer::StreamWriter;

    use super::{Arc, ExecutionPlan, RepeatedRowsExec, Result, internal_err};

    /// The operator's payload; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Vec<u8>>> {
        let Some(rows) = plan.downcast_ref::<RepeatedRowsExec>() else { return Ok(None) };
        let bytes = (rows.partitions() as u64).to_le_bytes().to_vec();
        let mut writer = StreamWriter::try_new(bytes, rows.schema().as_ref())?;
        writer.finish()?;
        Ok(Some(writer.into_inner()?))
    }

    /// The operator of a payload, without rows.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Arc<dyn ExecutionPlan>> {
        let Some((partitions, schema)) = bytes.split_first_chunk::<8>() else { return internal_err!("a RepeatedRowsExec cannot be read") };
        let schema = StreamReader::try_new(schema, None)?.schema();
        Ok(Arc::new(RepeatedRowsExec::new(schema, u64::from_le_bytes(*partitions) as usize)))
    }
}
