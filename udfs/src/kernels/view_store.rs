//! One byte string per slot, for many slots: short ones inside 16-byte views, long ones in large shared blocks.
//!
//! The views are Arrow's own (`Utf8View`), so a finished store becomes an array without copying any bytes. A heap
//! allocation per slot, as `Vec<Vec<u8>>` has it, would cost more than the strings of a typical group.

use std::cmp::Ordering;

use arrow::array::{ByteView, make_view};
use arrow::buffer::{Buffer, ScalarBuffer};

/// Longest string that lives inside its view.
const INLINE_BYTES: u32 = 12;
/// Blocks start small, so that an aggregate of few groups stays small, and double up to this size.
const FIRST_BLOCK_BYTES: usize = 4 << 10;
const LARGEST_BLOCK_BYTES: usize = 4 << 20;
/// Below this, the bytes of overwritten strings are not worth collecting.
const LEAST_GARBAGE_BYTES: usize = 1 << 20;

/// Byte strings by slot number. A new slot holds the empty string.
#[derive(Debug, Default)]
pub struct ViewStore {
    views: Vec<u128>,
    blocks: Vec<Vec<u8>>,
    /// Bytes in blocks that a view refers to, and bytes that none does any more.
    live: usize,
    garbage: usize,
    block_bytes: usize,
}

impl ViewStore {
    /// Number of slots.
    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// True if there are no slots.
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// Adds empty slots up to `slots`; does nothing if there are as many already.
    pub fn grow_to(&mut self, slots: usize) {
        if slots > self.views.len() {
            self.views.resize(slots, 0);
        }
    }

    /// Adds a slot that holds `bytes`.
    pub fn push(&mut self, bytes: &[u8]) {
        let view = self.store(bytes);
        self.views.push(view);
    }

    /// Replaces what `slot` holds, in its place if it is long enough.
    pub fn set(&mut self, slot: usize, bytes: &[u8]) {
        let old = ByteView::from(self.views[slot]);
        if old.length > INLINE_BYTES {
            let freed = old.length as usize;
            self.live -= freed;
            if bytes.len() > INLINE_BYTES as usize && bytes.len() <= freed {
                let start = old.offset as usize;
                self.blocks[old.buffer_index as usize][start..start + bytes.len()].copy_from_slice(bytes);
                self.views[slot] = make_view(bytes, old.buffer_index, old.offset);
                self.live += bytes.len();
                self.garbage += freed - bytes.len();
                return;
            }
            self.garbage += freed;
        }
        // Collected before storing, while every view but this one refers to living bytes.
        self.views[slot] = 0;
        if self.garbage > LEAST_GARBAGE_BYTES && self.garbage > self.live {
            self.collect_garbage();
        }
        self.views[slot] = self.store(bytes);
    }

    /// Compares what `slot` holds with `bytes`, byte by byte.
    pub fn compare(&self, slot: usize, bytes: &[u8]) -> Ordering {
        self.with(slot, |held| held.cmp(bytes))
    }

    /// True if `slot` holds the string of `view`, whose bytes are `bytes`. The view's buffer and offset are not looked at.
    pub fn equals(&self, slot: usize, view: u128, bytes: &[u8]) -> bool {
        let held = self.views[slot];
        // The low half is length and first four bytes in both forms of a view.
        if held as u64 != view as u64 {
            return false;
        }
        if held as u32 <= INLINE_BYTES { held == view } else { self.long(ByteView::from(held)) == bytes }
    }

    /// Calls `read` with the bytes of `slot`.
    pub fn with<R>(&self, slot: usize, read: impl FnOnce(&[u8]) -> R) -> R {
        let view = self.views[slot];
        let length = view as u32;
        if length <= INLINE_BYTES { read(&view.to_le_bytes()[4..4 + length as usize]) } else { read(self.long(ByteView::from(view))) }
    }

    /// Takes the first `slots` slots out as views and the blocks they refer to; the others move down by `slots`.
    pub fn take_first(&mut self, slots: usize) -> (ScalarBuffer<u128>, Vec<Buffer>) {
        let mut rest = Self::default();
        for slot in slots..self.views.len() {
            self.with(slot, |bytes| rest.push(bytes));
        }
        let mut taken = std::mem::replace(self, rest);
        taken.views.truncate(slots);
        (ScalarBuffer::from(taken.views), taken.blocks.into_iter().map(Buffer::from_vec).collect())
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(Vec::capacity).sum();
        self.views.capacity() * size_of::<u128>() + self.blocks.capacity() * size_of::<Vec<u8>>() + blocks
    }

    fn long(&self, view: ByteView) -> &[u8] {
        let start = view.offset as usize;
        &self.blocks[view.buffer_index as usize][start..start + view.length as usize]
    }

    fn store(&mut self, bytes: &[u8]) -> u128 {
        if bytes.len() <= INLINE_BYTES as usize {
            return make_view(bytes, 0, 0);
        }
        let has_room = self.blocks.last().is_some_and(|block| block.capacity() - block.len() >= bytes.len());
        if !has_room {
            self.block_bytes = (self.block_bytes * 2).clamp(FIRST_BLOCK_BYTES, LARGEST_BLOCK_BYTES);
            self.blocks.push(Vec::with_capacity(self.block_bytes.max(bytes.len())));
        }
        let number = self.blocks.len() - 1;
        let block = &mut self.blocks[number];
        let offset = block.len();
        block.extend_from_slice(bytes);
        self.live += bytes.len();
        make_view(bytes, number as u32, offset as u32)
    }

    fn collect_garbage(&mut self) {
        let old = std::mem::take(&mut self.blocks);
        self.live = 0;
        self.garbage = 0;
        for slot in 0..self.views.len() {
            let view = ByteView::from(self.views[slot]);
            if view.length > INLINE_BYTES {
                let start = view.offset as usize;
                self.views[slot] = self.store(&old[view.buffer_index as usize][start..start + view.length as usize]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::BinaryViewArray;
    use proptest::prelude::*;

    use super::*;

    fn contents(store: &mut ViewStore, slots: usize) -> Vec<Vec<u8>> {
        let (views, blocks) = store.take_first(slots);
        let array = BinaryViewArray::try_new(views, blocks, None).unwrap();
        array.iter().map(|v| v.unwrap().to_vec()).collect()
    }

    #[test]
    fn garbage_is_collected() {
        let mut store = ViewStore::default();
        store.grow_to(2);
        store.set(1, b"this one stays where it is");
        for length in 13..5000usize {
            store.set(0, &vec![b'x'; length]);
        }
        assert!(store.allocated_bytes() < 8 << 20, "{}", store.allocated_bytes());
        assert_eq!(contents(&mut store, 2), vec![vec![b'x'; 4999], b"this one stays where it is".to_vec()]);
    }

    #[test]
    fn one_string_may_be_larger_than_a_block() {
        let mut store = ViewStore::default();
        let long = vec![7u8; LARGEST_BLOCK_BYTES + 1];
        store.push(&long);
        store.push(b"next");
        assert_eq!(store.compare(0, &long), Ordering::Equal);
        assert_eq!(contents(&mut store, 2), vec![long, b"next".to_vec()]);
    }

    proptest! {
        #[test]
        fn equals_a_vector_of_vectors(
            writes in prop::collection::vec((0usize..8, prop::collection::vec(any::<u8>(), 0..40)), 0..200),
            taken in 0usize..8,
        ) {
            let mut store = ViewStore::default();
            store.grow_to(8);
            let mut expected = vec![Vec::new(); 8];
            for (slot, bytes) in &writes {
                prop_assert_eq!(store.compare(*slot, bytes), expected[*slot].as_slice().cmp(bytes.as_slice()));
                store.set(*slot, bytes);
                expected[*slot] = bytes.clone();
                prop_assert!(store.equals(*slot, make_view(bytes, 9, 9), bytes));
            }
            let rest = expected.split_off(taken);
            prop_assert_eq!(contents(&mut store, taken), expected);
            prop_assert_eq!(contents(&mut store, rest.len()), rest);
        }
    }
}
