//! Which executor had which partition in the last pass of a training: it keeps the rows in memory, so that it should get the same partition again. Another one
//! can do it as well and has to read the rows first.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long it is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Homes(HashMap<String, (Instant, HashMap<usize, String>)>);

impl Homes {
    /// Deals `pending` partitions of the rows `what` out to executors, each of which is to get so many: those that it had before, then any. What is left
    /// over comes behind.
    pub fn deal(&mut self, what: &str, pending: Vec<usize>, shares: &[(&str, usize)]) -> (Vec<Vec<usize>>, Vec<usize>) {
        self.0.retain(|_, (asked, _)| asked.elapsed() < REMEMBERED);
        let (asked, homes) = self.0.entry(what.to_string()).or_insert_with(|| (Instant::now(), HashMap::new()));
        *asked = Instant::now();
        let mut dealt: Vec<Vec<usize>> = vec![Vec::new(); shares.len()];
        let mut left = Vec::new();
        for partition in pending {
            let home = homes.get(&partition).and_then(|home| shares.iter().position(|(executor, _)| executor == home));
            match home {
                Some(at) if dealt[at].len() < shares[at].1 => dealt[at].push(partition),
                _ => left.push(partition),
            }
        }
        let mut left = left.into_iter();
        for (mine, (_, share)) in dealt.iter_mut().zip(shares) {
            let missing = share - mine.len();
            mine.extend(left.by_ref().take(missing));
        }
        for (mine, (executor, _)) in dealt.iter().zip(shares) {
            homes.extend(mine.iter().map(|partition| (*partition, (*executor).to_string())));
        }
        (dealt, left.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_go_where_they_were() {
        let mut homes = Homes::default();
        let all = || (0..6).collect::<Vec<usize>>();
        let (dealt, left) = homes.deal("a", all(), &[("x", 2), ("y", 2), ("z", 2)]);
        assert_eq!((dealt, left), (vec![vec![0, 1], vec![2, 3], vec![4, 5]], vec![]));
        // In another order, and while one of them is busy.
        let (dealt, left) = homes.deal("a", all(), &[("z", 2), ("x", 2)]);
        assert_eq!((dealt, left), (vec![vec![4, 5], vec![0, 1]], vec![2, 3]));
        let (dealt, _) = homes.deal("a", vec![2, 3], &[("y", 2)]);
        assert_eq!(dealt, [vec![2, 3]]);
        // Others do not matter.
        let (dealt, _) = homes.deal("b", all(), &[("z", 3), ("x", 3)]);
        assert_eq!(dealt, [vec![0, 1, 2], vec![3, 4, 5]]);
    }

    #[test]
    fn who_is_gone_leaves_its_partitions_to_the_others() {
        let mut homes = Homes::default();
        homes.deal("a", vec![0, 1, 2, 3], &[("x", 2), ("y", 2)]);
        let (dealt, left) = homes.deal("a", vec![0, 1, 2, 3], &[("y", 4)]);
        assert_eq!((dealt, left), (vec![vec![2, 3, 0, 1]], vec![]));
        let (dealt, _) = homes.deal("a", vec![0, 1, 2, 3], &[("x", 2), ("y", 2)]);
        assert_eq!(dealt, [vec![2, 3], vec![0, 1]], "both are new to x, and y keeps as many as it may");
    }
}
