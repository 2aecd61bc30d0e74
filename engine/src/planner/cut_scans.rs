//! Cuts the Parquet files of a scan into pieces, which the tasks of the scan take one after the other.
//!
//! DataFusion gives every task one equal share of the bytes. Row groups are read by one task each, so shares are never
//! quite equal, and the tasks that had less wait for the one that had most. Its scans let a task that is done take over
//! files that no other has opened yet; with pieces instead of shares there is something to take over.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

/// Pieces per task, if the files are large enough.
const PIECES_PER_TASK: u64 = 8;
/// Smaller pieces would hold no row group, larger ones are pieces enough.
const LEAST_PIECE_BYTES: u64 = 2 << 20;
const LARGEST_PIECE_BYTES: u64 = 64 << 20;

/// See the module documentation.
#[derive(Debug, Clone, Default)]
pub struct CutScans {}

impl PhysicalOptimizerRule for CutScans {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if !config.execution.enable_file_stream_work_stealing || !config.optimizer.repartition_file_scans {
            return Ok(plan);
        }
        let rewrite = |node: Arc<dyn ExecutionPlan>| match cut(&node) {
            Some(scan) => Ok(Transformed::yes(DataSourceExec::from_data_source(scan) as Arc<dyn ExecutionPlan>)),
            None => Ok(Transformed::no(node)),
        };
        plan.transform_up(rewrite).data()
    }

    fn name(&self) -> &str {
        "cut_scans"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The scan with smaller pieces, if `node` is one whose tasks may take over from each other.
fn cut(node: &Arc<dyn ExecutionPlan>) -> Option<FileScanConfig> {
    let scan = node.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()?;
    let is_bound = scan.preserve_order || scan.output_partitioning.is_some() || !scan.output_ordering.is_empty() || scan.limit.is_some();
    if is_bound || scan.file_groups.len() < 2 || !scan.file_source().is::<ParquetSource>() {
        return None;
    }
    let bytes: u64 = scan.file_groups.iter().flat_map(FileGroup::iter).map(PartitionedFile::effective_size).sum();
    let piece = (bytes / (scan.file_groups.len() as u64 * PIECES_PER_TASK)).clamp(LEAST_PIECE_BYTES, LARGEST_PIECE_BYTES);
    let groups: Vec<FileGroup> = scan.file_groups.iter().map(|group| FileGroup::new(pieces(group, piece))).collect();
    let is_cut = groups.iter().zip(&scan.file_groups).any(|(cut, whole)| cut.len() > whole.len());
    is_cut.then(|| FileScanConfigBuilder::from(scan.clone()).with_file_groups(groups).build())
}

/// Every file of a group as pieces of about equal size that are at most `largest` bytes, in order.
fn pieces(group: &FileGroup, largest: u64) -> Vec<PartitionedFile> {
    let mut pieces = Vec::new();
    for file in group.iter() {
        let bytes = file.effective_size();
        let start = file.range.as_ref().map_or(0, |range| range.start);
        let count = bytes.div_ceil(largest).max(1);
        if count == 1 {
            pieces.push(file.clone());
            continue;
        }
        let end_of = |piece: u64| start + (bytes * piece / count) as i64;
        pieces.extend((0..count).map(|piece| file.clone().with_range(end_of(piece), end_of(piece + 1))));
    }
    pieces
}

#[cfg(test)]
mod tests;
