//! Ratings in memory: gathered as triples, then compressed rows ordered by the ids of the other side.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use rayon::prelude::*;

use super::config::{Config, Duplicates, rating_type};
use super::errors::median;
use super::ids::{Interner, canonical};
use crate::exact_sum::ExactMoments;
use crate::feature_statistics::FeatureStatistics;
use crate::{Collector, ModelError, Result};

/// Ratings that are written in 64 bits at a time.
const WIDENED: usize = 4096;

/// One rating; user and item by their numbers in the collector.
#[derive(Debug, Clone, Copy)]
pub struct Triple {
    /// Numbers of user and item.
    pub ids: [u32; 2],
    /// The rating.
    pub rating: f32,
}

/// Gathers the ratings of a partition.
pub struct Ratings {
    config: Arc<Config>,
    /// The distinct users and items.
    pub sides: [Interner; 2],
    /// The rows.
    pub triples: Vec<Triple>,
}

impl Ratings {
    /// Nothing yet.
    pub fn new(config: Arc<Config>) -> Self {
        Self { config, sides: [Interner::default(), Interner::default()], triples: Vec::new() }
    }
}

impl Collector for Ratings {
    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let [user, item, rating] = self.config.columns.map(|column| batch.column(column));
        let names = &self.config.names;
        let users = self.sides[0].intern(&canonical(&names[0], user)?)?;
        let items = self.sides[1].intern(&canonical(&names[1], item)?)?;
        let ratings = read_ratings(&names[2], rating)?;
        self.triples.extend(users.into_iter().zip(items).zip(ratings).map(|((user, item), rating)| Triple { ids: [user, item], rating }));
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.triples.capacity() * size_of::<Triple>() + self.sides.iter().map(Interner::bytes).sum::<usize>()
    }

    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any + Send> {
        self
    }
}

/// Ratings as 32-bit numbers; -0 becomes 0.
///
/// # Errors
/// NULL, NaN, or numbers that 32 bits cannot hold, named with the column.
pub fn read_ratings(column: &str, ratings: &ArrayRef) -> Result<Vec<f32>> {
    rating_type(column, ratings.data_type())?;
    let nulls = ratings.logical_null_count();
    if nulls > 0 {
        return Err(
            ModelError::column(column, format!("{nulls} of {} ratings are NULL", ratings.len())).hint("leave these rows out in the query")
        );
    }
    let numbers = cast(ratings, &DataType::Float64).map_err(|e| ModelError::column(column, e.to_string()))?;
    numbers.as_primitive::<Float64Type>().values().iter().map(|value| narrow(column, *value)).collect()
}

fn narrow(column: &str, value: f64) -> Result<f32> {
    let rating = value as f32 + 0.0;
    if rating.is_finite() {
        return Ok(rating);
    }
    let error = ModelError::column(column, format!("a rating is {value}"));
    Err(error.hint("ratings have to be finite numbers of up to 3.4e38; leave other rows out in the query"))
}

/// What ratings look like, in the 32 bits that they are kept in.
pub fn statistics(ratings: &[f32]) -> FeatureStatistics {
    let number = |rating: f32| f64::from(rating) + 0.0;
    let of_numbers = || {
        let (mut moments, mut numbers) = (ExactMoments::default(), Vec::with_capacity(WIDENED));
        for run in ratings.chunks(WIDENED) {
            numbers.clear();
            numbers.extend(run.iter().copied().map(number));
            moments.add_slice(&numbers);
        }
        FeatureStatistics {
            min: ratings.iter().copied().reduce(f32::min).map(number),
            max: ratings.iter().copied().reduce(f32::max).map(number),
            mean: moments.mean(),
            stddev: moments.sample_variance().map(f64::sqrt),
            ..FeatureStatistics::default()
        }
    };
    let (statistics, median) = rayon::join(of_numbers, || median(&mut ratings.to_vec()));
    FeatureStatistics { median: median.map(|median| median + 0.0), ..statistics }
}

/// Ratings by the rows of one side, as compressed rows: those of row `r` are at `offsets[r]..offsets[r + 1]`, ordered by `others`, each pair once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// Where each row begins; one more than there are rows.
    pub offsets: Vec<usize>,
    /// Places on the other side.
    pub others: Vec<u32>,
    /// The ratings.
    pub values: Vec<f32>,
}

/// A pair that was rated more than once where that is refused: its row, and its place on the other side.
pub struct Repeated(pub usize, pub u32);

/// The bits of a number, so that they are ordered as the numbers are.
fn ordered_bits(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

fn from_ordered_bits(bits: u32) -> f32 {
    f32::from_bits(if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits })
}

impl Rows {
    /// From `(row, other, rating)` in any order.
    ///
    /// # Errors
    /// A pair that was rated more than once, where that is refused.
    pub fn gather(
        rows: usize,
        triples: impl Iterator<Item = (u32, u32, f32)> + Clone,
        duplicates: Duplicates,
    ) -> std::result::Result<Self, Repeated> {
        let mut offsets = vec![0; rows + 1];
        for (row, _, _) in triples.clone() {
            offsets[row as usize + 1] += 1;
        }
        for row in 0..rows {
            offsets[row + 1] += offsets[row];
        }
        let mut cursors = offsets.clone();
        let mut packed = vec![0u64; offsets[rows]];
        for (row, other, rating) in triples {
            let cursor = &mut cursors[row as usize];
            packed[*cursor] = u64::from(other) << 32 | u64::from(ordered_bits(rating));
            *cursor += 1;
        }
        drop(cursors);
        let mut rest = packed.as_mut_slice();
        let mut slices = Vec::with_capacity(rows);
        for row in 0..rows {
            let (slice, after) = std::mem::take(&mut rest).split_at_mut(offsets[row + 1] - offsets[row]);
            slices.push(slice);
            rest = after;
        }
        let kept: Vec<Option<usize>> = slices.into_par_iter().with_min_len(64).map(|row| unite(row, duplicates)).collect();
        let mut result = Self {
            offsets: Vec::with_capacity(rows + 1),
            others: Vec::with_capacity(packed.len()),
            values: Vec::with_capacity(packed.len()),
        };
        result.offsets.push(0);
        for (row, kept) in kept.into_iter().enumerate() {
            let slice = &packed[offsets[row]..offsets[row + 1]];
            let Some(kept) = kept else { return Err(Repeated(row, first_repeated(slice))) };
            result.others.extend(slice[..kept].iter().map(|pair| (pair >> 32) as u32));
            result.values.extend(slice[..kept].iter().map(|pair| from_ordered_bits(*pair as u32)));
            result.offsets.push(result.others.len());
        }
        Ok(result)
    }

    /// The same ratings by the rows of the other side.
    pub fn transposed(&self, others: usize) -> Self {
        let mut offsets = vec![0; others + 1];
        for other in &self.others {
            offsets[*other as usize + 1] += 1;
        }
        for other in 0..others {
            offsets[other + 1] += offsets[other];
        }
        let mut cursors = offsets.clone();
        let (mut rows, mut values) = (vec![0; self.others.len()], vec![0.0; self.others.len()]);
        for row in 0..self.len() {
            for place in self.offsets[row]..self.offsets[row + 1] {
                let cursor = &mut cursors[self.others[place] as usize];
                rows[*cursor] = row as u32;
                values[*cursor] = self.values[place];
                *cursor += 1;
            }
        }
        Self { offsets, others: rows, values }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The other places and ratings of a row.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[row]..self.offsets[row + 1];
        (&self.others[range.clone()], &self.values[range])
    }

    /// Whether each row has ratings.
    pub fn are_filled(&self) -> Vec<bool> {
        self.offsets.windows(2).map(|row| row[0] < row[1]).collect()
    }

    /// Memory that is held, in bytes.
    pub fn bytes(&self) -> usize {
        self.offsets.capacity() * 8 + self.others.capacity() * 4 + self.values.capacity() * 4
    }

    /// Whether all ratings are finite, which sums of finite ones may not be.
    pub fn is_finite(&self) -> bool {
        self.values.iter().all(|value| value.is_finite())
    }

    /// Ranges of rows that take about the same time, in order.
    pub fn shares(&self, count: usize) -> Vec<std::ops::Range<usize>> {
        const ROW_COST: usize = 32;
        let total = self.others.len() + self.len() * ROW_COST;
        let share = total.div_ceil(count.max(1)).max(1);
        let (mut shares, mut start, mut taken) = (Vec::new(), 0, 0);
        for row in 0..self.len() {
            taken += self.offsets[row + 1] - self.offsets[row] + ROW_COST;
            if taken >= share {
                shares.push(start..row + 1);
                (start, taken) = (row + 1, 0);
            }
        }
        if start < self.len() {
            shares.push(start..self.len());
        }
        shares
    }
}

/// Sorts a row by the other side and makes one rating of several; how many are left, or `None` where several are refused.
///
/// Ratings of one pair are added from the least to the greatest, in whatever order they came.
fn unite(row: &mut [u64], duplicates: Duplicates) -> Option<usize> {
    row.sort_unstable();
    let (mut kept, mut place) = (0, 0);
    while place < row.len() {
        let other = row[place] >> 32;
        let count = row[place..].iter().take_while(|pair| **pair >> 32 == other).count();
        let rating = match (count, duplicates) {
            (1, _) => row[place] as u32,
            (_, Duplicates::Error) => return None,
            _ => {
                let sum: f64 = row[place..place + count].iter().map(|pair| f64::from(from_ordered_bits(*pair as u32))).sum();
                let united = if duplicates == Duplicates::Mean { sum / count as f64 } else { sum };
                ordered_bits(united as f32 + 0.0)
            }
        };
        row[kept] = other << 32 | u64::from(rating);
        kept += 1;
        place += count;
    }
    Some(kept)
}

fn first_repeated(sorted: &[u64]) -> u32 {
    sorted.windows(2).find(|pair| pair[0] >> 32 == pair[1] >> 32).map_or(0, |pair| (pair[0] >> 32) as u32)
}
