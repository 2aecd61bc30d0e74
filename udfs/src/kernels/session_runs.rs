//! The sessions of every group, from events in any order: the memory of `sessionize`.
//!
//! With one gap for all and no greatest length, two events that are close belong together whatever lies between, so runs of
//! close events are joined as soon as they are seen: in a log sorted by time what is kept is little more than the sessions
//! themselves. With a gap per event or a greatest length an event that comes late can move every cut after it, and all
//! instants are kept until the end.

use std::cmp::Ordering;

use arrow::array::Int64Array;
use arrow::buffer::BooleanBuffer;
use arrow::error::ArrowError;

use super::grouped_log::{ByGroup, GroupedLog, join_neighbours, kept_rows};
use super::order_keys::for_each_kept;
use super::sessions::SessionCut;

/// Events of a group that belong together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Run {
    /// The first event's instant.
    pub start: i64,
    /// The last event's instant.
    pub end: i64,
    /// Number of events.
    pub events: i64,
    /// The gap that applies after the last event.
    pub gap: i64,
}

/// What ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnds {
    /// More than this without an event.
    AfterGap(i64),
    /// More than the last event's own gap without an event, or a session longer than this.
    AfterOwnGap {
        /// The greatest length, if there is one.
        max_length: Option<i64>,
    },
}

/// Runs of all groups, in one log.
#[derive(Debug)]
pub struct SessionRuns {
    ends: SessionEnds,
    log: GroupedLog<Run>,
    /// Per group the place of the run that was last added to in the log, plus one; only where runs are joined.
    latest: Vec<u32>,
}

fn by_time(a: &Run, b: &Run) -> Ordering {
    a.start.cmp(&b.start).then(a.end.cmp(&b.end))
}

/// Adds `run`, which begins no earlier than `last`, to it if they are one session.
fn join_close(last: &mut Run, run: &Run, gap: i64) -> bool {
    let is_close = run.start <= last.end || run.start.abs_diff(last.end) <= gap.unsigned_abs();
    if is_close {
        last.end = last.end.max(run.end);
        last.events += run.events;
    }
    is_close
}

fn join_equal(last: &mut Run, run: &Run) -> bool {
    let is_equal = run.start == last.start;
    if is_equal {
        last.events += run.events;
        last.gap = last.gap.max(run.gap);
    }
    is_equal
}

/// Joins what can be joined before all events are known.
fn squeeze(ends: SessionEnds) -> impl Fn(&mut [Run]) -> usize {
    move |runs| match ends {
        SessionEnds::AfterGap(gap) => join_neighbours(runs, |last, run| join_close(last, run, gap)),
        SessionEnds::AfterOwnGap { .. } => join_neighbours(runs, join_equal),
    }
}

/// Makes sessions of single instants.
fn cut(runs: &mut [Run], max_length: Option<i64>) -> usize {
    let mut cut = SessionCut::new(max_length);
    let mut sessions = 0;
    for at in 0..runs.len() {
        let run = runs[at];
        if cut.begins(run.start, run.gap) {
            runs[sessions] = run;
            sessions += 1;
        } else {
            let session = &mut runs[sessions - 1];
            session.end = run.end;
            session.events += run.events;
        }
    }
    sessions
}

impl SessionRuns {
    /// No events yet.
    pub fn new(ends: SessionEnds) -> Self {
        Self { ends, log: GroupedLog::default(), latest: Vec::new() }
    }

    /// Adds an event per row, leaving out those without an instant and those where `keep` is false.
    ///
    /// # Errors
    /// If there are four billion groups, or as many runs in memory.
    pub fn insert(
        &mut self,
        instants: &Int64Array,
        gap_at: impl Fn(usize) -> i64,
        groups: &[usize],
        keep: Option<&BooleanBuffer>,
        total_groups: usize,
    ) -> Result<(), ArrowError> {
        let kept = kept_rows(keep, arrow::array::Array::nulls(instants));
        let times = instants.values();
        let run_at = |row: usize| Run { start: times[row], end: times[row], events: 1, gap: gap_at(row) };
        self.insert_runs(run_at, groups, kept.as_ref(), total_groups)
    }

    /// Adds a run per row, leaving out those where `keep` is false.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub fn insert_runs(
        &mut self,
        run_at: impl Fn(usize) -> Run,
        groups: &[usize],
        keep: Option<&BooleanBuffer>,
        total_groups: usize,
    ) -> Result<(), ArrowError> {
        self.log.grow_to(total_groups)?;
        if self.log.len() + groups.len() >= u32::MAX as usize {
            return Err(ArrowError::ComputeError("sessions: more than four billion events in one task's memory".into()));
        }
        match self.ends {
            SessionEnds::AfterOwnGap { .. } => for_each_kept(groups, keep, |row, group| self.log.push(group, run_at(row))),
            SessionEnds::AfterGap(gap) => {
                self.latest.resize(total_groups.max(self.latest.len()), 0);
                let (log, latest) = (&mut self.log, &mut self.latest);
                for_each_kept(groups, keep, |row, group| {
                    let run = run_at(row);
                    if latest[group] == 0 || !extend(log.get_mut(latest[group] as usize - 1), &run, gap) {
                        log.push(group, run);
                        latest[group] = log.len() as u32;
                    }
                });
            }
        }
        if self.log.squeeze_if_grown(by_time, squeeze(self.ends)) {
            self.find_latest();
        }
        Ok(())
    }

    /// Takes the first `groups` groups out: their runs in order, as they can be added to another log. The others move down.
    pub fn take_runs(&mut self, groups: usize) -> ByGroup<Run> {
        let mut runs = self.log.take_first(groups);
        runs.squeeze(by_time, squeeze(self.ends));
        self.latest.drain(..groups.min(self.latest.len()));
        if self.log.is_empty() {
            self.latest = Vec::new();
        }
        self.find_latest();
        runs
    }

    /// Takes the first `groups` groups out: their sessions in order. The others move down.
    pub fn take_sessions(&mut self, groups: usize) -> ByGroup<Run> {
        let mut runs = self.take_runs(groups);
        if let SessionEnds::AfterOwnGap { max_length } = self.ends {
            runs.squeeze(by_time, |runs| cut(runs, max_length));
        }
        runs
    }

    fn find_latest(&mut self) {
        if matches!(self.ends, SessionEnds::AfterGap(_)) {
            self.latest.fill(0);
            for (place, group) in self.log.groups().enumerate() {
                self.latest[group as usize] = place as u32 + 1;
            }
        }
    }

    /// Bytes allocated.
    pub fn allocated_bytes(&self) -> usize {
        self.log.allocated_bytes() + self.latest.capacity() * size_of::<u32>()
    }
}

/// Adds `run` to `held` on either side, if they are one session whatever else there is.
#[inline]
fn extend(held: &mut Run, run: &Run, gap: i64) -> bool {
    if run.start >= held.start {
        return join_close(held, run, gap);
    }
    let mut joined = *run;
    let is_close = join_close(&mut joined, held, gap);
    if is_close {
        *held = joined;
    }
    is_close
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::sessions::for_each_in_session;
    use proptest::prelude::*;

    type Event = (usize, Option<i64>, i64, bool);

    fn ends(own_gaps: bool, max_length: Option<i64>) -> SessionEnds {
        if own_gaps || max_length.is_some() { SessionEnds::AfterOwnGap { max_length } } else { SessionEnds::AfterGap(5) }
    }

    fn log_of(events: &[Event], ends: SessionEnds, batch: usize) -> SessionRuns {
        let mut runs = SessionRuns::new(ends);
        for chunk in events.chunks(batch) {
            let instants: Int64Array = chunk.iter().map(|event| event.1).collect();
            let groups: Vec<usize> = chunk.iter().map(|event| event.0).collect();
            let keep = BooleanBuffer::from_iter(chunk.iter().map(|event| event.3));
            runs.insert(&instants, |row| chunk[row].2, &groups, Some(&keep), 4).unwrap();
        }
        runs
    }

    fn naive(events: &[Event], max_length: Option<i64>) -> Vec<Vec<(i64, i64, i64)>> {
        (0..4)
            .map(|group| {
                let own: Vec<&Event> = events.iter().filter(|event| event.0 == group && event.3).collect();
                let mut sessions: Vec<(i64, i64, i64)> = Vec::new();
                let instants = Int64Array::from_iter(own.iter().map(|event| event.1));
                for_each_in_session(
                    &instants,
                    |row| own[row].2,
                    max_length,
                    |row, start, index| {
                        sessions.resize(sessions.len().max(index as usize), (start, start, 0));
                        let session = &mut sessions[index as usize - 1];
                        *session = (start, session.1.max(own[row].1.unwrap()), session.2 + 1);
                    },
                );
                sessions
            })
            .collect()
    }

    proptest! {
        #[test]
        fn any_split_gives_the_sessions_of_all_events(
            events in prop::collection::vec((0usize..4, prop::option::weighted(0.9, 0i64..100), 1i64..9, prop::bool::weighted(0.9)), 0..80),
            own_gaps in any::<bool>(),
            max_length in prop::option::of(1i64..30),
            (batch, parts, cut) in (1usize..9, 1usize..4, 0usize..5),
        ) {
            let mut events = events;
            if !own_gaps {
                events.iter_mut().for_each(|event| event.2 = 5);
            }
            let ends = ends(own_gaps, max_length);
            let mut whole = SessionRuns::new(ends);
            for part in 0..parts {
                let own: Vec<Event> = events.iter().copied().skip(part).step_by(parts).collect();
                let mut log = log_of(&own, ends, batch);
                for (first, groups) in [(0, cut.min(4)), (cut.min(4), 4 - cut.min(4))] {
                    let taken = log.take_runs(groups);
                    let of_row: Vec<usize> = taken.iter().enumerate().flat_map(|(at, runs)| vec![at + first; runs.len()]).collect();
                    whole.insert_runs(|row| taken.rows[row], &of_row, None, 4).unwrap();
                }
            }
            let sessions = whole.take_sessions(4);
            let found: Vec<Vec<_>> = sessions.iter().map(|runs| runs.iter().map(|run| (run.start, run.end, run.events)).collect()).collect();
            prop_assert_eq!(found, naive(&events, max_length));
        }
    }

    #[test]
    fn a_log_sorted_by_time_keeps_only_its_sessions() {
        let events: Vec<Event> = (0..100_000).map(|at| (at % 4, Some((at as i64) / 4 + 1000 * (at as i64 / 10_000)), 5, true)).collect();
        let mut runs = log_of(&events, SessionEnds::AfterGap(5), 8192);
        assert!(runs.allocated_bytes() < 8192, "{} bytes for forty sessions", runs.allocated_bytes());
        assert_eq!(runs.take_sessions(4).rows.len(), 40);
    }
}
