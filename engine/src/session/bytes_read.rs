//! How much a plan reads, by the sizes of its files and of its rows in memory.

use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;

/// Bytes of the files and of the rows in memory that a plan reads; other sources count as nothing.
pub fn bytes_read(plan: &dyn ExecutionPlan) -> u64 {
    let children = plan.children();
    match children.is_empty() {
        true => source_bytes(plan).unwrap_or(0),
        false => children.into_iter().map(|child| bytes_read(child.as_ref())).sum(),
    }
}

/// Bytes that a leaf reads; `None` for one that reads neither files nor rows in memory.
pub fn source_bytes(leaf: &dyn ExecutionPlan) -> Option<u64> {
    let source = leaf.downcast_ref::<DataSourceExec>()?.data_source();
    if let Some(memory) = source.downcast_ref::<MemorySourceConfig>() {
        return Some(memory.partitions().iter().flatten().map(|batch| batch.get_array_memory_size() as u64).sum());
    }
    let files = source.downcast_ref::<FileScanConfig>()?;
    Some(files.file_groups.iter().flat_map(FileGroup::iter).map(PartitionedFile::effective_size).sum())
}
