//! The normal equations of a row, `(Σ w y yᵀ + G + λ I) x = Σ c y`, accumulated in 64 bits and solved by Cholesky.

use super::factors::Factors;
use crate::simd::{Kernel, widest};

/// Numbers of 64 bits in a vector of the tiles.
const TILE: usize = 4;
/// Ratings that are unpacked at a time: with 64 factors they fill a quarter of a first-level cache twice.
const BLOCK: usize = 32;
/// A pivot that is smaller than this share of its diagonal element is none: the system has no information on the factor, and it stays 0.
const SINGULAR: f64 = 1e-13;

/// `Σ y yᵀ` over all rows of a side.
#[derive(Debug, Clone, PartialEq)]
pub struct Gram {
    /// Rows padded as those of [`NormalEquations`]; the upper triangle counts.
    pub upper: Vec<f64>,
}

/// The equations of one row, and room to build and solve them in.
pub struct NormalEquations {
    rank: usize,
    stride: usize,
    /// The upper triangle, row by row.
    pub a: Vec<f64>,
    /// The right side.
    pub b: Vec<f64>,
    diagonal: Vec<f64>,
    unpacked: Vec<f64>,
    weighted: Vec<f64>,
}

impl NormalEquations {
    /// Room for equations of so many factors.
    pub fn new(rank: usize) -> Self {
        let stride = rank.next_multiple_of(TILE);
        let block = vec![0.0; BLOCK * stride];
        Self {
            rank,
            stride,
            a: vec![0.0; stride * stride],
            b: vec![0.0; stride],
            diagonal: vec![0.0; rank],
            unpacked: block.clone(),
            weighted: block,
        }
    }

    /// Numbers from one row of `a` to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Begins with a Gram matrix or with zero.
    pub fn begin(&mut self, gram: Option<&Gram>) {
        match gram {
            Some(gram) => self.a.copy_from_slice(&gram.upper),
            None => self.a.fill(0.0),
        }
        self.b.fill(0.0);
    }

    /// Adds `y yᵀ` and `target y` for each of the other side's rows.
    pub fn add(&mut self, factors: &Factors, others: &[u32], targets: &[f32]) {
        widest(Accumulate::<false> { equations: self, factors, others, weights: &[], targets });
    }

    /// Adds `weight y yᵀ` and `target y` for each of the other side's rows.
    pub fn add_weighted(&mut self, factors: &Factors, others: &[u32], weights: &[f32], targets: &[f32]) {
        widest(Accumulate::<true> { equations: self, factors, others, weights, targets });
    }

    /// Adds to the diagonal.
    pub fn add_ridge(&mut self, ridge: f64) {
        for factor in 0..self.rank {
            self.a[factor * self.stride + factor] += ridge;
        }
    }

    /// Solves; `a` is overwritten, `b` is kept.
    pub fn solve(&mut self, x: &mut [f64]) {
        x[..self.rank].copy_from_slice(&self.b[..self.rank]);
        for factor in 0..self.rank {
            self.diagonal[factor] = self.a[factor * self.stride + factor];
        }
        widest(Cholesky { a: &mut self.a, diagonal: &self.diagonal, stride: self.stride, rank: self.rank, x });
    }

    /// Mirrors the upper triangle.
    pub fn fill_lower(&mut self) {
        for row in 1..self.rank {
            for column in 0..row {
                self.a[row * self.stride + column] = self.a[column * self.stride + row];
            }
        }
    }
}

/// The Gram matrix of a range of rows, added in their order.
pub fn gram_of(factors: &Factors, range: std::ops::Range<usize>) -> Gram {
    let mut equations = NormalEquations::new(factors.rank());
    let rows: Vec<u32> = range.map(|row| row as u32).collect();
    equations.add(factors, &rows, &vec![0.0; rows.len()]);
    Gram { upper: equations.a }
}

struct Accumulate<'a, const WEIGHTED: bool> {
    equations: &'a mut NormalEquations,
    factors: &'a Factors,
    others: &'a [u32],
    weights: &'a [f32],
    targets: &'a [f32],
}

impl<const WEIGHTED: bool> Kernel for Accumulate<'_, WEIGHTED> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let NormalEquations { stride, a, b, unpacked, weighted, .. } = self.equations;
        let stride = *stride;
        let mut begin = 0;
        while begin < self.others.len() {
            let end = (begin + BLOCK).min(self.others.len());
            for (slot, place) in (begin..end).enumerate() {
                let row = &self.factors.row(self.others[place] as usize)[..stride];
                let target = f64::from(self.targets[place]);
                let unpacked = &mut unpacked[slot * stride..][..stride];
                for factor in 0..stride {
                    unpacked[factor] = f64::from(row[factor]);
                }
                for factor in 0..stride {
                    b[factor] += target * unpacked[factor];
                }
                if WEIGHTED {
                    let weight = f64::from(self.weights[place]);
                    let weighted = &mut weighted[slot * stride..][..stride];
                    for factor in 0..stride {
                        weighted[factor] = weight * unpacked[factor];
                    }
                }
            }
            let filled = (end - begin) * stride;
            let right = &unpacked[..filled];
            let left = if WEIGHTED { &weighted[..filled] } else { right };
            add_products(a, left, right, stride);
            begin = end;
        }
    }
}

/// `a += leftᵀ right`, in the tiles that touch the upper triangle.
#[inline(always)]
fn add_products(a: &mut [f64], left: &[f64], right: &[f64], stride: usize) {
    let mut row = 0;
    while row < stride {
        let mut column = row;
        while column + 2 * TILE <= stride {
            add_tile::<{ 2 * TILE }>(a, left, right, stride, row, column);
            column += 2 * TILE;
        }
        if column < stride {
            add_tile::<TILE>(a, left, right, stride, row, column);
        }
        row += TILE;
    }
}

#[inline(always)]
fn add_tile<const WIDTH: usize>(a: &mut [f64], left: &[f64], right: &[f64], stride: usize, row: usize, column: usize) {
    let mut sums = [[0.0; WIDTH]; TILE];
    let mut at = 0;
    while at + stride <= left.len() {
        let (Some(l), Some(r)) = (left[at + row..].first_chunk::<TILE>(), right[at + column..].first_chunk::<WIDTH>()) else { return };
        for i in 0..TILE {
            for j in 0..WIDTH {
                sums[i][j] += l[i] * r[j];
            }
        }
        at += stride;
    }
    for i in 0..TILE {
        let target = &mut a[(row + i) * stride + column..][..WIDTH];
        for j in 0..WIDTH {
            target[j] += sums[i][j];
        }
    }
}

struct Cholesky<'a> {
    a: &'a mut [f64],
    diagonal: &'a [f64],
    stride: usize,
    rank: usize,
    x: &'a mut [f64],
}

impl Kernel for Cholesky<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { a, diagonal, stride, rank, x } = self;
        // A = Uᵀ U by rows of U, and Uᵀ z = b beside it; what is left of the diagonal tells whether a factor is determined.
        for pivot in 0..rank {
            let (head, tail) = a.split_at_mut((pivot + 1) * stride);
            let upper = &mut head[pivot * stride..][..stride];
            let left = upper[pivot];
            if left.is_nan() || left <= SINGULAR * diagonal[pivot] {
                upper[pivot..].fill(0.0);
                x[pivot] = 0.0;
                continue;
            }
            let scale = 1.0 / left.sqrt();
            for value in &mut upper[pivot..] {
                *value *= scale;
            }
            let z = x[pivot] * scale;
            x[pivot] = z;
            for row in pivot + 1..rank {
                let factor = upper[row];
                let start = row / TILE * TILE;
                let (target, source) = (&mut tail[(row - pivot - 1) * stride..][start..stride], &upper[start..]);
                for (target, source) in target.iter_mut().zip(source) {
                    *target -= factor * source;
                }
                x[row] -= factor * z;
            }
        }
        for row in (0..rank).rev() {
            let upper = &a[row * stride..][..rank];
            if upper[row] == 0.0 {
                x[row] = 0.0;
                continue;
            }
            x[row] /= upper[row];
            let solved = x[row];
            for above in 0..row {
                x[above] -= a[above * stride + row] * solved;
            }
        }
    }
}
