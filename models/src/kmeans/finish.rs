//! The passes after training: distances of rows to their centres, silhouettes, and how distances are spread.

use serde::{Deserialize, Serialize};

use super::assign::{Assigned, weighted};
use super::nearest::{Nearest, OwnAndOther};
use super::rows::Part;
use crate::exact_sum::{Grid, GridSum};
use crate::features::TILE_ROWS;
use crate::simd::widest;
use crate::{ModelError, Observer, Result};

/// Mantissa bits that tell apart the steps of the table of distances: steps of 2⁻⁷ of a value.
const STEP_BITS: u32 = 7;
const STEPS_PER_OCTAVE: i64 = 1 << STEP_BITS;
/// Octaves on either side of 1.
const OCTAVES: i64 = 24;
/// Entries of the table: 0 and what is less than 2⁻²⁴ is in the first.
pub const STEPS: usize = (2 * OCTAVES * STEPS_PER_OCTAVE) as usize;

/// The distance that is reported, from the squared distance of (normalised) rows.
#[inline(always)]
pub fn reported(square: f64, cosine: bool) -> f64 {
    if cosine { 0.5 * square } else { square.sqrt() }
}

/// How distances are summed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ends {
    /// For `weight * distance`.
    pub distance: Grid,
    /// For `weight * distance²`.
    pub square: Grid,
    /// Cosine distances.
    pub cosine: bool,
}

impl Ends {
    /// For squared distances up to a bound.
    pub fn new(square: f64, max_weight: f64, cosine: bool) -> Self {
        let distance = reported(square, cosine);
        Self { distance: Grid::new(distance * max_weight), square: Grid::new(distance * distance * max_weight), cosine }
    }
}

/// Distances of a cluster's rows to its centre.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Distances {
    /// `weight * distance`.
    pub distance: GridSum,
    /// `weight * distance²`.
    pub square: GridSum,
    /// The greatest.
    pub most: f64,
}

/// What the pass for the last centres answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Sums over rows.
    pub assigned: Assigned,
    /// Distances, of each cluster.
    pub distances: Vec<Distances>,
}

impl Finished {
    /// Adds those of other rows.
    ///
    /// # Errors
    /// A different number of clusters.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.assigned.merge(&other.assigned)?;
        for (one, other) in self.distances.iter_mut().zip(&other.distances) {
            one.distance.merge(&other.distance);
            one.square.merge(&other.square);
            one.most = one.most.max(other.most);
        }
        Ok(())
    }
}

/// Distances of rows to their nearest centres.
///
/// # Errors
/// Training was cancelled.
pub fn finish(parts: &[Part], assigned: Assigned, centres: &[f64], ends: &Ends, observer: &dyn Observer) -> Result<Finished> {
    let mut distances = vec![Distances::default(); assigned.sums.len()];
    let features = centres.len() / distances.len().max(1);
    let (mut labels, mut squares) = (vec![0; TILE_ROWS], vec![0.0; TILE_ROWS]);
    for part in parts {
        observer.check()?;
        let rows = part.tile.rows;
        widest(Nearest { tile: &part.tile.values, rows, features, centres, labels: &mut labels, squares: &mut squares });
        for (row, (label, square)) in labels.iter().zip(&squares).take(rows).enumerate() {
            let (distance, weight) = (reported(*square, ends.cosine), part.weight(row));
            let sums = &mut distances[usize::from(*label)];
            sums.distance.add_split(weighted(ends.distance, distance, weight), 1);
            sums.square.add_split(weighted(ends.square, distance * distance, weight), 1);
            if weight > 0.0 && distance > sums.most {
                sums.most = distance;
            }
        }
    }
    Ok(Finished { assigned, distances })
}

/// The clusters for which silhouettes are computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spreads {
    /// Centres of all clusters.
    pub centres: Vec<f64>,
    /// Means of those that have rows.
    pub means: Vec<f64>,
    /// Mean squared distance of the rows to the mean, of each of those.
    pub variances: Vec<f64>,
    /// Weight of each of those.
    pub weights: Vec<f64>,
    /// For each cluster its place among those that have rows.
    pub places: Vec<u16>,
    /// Radius of each cluster.
    pub radii: Vec<f64>,
    /// For `weight * silhouette`.
    pub silhouette: Grid,
    /// Cosine distances.
    pub cosine: bool,
}

/// What that pass answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// `weight * silhouette`.
    pub silhouette: GridSum,
    /// How many rows have a distance, divided by the cluster's radius, in each step of the table; only steps with rows.
    pub steps: Vec<(u32, u64)>,
}

impl Spread {
    /// Adds that of other rows.
    pub fn merge(&mut self, other: &Self) {
        self.silhouette.merge(&other.silhouette);
        let mut all = vec![0; STEPS];
        self.steps.iter().chain(&other.steps).for_each(|(step, rows)| all[*step as usize % STEPS] += rows);
        self.steps = filled(&all);
    }
}

fn filled(steps: &[u64]) -> Vec<(u32, u64)> {
    steps.iter().enumerate().filter(|(_, rows)| **rows > 0).map(|(step, rows)| (step as u32, *rows)).collect()
}

/// The step of the table that a number from 0 on belongs to.
fn step(value: f64) -> usize {
    let step = (value.to_bits() >> (52 - STEP_BITS)) as i64 - (1023 - OCTAVES) * STEPS_PER_OCTAVE;
    step.clamp(0, STEPS as i64 - 1) as usize
}

/// The upper end of a step.
fn upper_end(step: usize) -> f64 {
    f64::from_bits(((step as i64 + 1 + (1023 - OCTAVES) * STEPS_PER_OCTAVE) as u64) << (52 - STEP_BITS))
}

/// The number above which at most a share of the rows lies, to a step of the table; `None` of no rows.
pub fn threshold(steps: &[(u32, u64)], share: f64) -> Option<f64> {
    let rows: u64 = steps.iter().map(|s| s.1).sum();
    let allowed = share.clamp(0.0, 1.0) * rows as f64;
    let mut above = 0;
    for (step, rows) in steps.iter().rev() {
        above += rows;
        if above as f64 > allowed {
            return Some(upper_end(*step as usize));
        }
    }
    (rows > 0).then_some(0.0)
}

/// A distance in units of the cluster's radius; of a cluster whose rows are all equal, 0 for such a row and infinite for another.
#[inline(always)]
pub fn normalized(distance: f64, radius: f64) -> f64 {
    if distance == 0.0 { 0.0 } else { distance / radius }
}

/// The silhouette of a row from its mean squared distances to its own cluster, itself among it, and to the nearest other one (the formula of Spark's
/// `ClusteringEvaluator`; P. J. Rousseeuw, 1987).
#[inline(always)]
pub fn silhouette(own: f64, other: f64, weight: f64, cluster_weight: f64) -> f64 {
    let others = cluster_weight - weight;
    if others <= 0.0 {
        return 0.0; // alone in its cluster
    }
    let own = own * cluster_weight / others;
    if own < other {
        1.0 - own / other
    } else if own > other {
        other / own - 1.0
    } else {
        0.0
    }
}

/// Silhouettes of rows, and the table of their distances.
///
/// # Errors
/// Clusters that contradict each other; training was cancelled.
pub fn spread(parts: &[Part], clusters: &Spreads, observer: &dyn Observer) -> Result<Spread> {
    let features = clusters.centres.len() / clusters.places.len().max(1);
    let mut steps = vec![0u64; STEPS];
    let mut sum = GridSum::default();
    let (mut labels, mut squares) = (vec![0; TILE_ROWS], vec![0.0; TILE_ROWS]);
    let (mut own, mut other) = (vec![0.0; TILE_ROWS], vec![0.0; TILE_ROWS]);
    for part in parts {
        observer.check()?;
        let (tile, rows) = (&part.tile.values[..], part.tile.rows);
        widest(Nearest { tile, rows, features, centres: &clusters.centres, labels: &mut labels, squares: &mut squares });
        for (label, square) in labels.iter_mut().zip(&squares).take(rows) {
            let cluster = usize::from(*label);
            let radius = clusters.radii.get(cluster).ok_or_else(|| ModelError::bug("clusters without radii"))?;
            steps[step(normalized(reported(*square, clusters.cosine), *radius))] += 1;
            *label = clusters.places[cluster];
        }
        if clusters.weights.len() < 2 {
            continue;
        }
        let (means, variances) = (&clusters.means, &clusters.variances);
        widest(OwnAndOther { tile, rows, features, means, variances, labels: &labels, own: &mut own, other: &mut other });
        for (row, ((own, other), label)) in own.iter().zip(&other).zip(&labels).take(rows).enumerate() {
            let weight = part.weight(row);
            // A row without weight may be alone in its cluster, which then has no place.
            if let (true, Some(all)) = (weight > 0.0, clusters.weights.get(usize::from(*label))) {
                sum.add_split(weighted(clusters.silhouette, silhouette(*own, *other, weight, *all), weight), 1);
            }
        }
    }
    Ok(Spread { silhouette: sum, steps: filled(&steps) })
}

/// The Davies-Bouldin index (D. L. Davies, D. W. Bouldin, 1979): over clusters, the mean of the worst ratio of the rows' mean distances to their centres and
/// the distance of the centres. `None` of fewer than two clusters.
pub fn davies_bouldin(centres: &[&[f64]], mean_distances: &[f64], cosine: bool) -> Option<f64> {
    if centres.len() < 2 {
        return None;
    }
    let between = |one: &[f64], other: &[f64]| reported(one.iter().zip(other).fold(0.0, |sum, (a, b)| sum + (a - b) * (a - b)), cosine);
    let worst = |i: usize| {
        let others = (0..centres.len()).filter(|j| *j != i);
        others.map(|j| (mean_distances[i] + mean_distances[j]) / between(centres[i], centres[j])).fold(0.0, f64::max)
    };
    Some((0..centres.len()).map(worst).sum::<f64>() / centres.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_less_than_a_hundredth_wide() {
        for value in [1e-6, 0.3, 1.0, 1.234, 77.7, 1e6] {
            let end = upper_end(step(value));
            assert!(end > value && end <= value * 1.008, "{value} {end}");
        }
        assert_eq!((step(0.0), step(1e300), step(f64::INFINITY)), (0, STEPS - 1, STEPS - 1));
    }

    #[test]
    fn threshold_leaves_at_most_the_share_above() {
        let mut steps = vec![0; STEPS];
        (1..=1000).for_each(|i| steps[step(f64::from(i) / 100.0)] += 1);
        let found = threshold(&filled(&steps), 0.1).unwrap();
        let above = (1..=1000).filter(|i| f64::from(*i) / 100.0 > found).count();
        assert!((90..=100).contains(&above), "{above}");
        assert_eq!(threshold(&[], 0.1), None);
        assert_eq!(threshold(&filled(&steps), 1.0), Some(0.0));
    }
}
