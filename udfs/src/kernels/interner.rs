//! Byte strings to small numbers: equal strings get equal numbers, counted up from zero.

use arrow::array::make_view;
use arrow::buffer::{Buffer, ScalarBuffer};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use super::view_store::ViewStore;

/// A dictionary that only grows. Every string is kept once.
#[derive(Debug, Default)]
pub struct Interner {
    strings: ViewStore,
    /// Half of the string's hash beside its number, so that most unequal strings are told apart without being read and the
    /// table grows without hashing strings again.
    numbers: HashTable<(u32, u32)>,
    hasher: FixedState,
}

impl Interner {
    /// The number of `bytes`, a new one if it was never seen. `None` once four billion numbers are used up.
    #[inline]
    pub fn intern(&mut self, bytes: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(bytes) as u32;
        let view = make_view(bytes, 0, 0);
        let strings = &self.strings;
        let known = self.numbers.find(spread(hash), |(other, number)| *other == hash && strings.equals(*number as usize, view, bytes));
        if let Some((_, number)) = known {
            return Some(*number);
        }
        let number = u32::try_from(self.strings.len()).ok()?;
        self.strings.push(bytes);
        self.numbers.insert_unique(spread(hash), (hash, number), |(hash, _)| spread(*hash));
        Some(number)
    }

    /// How many different strings there are.
    pub fn len(&self) -> usize {
        self.strings.len()
    }

    /// True if no string was seen.
    pub fn is_empty(&self) -> bool {
        self.strings.is_empty()
    }

    /// Calls `read` with the string of `number`.
    pub fn with<R>(&self, number: u32, read: impl FnOnce(&[u8]) -> R) -> R {
        self.strings.with(number as usize, read)
    }

    /// Takes all strings out, in the order of their numbers, as views and the blocks they refer to.
    pub fn take(&mut self) -> (ScalarBuffer<u128>, Vec<Buffer>) {
        self.numbers = HashTable::new();
        self.strings.take_first(self.strings.len())
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.strings.allocated_bytes() + self.numbers.allocation_size()
    }
}

/// The table takes its place from the low bits and its tags from the high ones: fill all 64.
#[inline]
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_a_hash_map(strings in prop::collection::vec("[ab]{0,3}|[a-c]{11,14}", 0..300)) {
            let mut interner = Interner::default();
            let mut expected: HashMap<&str, u32> = HashMap::new();
            for text in &strings {
                let next = expected.len() as u32;
                let number = *expected.entry(text).or_insert(next);
                prop_assert_eq!(interner.intern(text.as_bytes()), Some(number));
            }
            prop_assert_eq!(interner.len(), expected.len());
            for (text, number) in expected {
                interner.with(number, |bytes| assert_eq!(bytes, text.as_bytes()));
            }
        }
    }
}
