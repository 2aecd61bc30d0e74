//! Slows down who guesses: after a few failures in a row, an address has to wait before it may try a user again, twice as long after each further failure.
//!
//! Three counts go side by side: of a user from an address, of an address whatever the user, and of a user wherever from. The last is generous and short, so that
//! a stranger who fails on purpose cannot lock a user out for long.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Counts kept at most; the oldest go.
const COUNTS_MAX: usize = 100_000;
/// A count is forgotten after so long without a failure.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15 * 60);

/// How many failures are free, and the longest wait after more.
#[derive(Debug, Clone, Copy)]
struct Limit {
    free: u32,
    longest: Duration,
}

const USER_FROM_ADDRESS: Limit = Limit { free: 5, longest: Duration::from_secs(300) };
/// Many users may share an address, so it is not closed for long.
const ADDRESS: Limit = Limit { free: 50, longest: Duration::from_secs(60) };
const USER: Limit = Limit { free: 100, longest: Duration::from_secs(10) };

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    UserFromAddress(String, String),
    Address(String),
    User(String),
}

#[derive(Debug, Clone, Copy)]
struct Count {
    failures: u32,
    last: Instant,
    until: Instant,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    counts: Mutex<HashMap<Key, Count>>,
}

/// What an address counts as: of IPv6 the network, of which anybody has addresses without end.
fn network(address: &str) -> String {
    match address.parse::<Ipv6Addr>() {
        Ok(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_string()
        }
        Err(_) => address.to_string(),
    }
}

fn keys(user: Option<&str>, address: &str) -> Vec<(Key, Limit)> {
    let address = &network(address);
    let mut keys = vec![(Key::Address(address.to_string()), ADDRESS)];
    if let Some(user) = user {
        keys.push((Key::UserFromAddress(user.to_string(), address.to_string()), USER_FROM_ADDRESS));
        keys.push((Key::User(user.to_string()), USER));
    }
    keys
}

impl Throttle {
    /// How long an attempt still has to wait; `None`: it may be made.
    pub fn wait(&self, user: Option<&str>, address: &str, now: Instant) -> Option<Duration> {
        let counts = self.counts.lock();
        let left = |(key, _): (Key, Limit)| counts.get(&key)?.until.checked_duration_since(now).filter(|left| !left.is_zero());
        keys(user, address).into_iter().filter_map(left).max()
    }

    /// An attempt failed.
    pub fn failed(&self, user: Option<&str>, address: &str, now: Instant) {
        let mut counts = self.counts.lock();
        for (key, limit) in keys(user, address) {
            let count = counts.entry(key).or_insert(Count { failures: 0, last: now, until: now });
            if now.duration_since(count.last) > FORGOTTEN_AFTER {
                count.failures = 0;
            }
            count.failures = count.failures.saturating_add(1);
            count.last = now;
            if let Some(beyond) = count.failures.checked_sub(limit.free) {
                let wait = Duration::from_secs(1u64.checked_shl(beyond.min(20)).unwrap_or(u64::MAX));
                count.until = now + wait.min(limit.longest);
            }
        }
        if counts.len() > COUNTS_MAX {
            counts.retain(|_, count| now.duration_since(count.last) <= FORGOTTEN_AFTER);
            if counts.len() > COUNTS_MAX {
                let mut times: Vec<Instant> = counts.values().map(|count| count.last).collect();
                let (_, middle, _) = times.select_nth_unstable(COUNTS_MAX / 2);
                let middle = *middle;
                counts.retain(|_, count| count.last > middle);
            }
        }
    }

    /// An attempt succeeded: the user is who he says he is, from this address.
    pub fn succeeded(&self, user: &str, address: &str) {
        self.counts.lock().remove(&Key::UserFromAddress(user.to_string(), network(address)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for _ in 0..4 {
            throttle.failed(Some("ann"), "a", start);
            assert_eq!(throttle.wait(Some("ann"), "a", start), None);
        }
        throttle.failed(Some("ann"), "a", start);
        assert_eq!(throttle.wait(Some("ann"), "a", start), Some(Duration::from_secs(1)));
        assert_eq!(throttle.wait(Some("ann"), "b", start), None, "from another address");
        assert_eq!(throttle.wait(Some("bob"), "a", start), None, "another user");
        throttle.failed(Some("ann"), "a", start);
        assert_eq!(throttle.wait(Some("ann"), "a", start), Some(Duration::from_secs(2)));
        let later = start + Duration::from_secs(3);
        assert_eq!(throttle.wait(Some("ann"), "a", later), None);
        throttle.succeeded("ann", "a");
        throttle.failed(Some("ann"), "a", later);
        assert_eq!(throttle.wait(Some("ann"), "a", later), None);
    }

    #[test]
    fn an_address_that_tries_many_users_waits_too() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        (0..60).for_each(|n| throttle.failed(Some(&format!("u{n}")), "a", start));
        assert_eq!(throttle.wait(Some("new"), "a", start), Some(Duration::from_secs(60)));
        assert_eq!(throttle.wait(Some("new"), "b", start), None);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        (0..60).for_each(|n| throttle.failed(None, &format!("2001:db8:1:2::{n:x}"), start));
        assert!(throttle.wait(None, "2001:db8:1:2:ffff::1", start).is_some());
        assert!(throttle.wait(None, "2001:db8:1:3::1", start).is_none());
    }
}
