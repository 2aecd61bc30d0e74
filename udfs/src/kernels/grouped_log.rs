//! Rows of all groups in the order in which they came, sorted out by group when they are taken: the memory of aggregates
//! that have to see every event.
//!
//! ```text
//! groups  2  0  2  1  0        take_first(2)   starts  0     2  3      left  groups  0  0
//! rows    a  b  c  d  e   ──────────────────►  rows    b  e  d         ────►  rows    a  c
//! ```

use std::cmp::Ordering;

use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::error::ArrowError;

/// Rows below which it is not worth looking for some that can be joined.
const LEAST_ROWS_TO_SQUEEZE: usize = 1 << 16;
/// Rows of a chunk, a power of two. Chunks are never moved when the log grows, and given back one by one as it is taken apart.
const CHUNK_ROWS: usize = 1 << 14;

/// A log of rows, each with its group; two buffers per chunk however many groups there are.
#[derive(Debug)]
pub struct GroupedLog<T> {
    /// All full but the last.
    chunks: Vec<Chunk<T>>,
    total_groups: usize,
    squeeze_at: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    groups: Vec<u32>,
    rows: Vec<T>,
}

impl<T> Default for GroupedLog<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), total_groups: 0, squeeze_at: LEAST_ROWS_TO_SQUEEZE }
    }
}

/// The rows of some groups, group by group.
#[derive(Debug)]
pub struct ByGroup<T> {
    /// Where each group begins, and at last where the rows end.
    pub starts: Vec<usize>,
    /// The rows.
    pub rows: Vec<T>,
}

impl<T: Copy + Default> GroupedLog<T> {
    /// Makes groups up to `total_groups` exist.
    ///
    /// # Errors
    /// If there are four billion.
    pub fn grow_to(&mut self, total_groups: usize) -> Result<(), ArrowError> {
        if total_groups >= u32::MAX as usize {
            return Err(ArrowError::ComputeError(format!("events of {total_groups} groups: the limit is four billion")));
        }
        self.total_groups = total_groups.max(self.total_groups);
        Ok(())
    }

    /// Appends a row of a group that exists.
    #[inline]
    pub fn push(&mut self, group: usize, row: T) {
        match self.chunks.last_mut() {
            Some(chunk) if chunk.rows.len() < CHUNK_ROWS => {
                chunk.groups.push(group as u32);
                chunk.rows.push(row);
            }
            _ => self.push_into_new_chunk(group, row),
        }
    }

    #[cold]
    fn push_into_new_chunk(&mut self, group: usize, row: T) {
        // A log may be of few rows only: the first chunk grows as it is needed.
        let capacity = if self.chunks.is_empty() { 1 } else { CHUNK_ROWS };
        let mut chunk = Chunk { groups: Vec::with_capacity(capacity), rows: Vec::with_capacity(capacity) };
        chunk.groups.push(group as u32);
        chunk.rows.push(row);
        self.chunks.push(chunk);
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK_ROWS + last.rows.len())
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The row that was pushed after `place` others.
    #[inline]
    pub fn get_mut(&mut self, place: usize) -> &mut T {
        &mut self.chunks[place / CHUNK_ROWS].rows[place % CHUNK_ROWS]
    }

    /// The group of each row, in the order in which they were pushed.
    pub fn groups(&self) -> impl Iterator<Item = u32> {
        self.chunks.iter().flat_map(|chunk| chunk.groups.iter().copied())
    }

    /// The rows, to be changed where they stand.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks.iter_mut().flat_map(|chunk| chunk.rows.iter_mut())
    }

    /// Takes the rows of the first `groups` groups out; the other groups move down.
    pub fn take_first(&mut self, groups: usize) -> ByGroup<T> {
        let mut starts = vec![0; groups + 1];
        for group in self.groups().filter(|group| (*group as usize) < groups) {
            starts[group as usize + 1] += 1;
        }
        for group in 0..groups {
            starts[group + 1] += starts[group];
        }
        let mut next = starts.clone();
        let mut taken = vec![T::default(); starts[groups]];
        // What is left goes into new chunks, while the old ones are given back.
        for chunk in std::mem::take(&mut self.chunks) {
            for (group, row) in chunk.groups.into_iter().zip(chunk.rows) {
                let group = group as usize;
                if group < groups {
                    taken[next[group]] = row;
                    next[group] += 1;
                } else {
                    self.push(group - groups, row);
                }
            }
        }
        self.total_groups = self.total_groups.saturating_sub(groups);
        ByGroup { starts, rows: taken }
    }

    /// Joins rows of a group with `squeeze` (see [`ByGroup::squeeze`]) once the log has doubled since that was last done, so
    /// that all the sorting costs no more than twice the last; or grown eightfold, where little could be joined the last
    /// time. True if it was done, which changes the rows' places.
    pub fn squeeze_if_grown(&mut self, order: impl Fn(&T, &T) -> Ordering, squeeze: impl Fn(&mut [T]) -> usize) -> bool {
        let rows = self.len();
        if rows < self.squeeze_at {
            return false;
        }
        let total_groups = self.total_groups;
        let mut all = self.take_first(total_groups);
        all.squeeze(order, squeeze);
        for (group, rows) in all.iter().enumerate() {
            rows.iter().for_each(|row| self.push(group, *row));
        }
        self.total_groups = total_groups;
        let left = self.len();
        self.squeeze_at = LEAST_ROWS_TO_SQUEEZE.max(if left > rows / 4 * 3 { 8 * left } else { 2 * left });
        true
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        let bytes = |chunk: &Chunk<T>| chunk.groups.capacity() * size_of::<u32>() + chunk.rows.capacity() * size_of::<T>();
        self.chunks.iter().map(bytes).sum()
    }
}

impl<T: Copy> ByGroup<T> {
    /// The rows of every group.
    pub fn iter(&self) -> impl Iterator<Item = &[T]> {
        self.starts.windows(2).map(|bounds| &self.rows[bounds[0]..bounds[1]])
    }

    /// Sorts every group and keeps as many of its first rows as `squeeze` says, which may have changed them.
    pub fn squeeze(&mut self, order: impl Fn(&T, &T) -> Ordering, squeeze: impl Fn(&mut [T]) -> usize) {
        let (mut from, mut kept) = (0, 0);
        for end in self.starts.iter_mut().skip(1) {
            let rows = &mut self.rows[from..*end];
            if !rows.is_sorted_by(|a, b| order(a, b).is_le()) {
                rows.sort_unstable_by(&order);
            }
            let count = squeeze(rows);
            self.rows.copy_within(from..from + count, kept);
            kept += count;
            from = std::mem::replace(end, kept);
        }
        self.rows.truncate(kept);
    }
}

/// Joins neighbours for which `join` says that they were added to the first; gives the number left at the front.
pub fn join_neighbours<T: Copy>(rows: &mut [T], join: impl Fn(&mut T, &T) -> bool) -> usize {
    let mut last = 0;
    for at in 1..rows.len() {
        let row = rows[at];
        if !join(&mut rows[last], &row) {
            last += 1;
            rows[last] = row;
        }
    }
    rows.len().min(last + 1)
}

/// The rows that a filter keeps and that are not null; all, if `None`.
pub fn kept_rows(keep: Option<&BooleanBuffer>, nulls: Option<&NullBuffer>) -> Option<BooleanBuffer> {
    match (keep, nulls.filter(|nulls| nulls.null_count() > 0)) {
        (None, None) => None,
        (Some(keep), None) => Some(keep.clone()),
        (None, Some(nulls)) => Some(nulls.inner().clone()),
        (Some(keep), Some(nulls)) => Some(keep & nulls.inner()),
    }
}

#[cfg(test)]
mod tests;
