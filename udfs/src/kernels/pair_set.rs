//! A set of (group, value) pairs in one flat table, whatever the number of groups.
//!
//! Counting distinct values with a set per group costs an allocation per group and a hundred bytes before the first value;
//! here a pair costs its key and the table's slack.

/// A pair packed into one integer that is never zero: zero marks an empty place of the table.
pub trait PackedPair: Copy + Eq + Default {
    /// The value's half: a number of an interned value, or a value's bits.
    type Value: Copy;

    /// Packs a pair. `group` must be less than `u32::MAX`.
    fn pack(group: u32, value: Self::Value) -> Self;
    /// The pair that was packed.
    fn unpack(self) -> (u32, Self::Value);
    /// A hash whose high bits are good.
    fn hash(self) -> u64;
}

impl PackedPair for u64 {
    type Value = u32;

    #[inline]
    fn pack(group: u32, value: u32) -> Self {
        (u64::from(group) + 1) << 32 | u64::from(value)
    }

    #[inline]
    fn unpack(self) -> (u32, u32) {
        ((self >> 32) as u32 - 1, self as u32)
    }

    #[inline]
    fn hash(self) -> u64 {
        fold(self ^ 0x2545_F491_4F6C_DD1D, 0x9E37_79B9_7F4A_7C15)
    }
}

impl PackedPair for u128 {
    type Value = u64;

    #[inline]
    fn pack(group: u32, value: u64) -> Self {
        (u128::from(group) + 1) << 64 | u128::from(value)
    }

    #[inline]
    fn unpack(self) -> (u32, u64) {
        ((self >> 64) as u32 - 1, self as u64)
    }

    #[inline]
    fn hash(self) -> u64 {
        let group = ((self >> 64) as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        fold(self as u64 ^ group ^ 0x2545_F491_4F6C_DD1D, 0x9E37_79B9_7F4A_7C15)
    }
}

/// Both halves of the product, folded: every bit of the input moves every bit of the result.
#[inline]
fn fold(value: u64, factor: u64) -> u64 {
    let product = u128::from(value) * u128::from(factor);
    (product as u64 ^ (product >> 64) as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

/// The set. Open addressing with linear probing, at most three quarters full.
#[derive(Debug, Default)]
pub struct PairSet<P> {
    /// A power of two of places, or none before the first insertion.
    places: Vec<P>,
    len: usize,
}

impl<P: PackedPair> PairSet<P> {
    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes room for `more` further pairs, so that [`Self::insert`] need not look.
    pub fn reserve(&mut self, more: usize) {
        let needed = self.len + more;
        if needed * 4 > self.places.len() * 3 {
            let places = (needed * 4 / 3 + 1).next_power_of_two().max(16);
            let old = std::mem::replace(&mut self.places, vec![P::default(); places]);
            for pair in old {
                if pair != P::default() {
                    let at = self.place_of(pair);
                    self.places[at] = pair;
                }
            }
        }
    }

    /// Adds a pair; true if it is new. Room for it must have been reserved.
    #[inline]
    pub fn insert(&mut self, pair: P) -> bool {
        debug_assert!(self.len < self.places.len());
        let at = self.place_of(pair);
        if self.places[at] == pair {
            return false;
        }
        self.places[at] = pair;
        self.len += 1;
        true
    }

    /// Where `pair` is, or the empty place where it belongs.
    #[inline]
    fn place_of(&self, pair: P) -> usize {
        let mask = self.places.len() - 1;
        let shift = 64 - self.places.len().trailing_zeros();
        let mut at = (pair.hash() >> shift) as usize & mask;
        while self.places[at] != P::default() && self.places[at] != pair {
            at = (at + 1) & mask;
        }
        at
    }

    /// All pairs, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, P::Value)> {
        self.places.iter().filter(|pair| **pair != P::default()).map(|pair| pair.unpack())
    }

    /// Forgets the pairs of the first `groups` groups; the numbers of the others go down by `groups`.
    pub fn remove_first_groups(&mut self, groups: u32) {
        let old = std::mem::take(self);
        let kept = || old.iter().filter(|(group, _)| *group >= groups);
        self.reserve(kept().count());
        for (group, value) in kept() {
            self.insert(P::pack(group - groups, value));
        }
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.places.capacity() * size_of::<P>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn narrow_pairs_equal_a_tree_set(pairs in prop::collection::vec((0u32..6, prop_oneof![0u32..10, any::<u32>()]), 0..400), cut in 0u32..7) {
            let mut set = PairSet::<u64>::default();
            let mut expected = BTreeSet::new();
            for (group, value) in pairs {
                set.reserve(1);
                prop_assert_eq!(set.insert(u64::pack(group, value)), expected.insert((group, value)));
            }
            prop_assert_eq!(set.iter().collect::<BTreeSet<_>>(), expected.clone());
            set.remove_first_groups(cut);
            let shifted: BTreeSet<_> = expected.into_iter().filter(|(g, _)| *g >= cut).map(|(g, v)| (g - cut, v)).collect();
            prop_assert_eq!(set.len(), shifted.len());
            prop_assert_eq!(set.iter().collect::<BTreeSet<_>>(), shifted);
        }

        #[test]
        fn wide_pairs_equal_a_tree_set(pairs in prop::collection::vec((any::<u16>(), prop_oneof![0u64..4, any::<u64>()]), 0..400)) {
            let mut set = PairSet::<u128>::default();
            let mut expected = BTreeSet::new();
            set.reserve(pairs.len());
            for (group, value) in pairs {
                let group = u32::from(group);
                prop_assert_eq!(set.insert(u128::pack(group, value)), expected.insert((group, value)));
            }
            prop_assert_eq!(set.iter().collect::<BTreeSet<_>>(), expected);
        }
    }

    #[test]
    fn the_largest_pairs_survive_packing() {
        assert_eq!(u64::pack(u32::MAX - 1, u32::MAX).unpack(), (u32::MAX - 1, u32::MAX));
        assert_eq!(u128::pack(u32::MAX - 1, u64::MAX).unpack(), (u32::MAX - 1, u64::MAX));
    }
}
