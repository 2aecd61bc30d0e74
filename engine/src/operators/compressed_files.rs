//! Tells a task how the files it scans are compressed: DataFusion's encoding of a scan leaves that out, and a task would read compressed bytes as text.
//!
//! The operator only marks the scan below it and is gone once the plan has been read on the other side.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

use crate::operators::one_child::one_child;

/// Puts the mark on every scan of compressed files that does not have it.
///
/// # Errors
/// None but those of rebuilding the plan.
pub fn mark_compressed_files(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let marked = plan.transform_down(|node| {
        if node.is::<CompressedFilesExec>() {
            return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
        }
        Ok(match compression_of(&node) {
            Some(compression) if compression != FileCompressionType::UNCOMPRESSED => {
                let mark: Arc<dyn ExecutionPlan> = Arc::new(CompressedFilesExec { input: node, compression });
                Transformed::new(mark, true, TreeNodeRecursion::Jump)
            }
            _ => Transformed::no(node),
        })
    })?;
    Ok(marked.data)
}

fn scan_of(plan: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()
}

fn compression_of(plan: &Arc<dyn ExecutionPlan>) -> Option<FileCompressionType> {
    scan_of(plan).map(|scan| scan.file_compression_type)
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct CompressedFilesExec {
    input: Arc<dyn ExecutionPlan>,
    compression: FileCompressionType,
}

impl DisplayAs for CompressedFilesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompressedFilesExec: {}", self.compression.get_variant())
    }
}

impl ExecutionPlan for CompressedFilesExec {
    fn name(&self) -> &'static str {
        "CompressedFilesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    one_child!(self, input => Self { input, compression: self.compression });

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}

pub(crate) mod codec {
    //! The compression's name.

    use super::{
        Arc, CompressedFilesExec, DataSourceExec, ExecutionPlan, FileCompressionType, FileScanConfigBuilder, FromStr as _, Result,
        internal_err, scan_of,
    };

    /// The operator's payload; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>) -> Option<Vec<u8>> {
        let marked = plan.downcast_ref::<CompressedFilesExec>()?;
        Some(marked.compression.get_variant().to_string().into_bytes())
    }

    /// The scan below the mark, told how its files are compressed.
    pub(crate) fn decode(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = inputs else { return internal_err!("CompressedFilesExec has one input") };
        let compression = FileCompressionType::from_str(&String::from_utf8_lossy(bytes))?;
        let Some(scan) = scan_of(input) else { return internal_err!("CompressedFilesExec is not over a scan") };
        let scan = FileScanConfigBuilder::from(scan.clone()).with_file_compression_type(compression).build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}
