//! The pass of an iteration: every row to its nearest centre, and the sums from which the next centres come.
//!
//! Sums are integers underneath ([`Grid`]), so a row that changes its cluster is taken from one sum and added to another without a trace: from the second
//! iteration on only such rows are touched, and what comes out is the same as if all had been summed anew.

use serde::{Deserialize, Serialize};

use super::bounds::{self, Moves, Searcher};
use super::nearest::Nearest;
use super::rows::{Part, UNASSIGNED};
use crate::exact_sum::{Grid, GridSum, two_product};
use crate::features::TILE_ROWS;
use crate::simd::widest;
use crate::{ModelError, Observer, Result};

/// Tiles between two looks at whether training was cancelled.
const CANCEL_EVERY: usize = 256;

/// How sums over rows are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grids {
    /// From where squares are measured: near the mean of all rows, so that they are not large beside the distances within clusters.
    pub origin: Vec<f64>,
    /// For `weight * feature`.
    pub sums: Vec<Grid>,
    /// For `weight * squared distance to the origin`.
    pub square: Grid,
    /// For weights.
    pub weight: Grid,
}

impl Grids {
    /// Grids for features within bounds and weights up to the greatest.
    pub fn new(origin: Vec<f64>, bounds: &[(f64, f64)], max_weight: f64) -> Self {
        let reach = |(low, high): &(f64, f64)| low.abs().max(high.abs()) * max_weight;
        let squares = bounds.iter().zip(&origin).map(|((low, high), o)| (low - o).abs().max((high - o).abs()).powi(2));
        Self {
            sums: bounds.iter().map(|b| Grid::new(reach(b))).collect(),
            square: Grid::new(squares.sum::<f64>() * max_weight),
            weight: Grid::new(max_weight),
            origin,
        }
    }

    /// Features of a row.
    pub fn features(&self) -> usize {
        self.origin.len()
    }
}

/// Sums over the rows of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterSums {
    /// Weights.
    pub weight: GridSum,
    /// `weight * feature`.
    pub sums: Vec<GridSum>,
    /// `weight * squared distance to the origin`.
    pub square: GridSum,
}

impl ClusterSums {
    /// Of no rows.
    pub fn new(features: usize) -> Self {
        Self { weight: GridSum::default(), sums: vec![GridSum::default(); features], square: GridSum::default() }
    }

    /// Adds those of other rows.
    pub fn merge(&mut self, other: &Self) {
        self.weight.merge(&other.weight);
        self.square.merge(&other.square);
        self.sums.iter_mut().zip(&other.sums).for_each(|(one, other)| one.merge(other));
    }
}

/// What a pass answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assigned {
    /// Of each cluster.
    pub sums: Vec<ClusterSums>,
}

impl Assigned {
    /// Adds those of other rows.
    ///
    /// # Errors
    /// A different number of clusters.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.sums.len() != other.sums.len() {
            return Err(ModelError::bug("partial results of different numbers of clusters"));
        }
        self.sums.iter_mut().zip(&other.sums).for_each(|(one, other)| one.merge(other));
        Ok(())
    }
}

/// Moves every row to its nearest centre and the sums with it. `before` are the centres of the pass before, if there was one.
///
/// # Errors
/// Training was cancelled.
pub fn assign(
    parts: &mut [Part],
    grids: &Grids,
    centres: &[f64],
    before: Option<&[f64]>,
    sums: &mut [ClusterSums],
    observer: &dyn Observer,
) -> Result<()> {
    let features = grids.features();
    let mut searcher = bounds::pay(features, sums.len()).then(|| Searcher::new(features));
    let moves = before.filter(|_| searcher.is_some()).map(|before| Moves::new(before, centres, features));
    let mut labels = vec![0u16; TILE_ROWS];
    let mut squares = vec![0.0; TILE_ROWS];
    for (i, part) in parts.iter_mut().enumerate() {
        if i % CANCEL_EVERY == 0 {
            observer.check()?;
        }
        match &mut searcher {
            Some(searcher) => search(searcher, part, grids, centres, moves.as_ref(), sums),
            None => {
                let tile = &part.tile;
                widest(Nearest { tile: &tile.values, rows: tile.rows, features, centres, labels: &mut labels, squares: &mut squares });
                relabel(part, &labels, grids, sums);
            }
        }
    }
    Ok(())
}

/// Compares the rows with all centres that bounds do not rule out.
fn search(searcher: &mut Searcher, part: &mut Part, grids: &Grids, centres: &[f64], moves: Option<&Moves>, sums: &mut [ClusterSums]) {
    let mut changed: Vec<(usize, u16)> = Vec::new();
    let change = |row, label| changed.push((row, label));
    searcher.search(&part.tile.values, centres, &part.labels, &mut part.bounds, moves, change);
    for (row, label) in changed {
        let before = std::mem::replace(&mut part.labels[row], label);
        move_row(&part.tile.values, row, part.weight(row), grids, sums, (before, label));
    }
}

/// Gives rows their labels of this pass.
fn relabel(part: &mut Part, labels: &[u16], grids: &Grids, sums: &mut [ClusterSums]) {
    let rows = part.tile.rows;
    if part.labels[..] == labels[..rows] {
        return;
    }
    for (row, label) in labels[..rows].iter().enumerate() {
        let before = std::mem::replace(&mut part.labels[row], *label);
        if before != *label {
            move_row(&part.tile.values, row, part.weight(row), grids, sums, (before, *label));
        }
    }
}

/// Takes a row from the sums of one cluster to those of another.
#[inline]
fn move_row(tile: &[f64], row: usize, weight: f64, grids: &Grids, sums: &mut [ClusterSums], (from, to): (u16, u16)) {
    let mut square = 0.0;
    let (from, to) = (usize::from(from), usize::from(to));
    let is_new = from == usize::from(UNASSIGNED);
    for (f, (grid, origin)) in grids.sums.iter().zip(&grids.origin).enumerate() {
        let x = tile[f * TILE_ROWS + row];
        let difference = x - origin;
        square += difference * difference;
        let split = weighted(*grid, x, weight);
        sums[to].sums[f].add_split(split, 1);
        if !is_new {
            sums[from].sums[f].add_split(split, -1);
        }
    }
    let (square, one) = (weighted(grids.square, square, weight), grids.weight.split(weight));
    sums[to].square.add_split(square, 1);
    sums[to].weight.add_split(one, 1);
    if !is_new {
        sums[from].square.add_split(square, -1);
        sums[from].weight.add_split(one, -1);
    }
}

/// `weight * x` on a grid, exactly: a row of weight 3 counts as three rows do, to the bit.
#[inline(always)]
pub fn weighted(grid: Grid, x: f64, weight: f64) -> (i64, i64) {
    if weight == 1.0 {
        return grid.split(x);
    }
    let (product, error) = two_product(weight, x);
    grid.split_pair(product, error)
}
