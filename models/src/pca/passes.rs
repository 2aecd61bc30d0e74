//! The passes over rows, and how their partial results become one.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use crate::exact_sum::{ExactMoments, Grid, GridSum};
use crate::features::{FeatureColumns, TILE_ROWS, Tile, Tiles};
use crate::medians::{Counted, Counter, Interval};
use crate::simd::{Kernel, widest};
use crate::{Block, ModelError, Observer, Result};

/// Larger numbers have no squares.
const LARGEST: f64 = 1e150;

/// What a pass computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Features of each column.
    Widths,
    /// Mean and range of each feature.
    Moments {
        /// Features of each column, for all rows.
        widths: Vec<usize>,
    },
    /// How many numbers lie where medians may be.
    Medians {
        /// As before.
        widths: Vec<usize>,
        /// Where to look.
        intervals: Vec<Interval>,
    },
    /// Sums of products of centred features.
    Products {
        /// As before.
        widths: Vec<usize>,
        /// Means of the features.
        means: Vec<f64>,
        /// The largest distance of each feature from its mean.
        bounds: Vec<f64>,
    },
    /// How far rows lie from their reconstruction.
    Errors {
        /// As before.
        widths: Vec<usize>,
        /// How rows are scaled.
        scaling: Scaling,
        /// The components, one after the other.
        components: Vec<f64>,
    },
}

/// How features become comparable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// Means of the features.
    pub means: Vec<f64>,
    /// What they are divided by; 0 for a constant feature, which counts 0.
    pub deviations: Vec<f64>,
    /// Whether projections are of centred features.
    pub center: bool,
}

impl Scaling {
    /// A feature, centred and scaled; NULL (NaN) is the mean.
    #[inline(always)]
    pub fn centred(&self, feature: usize, value: f64) -> f64 {
        let deviation = self.deviations[feature];
        if value.is_nan() || deviation == 0.0 { 0.0 } else { (value - self.means[feature]) / deviation }
    }

    /// A feature as it is projected.
    #[inline(always)]
    pub fn projected(&self, feature: usize, value: f64) -> f64 {
        if self.center {
            return self.centred(feature, value);
        }
        let deviation = self.deviations[feature];
        if deviation == 0.0 {
            return 0.0;
        }
        (if value.is_nan() { self.means[feature] } else { value }) / deviation
    }
}

/// Means and ranges of features.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// All rows, NULL or not.
    pub rows: u64,
    /// Of the features.
    pub moments: Vec<ExactMoments>,
    /// Least and greatest number of the features.
    pub ranges: Vec<(f64, f64)>,
}

/// Sums of products of centred features: the upper triangle, row by row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Products {
    sums: Vec<GridSum>,
}

impl Products {
    /// The upper triangle of the sample covariances, row by row.
    pub fn covariances(&self, bounds: &[f64], rows: u64) -> Vec<f64> {
        let divisor = rows.saturating_sub(1).max(1) as f64;
        self.sums.iter().zip(pairs(bounds.len())).map(|(sum, (i, j))| sum.value(grid(bounds, i, j)) / divisor).collect()
    }
}

/// Places of the upper triangle, row by row.
pub fn pairs(features: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..features).flat_map(move |i| (i..features).map(move |j| (i, j)))
}

fn grid(bounds: &[f64], i: usize, j: usize) -> Grid {
    Grid::new(bounds[i] * bounds[j])
}

/// The rows of one block.
pub struct Rows {
    features: FeatureColumns,
    tiles: Tiles,
}

impl Rows {
    /// Rows that were gathered.
    pub fn new(features: FeatureColumns, tiles: Tiles) -> Self {
        Self { features, tiles }
    }

    fn moments(&self, observer: &dyn Observer) -> Result<Moments> {
        let features = self.tiles.features();
        let mut found = Moments {
            rows: 0,
            moments: vec![ExactMoments::default(); features],
            ranges: vec![(f64::INFINITY, f64::NEG_INFINITY); features],
        };
        let mut present = Vec::with_capacity(TILE_ROWS);
        for tile in &self.tiles.tiles {
            stop_if_cancelled(observer)?;
            found.rows += tile.rows as u64;
            for feature in 0..features {
                present.clear();
                present.extend(tile.feature(feature).iter().copied().filter(|value| !value.is_nan()));
                let range = &mut found.ranges[feature];
                for value in &present {
                    if value.abs() > LARGEST {
                        let name = self.features.names(&self.tiles.widths).swap_remove(feature);
                        return Err(ModelError::data(format!("the feature '{name}' holds {value:?}")).hint("pca takes numbers up to 1e150"));
                    }
                    *range = (range.0.min(*value), range.1.max(*value));
                }
                found.moments[feature].add_slice(&present);
            }
        }
        Ok(found)
    }

    fn products(&self, means: &[f64], bounds: &[f64], observer: &dyn Observer) -> Result<Products> {
        let features = means.len();
        let mut sums = vec![GridSum::default(); features * (features + 1) / 2];
        let grids: Vec<Grid> = pairs(features).map(|(i, j)| grid(bounds, i, j)).collect();
        let mut centred = vec![0.0; features * TILE_ROWS];
        for tile in &self.tiles.tiles {
            stop_if_cancelled(observer)?;
            for (feature, mean) in means.iter().enumerate() {
                let out = &mut centred[feature * TILE_ROWS..][..tile.rows];
                for (out, value) in out.iter_mut().zip(tile.feature(feature)) {
                    *out = if value.is_nan() { 0.0 } else { value - mean };
                }
            }
            let column = |feature: usize| &centred[feature * TILE_ROWS..][..tile.rows];
            for (((i, j), grid), sum) in pairs(features).zip(&grids).zip(&mut sums) {
                // 1024 numbers of at most 2^50 units.
                sum.add_split(widest(SumOfProducts { a: column(i), b: column(j), grid: *grid }), 1);
            }
        }
        Ok(Products { sums })
    }

    fn errors(&self, scaling: &Scaling, components: &[f64], observer: &dyn Observer) -> Result<Histogram> {
        let mut histogram = Histogram::default();
        let mut errors = Vec::new();
        for tile in &self.tiles.tiles {
            stop_if_cancelled(observer)?;
            squared_errors(tile, scaling, components, &mut errors);
            errors.iter().for_each(|error| histogram.add(error / scaling.means.len() as f64));
        }
        Ok(histogram)
    }
}

struct SumOfProducts<'a> {
    a: &'a [f64],
    b: &'a [f64],
    grid: Grid,
}

impl Kernel for SumOfProducts<'_> {
    type Output = (i64, i64);

    #[inline(always)]
    fn run(self) -> (i64, i64) {
        let (mut high, mut low) = (0i64, 0i64);
        for (a, b) in self.a.iter().zip(self.b) {
            let (more, rest) = self.grid.split(a * b);
            high += more;
            low += rest;
        }
        (high, low)
    }
}

/// For each row of a tile the squared distance of its centred and scaled features from their reconstruction by the components, summed over the features.
pub fn squared_errors(tile: &Tile, scaling: &Scaling, components: &[f64], errors: &mut Vec<f64>) {
    let features = scaling.means.len();
    errors.clear();
    let mut row_values = vec![0.0; features];
    let mut rest = vec![0.0; features];
    for row in 0..tile.rows {
        for (feature, value) in row_values.iter_mut().enumerate() {
            *value = scaling.centred(feature, tile.values[feature * TILE_ROWS + row]);
        }
        rest.copy_from_slice(&row_values);
        for component in components.chunks_exact(features.max(1)) {
            let share: f64 = component.iter().zip(&row_values).map(|(weight, value)| weight * value).sum();
            rest.iter_mut().zip(component).for_each(|(rest, weight)| *rest -= share * weight);
        }
        errors.push(rest.iter().map(|rest| rest * rest).sum());
    }
}

impl Block for Rows {
    fn pass(&mut self, request: &[u8], observer: &dyn Observer) -> Result<Vec<u8>> {
        match decode::<Request>(request)? {
            Request::Widths => encode(&(self.tiles.rows(), &self.tiles.widths)),
            Request::Moments { widths } => {
                self.tiles.widen(&widths);
                encode(&self.moments(observer)?)
            }
            Request::Medians { widths, intervals } => {
                self.tiles.widen(&widths);
                let of = |interval: &Interval| {
                    let mut counter = Counter::new(*interval);
                    self.tiles.tiles.iter().for_each(|tile| counter.add(tile.feature(interval.feature)));
                    counter.finish()
                };
                encode(&intervals.iter().map(of).collect::<Vec<Counted>>())
            }
            Request::Products { widths, means, bounds } => {
                self.tiles.widen(&widths);
                encode(&self.products(&means, &bounds, observer)?)
            }
            Request::Errors { widths, scaling, components } => {
                self.tiles.widen(&widths);
                encode(&self.errors(&scaling, &components, observer)?)
            }
        }
    }

    fn bytes(&self) -> usize {
        self.tiles.bytes()
    }
}

fn stop_if_cancelled(observer: &dyn Observer) -> Result<()> {
    if observer.is_cancelled() { Err(ModelError::cancelled()) } else { Ok(()) }
}

/// Bytes of a request or partial result.
///
/// # Errors
/// None that is known.
pub fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    postcard::to_allocvec(value).map_err(|e| ModelError::bug(format!("a partial result of pca: {e}")))
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// Other bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(|e| ModelError::bug(format!("a partial result of pca: {e}")))
}

/// The widths that the rows of all blocks need.
///
/// # Errors
/// Lists of different lengths.
pub fn merge_widths(features: &FeatureColumns, partials: Vec<Vec<u8>>) -> Result<Vec<usize>> {
    let mut widths = features.widths();
    let mut known = false;
    for partial in partials {
        let (rows, of_block): (u64, Vec<usize>) = decode(&partial)?;
        if rows > 0 {
            widths = if known { features.merge_widths(&widths, &of_block)? } else { of_block };
            known = true;
        }
    }
    Ok(widths)
}

/// Moments of all blocks.
///
/// # Errors
/// Other bytes.
pub fn merge_moments(partials: Vec<Vec<u8>>) -> Result<Moments> {
    let mut all = Moments::default();
    for partial in partials {
        let one: Moments = decode(&partial)?;
        all.rows += one.rows;
        if all.moments.is_empty() {
            (all.moments, all.ranges) = (one.moments, one.ranges);
            continue;
        }
        all.moments.iter_mut().zip(&one.moments).for_each(|(all, one)| all.merge(one));
        all.ranges.iter_mut().zip(&one.ranges).for_each(|(all, one)| *all = (all.0.min(one.0), all.1.max(one.1)));
    }
    Ok(all)
}

/// Products of all blocks.
///
/// # Errors
/// Other bytes.
pub fn merge_products(partials: Vec<Vec<u8>>) -> Result<Products> {
    let mut all = Products::default();
    for partial in partials {
        let one: Products = decode(&partial)?;
        if all.sums.is_empty() {
            all = one;
            continue;
        }
        all.sums.iter_mut().zip(&one.sums).for_each(|(all, one)| all.merge(one));
    }
    Ok(all)
}

/// Errors of all blocks.
///
/// # Errors
/// Other bytes.
pub fn merge_errors(partials: Vec<Vec<u8>>) -> Result<Histogram> {
    let mut all = Histogram::default();
    for partial in partials {
        all.merge(&decode::<Histogram>(&partial)?);
    }
    Ok(all)
}
