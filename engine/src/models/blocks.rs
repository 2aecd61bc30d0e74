//! The rows of distributed trainings that this process keeps in memory from one pass to the next.
//!
//! A block is known by its run, its layout and the files and ranges that its rows came from, so that a task finds what an earlier one has read wherever the
//! scheduler happened to put it, and reads the files where nobody has. Nothing depends on a block being here: who takes blocks out and does not put them
//! back, because a pass failed or was cancelled, only causes work. All of them together stay within a budget; what does not fit is read anew in each pass.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation};
use orrery_models::{Block, Trainer};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::session::machine_memory_bytes;

/// How long blocks are kept that nobody asks for.
const KEEP: Duration = Duration::from_secs(60);
/// Blocks that were asked for within this time are not dropped in favour of those of another run.
const IN_USE: Duration = Duration::from_secs(10);
/// The share of a process's memory that blocks may take where each task has a pool of its own, beside what these are given.
const SHARE_OF_MEMORY: f64 = 0.4;
/// The share of a machine's memory that tasks are given where nothing else is said.
const SHARE_OF_MACHINE: f64 = 0.7;
/// A block that is read anew in each pass takes so much memory at least, and at most.
const CHUNK_BYTES: std::ops::RangeInclusive<usize> = 1 << 20..=256 << 20;

/// Where all tasks share one pool, as in one process, that alone decides.
static BUDGET_BYTES: AtomicUsize = AtomicUsize::new(usize::MAX);
static CLAIMED_BYTES: AtomicUsize = AtomicUsize::new(0);
static KEPT: LazyLock<Mutex<HashMap<Key, Entry>>> = LazyLock::new(Mutex::default);
static TRAINERS: LazyLock<Mutex<HashMap<String, (Arc<dyn Trainer>, Instant)>>> = LazyLock::new(Mutex::default);
/// Partitions that are worked on at the same time.
static AT_WORK: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(cores())));

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Keeps blocks within a share of the memory that this process gives to tasks, `None` where that follows the machine's; for processes whose tasks have pools
/// of their own, which know nothing of what other tasks have left behind.
pub fn keep_within(memory_limit_bytes: Option<u64>) {
    let machine = || machine_memory_bytes().map(|bytes| (bytes as f64 * SHARE_OF_MACHINE) as u64);
    if let Some(limit) = memory_limit_bytes.or_else(machine) {
        BUDGET_BYTES.store((limit as f64 * SHARE_OF_MEMORY) as usize, Ordering::Relaxed);
    }
}

/// What blocks hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The training.
    pub run_id: String,
    /// Place among the trainer's layouts.
    pub layout: usize,
    /// Files and ranges.
    pub rows: String,
}

/// The blocks of one partition with the memory that was set aside for them.
pub(crate) struct Held {
    pub blocks: Vec<Box<dyn Block>>,
    pub claims: Vec<Claim>,
}

struct Entry {
    held: Held,
    asked: Instant,
}

/// A part of the budget, given back when dropped.
pub(crate) struct Claim {
    bytes: usize,
    /// Where the process has one pool for everything.
    _reservation: MemoryReservation,
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED_BYTES.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Waits until few enough others are at work.
pub(crate) async fn turn() -> Option<tokio::sync::OwnedSemaphorePermit> {
    Arc::clone(&AT_WORK).acquire_owned().await.ok()
}

/// Takes blocks out.
pub(crate) fn take(key: &Key) -> Option<Held> {
    KEPT.lock().remove(key).map(|entry| entry.held)
}

/// Puts blocks back, or new ones in.
pub(crate) fn put(key: Key, held: Held) {
    let entry = Entry { held, asked: Instant::now() };
    let replaced = KEPT.lock().insert(key, entry);
    drop(replaced);
}

/// Sets a part of the budget aside for a block, for which memory has been reserved already; `None` where there is not enough left. Then the reservation is
/// given back to whoever asks next.
pub(crate) fn claim(run_id: &str, bytes: usize, reservation: MemoryReservation, pool: &Arc<dyn MemoryPool>) -> Option<Claim> {
    if let MemoryLimit::Finite(limit) = pool.memory_limit()
        && pool.reserved() > limit / 4 * 3
    {
        return None;
    }
    if !try_claim(bytes) {
        drop(drop_idle(run_id, bytes));
        if !try_claim(bytes) {
            return None;
        }
    }
    Some(Claim { bytes, _reservation: reservation })
}

fn try_claim(bytes: usize) -> bool {
    let budget = BUDGET_BYTES.load(Ordering::Relaxed);
    let claimed = CLAIMED_BYTES
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |claimed| claimed.checked_add(bytes).filter(|claimed| *claimed <= budget));
    claimed.is_ok()
}

/// Takes out blocks of other runs that are not in use, those first that were not asked for longest, until so many bytes are free.
fn drop_idle(run_id: &str, bytes: usize) -> Vec<Held> {
    let mut kept = KEPT.lock();
    let mut idle: Vec<(Instant, Key)> = kept
        .iter()
        .filter(|(key, entry)| key.run_id != run_id && entry.asked.elapsed() > IN_USE)
        .map(|(key, entry)| (entry.asked, key.clone()))
        .collect();
    idle.sort_by_key(|(asked, _)| *asked);
    let (mut freed, mut dropped) = (0, Vec::new());
    for (_, key) in idle {
        if freed >= bytes {
            break;
        }
        if let Some(entry) = kept.remove(&key) {
            freed += entry.held.claims.iter().map(|claim| claim.bytes).sum::<usize>();
            dropped.push(entry.held);
        }
    }
    dropped
}

/// How many bytes a block may have that is not kept.
pub(crate) fn chunk_bytes(pool: &Arc<dyn MemoryPool>) -> usize {
    let granted = match pool.memory_limit() {
        MemoryLimit::Finite(limit) => limit,
        _ => BUDGET_BYTES.load(Ordering::Relaxed),
    };
    (granted / (4 * cores())).clamp(*CHUNK_BYTES.start(), *CHUNK_BYTES.end())
}

/// The trainer of a run, if this process has made it.
pub(crate) fn trainer(run_id: &str) -> Option<Arc<dyn Trainer>> {
    let mut trainers = TRAINERS.lock();
    let (trainer, asked) = trainers.get_mut(run_id)?;
    *asked = Instant::now();
    Some(Arc::clone(trainer))
}

/// Keeps a run's trainer for the tasks that come.
pub(crate) fn put_trainer(run_id: &str, trainer: Arc<dyn Trainer>) {
    TRAINERS.lock().insert(run_id.to_string(), (trainer, Instant::now()));
}

/// Drops what is kept of a run that has ended.
pub(crate) fn end(run_id: &str) {
    TRAINERS.lock().remove(run_id);
    let mut kept = KEPT.lock();
    let ended: Vec<Key> = kept.keys().filter(|key| key.run_id == run_id).cloned().collect();
    let ended: Vec<Entry> = ended.iter().filter_map(|key| kept.remove(key)).collect();
    drop(kept);
    drop(ended);
}

/// Looks, after a while, for what nobody has asked for any more: tasks on executors are not told that a run has ended.
pub(crate) fn forget_later() {
    tokio::spawn(async {
        tokio::time::sleep(KEEP + Duration::from_secs(1)).await;
        forget(KEEP);
    });
}

fn forget(keep: Duration) {
    TRAINERS.lock().retain(|_, (_, asked)| asked.elapsed() < keep);
    let mut kept = KEPT.lock();
    let old: Vec<Key> = kept.iter().filter(|(_, entry)| entry.asked.elapsed() >= keep).map(|(key, _)| key.clone()).collect();
    let old: Vec<Entry> = old.iter().filter_map(|key| kept.remove(key)).collect();
    drop(kept);
    drop(old);
}

/// Blocks of all attempts at a run.
#[cfg(test)]
pub(crate) fn kept_of(run_id: &str) -> usize {
    KEPT.lock().keys().filter(|key| key.run_id.split('/').next() == Some(run_id)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, UnboundedMemoryPool};

    fn pool(limit: Option<usize>) -> Arc<dyn MemoryPool> {
        match limit {
            Some(limit) => Arc::new(FairSpillPool::new(limit)),
            None => Arc::new(UnboundedMemoryPool::default()),
        }
    }

    fn reserved(pool: &Arc<dyn MemoryPool>, bytes: usize) -> MemoryReservation {
        let reservation = MemoryConsumer::new("blocks").register(pool);
        reservation.grow(bytes);
        reservation
    }

    fn key(run_id: &str, rows: &str) -> Key {
        Key { run_id: run_id.to_string(), layout: 0, rows: rows.to_string() }
    }

    #[test]
    fn blocks_go_with_their_run() {
        let held = || Held { blocks: Vec::new(), claims: Vec::new() };
        put(key("run-1", "a"), held());
        put(key("run-1", "b"), held());
        put(key("run-2", "a"), held());
        assert!(take(&key("run-1", "a")).is_some());
        assert!(take(&key("run-1", "a")).is_none());
        end("run-1");
        assert_eq!((kept_of("run-1"), kept_of("run-2")), (0, 1));
        end("run-2");
    }

    #[test]
    fn a_pool_that_is_nearly_full_keeps_no_blocks() {
        let pool = pool(Some(1000));
        let kept = claim("run", 500, reserved(&pool, 500), &pool);
        assert!(kept.is_some());
        assert!(claim("run", 300, reserved(&pool, 300), &pool).is_none());
        assert_eq!(pool.reserved(), 500, "what was refused is given back");
        drop(kept);
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn no_more_than_the_budget_is_claimed() {
        let pool = pool(None);
        let one = claim("run", 1, reserved(&pool, 1), &pool);
        assert!(one.is_some());
        assert!(claim("run", usize::MAX, reserved(&pool, 1), &pool).is_none());
        assert_eq!(pool.reserved(), 1);
    }

    #[test]
    fn chunks_follow_the_memory_that_is_granted() {
        assert_eq!(chunk_bytes(&pool(Some(1))), *CHUNK_BYTES.start());
        assert_eq!(chunk_bytes(&pool(Some(usize::MAX))), *CHUNK_BYTES.end());
    }
}
