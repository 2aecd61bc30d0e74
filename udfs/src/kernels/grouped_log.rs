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

/// A log of rows, each with its group; two buffers however many groups there are.
#[derive(Debug)]
pub struct GroupedLog<T> {
    groups: Vec<u32>,
    rows: Vec<T>,
    total_groups: usize,
    squeeze_at: usize,
}

impl<T> Default for GroupedLog<T> {
    fn default() -> Self {
        Self { groups: Vec::new(), rows: Vec::new(), total_groups: 0, squeeze_at: LEAST_ROWS_TO_SQUEEZE }
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
        self.groups.push(group as u32);
        self.rows.push(row);
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row that was pushed after `place` others.
    #[inline]
    pub fn get_mut(&mut self, place: usize) -> &mut T {
        &mut self.rows[place]
    }

    /// The groups and the rows, one as many as the other, to be changed where they stand.
    pub fn parts_mut(&mut self) -> (&[u32], &mut [T]) {
        (&self.groups, &mut self.rows)
    }

    /// Takes the rows of the first `groups` groups out; the other groups move down.
    pub fn take_first(&mut self, groups: usize) -> ByGroup<T> {
        let mut starts = vec![0; groups + 1];
        for group in self.groups.iter().filter(|group| (**group as usize) < groups) {
            starts[*group as usize + 1] += 1;
        }
        for group in 0..groups {
            starts[group + 1] += starts[group];
        }
        let mut next = starts.clone();
        let mut taken = vec![T::default(); starts[groups]];
        let mut left = 0;
        for place in 0..self.rows.len() {
            let (group, row) = (self.groups[place] as usize, self.rows[place]);
            if group < groups {
                taken[next[group]] = row;
                next[group] += 1;
            } else {
                (self.groups[left], self.rows[left]) = ((group - groups) as u32, row);
                left += 1;
            }
        }
        self.keep_first_rows(left);
        self.total_groups = self.total_groups.saturating_sub(groups);
        ByGroup { starts, rows: taken }
    }

    /// Memory that is mostly unused goes back.
    fn keep_first_rows(&mut self, rows: usize) {
        self.groups.truncate(rows);
        self.rows.truncate(rows);
        if rows < self.rows.capacity() / 4 {
            self.groups.shrink_to_fit();
            self.rows.shrink_to_fit();
        }
    }

    /// Joins rows of a group with `squeeze` (see [`ByGroup::squeeze`]) once the log has doubled since that was last done, so
    /// that all the sorting costs no more than twice the last. True if it was done, which changes the rows' places.
    pub fn squeeze_if_grown(&mut self, order: impl Fn(&T, &T) -> Ordering, squeeze: impl Fn(&mut [T]) -> usize) -> bool {
        if self.rows.len() < self.squeeze_at {
            return false;
        }
        let total_groups = self.total_groups;
        let mut all = self.take_first(total_groups);
        all.squeeze(order, squeeze);
        let counts = all.starts.windows(2).map(|bounds| bounds[1] - bounds[0]);
        self.groups = counts.enumerate().flat_map(|(group, count)| std::iter::repeat_n(group as u32, count)).collect();
        self.rows = all.rows;
        self.rows.shrink_to_fit();
        self.total_groups = total_groups;
        self.squeeze_at = LEAST_ROWS_TO_SQUEEZE.max(2 * self.rows.len());
        true
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<u32>() + self.rows.capacity() * size_of::<T>()
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
