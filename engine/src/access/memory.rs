//! Memory of a user's statements: a part of the process's pool, counted for him and for each of his roles that has a limit.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size};
use parking_lot::{Mutex, RwLock};

use super::limits::Share;

/// What is held, by user and role.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    held: Mutex<HashMap<String, Arc<Mutex<Held>>>>,
}

/// What is held of memory, and by how many.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Held {
    bytes: usize,
    /// Those of the bytes that an operator holds that can spill.
    spillable_bytes: usize,
    /// Operators that can spill, whether they hold anything or not.
    spillers: usize,
}

impl Held {
    fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.spillable_bytes += other.spillable_bytes;
        self.spillers += other.spillers;
    }

    fn subtract(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_sub(other.bytes);
        self.spillable_bytes = self.spillable_bytes.saturating_sub(other.spillable_bytes);
        self.spillers = self.spillers.saturating_sub(other.spillers);
    }
}

/// What counts for the statements of a session: the limits that hold, with what is held under each.
#[derive(Debug, Clone)]
struct Counted {
    principal: String,
    held: Arc<Mutex<Held>>,
    limit_bytes: usize,
}

impl Counted {
    /// Whether an operator that would hold so much has more than it may. Who can spill shares what the others leave evenly with all who can: one that
    /// took everything would have the next one fail before it had anything to spill.
    fn is_over(&self, can_spill: bool, would_hold: usize) -> bool {
        let held = *self.held.lock();
        let others = held.bytes.saturating_sub(held.spillable_bytes);
        let share = self.limit_bytes.saturating_sub(others) / held.spillers.max(1);
        held.bytes > self.limit_bytes || (can_spill && would_hold > share)
    }
}

/// A session's part of a memory pool.
#[derive(Debug)]
pub(crate) struct UserPool {
    inner: Arc<dyn MemoryPool>,
    counted: RwLock<Arc<Vec<Counted>>>,
    /// What the session holds, which moves along when limits come and go.
    own: Mutex<Held>,
}

impl Accounts {
    /// What is held for a user or role.
    fn of(&self, principal: &str) -> Arc<Mutex<Held>> {
        Arc::clone(self.held.lock().entry(principal.to_string()).or_default())
    }

    /// Has a session counted under the limits that hold now.
    pub fn apply(&self, shares: &[Share], pool: &UserPool) {
        let limited = shares.iter().filter_map(|share| {
            let limit_bytes = usize::try_from(share.memory_bytes?).unwrap_or(usize::MAX);
            Some(Counted { principal: share.principal.clone(), held: self.of(&share.principal), limit_bytes })
        });
        pool.set(limited.collect());
    }
}

impl UserPool {
    /// A part of this pool, without limits as yet.
    pub fn within(inner: Arc<dyn MemoryPool>) -> Arc<Self> {
        Arc::new(Self { inner, counted: RwLock::default(), own: Mutex::default() })
    }

    fn set(&self, counted: Vec<Counted>) {
        let same = |a: &Counted, b: &Counted| a.principal == b.principal && a.limit_bytes == b.limit_bytes;
        let mut current = self.counted.write();
        if current.len() == counted.len() && current.iter().zip(&counted).all(|(a, b)| same(a, b)) {
            return;
        }
        let own = *self.own.lock();
        current.iter().for_each(|one| one.held.lock().subtract(own));
        counted.iter().for_each(|one| one.held.lock().add(own));
        *current = Arc::new(counted);
    }

    fn count(&self, more: Held) {
        let counted = self.counted.read();
        self.own.lock().add(more);
        counted.iter().for_each(|one| one.held.lock().add(more));
    }

    fn discount(&self, less: Held) {
        let counted = self.counted.read();
        self.own.lock().subtract(less);
        counted.iter().for_each(|one| one.held.lock().subtract(less));
    }
}

/// Bytes of an operator.
fn bytes_of(reservation: &MemoryReservation, bytes: usize) -> Held {
    let spillable_bytes = if reservation.consumer().can_spill() { bytes } else { 0 };
    Held { bytes, spillable_bytes, spillers: 0 }
}

/// An operator that has nothing yet.
fn operator(consumer: &MemoryConsumer) -> Held {
    Held { spillers: usize::from(consumer.can_spill()), ..Held::default() }
}

impl MemoryPool for UserPool {
    fn name(&self) -> &str {
        "user"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.inner.register(consumer);
        self.count(operator(consumer));
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.inner.unregister(consumer);
        self.discount(operator(consumer));
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.inner.grow(reservation, additional);
        self.count(bytes_of(reservation, additional));
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.inner.shrink(reservation, shrink);
        self.discount(bytes_of(reservation, shrink));
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DataFusionResult<()> {
        // Counted first, so that two who grow at the same time cannot both have the last bytes.
        let more = bytes_of(reservation, additional);
        self.count(more);
        let over = {
            let (can_spill, would_hold) = (reservation.consumer().can_spill(), reservation.size() + additional);
            self.counted.read().iter().find(|one| one.is_over(can_spill, would_hold)).cloned()
        };
        let grown = match over {
            Some(one) => Err(DataFusionError::ResourcesExhausted(format!(
                "{} more for {} would be above the memory limit of {}, {}",
                human_readable_size(additional),
                reservation.consumer().name(),
                one.principal,
                human_readable_size(one.limit_bytes)
            ))),
            None => self.inner.try_grow(reservation, additional),
        };
        if grown.is_err() {
            self.discount(more);
        }
        grown
    }

    fn reserved(&self) -> usize {
        self.own.lock().bytes
    }

    fn memory_limit(&self) -> MemoryLimit {
        let least = self.counted.read().iter().map(|one| one.limit_bytes).min();
        match (self.inner.memory_limit(), least) {
            (MemoryLimit::Finite(limit), Some(least)) => MemoryLimit::Finite(limit.min(least)),
            (_, Some(least)) => MemoryLimit::Finite(least),
            (limit, None) => limit,
        }
    }
}

impl fmt::Display for UserPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user(used: {}, within: {})", human_readable_size(self.reserved()), self.inner)
    }
}

impl Drop for UserPool {
    fn drop(&mut self) {
        let own = *self.own.lock();
        self.discount(own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    fn share(principal: &str, memory_bytes: u64) -> Share {
        Share { principal: principal.to_string(), max_statements: None, memory_bytes: Some(memory_bytes) }
    }

    #[test]
    fn what_one_session_holds_another_of_the_same_role_cannot_have() {
        let accounts = Accounts::default();
        let inner: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(10_000));
        let (ann, ben) = (UserPool::within(Arc::clone(&inner)), UserPool::within(Arc::clone(&inner)));
        accounts.apply(&[share("analysts", 1_000), share("ann", 600)], &ann);
        accounts.apply(&[share("analysts", 1_000)], &ben);
        let reserve = |pool: &Arc<UserPool>| MemoryConsumer::new("sort").register(&(Arc::clone(pool) as Arc<dyn MemoryPool>));
        let (of_ann, of_ben) = (reserve(&ann), reserve(&ben));
        of_ann.try_grow(600).unwrap();
        let refused = of_ann.try_grow(1).unwrap_err().strip_backtrace();
        assert!(refused.contains("memory limit of ann"), "{refused}");
        of_ben.try_grow(400).unwrap();
        assert!(of_ben.try_grow(1).unwrap_err().strip_backtrace().contains("memory limit of analysts"));
        drop(of_ann);
        of_ben.try_grow(600).unwrap();
        accounts.apply(&[], &ben);
        of_ben.try_grow(5_000).unwrap();
        drop(of_ben);
        assert_eq!((ann.reserved(), ben.reserved(), inner.reserved()), (0, 0, 0));
        assert!(accounts.held.lock().values().all(|held| *held.lock() == Held::default()));
    }

    #[test]
    fn who_can_spill_leaves_room_for_the_others() {
        let accounts = Accounts::default();
        let inner: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(10_000));
        let pool = UserPool::within(Arc::clone(&inner));
        accounts.apply(&[share("ann", 1_000)], &pool);
        let pool_of_all = || Arc::clone(&pool) as Arc<dyn MemoryPool>;
        let sort = |name: &str| MemoryConsumer::new(name).with_can_spill(true).register(&pool_of_all());
        let (one, other) = (sort("one"), sort("other"));
        one.try_grow(500).unwrap();
        assert!(one.try_grow(1).is_err(), "half is the other's");
        other.try_grow(400).unwrap();
        let table = MemoryConsumer::new("table").register(&pool_of_all());
        table.try_grow(100).unwrap();
        assert!(other.try_grow(100).is_err(), "the table's bytes are nobody's to share");
        drop(one);
        other.try_grow(500).unwrap();
        drop((other, table));
        assert_eq!((*pool.own.lock(), inner.reserved()), (Held::default(), 0));
    }
}
