//! Tasks of a write that are still running in this process. A cancelled query returns before its tasks have stopped; the files of such a task can only be
//! removed once it has.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// How long an abandoned write waits for its tasks. A task reacts within a few batches, so this is for machines that hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// Counts the tasks of one write. Not part of what is shipped: another process has a count of its own, which nobody waits for.
#[derive(Debug, Clone)]
pub(super) struct LiveTasks(Arc<watch::Sender<usize>>);

impl Default for LiveTasks {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl LiveTasks {
    /// Counts as one task until dropped.
    pub fn enter(&self) -> LiveTask {
        self.0.send_modify(|count| *count += 1);
        LiveTask(self.clone())
    }

    /// Waits until no task is left; returns whether that was so within patience.
    pub async fn ended(&self) -> bool {
        let mut count = self.0.subscribe();
        let ended = tokio::time::timeout(PATIENCE, count.wait_for(|count| *count == 0)).await;
        ended.is_ok_and(|changed| changed.is_ok())
    }
}

/// A task that is running, or the clean-up after it.
#[derive(Debug)]
pub(super) struct LiveTask(LiveTasks);

impl Clone for LiveTask {
    fn clone(&self) -> Self {
        self.0.enter()
    }
}

impl Drop for LiveTask {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}
