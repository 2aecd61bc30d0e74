//! What runs on a server, for whom, and who is next: a statement waits until its user, his roles and the server have room for it. Of those who wait and have
//! room, the one goes first whose user has least running, and among these the one who came first: a user's hundred statements do not hold up another's one. No
//! user has more than half of the room.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::limits::Share;
use crate::{Blame, Error, Result};

/// How much runs at the same time, and how long one waits for a turn.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Statements of all users together.
    pub max_statements: u32,
    /// After so long, a statement that waits is refused.
    pub queue_timeout: Duration,
}

impl Capacity {
    /// Statements of one user: half of all, so that nobody keeps everybody else out.
    fn most_of_one(&self) -> u64 {
        u64::from(self.max_statements.div_ceil(2))
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self { max_statements: 100, queue_timeout: Duration::from_secs(300) }
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Workload {
    capacity: Capacity,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: u32,
    /// Statements by user and role.
    by_principal: HashMap<String, u64>,
    waiting: Vec<Waiting>,
    next_number: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    user: String,
    shares: Vec<Share>,
    go: oneshot::Sender<()>,
}

/// Room for one statement, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    workload: Arc<Workload>,
    principals: Vec<String>,
    /// Whether there is anything to give back.
    is_taken: bool,
}

/// Somebody waits: his place is given up with this, and so is a turn that he was given and has not taken.
struct Queued {
    workload: Arc<Workload>,
    number: u64,
    slot: Option<Slot>,
}

impl Workload {
    pub fn new(capacity: Capacity) -> Arc<Self> {
        Arc::new(Self { capacity, state: Mutex::default() })
    }

    /// Waits for room.
    ///
    /// # Errors
    /// There was none for too long.
    pub async fn enter(self: &Arc<Self>, user: &str, shares: &[Share]) -> Result<Slot> {
        let (go, turn) = oneshot::channel();
        let number = {
            let mut state = self.state.lock();
            let number = state.next_number;
            state.next_number += 1;
            state.waiting.push(Waiting { number, user: user.to_string(), shares: shares.to_vec(), go });
            state.serve(&self.capacity);
            number
        };
        let slot = Slot { workload: Arc::clone(self), principals: principals(user, shares).collect(), is_taken: true };
        let mut queued = Queued { workload: Arc::clone(self), number, slot: Some(slot) };
        match tokio::time::timeout(self.capacity.queue_timeout, turn).await {
            Ok(Ok(())) => queued.slot.take().ok_or_else(|| Error::new(Blame::Bug, "a turn was given twice")),
            _ => Err(self.full(user, shares)),
        }
    }

    fn full(&self, user: &str, shares: &[Share]) -> Error {
        let state = self.state.lock();
        let whose = shares.iter().find(|share| !state.has_room(share));
        let limit = match whose {
            Some(share) => format!("{} may run {} statements at the same time", share.principal, share.max_statements.unwrap_or(0)),
            None if state.running_of(user) >= self.capacity.most_of_one() => {
                let (most, all) = (self.capacity.most_of_one(), self.capacity.max_statements);
                format!("nobody may run more than half of the statements that the server runs at the same time, which are {most} of {all}")
            }
            None => format!("the server runs {} statements at the same time", self.capacity.max_statements),
        };
        let waited = self.capacity.queue_timeout.as_secs();
        Error::new(Blame::Resources, format!("a statement of {user} waited {waited} s for its turn: {limit}"))
            .hint("results that are not read to their end count as running")
    }
}

impl State {
    fn has_room(&self, share: &Share) -> bool {
        share.max_statements.is_none_or(|most| self.running_of(&share.principal) < most)
    }

    fn running_of(&self, user: &str) -> u64 {
        self.by_principal.get(user).copied().unwrap_or(0)
    }

    /// Gives turns to those who have room.
    fn serve(&mut self, capacity: &Capacity) {
        while self.running < capacity.max_statements {
            let most = capacity.most_of_one();
            let fits =
                |waiting: &&Waiting| self.running_of(&waiting.user) < most && waiting.shares.iter().all(|share| self.has_room(share));
            let next = self.waiting.iter().filter(fits).min_by_key(|waiting| (self.running_of(&waiting.user), waiting.number));
            let Some(number) = next.map(|waiting| waiting.number) else { return };
            let Some(at) = self.waiting.iter().position(|waiting| waiting.number == number) else { return };
            let waiting = self.waiting.swap_remove(at);
            self.running += 1;
            for principal in principals(&waiting.user, &waiting.shares) {
                *self.by_principal.entry(principal).or_default() += 1;
            }
            // Who does not listen any more gives the turn back.
            let _ = waiting.go.send(());
        }
    }

    fn give_back(&mut self, principals: &[String]) {
        self.running -= 1;
        for principal in principals {
            if let Some(count) = self.by_principal.get_mut(principal) {
                *count -= 1;
                if *count == 0 {
                    self.by_principal.remove(principal);
                }
            }
        }
    }
}

fn principals(user: &str, shares: &[Share]) -> impl Iterator<Item = String> {
    let others: Vec<String> = shares.iter().map(|share| share.principal.clone()).filter(|principal| principal != user).collect();
    std::iter::once(user.to_string()).chain(others)
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.is_taken {
            return;
        }
        let mut state = self.workload.state.lock();
        state.give_back(&self.principals);
        state.serve(&self.workload.capacity);
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        let Some(mut slot) = self.slot.take() else { return };
        let mut state = self.workload.state.lock();
        let count = state.waiting.len();
        state.waiting.retain(|waiting| waiting.number != self.number);
        // Who still waited never had a turn to give back.
        slot.is_taken = state.waiting.len() == count;
        drop(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(principal: &str, most: u64) -> Share {
        Share { principal: principal.to_string(), max_statements: Some(most), memory_bytes: None }
    }

    fn workload(max_statements: u32, timeout_ms: u64) -> Arc<Workload> {
        Workload::new(Capacity { max_statements, queue_timeout: Duration::from_millis(timeout_ms) })
    }

    async fn is_waiting<T>(task: &tokio::task::JoinHandle<T>) -> bool {
        tokio::time::sleep(Duration::from_millis(20)).await;
        !task.is_finished()
    }

    #[tokio::test]
    async fn each_waits_for_room_of_his_own() {
        let workload = workload(10, 60_000);
        let ann = [share("ann", 1), share("analysts", 2)];
        let ben = [share("analysts", 2)];
        let first = workload.enter("ann", &ann).await.unwrap();
        let (again, of_ann) = (Arc::clone(&workload), ann.clone());
        let second = tokio::spawn(async move { again.enter("ann", &of_ann).await });
        assert!(is_waiting(&second).await);
        let of_ben = workload.enter("ben", &ben).await.unwrap();
        let third = tokio::spawn({
            let workload = Arc::clone(&workload);
            async move { workload.enter("cy", &[share("analysts", 2)]).await }
        });
        assert!(is_waiting(&third).await, "the role is full");
        drop(of_ben);
        let third = third.await.unwrap().unwrap();
        drop(first);
        drop(third);
        drop(second.await.unwrap().unwrap());
        let state = workload.state.lock();
        assert_eq!((state.running, state.by_principal.len(), state.waiting.len()), (0, 0, 0));
    }

    #[tokio::test]
    async fn who_has_least_running_goes_first() {
        let workload = workload(4, 60_000);
        let mut running = Vec::new();
        for user in ["busy", "a", "b", "c"] {
            running.push(workload.enter(user, &[]).await.unwrap());
        }
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for user in ["busy", "busy", "ann"] {
            let (workload, order) = (Arc::clone(&workload), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let _slot = workload.enter(user, &[]).await.unwrap();
                order.lock().push(user);
            }));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        running.pop();
        for task in tasks {
            task.await.unwrap();
        }
        drop(running);
        assert_eq!(*order.lock(), ["ann", "busy", "busy"]);
        assert_eq!(workload.state.lock().running, 0);
    }

    #[tokio::test]
    async fn nobody_has_more_than_half() {
        let workload = workload(4, 60_000);
        let _first = workload.enter("busy", &[]).await.unwrap();
        let _second = workload.enter("busy", &[]).await.unwrap();
        let third = tokio::spawn({
            let workload = Arc::clone(&workload);
            async move { workload.enter("busy", &[]).await }
        });
        assert!(is_waiting(&third).await);
        drop(workload.enter("ann", &[]).await.unwrap());
        assert!(is_waiting(&third).await);
        third.abort();
    }

    #[tokio::test]
    async fn who_has_half_of_the_room_is_told_so() {
        let workload = workload(4, 30);
        let _running = (workload.enter("busy", &[]).await.unwrap(), workload.enter("busy", &[]).await.unwrap());
        let refused = workload.enter("busy", &[]).await.unwrap_err();
        assert!(refused.message.contains("more than half") && refused.message.contains("2 of 4"), "{refused}");
    }

    #[tokio::test]
    async fn who_waits_too_long_or_goes_away_leaves_nothing_behind() {
        let workload = workload(1, 50);
        let first = workload.enter("ann", &[]).await.unwrap();
        let refused = workload.enter("ben", &[]).await.unwrap_err();
        assert!(refused.message.contains("the server runs 1 statements"), "{refused}");
        let gone = tokio::spawn({
            let workload = Arc::clone(&workload);
            async move { workload.enter("cy", &[]).await }
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        gone.abort();
        assert!(gone.await.is_err());
        assert_eq!(workload.state.lock().waiting.len(), 0);
        drop(first);
        drop(workload.enter("ben", &[]).await.unwrap());
        assert_eq!(workload.state.lock().running, 0);
    }
}
