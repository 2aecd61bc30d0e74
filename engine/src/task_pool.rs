//! The memory of a statement in one process or of a task on an executor, which also tells it that it was cancelled.
//!
//! Sorting and spilling gigabytes goes on for minutes without ever waiting, so the thread sees neither that its work was cancelled nor any other task, the
//! one that would tell it included. What such work does all the time is to ask for memory. Every now and then it is made to let others run, and once it
//! is cancelled it gets no more.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_util::sync::CancellationToken;

use crate::Error;

/// How long a thread may go on before others get a turn.
const TURN_MS: u64 = 100;
/// How long it takes at most for another thread to wake up.
const HANDING_OVER: Duration = Duration::from_micros(200);

/// See the module documentation.
#[derive(Debug)]
pub struct TaskPool {
    beneath: Arc<dyn MemoryPool>,
    cancelled: CancellationToken,
    started: Instant,
    /// Milliseconds since the start at which others last had a turn.
    last_turn_ms: AtomicU64,
}

impl TaskPool {
    /// The context with a pool that gives what its own would, until the work is cancelled; then it answers that it was interrupted.
    ///
    /// # Errors
    /// The runtime environment cannot be made.
    pub fn within(context: Arc<TaskContext>, cancelled: CancellationToken) -> Result<Arc<TaskContext>> {
        let beneath = Arc::clone(context.memory_pool());
        let pool = Self { beneath, cancelled, started: Instant::now(), last_turn_ms: AtomicU64::new(0) };
        let runtime = RuntimeEnvBuilder::from_runtime_env(&context.runtime_env()).with_memory_pool(Arc::new(pool)).build_arc()?;
        Ok(Arc::new(Self::own(context).with_runtime(runtime)))
    }

    /// The context as one that can be changed; copied if others have it.
    pub fn own(context: Arc<TaskContext>) -> TaskContext {
        Arc::try_unwrap(context).unwrap_or_else(|shared| {
            TaskContext::new(
                shared.task_id(),
                shared.session_id(),
                shared.session_config().clone(),
                shared.scalar_functions().clone(),
                shared.higher_order_functions().clone(),
                shared.aggregate_functions().clone(),
                shared.window_functions().clone(),
                shared.runtime_env(),
            )
        })
    }

    /// Lets others run, and tells whether to go on; for work that asks for no memory.
    ///
    /// # Errors
    /// The work was cancelled.
    pub fn check(&self) -> Result<()> {
        self.let_others_run();
        if self.cancelled.is_cancelled() { Err(DataFusionError::External(Box::new(Error::interrupted()))) } else { Ok(()) }
    }

    fn let_others_run(&self) {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last_ms = self.last_turn_ms.load(Ordering::Relaxed);
        // A thread that runs nobody else's work has no turn to give.
        let is_due = now_ms.saturating_sub(last_ms) >= TURN_MS
            && Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
            && self.last_turn_ms.compare_exchange(last_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_due {
            // Another thread takes over what waits for this one, if it is given the time to wake up: whoever comes back at once takes all of it back.
            tokio::task::block_in_place(|| std::thread::sleep(HANDING_OVER));
        }
    }
}

impl fmt::Display for TaskPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.beneath, f)
    }
}

impl MemoryPool for TaskPool {
    fn name(&self) -> &str {
        self.beneath.name()
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.beneath.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.beneath.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.beneath.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.beneath.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.check()?;
        self.beneath.try_grow(reservation, additional)
    }

    fn reserved(&self) -> usize {
        self.beneath.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.beneath.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn pool_of(context: &TaskContext) -> &Arc<dyn MemoryPool> {
        context.memory_pool()
    }

    #[tokio::test]
    async fn gives_memory_until_the_task_is_cancelled() {
        let cancelled = CancellationToken::new();
        let context = TaskPool::within(Arc::default(), cancelled.clone()).unwrap();
        let reservation = MemoryConsumer::new("sort").register(pool_of(&context));
        reservation.try_grow(100).unwrap();
        assert_eq!(pool_of(&context).reserved(), 100);
        cancelled.cancel();
        let refused = Error::from(reservation.try_grow(1).unwrap_err());
        assert_eq!(refused.blame, crate::Blame::Interrupted, "{refused}");
        drop(reservation);
        assert_eq!(pool_of(&context).reserved(), 0);
    }

    /// One thread, which never waits: without turns the other task would never run.
    #[test]
    fn others_run_beside_work_that_never_waits() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let cancelled = CancellationToken::new();
        let context = TaskPool::within(Arc::default(), cancelled.clone()).unwrap();
        let sort = runtime.spawn(async move {
            let reservation = MemoryConsumer::new("sort").register(pool_of(&context));
            let deadline = Instant::now() + Duration::from_secs(30);
            while Instant::now() < deadline {
                if reservation.try_grow(1).is_err() {
                    return true;
                }
            }
            false
        });
        runtime.spawn(async move { cancelled.cancel() });
        assert!(runtime.block_on(sort).unwrap());
    }
}
