//! How errors are spread: counts by magnitude, the same in any order of the rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Bits of a number that tell its bucket: sign, exponent, and the first eight of the mantissa, so that a bucket's ends differ by 0.4 %.
const BUCKET_SHIFT: u32 = 64 - 20;

/// Numbers from 0 on, counted by bucket.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Counts by the leading bits of the numbers, whose order is that of the numbers.
    pub counts: BTreeMap<u32, u64>,
}

impl Histogram {
    /// Counts a number that is not negative.
    pub fn add(&mut self, value: f64) {
        *self.counts.entry((value.max(0.0).to_bits() >> BUCKET_SHIFT) as u32).or_default() += 1;
    }

    /// Adds other counts.
    pub fn merge(&mut self, other: &Self) {
        other.counts.iter().for_each(|(bucket, count)| *self.counts.entry(*bucket).or_default() += count);
    }

    /// A number that at most a share of the numbers exceeds: the end of the bucket, within 0.4 %. `None` of no numbers.
    pub fn threshold(&self, share_above: f64) -> Option<f64> {
        let total: u64 = self.counts.values().sum();
        let allowed = (share_above.clamp(0.0, 1.0) * total as f64).floor() as u64;
        let mut above = 0;
        for (bucket, count) in self.counts.iter().rev() {
            above += count;
            if above > allowed {
                // The largest number of the bucket.
                return Some(f64::from_bits((u64::from(*bucket) << BUCKET_SHIFT) | ((1 << BUCKET_SHIFT) - 1)));
            }
        }
        // Everything may lie above.
        self.counts.first_key_value().map(|(bucket, _)| f64::from_bits(u64::from(*bucket) << BUCKET_SHIFT))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn few_enough_lie_above(values in prop::collection::vec(0.0f64..1e6, 1..200), share in 0.0f64..1.0) {
            let mut one = Histogram::default();
            values.iter().for_each(|v| one.add(*v));
            let threshold = one.threshold(share).unwrap();
            let above = |t: f64| values.iter().filter(|v| **v > t).count() as f64;
            prop_assert!(above(threshold) <= share * values.len() as f64);
            // A little lower would be too low, but where everything may lie above.
            prop_assert!(above(threshold * (1.0 - 1.0 / 128.0)) > (share * values.len() as f64).floor() - 1.0 || threshold == 0.0);
            let mut halves = [Histogram::default(), Histogram::default()];
            values.iter().rev().enumerate().for_each(|(i, v)| halves[i % 2].add(*v));
            let [mut first, second] = halves;
            first.merge(&second);
            prop_assert_eq!(first, one);
        }
    }
}
