//! Memory, spill files and object stores of a session.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use orrery_lakehouse::Stores;

use super::SessionOptions;
use crate::access::UserPool;
use crate::{Blame, Error, Result};

/// How many of the largest consumers an out-of-memory error names.
const CONSUMERS_NAMED: usize = 5;
const FALLBACK_MEMORY_BYTES: usize = 4 << 30;

/// One memory pool and one folder of spill files for many sessions.
#[derive(Clone)]
pub struct SharedRuntime(Arc<RuntimeEnv>);

impl SharedRuntime {
    /// The memory and the folder that a session of these options would have alone.
    ///
    /// # Errors
    /// The scratch directory cannot be used.
    pub fn new(options: &SessionOptions) -> Result<Self> {
        Ok(Self(build(options)?))
    }
}

impl fmt::Debug for SharedRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedRuntime")
    }
}

/// The runtime of a session: that which it shares, or its own.
pub(super) fn of(options: &SessionOptions) -> Result<Arc<RuntimeEnv>> {
    match &options.runtime {
        Some(shared) => Ok(Arc::clone(&shared.0)),
        None => build(options),
    }
}

/// A runtime whose memory is a part of another's, counted for a user.
pub(super) fn of_user(shared: &RuntimeEnv) -> (Arc<RuntimeEnv>, Option<Arc<UserPool>>) {
    let pool = UserPool::within(Arc::clone(&shared.memory_pool));
    let memory_pool: Arc<dyn MemoryPool> = Arc::clone(&pool) as _;
    (Arc::new(RuntimeEnv { memory_pool, ..shared.clone() }), Some(pool))
}

/// A runtime: a bounded memory pool that makes operators spill, and no cache that could hide a changed file.
fn build(options: &SessionOptions) -> Result<Arc<RuntimeEnv>> {
    let limit = options.memory_limit_bytes.unwrap_or_else(|| machine_memory_bytes().unwrap_or(FALLBACK_MEMORY_BYTES) / 5 * 3);
    let top = NonZeroUsize::new(CONSUMERS_NAMED).unwrap_or(NonZeroUsize::MIN);
    let mode = match &options.scratch_dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(|e| Error::new(Blame::Storage, format!("scratch directory {}: {e}", dir.display())))?;
            DiskManagerMode::Directories(vec![dir.clone()])
        }
        None => DiskManagerMode::OsTmpDirectory,
    };
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(TrackConsumersPool::new(FairSpillPool::new(limit), top)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode))
        .with_object_store_registry(Arc::new(Stores::default()))
        .with_object_list_cache_limit(0)
        .build_arc()?;
    Ok(runtime)
}

/// Memory of the container if it is limited, else of the machine.
pub(crate) fn machine_memory_bytes() -> Option<usize> {
    orrery_udfs::memory::machine_bytes().and_then(|bytes| usize::try_from(bytes).ok())
}
