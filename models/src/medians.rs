//! Exact medians of features whose rows lie in many blocks, by counting: a pass counts how many numbers of each feature lie in each part of the interval
//! that holds its median, the next one looks into that part.
//!
//! Numbers are told apart by keys of 64 bits in their order. A pass divides an interval by up to 4096 and shrinks it to the numbers that are there, so that few
//! passes are needed, never more than six or so.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{ModelError, Result};

/// Bits that tell the parts of an interval apart.
const PART_BITS: u32 = 12;
/// Bits more than those of the number of rows: of few rows, more parts would cost more than the rows.
const BITS_BEYOND_ROWS: u32 = 6;
/// Numbers that are looked at together: after the first pass mostly none of them lies in the interval.
const AT_ONCE: usize = 64;
/// Parts of all intervals of a pass at most, so that an answer stays small however many features there are.
const PARTS_MAX: usize = 1 << 20;
const SIGN: u64 = 1 << 63;

/// A number's bits, so that they are ordered as the numbers are; 0 and -0 are one.
fn key(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

fn of_key(key: u64) -> f64 {
    f64::from_bits(if key & SIGN == SIGN { key & !SIGN } else { !key })
}

/// Where a pass looks: one interval of a feature's keys, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Which feature.
    pub feature: usize,
    low: u64,
    high: u64,
    /// Keys of a part are equal but for so many bits.
    shift: u32,
}

/// The numbers in a part of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    place: u32,
    count: u64,
    low: u64,
    high: u64,
}

/// The parts of one interval that hold numbers, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted(Vec<Part>);

/// Counts numbers of one interval.
pub struct Counter {
    interval: Interval,
    parts: Vec<Part>,
}

impl Counter {
    /// No numbers yet.
    pub fn new(interval: Interval) -> Self {
        let parts = ((interval.high - interval.low) >> interval.shift) as usize + 1;
        let empty = Part { place: 0, count: 0, low: u64::MAX, high: 0 };
        Self { interval, parts: (0..parts).map(|place| Part { place: place as u32, ..empty }).collect() }
    }

    /// Counts those of the numbers that lie in the interval; NaN is none.
    pub fn add(&mut self, values: &[f64]) {
        let Interval { low, high, shift, .. } = self.interval;
        let (least, most) = (of_key(low), of_key(high));
        let is_within = |value: f64| (value >= least) & (value <= most);
        for some in values.chunks(AT_ONCE) {
            if !some.iter().fold(false, |any, value| any | is_within(*value)) {
                continue;
            }
            for value in some.iter().copied().filter(|value| is_within(*value)) {
                let key = key(value);
                // The two zeros are equal as numbers, not as keys.
                if key < low || key > high {
                    continue;
                }
                if let Some(part) = self.parts.get_mut(((key - low) >> shift) as usize) {
                    part.count += 1;
                    part.low = part.low.min(key);
                    part.high = part.high.max(key);
                }
            }
        }
    }

    /// What was counted.
    pub fn finish(self) -> Counted {
        Counted(self.parts.into_iter().filter(|part| part.count > 0).collect())
    }
}

impl Counted {
    fn merge(&mut self, other: &Self) {
        for part in &other.0 {
            match self.0.binary_search_by_key(&part.place, |part| part.place) {
                Err(at) => self.0.insert(at, *part),
                Ok(at) => {
                    let mine = &mut self.0[at];
                    mine.count += part.count;
                    (mine.low, mine.high) = (mine.low.min(part.low), mine.high.max(part.high));
                }
            }
        }
    }
}

/// A number by its rank among those of a feature.
struct Wanted {
    feature: usize,
    /// From 0, among the numbers of the interval.
    rank: u64,
    low: u64,
    high: u64,
}

/// The medians of features of which the ends are known; `None` of features without numbers. `features` are their least and greatest numbers and how many there
/// are; `count` runs a pass and gives what each block has counted, an answer for each interval.
///
/// # Errors
/// What a pass reports; answers that contradict the ends.
pub fn medians(features: &[(f64, f64, u64)], mut count: impl FnMut(&[Interval]) -> Result<Vec<Vec<Counted>>>) -> Result<Vec<Option<f64>>> {
    let most_rows = features.iter().map(|(_, _, rows)| *rows).max().unwrap_or(0);
    let mut wanted: Vec<Wanted> = Vec::new();
    for (feature, (low, high, rows)) in features.iter().enumerate().filter(|(_, (_, _, rows))| *rows > 0) {
        // Of an even number of numbers the two in the middle.
        for rank in [(rows - 1) / 2, rows / 2] {
            wanted.push(Wanted { feature, rank, low: key(*low), high: key(*high) });
        }
    }
    loop {
        let mut intervals: Vec<Interval> = Vec::new();
        for Wanted { feature, low, high, .. } in wanted.iter().filter(|wanted| wanted.low < wanted.high) {
            if !intervals.iter().rev().take(2).any(|known| (known.feature, known.low, known.high) == (*feature, *low, *high)) {
                intervals.push(Interval { feature: *feature, low: *low, high: *high, shift: 0 });
            }
        }
        if intervals.is_empty() {
            break;
        }
        let bits = PART_BITS.min(most_rows.max(1).ilog2() + BITS_BEYOND_ROWS).min((PARTS_MAX / intervals.len()).max(2).ilog2());
        for interval in &mut intervals {
            interval.shift = (u64::BITS - (interval.high - interval.low).leading_zeros()).saturating_sub(bits);
        }
        let places: HashMap<(usize, u64, u64), usize> =
            intervals.iter().enumerate().map(|(at, known)| ((known.feature, known.low, known.high), at)).collect();
        let mut answers = count(&intervals)?.into_iter();
        let mut counted = answers.next().unwrap_or_default();
        for answer in answers {
            counted.iter_mut().zip(&answer).for_each(|(one, other)| one.merge(other));
        }
        let lost = || ModelError::bug("a median lies outside of the numbers that were found");
        for wanted in wanted.iter_mut().filter(|wanted| wanted.low < wanted.high) {
            let place = places.get(&(wanted.feature, wanted.low, wanted.high));
            let parts = place.and_then(|at| counted.get(*at)).ok_or_else(lost)?;
            let mut rank = wanted.rank;
            let part = parts.0.iter().find(|part| match rank.checked_sub(part.count) {
                Some(rest) => {
                    rank = rest;
                    false
                }
                None => true,
            });
            let part = part.ok_or_else(lost)?;
            (wanted.low, wanted.high, wanted.rank) = (part.low, part.high, rank);
        }
    }
    let mut medians = vec![None; features.len()];
    for pair in wanted.chunks_exact(2) {
        let [low, high] = [of_key(pair[0].low), of_key(pair[1].low)];
        medians[pair[0].feature] = Some(middle(low, high));
    }
    Ok(medians)
}

/// The mean of two numbers, which does not overflow.
fn middle(low: f64, high: f64) -> f64 {
    let between = high - low;
    if between.is_finite() { low + between / 2.0 } else { low / 2.0 + high / 2.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Medians of columns that lie in blocks of some rows, and how many passes there were.
    fn of_blocks(columns: &[Vec<f64>], rows: usize) -> (Vec<Option<f64>>, usize) {
        let present = |column: &Vec<f64>| column.iter().copied().filter(|v| !v.is_nan()).collect::<Vec<f64>>();
        let ends = |column: &Vec<f64>| {
            let values = present(column);
            let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
            (low, high, values.len() as u64)
        };
        let ends: Vec<_> = columns.iter().map(ends).collect();
        let mut passes = 0;
        let found = medians(&ends, |intervals| {
            passes += 1;
            let of_block = |from: usize| {
                let of_interval = |interval: &Interval| {
                    let mut counter = Counter::new(*interval);
                    let column = &columns[interval.feature];
                    counter.add(&column[from.min(column.len())..(from + rows).min(column.len())]);
                    counter.finish()
                };
                intervals.iter().map(of_interval).collect()
            };
            let most = columns.iter().map(Vec::len).max().unwrap_or(0);
            Ok((0..most).step_by(rows).map(of_block).collect())
        });
        (found.unwrap(), passes)
    }

    fn naive(column: &[f64]) -> Option<f64> {
        let mut values: Vec<f64> = column.iter().copied().filter(|v| !v.is_nan()).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            odd if odd % 2 == 1 => Some(values[middle]),
            _ => Some(super::middle(values[middle - 1], values[middle])),
        }
    }

    #[test]
    fn few_passes_find_the_median_of_many_numbers() {
        let mixed = |i: u64| (crate::keyed_random::uniform(1, i, 0) * 20.0 - 10.0).exp();
        let columns =
            [(0..100_000).map(mixed).collect::<Vec<f64>>(), (0..100_000).map(|i| f64::from(i % 7)).collect(), vec![f64::NAN; 5], vec![]];
        let (found, passes) = of_blocks(&columns, 1000);
        assert_eq!(found, columns.iter().map(|column| naive(column)).collect::<Vec<_>>());
        assert!(passes <= 4, "{passes} passes");
    }

    #[test]
    fn the_middle_of_the_greatest_numbers_is_a_number() {
        let (found, _) = of_blocks(&[vec![f64::MAX, -f64::MAX], vec![f64::MAX, f64::MAX, f64::MAX / 2.0, f64::MAX / 2.0]], 1);
        assert_eq!(found, [Some(0.0), Some(f64::MAX * 0.75)]);
    }

    proptest! {
        #[test]
        fn medians_are_those_of_sorted_numbers(
            columns in prop::collection::vec(prop::collection::vec(prop_oneof![-5i32..5, any::<i32>()], 0..40), 1..4),
            scale in prop_oneof![Just(1.0), Just(1e-300), Just(1e290)], rows in 1usize..20,
        ) {
            let columns: Vec<Vec<f64>> = columns.into_iter().map(|column| column.into_iter().map(|v| f64::from(v) * scale).collect()).collect();
            let expected: Vec<Option<f64>> = columns.iter().map(|column| naive(column)).collect();
            prop_assert_eq!(of_blocks(&columns, rows).0, expected);
        }
    }
}
