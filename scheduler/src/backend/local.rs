//! Which plans the coordinator runs itself: those that read next to nothing, and those that no executor could.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use orrery_engine::operators::deduplicate::RepeatedRowsExec;
use orrery_engine::session::source_bytes;

/// Operators whose parts share memory of one process.
const ONE_PROCESS_ONLY: [&str; 3] = ["RecursiveQueryExec", "WorkTableExec", "LazyMemoryExec"];

/// Whether a plan reads fewer than `limit` bytes in all, or holds a part that cannot be divided among processes.
pub(super) fn runs_in_coordinator(plan: &Arc<dyn ExecutionPlan>, limit: u64) -> bool {
    let mut bytes = 0;
    is_bound_here(plan, &mut bytes) || bytes < limit
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

/// Bytes that a leaf reads; `None` for one that the scheduler could not divide among tasks. Rows that a deduplication finds while it runs have a plan of their
/// own by the time that the rest is divided.
fn leaf_bytes(leaf: &Arc<dyn ExecutionPlan>) -> Option<u64> {
    if leaf.is::<EmptyExec>() || leaf.is::<PlaceholderRowExec>() || leaf.is::<RepeatedRowsExec>() {
        return Some(0);
    }
    source_bytes(leaf.as_ref())
}
