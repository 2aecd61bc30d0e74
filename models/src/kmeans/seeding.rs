//! First centres, found on the sample of distinct rows.
//!
//! * `kmeans_parallel`: k-means|| (B. Bahmani et al., "Scalable K-Means++", 2012): in a few steps, rows are drawn with a probability that grows with their
//!   distance to what is drawn already; the candidates, weighted by the rows that are nearest to them, are reduced to k by k-means++. Because the sample lies in
//!   memory, this is done several times, each result is refined by Lloyd's iterations on the sample, and the best is kept. After a few iterations only the
//!   better half goes on: one of the others hardly ever ends best.
//! * `kmeans++` (D. Arthur, S. Vassilvitskii, 2007), in the greedy form: of several draws the one that lowers the cost most, as scikit-learn does.
//! * `random`: distinct rows.
//!
//! All of it runs in one place in the sample's order, so ordinary sums do.

use rayon::prelude::*;

use super::nearest::{Lower, Nearest};
use super::sketch::Sketch;
use crate::exact_sum::Grid;
use crate::features::{TILE_ROWS, Tile};
use crate::keyed_random::{Sequence, random, uniform};
use crate::simd::widest;
use crate::{Observer, Result};

/// Lloyd's iterations on the sample for each attempt.
const REFINEMENTS: usize = 50;
/// Those of them after which the worse half of the attempts is given up.
const FIRST_REFINEMENTS: usize = 8;
/// Relative fall of the cost below which an attempt is not refined further.
const REFINED: f64 = 1e-5;
/// Attempts of `kmeans_parallel`, within what [`ATTEMPT_WORK`] allows; several runs share them.
const ATTEMPTS: std::ops::RangeInclusive<usize> = 4..=16;
/// Products of numbers in an attempt times attempts, about.
const ATTEMPT_WORK: usize = 1 << 30;

/// Weighted points in memory.
#[derive(Debug)]
pub struct Points {
    tiles: Vec<Tile>,
    weights: Vec<f64>,
    keys: Vec<u64>,
    features: usize,
    /// Whether there are more distinct points than these.
    pub sampled: bool,
}

impl Points {
    /// The points of a sample.
    pub fn of_sample(sample: &Sketch, grid: Grid, features: usize) -> Self {
        let weights = sample.weights.iter().map(|w| w.value(grid)).collect();
        let mut points = Self::new(sample.values.chunks(features.max(1)), weights, features);
        points.keys.clone_from(&sample.priorities);
        points.sampled = sample.sampled;
        points
    }

    fn new<'a>(rows: impl Iterator<Item = &'a [f64]>, weights: Vec<f64>, features: usize) -> Self {
        let mut tiles: Vec<Tile> = Vec::new();
        for (i, row) in rows.enumerate() {
            if i % TILE_ROWS == 0 {
                tiles.push(Tile::new(features));
            }
            if let Some(tile) = tiles.last_mut() {
                row.iter().enumerate().for_each(|(f, x)| tile.values[f * TILE_ROWS + i % TILE_ROWS] = *x);
                tile.rows += 1;
            }
        }
        let keys = (0..weights.len() as u64).collect();
        Self { tiles, weights, keys, features, sampled: false }
    }

    /// How many points there are.
    pub fn count(&self) -> usize {
        self.weights.len()
    }

    fn point(&self, i: usize) -> Vec<f64> {
        let tile = &self.tiles[i / TILE_ROWS];
        (0..self.features).map(|f| tile.values[f * TILE_ROWS + i % TILE_ROWS]).collect()
    }

    fn centres(&self, places: &[usize]) -> Vec<f64> {
        places.iter().flat_map(|i| self.point(*i)).collect()
    }

    /// Lowers squared distances to those to a centre.
    fn lower(&self, centre: &[f64], squares: &mut [f64]) {
        let mut buffer = [0.0; TILE_ROWS];
        for (tile, squares) in self.tiles.iter().zip(squares.chunks_mut(TILE_ROWS)) {
            buffer[..tile.rows].copy_from_slice(squares);
            widest(Lower { tile: &tile.values, rows: tile.rows, centre, squares: &mut buffer });
            squares.copy_from_slice(&buffer[..tile.rows]);
        }
    }

    fn for_each_nearest(&self, centres: &[f64], observer: &dyn Observer, mut each: impl FnMut(usize, &Tile, &[u16], &[f64])) -> Result<()> {
        let (mut labels, mut squares) = ([0; TILE_ROWS], [0.0; TILE_ROWS]);
        for (i, tile) in self.tiles.iter().enumerate() {
            observer.check()?;
            let (rows, features) = (tile.rows, self.features);
            widest(Nearest { tile: &tile.values, rows, features, centres, labels: &mut labels, squares: &mut squares });
            each(i * TILE_ROWS, tile, &labels[..rows], &squares[..rows]);
        }
        Ok(())
    }

    /// Lloyd's iterations until the cost hardly falls; the last cost, which is the cost `before` of a call that goes on.
    fn refine(&self, centres: &mut [f64], mut before: f64, normalize: bool, iterations: usize, observer: &dyn Observer) -> Result<f64> {
        let k = centres.len() / self.features;
        for _ in 0..iterations {
            let (mut sums, mut weights, mut cost) = (vec![0.0; centres.len()], vec![0.0; k], 0.0);
            self.for_each_nearest(centres, observer, |first, tile, labels, squares| {
                for (row, label) in labels.iter().enumerate() {
                    let (weight, cluster) = (self.weights[first + row], usize::from(*label));
                    cost += weight * squares[row];
                    weights[cluster] += weight;
                    let sums = &mut sums[cluster * self.features..(cluster + 1) * self.features];
                    sums.iter_mut().enumerate().for_each(|(f, sum)| *sum += weight * tile.values[f * TILE_ROWS + row]);
                }
            })?;
            if before - cost <= REFINED * cost {
                return Ok(cost);
            }
            before = cost;
            for (i, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
                let range = i * self.features..(i + 1) * self.features;
                centres[range.clone()].iter_mut().zip(&sums[range.clone()]).for_each(|(c, sum)| *c = sum / weight);
                if normalize {
                    set_length_one(&mut centres[range]);
                }
            }
        }
        Ok(before)
    }

    /// Greedy k-means++.
    fn plus_plus(&self, k: usize, sequence: &mut Sequence, observer: &dyn Observer) -> Result<Vec<usize>> {
        let draws = 2 + (k.ilog2() * 7 / 10) as usize; // about 2 + ln k
        let mut squares = vec![f64::INFINITY; self.count()];
        let mut cumulative = cumulate(self.weights.iter().copied());
        let mut chosen = vec![draw(&cumulative, sequence)];
        self.lower(&self.point(chosen[0]), &mut squares);
        while chosen.len() < k.min(self.count()) {
            observer.check()?;
            cumulative = cumulate(squares.iter().zip(&self.weights).map(|(square, weight)| square * weight));
            let mut best: Option<(f64, usize, Vec<f64>)> = None;
            for _ in 0..draws {
                let place = draw(&cumulative, sequence);
                let mut lowered = squares.clone();
                self.lower(&self.point(place), &mut lowered);
                let cost = lowered.iter().zip(&self.weights).fold(0.0, |sum, (square, weight)| sum + square * weight);
                if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
                    best = Some((cost, place, lowered));
                }
            }
            let Some((_, place, lowered)) = best else { break };
            // Nothing is left to gain by distance (it underflows): any point that is not taken.
            let place = if chosen.contains(&place) { (0..self.count()).find(|i| !chosen.contains(i)).unwrap_or(place) } else { place };
            squares = lowered;
            chosen.push(place);
        }
        Ok(chosen)
    }

    /// The candidates of k-means||.
    fn candidates(&self, k: usize, steps: u64, seed: u64, observer: &dyn Observer) -> Result<Vec<usize>> {
        let mut squares = vec![f64::INFINITY; self.count()];
        let first = draw(&cumulate(self.weights.iter().copied()), &mut Sequence::new(seed, 0));
        let mut chosen = vec![first];
        self.lower(&self.point(first), &mut squares);
        for step in 1..=steps {
            let cost = squares.iter().zip(&self.weights).fold(0.0, |sum, (square, weight)| sum + square * weight);
            let wanted = 2.0 * k as f64 / cost;
            let drawn: Vec<usize> =
                (0..self.count()).filter(|i| uniform(seed, self.keys[*i], step) < wanted * squares[*i] * self.weights[*i]).collect();
            for place in &drawn {
                observer.check()?;
                self.lower(&self.point(*place), &mut squares);
            }
            chosen.extend(drawn);
        }
        Ok(chosen)
    }

    fn parallel(&self, k: usize, steps: u64, seed: u64, normalize: bool, observer: &dyn Observer) -> Result<Vec<f64>> {
        let candidates = self.candidates(k, steps, seed, observer)?;
        let mut sequence = Sequence::new(seed, 1);
        if candidates.len() <= k {
            return Ok(self.centres(&self.plus_plus(k, &mut sequence, observer)?));
        }
        let values = self.centres(&candidates);
        let mut weights = vec![0.0; candidates.len()];
        self.for_each_nearest(&values, observer, |first, _, labels, _| {
            labels.iter().enumerate().for_each(|(row, label)| weights[usize::from(*label)] += self.weights[first + row]);
        })?;
        let reduced = Self::new(values.chunks(self.features), weights, self.features);
        let mut centres = reduced.centres(&reduced.plus_plus(k, &mut sequence, observer)?);
        reduced.refine(&mut centres, f64::INFINITY, normalize, REFINEMENTS, observer)?;
        Ok(centres)
    }

    /// The best of several results of k-means||, refined on these points.
    ///
    /// # Errors
    /// Training was cancelled.
    pub fn best_parallel(
        &self,
        k: usize,
        steps: u64,
        (seed, runs): (u64, u32),
        normalize: bool,
        observer: &dyn Observer,
    ) -> Result<Vec<f64>> {
        let work = (self.count() * k * self.features * REFINEMENTS).max(1);
        let attempts = ((ATTEMPT_WORK / work).min(*ATTEMPTS.end()) / runs as usize).max(*ATTEMPTS.start());
        let tries = (0..attempts as u64).into_par_iter().map(|attempt| -> Result<(f64, Vec<f64>)> {
            let mut centres = self.parallel(k, steps, random(seed, attempt, 0), normalize, observer)?;
            let cost = self.refine(&mut centres, f64::INFINITY, normalize, FIRST_REFINEMENTS, observer)?;
            Ok((cost, centres))
        });
        let mut tries: Vec<(f64, Vec<f64>)> = tries.collect::<Result<_>>()?;
        keep_better_half(&mut tries);
        tries.par_iter_mut().try_for_each(|(cost, centres)| -> Result<()> {
            *cost = self.refine(centres, *cost, normalize, REFINEMENTS - FIRST_REFINEMENTS, observer)?;
            Ok(())
        })?;
        Ok(tries.into_iter().min_by(|one, other| one.0.total_cmp(&other.0)).map(|best| best.1).unwrap_or_default())
    }

    /// Greedy k-means++ once.
    ///
    /// # Errors
    /// Training was cancelled.
    pub fn once_plus_plus(&self, k: usize, seed: u64, observer: &dyn Observer) -> Result<Vec<f64>> {
        Ok(self.centres(&self.plus_plus(k, &mut Sequence::new(seed, 1), observer)?))
    }

    /// Distinct points.
    pub fn random(&self, k: usize, seed: u64) -> Vec<f64> {
        let mut places: Vec<usize> = (0..self.count()).collect();
        places.sort_by_key(|i| random(seed, self.keys[*i], 1));
        places.truncate(k);
        self.centres(&places)
    }
}

/// Keeps the attempts of the least costs, in their order, and those that cost no more than the last of them.
fn keep_better_half(tries: &mut Vec<(f64, Vec<f64>)>) {
    let mut costs: Vec<f64> = tries.iter().map(|(cost, _)| *cost).collect();
    costs.sort_unstable_by(f64::total_cmp);
    if let Some(most) = costs.get(costs.len().saturating_sub(1) / 2) {
        tries.retain(|(cost, _)| cost.total_cmp(most).is_le());
    }
}

/// Divides by the length, unless that is 0.
pub fn set_length_one(values: &mut [f64]) -> bool {
    let length = values.iter().fold(0.0, |sum, x| sum + x * x).sqrt();
    if length > 0.0 {
        values.iter_mut().for_each(|x| *x /= length);
    }
    length > 0.0
}

fn cumulate(values: impl Iterator<Item = f64>) -> Vec<f64> {
    values
        .scan(0.0, |sum, value| {
            *sum += value;
            Some(*sum)
        })
        .collect()
}

/// A place drawn in proportion to the steps of a cumulative sum.
fn draw(cumulative: &[f64], sequence: &mut Sequence) -> usize {
    let all = cumulative.last().copied().unwrap_or(0.0);
    let wanted = sequence.uniform() * all;
    cumulative.partition_point(|sum| *sum <= wanted).min(cumulative.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unobserved;

    #[test]
    fn the_better_half_goes_on_in_its_order() {
        let kept = |costs: &[f64]| {
            let mut tries: Vec<(f64, Vec<f64>)> = costs.iter().map(|cost| (*cost, Vec::new())).collect();
            keep_better_half(&mut tries);
            tries.into_iter().map(|one| one.0).collect::<Vec<f64>>()
        };
        assert_eq!(kept(&[4.0, 1.0, 3.0, 2.0]), [1.0, 2.0]);
        assert_eq!(kept(&[2.0, 1.0, 2.0, 2.0]), [2.0, 1.0, 2.0, 2.0]);
        assert_eq!(kept(&[f64::NAN, f64::INFINITY]), [f64::INFINITY]);
        assert!(kept(&[]).is_empty());
    }

    #[test]
    fn refining_goes_on_where_it_was_left() {
        let values: Vec<f64> = (0..2000).map(|i| uniform(3, i, 0)).collect();
        let points = Points::new(values.chunks(2), vec![1.0; 1000], 2);
        let refined = |parts: &[usize]| {
            let (mut centres, mut cost) = (points.centres(&[0, 1, 2, 3, 4]), f64::INFINITY);
            for iterations in parts {
                cost = points.refine(&mut centres, cost, false, *iterations, &Unobserved).unwrap();
            }
            (centres, cost)
        };
        assert_eq!(refined(&[1, 2, REFINEMENTS - 3]), refined(&[REFINEMENTS]));
        assert_eq!(refined(&[200, 200]), refined(&[200]));
        assert_ne!(refined(&[3]), refined(&[REFINEMENTS]));
    }
}
