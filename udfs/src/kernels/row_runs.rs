//! The session of every row, from rows of many groups that come in any order but mostly in that of time.
//!
//! A row that comes within the gap of one of the latest runs of close events of its group joins it, and otherwise begins a run. Which runs are one session
//! is found out once all rows are there. What is kept is a number per row and a few per run, wherever rows come roughly in order: also where several logs
//! that are in order come mixed, as the files of a table do that several tasks read.
//!
//! ```text
//! gap 5   instants  1  3  90  6  94  40  44      runs  1…6  90…94  40…44
//!         rows      0  0   1  0   1   2   2      sessions, once all are there: 1, 3, 2
//! ```

use arrow::array::{Array, Int64Array};

/// Runs of a group that a row is compared with. Two, because two tasks read a table's files on a small machine; with more, rows of one log make a few more
/// runs, which costs their memory only.
const LATEST: usize = 2;

/// No run: of a group that has fewer, and of a row without an instant.
const NONE: u32 = 0;

#[derive(Debug, Clone, Copy)]
struct Run {
    start: i64,
    end: i64,
    group: u32,
}

/// Runs of all groups, and the run of every row. Runs have numbers from 1.
#[derive(Debug)]
pub struct RowRuns {
    gap: u64,
    runs: Vec<Run>,
    /// Of every group the runs that were last added to, the very last one first.
    latest: Vec<[u32; LATEST]>,
}

/// The sessions of runs; both lists begin with one for rows that have no run.
#[derive(Debug, Default)]
pub struct RunSessions {
    /// When the session of each run begins.
    pub starts: Vec<i64>,
    /// The place of each run's session among those of its group, from 1.
    pub indexes: Vec<u32>,
}

impl RowRuns {
    /// No rows yet. A session ends where nothing happens for longer than `gap`.
    pub fn new(gap: i64) -> Self {
        Self { gap: gap.unsigned_abs(), runs: Vec::new(), latest: Vec::new() }
    }

    /// Appends the number of each row's run to `run_of_row`; 0 for a row without an instant. `groups` are below `total_groups`.
    ///
    /// There must not be more than `u32::MAX - 1` rows in all.
    pub fn push(&mut self, instants: &Int64Array, groups: &[usize], total_groups: usize, run_of_row: &mut Vec<u32>) {
        self.latest.resize(total_groups.max(self.latest.len()), [NONE; LATEST]);
        let times = instants.values();
        match instants.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => run_of_row.extend(groups.iter().zip(times).map(|(group, time)| self.run_at(*group, *time))),
            Some(nulls) => {
                let rows = groups.iter().zip(times).zip(nulls);
                run_of_row.extend(rows.map(|((group, time), is_event)| if is_event { self.run_at(*group, *time) } else { NONE }));
            }
        }
    }

    #[inline]
    fn run_at(&mut self, group: usize, instant: i64) -> u32 {
        let latest = &mut self.latest[group];
        for place in 0..LATEST {
            let number = latest[place];
            if number == NONE {
                break;
            }
            if extend(&mut self.runs[number as usize - 1], instant, self.gap) {
                latest[..=place].rotate_right(1);
                return number;
            }
        }
        self.runs.push(Run { start: instant, end: instant, group: group as u32 });
        latest.rotate_right(1);
        latest[0] = self.runs.len() as u32;
        latest[0]
    }

    /// Number of runs.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// True if no row had an instant.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The sessions that the runs make.
    pub fn sessions(self) -> RunSessions {
        let Self { gap, runs, latest } = self;
        let (by_group, ends) = by_group(&runs, latest.len());
        drop(latest);
        let mut found = RunSessions { starts: vec![0; runs.len() + 1], indexes: vec![0; runs.len() + 1] };
        let mut begin = 0;
        let mut of_group = Vec::new();
        for end in ends {
            let numbers = &by_group[begin..end as usize];
            begin = end as usize;
            of_group.clear();
            of_group.extend(numbers.iter().map(|number| (runs[*number as usize], *number)));
            of_group.sort_unstable_by_key(|(run, _)| run.start);
            let (mut start, mut latest, mut index) = (0, 0, 0);
            for (run, number) in &of_group {
                if index > 0 && (run.start <= latest || run.start.abs_diff(latest) <= gap) {
                    latest = run.end.max(latest);
                } else {
                    (start, latest, index) = (run.start, run.end, index + 1);
                }
                found.starts[*number as usize + 1] = start;
                found.indexes[*number as usize + 1] = index;
            }
        }
        found
    }

    /// Bytes that are held now, and those that [`Self::sessions`] will take beside them.
    pub fn bytes(&self) -> usize {
        let held = self.runs.capacity() * size_of::<Run>() + self.latest.capacity() * size_of::<[u32; LATEST]>();
        held + self.runs.len() * (size_of::<i64>() + 2 * size_of::<u32>()) + self.latest.len() * size_of::<u32>()
    }
}

/// Adds an instant to a run, if it is close to it on either side.
#[inline]
fn extend(run: &mut Run, instant: i64, gap: u64) -> bool {
    if instant > run.end {
        let is_close = instant.abs_diff(run.end) <= gap;
        run.end = if is_close { instant } else { run.end };
        is_close
    } else if instant < run.start {
        let is_close = instant.abs_diff(run.start) <= gap;
        run.start = if is_close { instant } else { run.start };
        is_close
    } else {
        true
    }
}

/// The places of the runs, group by group, and where each group ends.
fn by_group(runs: &[Run], total_groups: usize) -> (Vec<u32>, Vec<u32>) {
    let mut next = vec![0u32; total_groups];
    runs.iter().for_each(|run| next[run.group as usize] += 1);
    let mut begin = 0;
    for place in &mut next {
        (*place, begin) = (begin, begin + *place);
    }
    let mut sorted = vec![0u32; runs.len()];
    for (number, run) in runs.iter().enumerate() {
        let place = &mut next[run.group as usize];
        sorted[*place as usize] = number as u32;
        *place += 1;
    }
    (sorted, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::sessions::for_each_in_group_session;
    use proptest::prelude::*;

    type Row = (u32, Option<i64>);

    fn found(rows: &[Row], gap: i64, batch: usize) -> (Vec<Option<(i64, i64)>>, usize) {
        let mut runs = RowRuns::new(gap);
        let mut run_of_row = Vec::new();
        for chunk in rows.chunks(batch) {
            let instants: Int64Array = chunk.iter().map(|row| row.1).collect();
            let groups: Vec<usize> = chunk.iter().map(|row| row.0 as usize).collect();
            runs.push(&instants, &groups, groups.iter().max().map_or(0, |most| most + 1), &mut run_of_row);
        }
        let count = runs.len();
        let sessions = runs.sessions();
        let of_run = |run: &u32| (*run > 0).then(|| (sessions.starts[*run as usize], i64::from(sessions.indexes[*run as usize])));
        (run_of_row.iter().map(of_run).collect(), count)
    }

    fn expected(rows: &[Row], gap: i64) -> Vec<Option<(i64, i64)>> {
        let groups: Vec<u32> = rows.iter().map(|row| row.0).collect();
        let mut expected = vec![None; rows.len()];
        let note = |row: usize, start, index| expected[row] = Some((start, index));
        for_each_in_group_session(&rows.iter().map(|row| row.1).collect(), &groups, 9, gap, None, note);
        expected
    }

    proptest! {
        #[test]
        fn equals_sorting_each_group(
            rows in prop::collection::vec((0u32..5, prop::option::weighted(0.9, -60i64..60)), 0..90),
            gap in 1i64..12,
            batch in 1usize..20,
            sorted in any::<bool>(),
        ) {
            let mut rows = rows;
            if sorted {
                rows.sort_by_key(|row| row.1);
            }
            prop_assert_eq!(found(&rows, gap, batch).0, expected(&rows, gap));
        }
    }

    #[test]
    fn two_mixed_logs_make_as_many_runs_as_sessions() {
        let rows: Vec<Row> =
            (0..40_000).map(|at| ((at / 2 % 4) as u32, Some(at % 2 * 10_000_000 + at / 800 * 1000 + at / 8 % 100))).collect();
        let (sessions, runs) = found(&rows, 200, 512);
        assert_eq!(sessions, expected(&rows, 200));
        assert_eq!(runs, 2 * 4 * 50);
    }

    #[test]
    fn the_ends_of_time_are_far_apart() {
        let rows = [(0, Some(i64::MAX)), (0, Some(i64::MIN)), (0, Some(i64::MAX - 1))];
        assert_eq!(found(&rows, i64::MAX, 8).0, [Some((i64::MAX - 1, 2)), Some((i64::MIN, 1)), Some((i64::MAX - 1, 2))]);
    }
}
