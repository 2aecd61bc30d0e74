//! Executors that others cannot fetch rows from although they are alive: the network between two of them is cut. As long as one gets no tasks, nobody has to
//! fetch from it, and the others do its work.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::executors::Executors;

/// How long an executor gets no tasks after somebody could not reach it; then it is tried again.
const AVOIDED_FOR: Duration = Duration::from_secs(60);

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Avoided {
    executors: Arc<Executors>,
    since: Mutex<HashMap<String, Instant>>,
}

impl Avoided {
    pub fn new(executors: Arc<Executors>) -> Self {
        Self { executors, since: Mutex::default() }
    }

    /// Avoids an executor from now on, unless no other would be left: of two that cannot reach each other, one keeps working.
    pub fn report(&self, reporter_id: &str, executor_id: &str) {
        let alive = self.alive();
        let mut since = self.since.lock();
        since.retain(|_, since| since.elapsed() < AVOIDED_FOR);
        // A dead one needs no avoiding: that others cannot reach it is how it is noticed.
        let is_known = alive.contains(executor_id) && !since.contains_key(executor_id);
        let others_left = alive.iter().any(|id| id != executor_id && !since.contains_key(id));
        if is_known && others_left {
            tracing::warn!(executor = %executor_id, by = %reporter_id, "executor cannot be reached by another and gets no tasks for a while");
            since.insert(executor_id.to_string(), Instant::now());
        }
    }

    /// Executors that get no tasks now; none if there would be no other.
    pub fn now(&self) -> HashSet<String> {
        let mut since = self.since.lock();
        if since.is_empty() {
            return HashSet::new();
        }
        since.retain(|_, since| since.elapsed() < AVOIDED_FOR);
        if self.alive().iter().all(|id| since.contains_key(id)) {
            since.clear();
        }
        since.keys().cloned().collect()
    }

    fn alive(&self) -> HashSet<String> {
        self.executors.list().into_iter().map(|executor| executor.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_two_that_cannot_reach_each_other_keeps_working() {
        let executors = Arc::new(Executors::default());
        executors.set_for_tests(&["a", "b"]);
        let avoided = Avoided::new(Arc::clone(&executors));
        assert!(avoided.now().is_empty());
        avoided.report("a", "b");
        avoided.report("b", "a");
        avoided.report("a", "gone");
        assert_eq!(avoided.now(), HashSet::from(["b".to_string()]));
        // When the other one dies, it is better than nobody.
        executors.set_for_tests(&["b"]);
        assert!(avoided.now().is_empty());
    }
}
