//! Where sessions begin: events in the order of time, cut where nothing happens for longer than a gap.

use arrow::array::{Array, Int64Array};

/// Decides, event by event in the order of time, where a session begins.
///
/// An event begins a new session if it comes more than the earlier event's gap after it, or more than the greatest length
/// after the session's first event. Of events at one instant the longest gap counts, so their order does not matter.
#[derive(Debug, Clone, Copy)]
pub struct SessionCut {
    max_length: Option<u64>,
    has_begun: bool,
    start: i64,
    latest: i64,
    gap: u64,
}

impl SessionCut {
    /// Before the first event. A session never spans more than `max_length`.
    pub fn new(max_length: Option<i64>) -> Self {
        Self { max_length: max_length.map(i64::unsigned_abs), has_begun: false, start: 0, latest: 0, gap: 0 }
    }

    /// Takes the next event, whose gap applies to the one after it. True if it begins a session.
    #[inline]
    pub fn begins(&mut self, instant: i64, gap: i64) -> bool {
        let gap = gap.unsigned_abs();
        if self.has_begun && instant == self.latest {
            self.gap = self.gap.max(gap);
            return false;
        }
        let is_too_long = || self.max_length.is_some_and(|length| instant.abs_diff(self.start) > length);
        let begins = !self.has_begun || instant.abs_diff(self.latest) > self.gap || is_too_long();
        if begins {
            self.start = instant;
        }
        (self.has_begun, self.latest, self.gap) = (true, instant, gap);
        begins
    }

    /// When the session of the last event began.
    #[inline]
    pub fn start(&self) -> i64 {
        self.start
    }
}

/// Calls `each` with the row, the session's start and the session's number (from 1) of every event that has an instant, in
/// the order of time whatever the order of the rows.
pub fn for_each_in_session(
    instants: &Int64Array,
    gap_at: impl Fn(usize) -> i64,
    max_length: Option<i64>,
    mut each: impl FnMut(usize, i64, i64),
) {
    let times = instants.values();
    let mut cut = SessionCut::new(max_length);
    let mut index = 0;
    let mut visit = |row: usize| {
        index += i64::from(cut.begins(times[row], gap_at(row)));
        each(row, cut.start(), index);
    };
    match instants.nulls().filter(|nulls| nulls.null_count() > 0) {
        None if times.is_sorted() => (0..times.len()).for_each(visit),
        None => rows_by_time(times, 0..times.len()).into_iter().for_each(visit),
        Some(nulls) if nulls.valid_indices().is_sorted_by_key(|row| times[row]) => nulls.valid_indices().for_each(&mut visit),
        Some(nulls) => rows_by_time(times, nulls.valid_indices()).into_iter().for_each(visit),
    }
}

/// The same for rows of many groups, each with sessions of its own: `groups` has the group of every row, below `total_groups`.
///
/// Rows are put together by group by counting, which takes time in proportion to their number, and sorted within a group only where they are not yet.
pub fn for_each_in_group_session(
    instants: &Int64Array,
    groups: &[u32],
    total_groups: usize,
    gap: i64,
    max_length: Option<i64>,
    mut each: impl FnMut(usize, i64, i64),
) {
    let (mut events, ends) = by_group(instants, groups, total_groups);
    let mut begin = 0;
    for end in ends {
        let of_group = &mut events[begin..end as usize];
        begin = end as usize;
        if !of_group.is_sorted_by_key(|(time, _)| *time) {
            of_group.sort_unstable_by_key(|(time, _)| *time);
        }
        let mut cut = SessionCut::new(max_length);
        let mut index = 0;
        for (time, row) in of_group {
            index += i64::from(cut.begins(*time, gap));
            each(*row as usize, cut.start(), index);
        }
    }
}

/// Instants with their rows, one group behind the other, and where each group ends.
fn by_group(instants: &Int64Array, groups: &[u32], total_groups: usize) -> (Vec<(i64, u32)>, Vec<u32>) {
    let is_event = |row: &usize| instants.is_valid(*row);
    let rows = || (0..groups.len()).filter(is_event);
    let mut places = vec![0u32; total_groups];
    rows().for_each(|row| places[groups[row] as usize] += 1);
    let mut begin = 0;
    for place in &mut places {
        (*place, begin) = (begin, begin + *place);
    }
    let mut events = vec![(0, 0); begin as usize];
    for row in rows() {
        let place = &mut places[groups[row] as usize];
        events[*place as usize] = (instants.value(row), row as u32);
        *place += 1;
    }
    (events, places)
}

fn rows_by_time(times: &[i64], rows: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut rows: Vec<usize> = rows.collect();
    rows.sort_unstable_by_key(|row| times[*row]);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sessions(instants: &[Option<i64>], gaps: &[i64], max_length: Option<i64>) -> Vec<Option<(i64, i64)>> {
        let mut found = vec![None; instants.len()];
        for_each_in_session(
            &Int64Array::from(instants.to_vec()),
            |row| gaps[row],
            max_length,
            |row, start, index| {
                found[row] = Some((start, index));
            },
        );
        found
    }

    /// By looking at every pair: the distinct instants in order, each with the longest gap there is at it.
    fn naive(instants: &[Option<i64>], gaps: &[i64], max_length: Option<i64>) -> Vec<Option<(i64, i64)>> {
        let mut times: Vec<i64> = instants.iter().flatten().copied().collect();
        times.sort();
        times.dedup();
        let gap_of = |time: i64| (0..gaps.len()).filter(|row| instants[*row] == Some(time)).map(|row| gaps[row]).max();
        let mut start_of: Vec<(i64, i64, i64)> = Vec::new();
        for (at, time) in times.iter().enumerate() {
            let continued = start_of.last().filter(|(earlier, start, _)| {
                time - earlier <= gap_of(times[at - 1]).unwrap() && max_length.is_none_or(|length| time - start <= length)
            });
            start_of.push(match continued {
                Some((_, start, index)) => (*time, *start, *index),
                None => (*time, *time, start_of.last().map_or(0, |(_, _, index)| *index) + 1),
            });
        }
        let of_time = |time: i64| start_of.iter().find(|(other, ..)| *other == time).map(|(_, start, index)| (*start, *index));
        instants.iter().map(|time| time.and_then(of_time)).collect()
    }

    proptest! {
        #[test]
        fn equals_looking_at_every_pair(
            rows in prop::collection::vec((prop::option::weighted(0.9, 0i64..120), 1i64..12), 0..40),
            max_length in prop::option::of(1i64..40),
            sorted in any::<bool>(),
        ) {
            let mut rows = rows;
            if sorted {
                rows.sort_by_key(|row| row.0.unwrap_or(i64::MAX));
            }
            let (instants, gaps): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            prop_assert_eq!(sessions(&instants, &gaps, max_length), naive(&instants, &gaps, max_length));
        }
    }

    proptest! {
        #[test]
        fn groups_have_sessions_of_their_own(
            rows in prop::collection::vec((0u32..4, prop::option::weighted(0.9, 0i64..120)), 0..60),
            gap in 1i64..12,
            max_length in prop::option::of(1i64..40),
        ) {
            let (groups, instants): (Vec<u32>, Vec<Option<i64>>) = rows.into_iter().unzip();
            let mut found = vec![None; groups.len()];
            let note = |row: usize, start, index| found[row] = Some((start, index));
            for_each_in_group_session(&Int64Array::from(instants.clone()), &groups, 5, gap, max_length, note);
            for group in 0..4 {
                let rows: Vec<usize> = (0..groups.len()).filter(|row| groups[*row] == group).collect();
                let alone: Vec<Option<i64>> = rows.iter().map(|row| instants[*row]).collect();
                let of_group: Vec<_> = rows.iter().map(|row| found[*row]).collect();
                prop_assert_eq!(of_group, naive(&alone, &vec![gap; rows.len()], max_length));
            }
        }
    }

    #[test]
    fn a_difference_of_exactly_the_gap_stays_in_the_session() {
        assert_eq!(sessions(&[Some(0), Some(10), Some(21)], &[10; 3], None), [Some((0, 1)), Some((0, 1)), Some((21, 2))]);
        assert_eq!(sessions(&[Some(0), Some(10), Some(11)], &[10; 3], Some(10)), [Some((0, 1)), Some((0, 1)), Some((11, 2))]);
    }

    #[test]
    fn the_ends_of_time_are_far_apart() {
        assert_eq!(sessions(&[Some(i64::MAX), Some(i64::MIN)], &[i64::MAX; 2], None), [Some((i64::MAX, 2)), Some((i64::MIN, 1))]);
    }
}
