//! Which plans the coordinator runs itself: those that read next to nothing, and those that no executor could.

use std::any::Any;
use std::sync::Arc;

use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;

/// Operators whose parts share memory of one process.
const ONE_PROCESS_ONLY: [&str; 3] = ["RecursiveQueryExec", "WorkTableExec", "LazyMemoryExec"];

/// Stands for rows that a deduplication finds while it runs; it has a plan of its own by the time that the rest is divided.
const REPEATED_ROWS: &str = "RepeatedRowsExec";

/// Whether a plan reads fewer than `limit` bytes in all, or holds a part that cannot be divided among processes.
pub(super) fn runs_in_coordinator(plan: &Arc<dyn ExecutionPlan>, limit: u64) -> bool {
    let mut bytes = 0;
    is_bound_here(plan, &mut bytes) || bytes < limit
}

/// How much the files and rows in memory have that a plan reads.
pub(super) fn bytes_read(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let children = plan.children();
    if children.is_empty() { leaf_bytes(plan).unwrap_or(0) } else { children.into_iter().map(bytes_read).sum() }
}

fn is_bound_here(plan: &Arc<dyn ExecutionPlan>, bytes: &mut u64) -> bool {
    if ONE_PROCESS_ONLY.contains(&plan.name()) {
        return true;
    }
    let children = plan.children();
    if children.is_empty() {
        return match leaf_bytes(plan) {
            Some(read) => {
                *bytes += read;
                false
            }
            None => true,
        };
    }
    children.into_iter().any(|child| is_bound_here(child, bytes))
}

/// Bytes that a leaf reads; `None` for one that the scheduler could not divide among tasks.
fn leaf_bytes(leaf: &Arc<dyn ExecutionPlan>) -> Option<u64> {
    if leaf.is::<EmptyExec>() || leaf.is::<PlaceholderRowExec>() || leaf.name() == REPEATED_ROWS {
        return Some(0);
    }
    let source = leaf.downcast_ref::<DataSourceExec>()?.data_source().as_ref() as &dyn Any;
    if let Some(memory) = source.downcast_ref::<MemorySourceConfig>() {
        return Some(memory.partitions().iter().flatten().map(|batch| batch.get_array_memory_size() as u64).sum());
    }
    let files = source.downcast_ref::<FileScanConfig>()?;
    Some(files.file_groups.iter().flat_map(FileGroup::iter).map(PartitionedFile::effective_size).sum())
}
