//! The inner loops: squared distances from the rows of a tile to centres.
//!
//! The squared distance is `Σ (x_f - c_f)²`, features in their order, whatever the vectors' width: every part of training and scoring that asks for the nearest
//! centre computes the same bits, and ties go to the lowest index. The form `|x|² - 2 x·c + |c|²` would save a third of the arithmetic and lose digits.

#![allow(clippy::needless_range_loop, reason = "lanes are indexed so that loops over them become vector instructions")]

use crate::features::TILE_ROWS;
use crate::simd::Kernel;

/// Rows that are worked on at once.
const LANES: usize = 16;

type Lanes = [f64; LANES];

/// Adds the square of one feature's difference.
#[inline(always)]
fn add_square(sum: &mut Lanes, x: &Lanes, centre: f64) {
    for lane in 0..LANES {
        let difference = x[lane] - centre;
        sum[lane] += difference * difference;
    }
}

/// Squared distances of [`LANES`] rows, from row `from`, to a centre.
#[inline(always)]
fn squares_of_one(tile: &[f64], from: usize, centre: &[f64]) -> Lanes {
    let mut sum = [0.0; LANES];
    for (feature, c) in tile.chunks_exact(TILE_ROWS).zip(centre) {
        let Some(x) = feature[from..].first_chunk::<LANES>() else { break };
        add_square(&mut sum, x, *c);
    }
    sum
}

/// Squared distances of [`LANES`] rows, from row `from`, to two centres: what is loaded is used twice, and two sums grow side by side.
#[inline(always)]
fn squares_of_two(tile: &[f64], from: usize, one: &[f64], other: &[f64]) -> (Lanes, Lanes) {
    let (mut first, mut second) = ([0.0; LANES], [0.0; LANES]);
    for (feature, (c, d)) in tile.chunks_exact(TILE_ROWS).zip(one.iter().zip(other)) {
        let Some(x) = feature[from..].first_chunk::<LANES>() else { break };
        add_square(&mut first, x, *c);
        add_square(&mut second, x, *d);
    }
    (first, second)
}

/// What is done with the squared distances to each centre. Not a closure, because those cannot be told to be inlined always.
trait Visitor {
    fn visit(&mut self, index: usize, squares: &Lanes);
}

/// Visits every centre in their order.
#[inline(always)]
fn visit_centres(tile: &[f64], from: usize, centres: &[f64], features: usize, visitor: &mut impl Visitor) {
    let count = centres.len() / features;
    let mut i = 0;
    while i + 2 <= count {
        let (one, other) = centres[i * features..(i + 2) * features].split_at(features);
        let (first, second) = squares_of_two(tile, from, one, other);
        visitor.visit(i, &first);
        visitor.visit(i + 1, &second);
        i += 2;
    }
    if i < count {
        visitor.visit(i, &squares_of_one(tile, from, &centres[i * features..]));
    }
}

struct Best {
    square: Lanes,
    index: Lanes,
}

impl Visitor for Best {
    #[inline(always)]
    fn visit(&mut self, index: usize, squares: &Lanes) {
        let index = index as f64;
        for lane in 0..LANES {
            let nearer = squares[lane] < self.square[lane];
            self.square[lane] = if nearer { squares[lane] } else { self.square[lane] };
            self.index[lane] = if nearer { index } else { self.index[lane] };
        }
    }
}

struct BestTwo {
    best: Best,
    second: Lanes,
}

impl Visitor for BestTwo {
    #[inline(always)]
    fn visit(&mut self, index: usize, squares: &Lanes) {
        for lane in 0..LANES {
            // What is not nearest is the greater of the two, and second if it is less than the second before.
            let (square, best) = (squares[lane], self.best.square[lane]);
            let greater = if square < best { best } else { square };
            self.second[lane] = if greater < self.second[lane] { greater } else { self.second[lane] };
        }
        self.best.visit(index, squares);
    }
}

struct Store<'a> {
    from: usize,
    squares: &'a mut [f64],
}

impl Visitor for Store<'_> {
    #[inline(always)]
    fn visit(&mut self, index: usize, squares: &Lanes) {
        self.squares[index * TILE_ROWS + self.from..][..LANES].copy_from_slice(squares);
    }
}

struct Sides<'a> {
    label: Lanes,
    variances: &'a [f64],
    own: Lanes,
    other: Lanes,
}

impl Visitor for Sides<'_> {
    #[inline(always)]
    fn visit(&mut self, index: usize, squares: &Lanes) {
        let (variance, index) = (self.variances[index], index as f64);
        for lane in 0..LANES {
            let mean = squares[lane] + variance;
            let is_own = self.label[lane] == index;
            self.own[lane] = if is_own { mean } else { self.own[lane] };
            let mean = if is_own { f64::INFINITY } else { mean };
            self.other[lane] = if mean < self.other[lane] { mean } else { self.other[lane] };
        }
    }
}

/// The nearest centre of each row and the squared distance to it.
#[derive(Debug)]
pub struct Nearest<'a> {
    /// A tile's values.
    pub tile: &'a [f64],
    /// How many of its rows count.
    pub rows: usize,
    /// Features of a row.
    pub features: usize,
    /// Centres, one after the other.
    pub centres: &'a [f64],
    /// Index of the nearest centre, for [`TILE_ROWS`] rows.
    pub labels: &'a mut [u16],
    /// Squared distance to it, for [`TILE_ROWS`] rows.
    pub squares: &'a mut [f64],
}

impl Kernel for Nearest<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for from in (0..self.rows).step_by(LANES) {
            let mut best = Best { square: [f64::INFINITY; LANES], index: [0.0; LANES] };
            visit_centres(self.tile, from, self.centres, self.features, &mut best);
            self.squares[from..from + LANES].copy_from_slice(&best.square);
            self.labels[from..from + LANES].iter_mut().zip(&best.index).for_each(|(label, index)| *label = *index as u16);
        }
    }
}

/// The nearest centre of each row and the squared distances to it and to the second nearest.
#[derive(Debug)]
pub struct NearestTwo<'a> {
    /// A tile's values.
    pub tile: &'a [f64],
    /// How many of its rows count.
    pub rows: usize,
    /// Features of a row.
    pub features: usize,
    /// Centres, one after the other.
    pub centres: &'a [f64],
    /// Index of the nearest centre, for [`TILE_ROWS`] rows.
    pub labels: &'a mut [u16],
    /// Squared distance to it, for [`TILE_ROWS`] rows.
    pub squares: &'a mut [f64],
    /// Squared distance to the second nearest, infinite where there is none, for [`TILE_ROWS`] rows.
    pub seconds: &'a mut [f64],
}

impl Kernel for NearestTwo<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for from in (0..self.rows).step_by(LANES) {
            let best = Best { square: [f64::INFINITY; LANES], index: [0.0; LANES] };
            let mut two = BestTwo { best, second: [f64::INFINITY; LANES] };
            visit_centres(self.tile, from, self.centres, self.features, &mut two);
            self.squares[from..from + LANES].copy_from_slice(&two.best.square);
            self.seconds[from..from + LANES].copy_from_slice(&two.second);
            self.labels[from..from + LANES].iter_mut().zip(&two.best.index).for_each(|(label, index)| *label = *index as u16);
        }
    }
}

/// The squared distance of one row to a centre, the same bits as the kernels give.
#[inline]
pub fn square_of(tile: &[f64], row: usize, centre: &[f64]) -> f64 {
    tile.chunks_exact(TILE_ROWS).zip(centre).fold(0.0, |sum, (feature, c)| {
        let difference = feature[row] - c;
        sum + difference * difference
    })
}

/// Lowers `squares` to the squared distance to one centre where that is nearer.
#[derive(Debug)]
pub struct Lower<'a> {
    /// A tile's values.
    pub tile: &'a [f64],
    /// How many of its rows count.
    pub rows: usize,
    /// The centre.
    pub centre: &'a [f64],
    /// For [`TILE_ROWS`] rows.
    pub squares: &'a mut [f64],
}

impl Kernel for Lower<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for from in (0..self.rows).step_by(LANES) {
            let found = squares_of_one(self.tile, from, self.centre);
            for lane in 0..LANES {
                let before = self.squares[from + lane];
                self.squares[from + lane] = if found[lane] < before { found[lane] } else { before };
            }
        }
    }
}

/// All squared distances, centre by centre.
#[derive(Debug)]
pub struct AllSquares<'a> {
    /// A tile's values.
    pub tile: &'a [f64],
    /// How many of its rows count.
    pub rows: usize,
    /// Features of a row.
    pub features: usize,
    /// Centres, one after the other.
    pub centres: &'a [f64],
    /// For each centre [`TILE_ROWS`] rows.
    pub squares: &'a mut [f64],
}

impl Kernel for AllSquares<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for from in (0..self.rows).step_by(LANES) {
            visit_centres(self.tile, from, self.centres, self.features, &mut Store { from, squares: &mut *self.squares });
        }
    }
}

/// Mean squared distances to the rows of the own cluster and of the nearest other one: `|x - mean|²` and the cluster's variance.
#[derive(Debug)]
pub struct OwnAndOther<'a> {
    /// A tile's values.
    pub tile: &'a [f64],
    /// How many of its rows count.
    pub rows: usize,
    /// Features of a row.
    pub features: usize,
    /// Means of the clusters that have rows, one after the other.
    pub means: &'a [f64],
    /// The variance of each: the mean squared distance of its rows to its mean.
    pub variances: &'a [f64],
    /// The cluster of each row, as an index into `means`, for [`TILE_ROWS`] rows.
    pub labels: &'a [u16],
    /// For [`TILE_ROWS`] rows.
    pub own: &'a mut [f64],
    /// For [`TILE_ROWS`] rows.
    pub other: &'a mut [f64],
}

impl Kernel for OwnAndOther<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for from in (0..self.rows).step_by(LANES) {
            let mut label = [0.0; LANES];
            for lane in 0..LANES {
                label[lane] = f64::from(self.labels[from + lane]);
            }
            let mut sides = Sides { label, variances: self.variances, own: [0.0; LANES], other: [f64::INFINITY; LANES] };
            visit_centres(self.tile, from, self.means, self.features, &mut sides);
            self.own[from..from + LANES].copy_from_slice(&sides.own);
            self.other[from..from + LANES].copy_from_slice(&sides.other);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::widest;

    proptest! {
        #[test]
        fn any_width_gives_the_bits_of_the_formula(
            rows in prop::collection::vec(prop::collection::vec(-5.0..5.0f64, 3), 1..70),
            centres in prop::collection::vec(-5.0..5.0f64, 3 * 5),
        ) {
            let mut tile = vec![0.0; 3 * TILE_ROWS];
            for (r, row) in rows.iter().enumerate() {
                (0..3).for_each(|f| tile[f * TILE_ROWS + r] = row[f]);
            }
            let (mut labels, mut squares) = (vec![0; TILE_ROWS], vec![0.0; TILE_ROWS]);
            widest(Nearest { tile: &tile, rows: rows.len(), features: 3, centres: &centres, labels: &mut labels, squares: &mut squares });
            for (r, row) in rows.iter().enumerate() {
                let all: Vec<f64> = centres.chunks(3).map(|c| c.iter().zip(row).fold(0.0, |sum, (c, x)| sum + (x - c) * (x - c))).collect();
                let nearest = (0..5).fold(0, |best, i| if all[i] < all[best] { i } else { best });
                prop_assert_eq!(usize::from(labels[r]), nearest);
                prop_assert_eq!(squares[r].to_bits(), all[nearest].to_bits());
                prop_assert_eq!(square_of(&tile, r, &centres[nearest * 3..][..3]).to_bits(), all[nearest].to_bits());
            }
        }
    }
}
