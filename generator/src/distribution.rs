//! Two shapes that clickstreams are made of: heavy tails (events per session, sessions per user) and fixed weights (product popularity).

use crate::randomness::{Stream, scaled};

/// Counts from 1 to a limit whose tail falls with the square, and runs out softly towards the limit: the share that reaches `n` is the square
/// of `(1 + b) / (n + b) * (1 - (n - 1) / limit)`.
///
/// The exponent is fixed and `b` is fitted to the mean, because a square needs no power function, whose last digit differs between machines.
#[derive(Debug)]
pub(crate) struct HeavyTail {
    /// `reaching[i]`: the share of counts that are at least `i + 1`; the first is 1.
    reaching: Vec<f64>,
}

impl HeavyTail {
    /// The distribution over 1..=`limit` with this mean (clamped to what is possible).
    pub fn with_mean(mean: f64, limit: usize) -> Self {
        let (mut low, mut high) = (-0.999_999, 1e6);
        for _ in 0..100 {
            let middle = (low + high) / 2.0;
            if Self::shares(middle, limit).iter().sum::<f64>() < mean { low = middle } else { high = middle }
        }
        HeavyTail { reaching: Self::shares(high, limit) }
    }

    fn shares(b: f64, limit: usize) -> Vec<f64> {
        (1..=limit)
            .map(|n| {
                let ratio = (1.0 + b) / (n as f64 + b) * (1.0 - (n - 1) as f64 / limit as f64);
                ratio * ratio
            })
            .collect()
    }

    /// The count at a quantile (in [0, 1)) of the distribution, smallest counts first.
    pub fn at_quantile(&self, quantile: f64) -> u32 {
        self.reaching.partition_point(|share| *share > 1.0 - quantile).max(1) as u32
    }

    /// Splits `sum` things over `members` (at least one each): how many members have at least 1, 2, … things. The entries fall and add up
    /// to `sum` exactly, provided that `members <= sum <= members * limit`.
    pub fn members_reaching(&self, members: u64, sum: u64) -> Vec<u64> {
        let mut counts: Vec<u64> = self.reaching.iter().map(|share| (share * members as f64 + 0.5) as u64).collect();
        counts[0] = members;
        let mut total: u64 = counts.iter().sum();
        // Rounding leaves a small difference; it is spread one by one where the order allows it.
        while total != sum {
            let before = total;
            for i in 1..counts.len() {
                if total < sum && counts[i] < counts[i - 1] {
                    counts[i] += 1;
                    total += 1;
                } else if total > sum && counts[i] > counts.get(i + 1).copied().unwrap_or(0) {
                    counts[i] -= 1;
                    total -= 1;
                }
            }
            if total == before {
                break;
            }
        }
        counts
    }
}

/// Draws an index with given weights in constant time (Walker's alias method), over thresholds and aliases kept by the caller, so that many
/// small tables can share two arrays.
pub(crate) mod alias {
    use super::{Stream, scaled};

    /// Fills the table of `weights` into slices of the same length.
    pub fn fill(weights: &[f64], thresholds: &mut [u32], aliases: &mut [u32]) {
        let sum: f64 = weights.iter().sum();
        let mut scaled: Vec<f64> = weights.iter().map(|weight| weight / sum * weights.len() as f64).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..weights.len()).partition(|i| scaled[*i] < 1.0);
        for (i, alias) in aliases.iter_mut().enumerate() {
            *alias = i as u32;
        }
        thresholds.fill(u32::MAX);
        while let (Some(&poor), Some(&rich)) = (small.last(), large.last()) {
            small.pop();
            thresholds[poor] = (scaled[poor] * u32::MAX as f64) as u32;
            aliases[poor] = rich as u32;
            scaled[rich] -= 1.0 - scaled[poor];
            if scaled[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
    }

    /// Draws an index from 64 random bits.
    pub fn pick(bits: u64, thresholds: &[u32], aliases: &[u32]) -> u32 {
        let index = scaled((bits >> 32) as u32, thresholds.len() as u32);
        if bits as u32 <= thresholds[index as usize] { index } else { aliases[index as usize] }
    }

    /// Draws an index from a stream.
    pub fn draw(stream: &mut Stream, thresholds: &[u32], aliases: &[u32]) -> u32 {
        pick(stream.long(), thresholds, aliases)
    }
}

/// The weights `1 / (rank + flatness)` of the ranks 1..=`count`: Zipf's law with a blunted head.
pub(crate) fn zipf_weights(count: usize, flatness: f64) -> Vec<f64> {
    (1..=count).map(|rank| 1.0 / (rank as f64 + flatness)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heavy_tail_meets_its_mean() {
        for mean in [1.0, 1.5, 3.06, 4.6] {
            let tail = HeavyTail::with_mean(mean, 400);
            let steps = 100_000;
            let sum: u64 = (0..steps).map(|i| u64::from(tail.at_quantile((f64::from(i) + 0.5) / f64::from(steps)))).sum();
            let got = sum as f64 / f64::from(steps);
            assert!((got - mean).abs() < 0.01 * mean, "mean {mean}, got {got}");
        }
    }

    #[test]
    fn members_add_up_exactly() {
        for (members, sum) in [(1, 1), (1, 7), (3, 5), (1000, 3057), (1000, 1000)] {
            let counts = HeavyTail::with_mean(sum as f64 / members as f64, 50).members_reaching(members, sum);
            assert_eq!(counts.iter().sum::<u64>(), sum);
            assert_eq!(counts[0], members);
            assert!(counts.windows(2).all(|pair| pair[0] >= pair[1]));
        }
    }

    #[test]
    fn aliases_keep_the_weights() {
        let weights = [5.0, 1.0, 3.0, 0.5, 0.5];
        let (mut thresholds, mut aliases) = (vec![0; 5], vec![0; 5]);
        alias::fill(&weights, &mut thresholds, &mut aliases);
        let mut stream = Stream::new(1, 1);
        let mut counts = [0u32; 5];
        for _ in 0..100_000 {
            counts[alias::draw(&mut stream, &thresholds, &aliases) as usize] += 1;
        }
        for (weight, count) in weights.iter().zip(counts) {
            assert!((f64::from(count) / 100_000.0 - weight / 10.0).abs() < 0.006);
        }
    }
}
