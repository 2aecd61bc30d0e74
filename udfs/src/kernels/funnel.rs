//! How deep a funnel was gone through: steps met in order within a window of time.

use std::cmp::Ordering;

use arrow::array::{Array, BooleanArray};

use super::order_keys::true_rows;

/// Steps that a funnel can have: their number is the number of bits in [`StepEvent::steps`].
pub const MAX_STEPS: usize = 32;

/// An event that meets some steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepEvent {
    /// When.
    pub instant: i64,
    /// A bit per step, the first step's lowest.
    pub steps: u32,
}

/// The order in which [`deepest_step`] wants events.
pub fn by_time(a: &StepEvent, b: &StepEvent) -> Ordering {
    a.instant.cmp(&b.instant)
}

/// Makes one event of those at one instant, adding it to the earlier one.
pub fn join_simultaneous(last: &mut StepEvent, event: &StepEvent) -> bool {
    let is_simultaneous = last.instant == event.instant;
    if is_simultaneous {
        last.steps |= event.steps;
    }
    is_simultaneous
}

/// The bits of the conditions that are true in each of `rows` rows; null is false.
pub fn condition_bits<'a>(conditions: impl IntoIterator<Item = &'a dyn Array>, rows: usize) -> Vec<u32> {
    let mut bits = vec![0u32; rows];
    for (at, condition) in conditions.into_iter().enumerate() {
        true_rows(condition).set_indices().for_each(|row| bits[row] |= 1 << at);
    }
    bits
}

/// The greatest k for which there are events that meet steps 1, 2, …, k, none earlier than the one before and none more than
/// `window` after the first of them; 0 if no event meets step 1. One event can meet several steps. `events` are in the order
/// of time with one event per instant.
///
/// This is ClickHouse's `windowFunnel` without a mode. Of all ways to have come to a step it is enough to remember the one
/// that began last, as it leaves the most time for the rest: one pass, a number per step.
pub fn deepest_step(events: &[StepEvent], window: i64, steps: usize) -> u32 {
    let mut began = [0i64; MAX_STEPS];
    let mut reached = 0;
    for event in events {
        if event.steps & 1 == 1 {
            began[0] = event.instant;
            reached = reached.max(1);
        }
        // A step counts only where the one before it was reached: the first steps' bits, and that of the next.
        let mut left = event.steps & !1;
        while left != 0 {
            let step = left.trailing_zeros() as usize;
            left &= left - 1;
            if step <= reached && event.instant.abs_diff(began[step - 1]) <= window.unsigned_abs() {
                began[step] = began[step - 1];
                reached = reached.max(step + 1);
            }
        }
        if reached == steps {
            break;
        }
    }
    reached as u32
}

/// The conditions as an array of true and false: bit `at` of `bits`, where the lowest is set; all false, where it is not.
pub fn retained(bits: &[u32], conditions: usize) -> BooleanArray {
    bits.iter().flat_map(|bits| (0..conditions).map(move |at| Some(bits & 1 == 1 && bits >> at & 1 == 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Straight from the definition: is there a chain of events that meets the steps from `step` on?
    fn can_continue(events: &[StepEvent], step: usize, steps: usize, not_before: i64, until: i64) -> usize {
        let mut deepest = step;
        if step < steps {
            for event in events {
                if event.steps >> step & 1 == 1 && event.instant >= not_before && event.instant <= until {
                    deepest = deepest.max(can_continue(events, step + 1, steps, event.instant, until));
                }
            }
        }
        deepest
    }

    fn naive(events: &[StepEvent], window: i64, steps: usize) -> u32 {
        let firsts = events.iter().filter(|event| event.steps & 1 == 1);
        firsts.map(|first| can_continue(events, 1, steps, first.instant, first.instant + window)).max().unwrap_or(0) as u32
    }

    proptest! {
        #[test]
        fn equals_trying_every_chain(
            events in prop::collection::vec((0i64..20, 0u32..32), 0..12),
            window in 1i64..15,
            steps in 1usize..6,
        ) {
            let mask = (1 << steps) - 1;
            let mut events: Vec<StepEvent> = events.into_iter().map(|(instant, steps)| StepEvent { instant, steps: steps & mask }).collect();
            let expected = naive(&events, window, steps);
            events.sort_by(by_time);
            let kept = crate::kernels::grouped_log::join_neighbours(&mut events, join_simultaneous);
            prop_assert_eq!(deepest_step(&events[..kept], window, steps), expected);
        }
    }

    #[test]
    fn retention_needs_the_first_condition() {
        let expected = [true, false, true, false, false, false].map(Some);
        assert_eq!(retained(&[0b101, 0b110], 3).iter().collect::<Vec<_>>(), expected);
    }
}
