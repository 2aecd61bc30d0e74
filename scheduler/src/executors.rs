//! The executors that are alive, as planning needs them: asked at every statement, so kept up to date beside it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ballista_core::serde::protobuf::executor_metric::Metric;
use ballista_core::serde::scheduler::ExecutorMetadata;
use parking_lot::RwLock;
use serde::Serialize;

use crate::embed::Ballista;

const LOOKED_AT_EVERY: Duration = Duration::from_millis(500);

/// An executor that is alive.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Executor {
    /// Chosen by the executor when it started.
    pub id: String,
    /// Where other executors reach it.
    pub host: String,
    /// Its Flight port.
    pub port: u16,
    /// Partitions it works on at the same time.
    pub vcores: u32,
    /// Seconds since its last sign of life.
    pub silent_s: u64,
    /// Memory of its process.
    pub memory_bytes: u64,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Executors {
    vcores: AtomicUsize,
    alive: RwLock<Vec<Executor>>,
}

impl Executors {
    /// Vcores of all executors.
    pub fn vcores(&self) -> usize {
        self.vcores.load(Ordering::Relaxed)
    }

    /// Executors that are alive.
    pub fn count(&self) -> usize {
        self.alive.read().len()
    }

    /// Whether an executor has been heard of lately.
    pub fn is_alive(&self, id: &str) -> bool {
        self.alive.read().iter().any(|executor| executor.id == id)
    }

    /// All executors, by id.
    pub fn list(&self) -> Vec<Executor> {
        self.alive.read().clone()
    }

    /// Looks at Ballista's list until the process ends.
    pub async fn follow(&self, ballista: Ballista, timeout_s: u64) {
        let mut ticks = tokio::time::interval(LOOKED_AT_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match ballista.state.executor_manager.get_executors_state().await {
                Ok(known) => self.set(known.into_iter().filter_map(|(metadata, seen, metrics)| {
                    let memory = metrics.iter().find_map(|metric| match metric.metric {
                        Some(Metric::ProcPhysicalMemory(bytes)) => Some(bytes),
                        _ => None,
                    });
                    executor(metadata, seen, memory.unwrap_or(0)).filter(|executor| executor.silent_s < timeout_s)
                })),
                Err(error) => tracing::warn!(%error, "the list of executors cannot be read"),
            }
        }
    }

    /// Takes executors of these ids as alive.
    #[cfg(test)]
    pub fn set_for_tests(&self, ids: &[&str]) {
        let executor = |id: &&str| Executor { id: id.to_string(), host: String::new(), port: 0, vcores: 1, silent_s: 0, memory_bytes: 0 };
        self.set(ids.iter().map(executor));
    }

    fn set(&self, alive: impl Iterator<Item = Executor>) {
        let mut alive: Vec<Executor> = alive.collect();
        alive.sort_by(|a, b| a.id.cmp(&b.id));
        let before: Vec<String> = self.alive.read().iter().map(|executor| executor.id.clone()).collect();
        for executor in alive.iter().filter(|executor| !before.contains(&executor.id)) {
            tracing::info!(executor = %executor.id, host = %executor.host, vcores = executor.vcores, "executor joined");
        }
        for id in before.iter().filter(|id| !alive.iter().any(|executor| executor.id == **id)) {
            tracing::warn!(executor = %id, "executor left");
        }
        self.vcores.store(alive.iter().map(|executor| executor.vcores as usize).sum(), Ordering::Relaxed);
        *self.alive.write() = alive;
    }
}

fn executor(metadata: ExecutorMetadata, seen: Option<Duration>, memory_bytes: u64) -> Option<Executor> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(Executor {
        id: metadata.id,
        host: metadata.host,
        port: metadata.port,
        vcores: metadata.specification.vcores,
        silent_s: now.saturating_sub(seen?).as_secs(),
        memory_bytes,
    })
}
