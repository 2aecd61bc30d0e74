//! Bounds that spare distances: how far a row is at most from its own centre, and at least from any other (G. Hamerly, *Making k-means even faster*, 2010).
//!
//! Centres move less and less. From how far they moved follows for most rows, without looking at their features, that the nearest centre is still the same.
//! The others are put together densely and compared with all centres, as every row is without bounds. Bounds are numbers of 32 bits, rounded away from each
//! other by a step. That is far more than the error of a squared distance, so that the label is the one that comparing all distances gives, ties included.

use super::nearest::{NearestTwo, square_of};
use super::rows::UNASSIGNED;
use crate::features::TILE_ROWS;
use crate::simd::{Kernel, widest};

/// Features that rows have at least for bounds to be kept: of fewer, the distances cost less than the bounds.
const LEAST_FEATURES: usize = 8;
/// Clusters that there are at least.
const LEAST_CLUSTERS: usize = 16;

/// Whether bounds pay.
pub fn pay(features: usize, clusters: usize) -> bool {
    can_pay(features) && clusters >= LEAST_CLUSTERS
}

/// Whether bounds pay for any number of clusters.
pub fn can_pay(features: usize) -> bool {
    features >= LEAST_FEATURES
}

/// Bytes of the bounds of a row.
pub const BYTES_PER_ROW: usize = 2 * size_of::<f32>();

/// Bounds for the rows of a tile.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    /// No row is farther from its own centre.
    upper: Vec<f32>,
    /// No row is nearer to another one.
    lower: Vec<f32>,
}

/// A number that is not less.
#[inline(always)]
fn above(x: f64) -> f32 {
    f32::from_bits((x as f32).to_bits() + 1) // of infinity no number, which proves nothing
}

/// A number that is not more, for numbers from 0 on.
#[inline(always)]
fn below(x: f64) -> f32 {
    f32::from_bits((x.max(0.0) as f32).to_bits().saturating_sub(1))
}

/// How centres moved since the bounds were right, and how far they are from each other.
#[derive(Debug)]
pub struct Moves {
    /// Of each centre.
    moved: Vec<f32>,
    /// The most that any centre but this one moved.
    others: Vec<f32>,
    /// Half of the distance to the nearest other centre: a row that is nearer has no nearer one.
    half: Vec<f32>,
}

impl Moves {
    /// From one pass to the next.
    pub fn new(before: &[f64], centres: &[f64], features: usize) -> Self {
        let rows = || centres.chunks_exact(features);
        // What is too far for 32 bits is infinitely far: no number would not count as the most.
        let or_infinite = |moved: f32| if moved.is_nan() { f32::INFINITY } else { moved };
        let moved: Vec<f32> =
            before.chunks_exact(features).zip(rows()).map(|(one, other)| or_infinite(above(square(one, other).sqrt()))).collect();
        let (mut most, mut next) = ((0, 0.0f32), 0.0f32);
        for (i, moved) in moved.iter().enumerate() {
            if *moved > most.1 {
                (most, next) = ((i, *moved), most.1);
            } else {
                next = next.max(*moved);
            }
        }
        let others = (0..moved.len()).map(|i| if i == most.0 { next } else { most.1 }).collect();
        let nearest = |i: usize, centre: &[f64]| {
            rows().enumerate().filter(|(j, _)| *j != i).map(|(_, other)| square(centre, other)).fold(f64::INFINITY, f64::min)
        };
        let half = rows().enumerate().map(|(i, centre)| below(0.5 * nearest(i, centre).sqrt())).collect();
        Self { moved, others, half }
    }
}

fn square(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).fold(0.0, |sum, (a, b)| sum + (a - b) * (a - b))
}

/// Widens the bounds by how far centres moved, and lists the rows whose nearest centre may be another now.
struct Loosen<'a> {
    labels: &'a [u16],
    bounds: &'a mut Bounds,
    moves: &'a Moves,
    open: &'a mut Vec<u16>,
}

impl Kernel for Loosen<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.open.clear();
        let bounds = self.bounds.upper.iter_mut().zip(&mut self.bounds.lower);
        for (row, (label, (upper, lower))) in self.labels.iter().zip(bounds).enumerate() {
            let label = usize::from(*label);
            *upper = above(f64::from(*upper) + f64::from(self.moves.moved[label]));
            *lower = below(f64::from(*lower) - f64::from(self.moves.others[label]));
            if !is_own(*upper, *lower, self.moves.half[label]) {
                self.open.push(row as u16);
            }
        }
    }
}

/// Whether no other centre can be as near.
#[inline(always)]
fn is_own(upper: f32, lower: f32, half: f32) -> bool {
    upper < lower || upper < half
}

/// Finds the nearest centres of a tile after another.
#[derive(Debug)]
pub struct Searcher {
    features: usize,
    open: Vec<u16>,
    dense: Vec<f64>,
    labels: Vec<u16>,
    squares: Vec<f64>,
    seconds: Vec<f64>,
}

impl Searcher {
    /// For rows of so many features.
    pub fn new(features: usize) -> Self {
        Self {
            features,
            open: Vec::with_capacity(TILE_ROWS),
            dense: vec![0.0; features * TILE_ROWS],
            labels: vec![0; TILE_ROWS],
            squares: vec![0.0; TILE_ROWS],
            seconds: vec![0.0; TILE_ROWS],
        }
    }

    /// The nearest centres of a tile's rows whose nearest centres of the pass before are `labels`; `moves` since then, unless this is the first pass. Calls
    /// `change` with each row whose label is another, and the label.
    pub fn search(
        &mut self,
        tile: &[f64],
        centres: &[f64],
        labels: &[u16],
        bounds: &mut Bounds,
        moves: Option<&Moves>,
        mut change: impl FnMut(usize, u16),
    ) {
        let (rows, features) = (labels.len(), self.features);
        match moves {
            Some(moves) if bounds.upper.len() == rows && labels.iter().all(|label| *label != UNASSIGNED) => {
                widest(Loosen { labels, bounds, moves, open: &mut self.open });
                // Where most are open, comparing them with all centres is as cheap as finding out which could be spared.
                if self.open.len() < rows / 2 {
                    self.tighten(tile, centres, labels, bounds, moves);
                }
                if self.open.is_empty() {
                    return;
                }
            }
            _ => {
                bounds.upper = vec![0.0; rows];
                bounds.lower = vec![0.0; rows];
                self.open.clear();
                self.open.extend(0..rows as u16);
            }
        }
        let all = self.open.len() == rows;
        if !all {
            self.gather(tile);
        }
        let (found, squares, seconds) = (&mut self.labels, &mut self.squares, &mut self.seconds);
        let tile = if all { tile } else { &self.dense };
        widest(NearestTwo { tile, rows: self.open.len(), features, centres, labels: found, squares, seconds });
        for (i, row) in self.open.iter().enumerate() {
            let row = usize::from(*row);
            bounds.upper[row] = above(squares[i].sqrt());
            bounds.lower[row] = below(seconds[i].sqrt());
            if labels[row] != found[i] {
                change(row, found[i]);
            }
        }
    }

    /// Measures how far the open rows are from their own centres; that alone decides for many.
    fn tighten(&mut self, tile: &[f64], centres: &[f64], labels: &[u16], bounds: &mut Bounds, moves: &Moves) {
        let features = self.features;
        self.open.retain(|row| {
            let row = usize::from(*row);
            let label = usize::from(labels[row]);
            bounds.upper[row] = above(square_of(tile, row, &centres[label * features..][..features]).sqrt());
            !is_own(bounds.upper[row], bounds.lower[row], moves.half[label])
        });
    }

    /// Puts the open rows together.
    fn gather(&mut self, tile: &[f64]) {
        for (dense, feature) in self.dense.chunks_exact_mut(TILE_ROWS).zip(tile.chunks_exact(TILE_ROWS)) {
            for (to, row) in dense.iter_mut().zip(&self.open) {
                *to = feature[usize::from(*row)];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyed_random::normal;
    use crate::kmeans::nearest::Nearest;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn bounds_change_no_label(rows in 1usize..400, features in 1usize..12, clusters in 1usize..40, seed in 0u64..1000, step in 0.0..0.5f64, round in any::<bool>()) {
            // Rounded coordinates make ties.
            let cut = |x: f64| if round { x.round() } else { x };
            let mut tile = vec![0.0; features * TILE_ROWS];
            for row in 0..rows {
                (0..features).for_each(|f| tile[f * TILE_ROWS + row] = cut(2.0 * normal(seed, row as u64, f as u64)));
            }
            let mut centres: Vec<f64> = (0..clusters * features).map(|i| cut(2.0 * normal(seed + 1, i as u64, 0))).collect();
            let (mut labels, mut bounds, mut searcher) = (vec![UNASSIGNED; rows], Bounds::default(), Searcher::new(features));
            let mut before: Option<Vec<f64>> = None;
            for pass in 0..6u64 {
                let moves = before.as_ref().map(|before| Moves::new(before, &centres, features));
                let mut changes = Vec::new();
                searcher.search(&tile, &centres, &labels, &mut bounds, moves.as_ref(), |row, label| changes.push((row, label)));
                changes.into_iter().for_each(|(row, label)| labels[row] = label);
                let (mut wanted, mut squares) = (vec![0; TILE_ROWS], vec![0.0; TILE_ROWS]);
                widest(Nearest { tile: &tile, rows, features, centres: &centres, labels: &mut wanted, squares: &mut squares });
                prop_assert_eq!(&labels[..], &wanted[..rows]);
                before = Some(centres.clone());
                centres.iter_mut().enumerate().for_each(|(i, c)| *c = cut(*c + step * normal(seed + 2 + pass, i as u64, 0) / (pass + 1) as f64));
            }
        }
    }

    #[test]
    fn bounds_are_rounded_away_from_each_other() {
        for x in [0.0, 1e-300, 0.1, 1.0, 1.0 + 1e-9, 3.5e7, 1e38] {
            assert!(f64::from(above(x)) > x || x == 0.0 && above(x) > 0.0, "{x}");
            assert!(f64::from(below(x)) < x || x < 1e-45, "{x}");
        }
        assert_eq!(below(-1.0), 0.0);
        assert!(above(1e300).is_nan() && !is_own(above(1e300), f32::MAX, f32::MAX));
        assert!(below(1e300) <= f32::MAX);
    }

    #[test]
    fn moves_tell_the_most_of_the_others() {
        let moves = Moves::new(&[0.0, 0.0, 10.0, 0.0, 20.0, 0.0], &[3.0, 4.0, 10.0, 1.0, 20.0, 2.0], 2);
        let near = |found: f32, wanted: f32| (found - wanted).abs() < 1e-5;
        assert!(near(moves.moved[0], 5.0) && near(moves.others[0], 2.0) && near(moves.others[1], 5.0), "{moves:?}");
        assert!(near(moves.half[2], 0.5 * 101.0f32.sqrt()), "{moves:?}");
    }
}
