//! Memory of a user's statements: a part of the process's pool, counted for him and for each of his roles that has a limit.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size};
use parking_lot::{Mutex, RwLock};

use super::limits::Share;

/// Bytes held, by user and role.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    held: Mutex<HashMap<String, Arc<AtomicUsize>>>,
}

/// What counts for the statements of a session: the limits that hold, with what is held under each.
#[derive(Debug, Clone)]
struct Counted {
    principal: String,
    held: Arc<AtomicUsize>,
    limit_bytes: usize,
}

/// A session's part of a memory pool.
#[derive(Debug)]
pub(crate) struct UserPool {
    inner: Arc<dyn MemoryPool>,
    counted: RwLock<Arc<Vec<Counted>>>,
    /// What the session holds, which moves along when limits come and go.
    own: AtomicUsize,
}

impl Accounts {
    /// The bytes that are held for a user or role.
    fn of(&self, principal: &str) -> Arc<AtomicUsize> {
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
        Arc::new(Self { inner, counted: RwLock::default(), own: AtomicUsize::new(0) })
    }

    fn set(&self, counted: Vec<Counted>) {
        let same = |a: &Counted, b: &Counted| a.principal == b.principal && a.limit_bytes == b.limit_bytes;
        let mut current = self.counted.write();
        if current.len() == counted.len() && current.iter().zip(&counted).all(|(a, b)| same(a, b)) {
            return;
        }
        let own = self.own.load(Ordering::Acquire);
        current.iter().for_each(|one| subtract(&one.held, own));
        counted.iter().for_each(|one| {
            one.held.fetch_add(own, Ordering::AcqRel);
        });
        *current = Arc::new(counted);
    }

    fn count(&self, additional: usize) {
        let counted = self.counted.read();
        self.own.fetch_add(additional, Ordering::AcqRel);
        counted.iter().for_each(|one| {
            one.held.fetch_add(additional, Ordering::AcqRel);
        });
    }

    fn discount(&self, bytes: usize) {
        let counted = self.counted.read();
        subtract(&self.own, bytes);
        counted.iter().for_each(|one| subtract(&one.held, bytes));
    }
}

fn subtract(held: &AtomicUsize, bytes: usize) {
    let _always = held.fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| Some(held.saturating_sub(bytes)));
}

impl MemoryPool for UserPool {
    fn name(&self) -> &str {
        "user"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.inner.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.inner.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.inner.grow(reservation, additional);
        self.count(additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.inner.shrink(reservation, shrink);
        self.discount(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DataFusionResult<()> {
        // Counted first, so that two who grow at the same time cannot both have the last bytes.
        self.count(additional);
        let over = {
            let counted = self.counted.read();
            counted.iter().find(|one| one.held.load(Ordering::Acquire) > one.limit_bytes).cloned()
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
            self.discount(additional);
        }
        grown
    }

    fn reserved(&self) -> usize {
        self.own.load(Ordering::Acquire)
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
        let own = self.own.load(Ordering::Acquire);
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
        assert!(accounts.held.lock().values().all(|held| held.load(Ordering::Acquire) == 0));
    }
}
