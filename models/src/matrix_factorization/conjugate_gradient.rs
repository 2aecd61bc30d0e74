//! A few steps of conjugate gradients on a row's normal equations, which are never formed: each step costs two passes over the row's ratings.
//!
//! After G. Takács, I. Pilászy, D. Tikk, "Applications of the Conjugate Gradient Method for Implicit Feedback Collaborative Filtering" (2011), as the library
//! `implicit` does it: from the factors of the iteration before, in 32 bits.
//!
//! A pass first scores some of the row's ratings, then adds their rows up. The lanes of scores go through memory before they are added across: where a
//! compiler sees through to that last sum, it takes lanes apart in pairs instead of keeping them in whole vectors.

#![allow(clippy::needless_range_loop, reason = "lanes are indexed so that loops over them become vector instructions")]

use super::factors::{Factors, LANES};
use crate::simd::Kernel;

/// Steps for each row and iteration; `implicit` takes as many.
pub const STEPS: u32 = 3;
/// A residual whose square is below this is none.
const CONVERGED: f32 = 1e-20;

type Lanes = [f32; LANES];

/// Rows that are scored side by side, so that what they are scored with is loaded once for all.
const ROWS: usize = 4;
/// Times so many rows are scored before any score is used.
const GROUPS: usize = 8;

/// Scores of a few rows.
struct Scores {
    /// Sums of the lanes, those of the rows of a group apart from each other.
    lanes: [[Lanes; GROUPS]; ROWS],
    scores: [f32; ROWS * GROUPS],
}

impl Scores {
    /// How many rows there may be at a time.
    const MOST: usize = ROWS * GROUPS;

    #[inline(always)]
    fn new() -> Self {
        Self { lanes: [[[0.0; LANES]; GROUPS]; ROWS], scores: [0.0; ROWS * GROUPS] }
    }

    /// The products of the rows at some places with `p`.
    #[inline(always)]
    fn of(&mut self, factors: &Factors, places: &[u32], p: &[Lanes]) -> &[f32] {
        for (group, places) in places.chunks(ROWS).enumerate() {
            // Of fewer rows the first one fills up.
            let mut rows = [row_of(factors, places[0], p.len()); ROWS];
            for (row, place) in rows.iter_mut().zip(places) {
                *row = row_of(factors, *place, p.len());
            }
            let sums = products(&rows, p);
            for row in 0..ROWS {
                self.lanes[row][group] = sums[row];
            }
        }
        for at in 0..places.len() {
            self.scores[at] = across(&self.lanes[at % ROWS][at / ROWS]);
        }
        &self.scores[..places.len()]
    }
}

#[inline(always)]
fn row_of(factors: &Factors, place: u32, lanes: usize) -> &[Lanes] {
    &factors.row(place as usize).as_chunks::<LANES>().0[..lanes]
}

#[inline(always)]
fn products(rows: &[&[Lanes]; ROWS], p: &[Lanes]) -> [Lanes; ROWS] {
    let mut sums = [[0.0; LANES]; ROWS];
    for n in 0..p.len() {
        for row in 0..ROWS {
            for lane in 0..LANES {
                sums[row][lane] += rows[row][n][lane] * p[n][lane];
            }
        }
    }
    sums
}

/// A row's equations, `(Σ w y yᵀ + G + λ I) x = Σ c y`.
pub struct ConjugateGradient<'a> {
    /// The other side.
    pub factors: &'a Factors,
    /// Its rows that count.
    pub others: &'a [u32],
    /// `w` of each.
    pub weights: &'a [f32],
    /// `c` of each.
    pub targets: &'a [f32],
    /// `G`, whole, rows padded as those of the factors; empty: zero.
    pub gram: &'a [f32],
    /// `λ`
    pub ridge: f32,
    /// How many steps at most.
    pub steps: u32,
    /// From where, and what is found; padded.
    pub x: &'a mut [f32],
    /// Room for three rows, for long rows only.
    pub room: &'a mut Vec<f32>,
}

impl Kernel for ConjugateGradient<'_> {
    /// `xᵀ A x - 2 bᵀ x`.
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        match self.factors.stride() / LANES {
            1 => short::<1>(self),
            2 => short::<2>(self),
            3 => short::<3>(self),
            4 => short::<4>(self),
            5 => short::<5>(self),
            6 => short::<6>(self),
            7 => short::<7>(self),
            8 => short::<8>(self),
            _ => long(self),
        }
    }
}

/// Adds lanes pairwise: the same tree whatever the vectors.
#[inline(always)]
fn across(lanes: &Lanes) -> f32 {
    let half = [lanes[0] + lanes[4], lanes[1] + lanes[5], lanes[2] + lanes[6], lanes[3] + lanes[7]];
    (half[0] + half[2]) + (half[1] + half[3])
}

#[inline(always)]
fn dot<const N: usize>(a: &[Lanes; N], b: &[Lanes; N]) -> f32 {
    let mut sums = [0.0; LANES];
    for n in 0..N {
        for lane in 0..LANES {
            sums[lane] += a[n][lane] * b[n][lane];
        }
    }
    across(&sums)
}

#[inline(always)]
fn add_scaled<const N: usize>(target: &mut [Lanes; N], scale: f32, row: &[Lanes; N]) {
    for n in 0..N {
        for lane in 0..LANES {
            target[n][lane] += scale * row[n][lane];
        }
    }
}

#[inline(always)]
fn block<const N: usize>(values: &[f32], row: usize) -> &[Lanes; N] {
    let all = values.as_chunks::<LANES>().0;
    match all[row * N..].first_chunk::<N>() {
        Some(row) => row,
        None => &[[0.0; LANES]; N],
    }
}

/// `(G + λ I) p`
#[inline(always)]
fn dense<const N: usize>(equations: &ConjugateGradient<'_>, p: &[Lanes; N]) -> [Lanes; N] {
    let mut product = [[0.0; LANES]; N];
    if !equations.gram.is_empty() {
        let flat = p.as_flattened();
        for (factor, scale) in flat.iter().enumerate().take(equations.factors.rank()) {
            add_scaled(&mut product, *scale, block(equations.gram, factor));
        }
    }
    add_scaled(&mut product, equations.ridge, p);
    product
}

#[inline(always)]
fn short<const N: usize>(equations: ConjugateGradient<'_>) -> f64 {
    let ConjugateGradient { factors, others, weights, targets, steps, .. } = equations;
    let (values, mut scores) = (factors.values(), Scores::new());
    let mut x = *block::<N>(equations.x, 0);
    let product = dense(&equations, &x);
    let mut r = [[0.0; LANES]; N];
    add_scaled(&mut r, -1.0, &product);
    let mut bx = 0.0;
    for begin in (0..others.len()).step_by(Scores::MOST) {
        let places = &others[begin..others.len().min(begin + Scores::MOST)];
        let (targets, weights) = (&targets[begin..][..places.len()], &weights[begin..][..places.len()]);
        let scores = scores.of(factors, places, &x);
        for at in 0..places.len() {
            bx += f64::from(targets[at]) * f64::from(scores[at]);
            add_scaled(&mut r, targets[at] - weights[at] * scores[at], block(values, places[at] as usize));
        }
    }
    let mut value = -bx - f64::from(dot(&x, &r));
    let mut square = dot(&r, &r);
    let mut p = r;
    for _ in 0..steps {
        if square < CONVERGED {
            break;
        }
        let mut product = dense(&equations, &p);
        for begin in (0..others.len()).step_by(Scores::MOST) {
            let places = &others[begin..others.len().min(begin + Scores::MOST)];
            let weights = &weights[begin..][..places.len()];
            let scores = scores.of(factors, places, &p);
            for at in 0..places.len() {
                add_scaled(&mut product, weights[at] * scores[at], block(values, places[at] as usize));
            }
        }
        let curvature = dot(&p, &product);
        if curvature <= 0.0 || !curvature.is_finite() {
            break;
        }
        let step = square / curvature;
        add_scaled(&mut x, step, &p);
        add_scaled(&mut r, -step, &product);
        value -= f64::from(step) * f64::from(square);
        let next = dot(&r, &r);
        let mut direction = r;
        add_scaled(&mut direction, next / square, &p);
        (p, square) = (direction, next);
    }
    equations.x.copy_from_slice(x.as_flattened());
    value
}

#[inline(always)]
fn dot_long(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    across(&sums)
}

#[inline(always)]
fn add_scaled_long(target: &mut [f32], scale: f32, row: &[f32]) {
    for (target, row) in target.as_chunks_mut::<LANES>().0.iter_mut().zip(row.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            target[lane] += scale * row[lane];
        }
    }
}

#[inline(always)]
fn dense_long(gram: &[f32], rank: usize, ridge: f32, p: &[f32], product: &mut [f32]) {
    product.fill(0.0);
    if !gram.is_empty() {
        for factor in 0..rank {
            add_scaled_long(product, p[factor], &gram[factor * p.len()..][..p.len()]);
        }
    }
    add_scaled_long(product, ridge, p);
}

/// As [`short`], for any number of factors.
#[inline(always)]
fn long(equations: ConjugateGradient<'_>) -> f64 {
    let ConjugateGradient { factors, others, weights, targets, gram, ridge, steps, x, room } = equations;
    let (rank, stride) = (factors.rank(), factors.stride());
    room.clear();
    room.resize(3 * stride, 0.0);
    let (r, rest) = room.split_at_mut(stride);
    let (p, product) = rest.split_at_mut(stride);
    dense_long(gram, rank, ridge, x, product);
    add_scaled_long(r, -1.0, product);
    let (mut bx, mut scores) = (0.0, Scores::new());
    for begin in (0..others.len()).step_by(Scores::MOST) {
        let places = &others[begin..others.len().min(begin + Scores::MOST)];
        let (targets, weights) = (&targets[begin..][..places.len()], &weights[begin..][..places.len()]);
        let scores = scores.of(factors, places, x.as_chunks::<LANES>().0);
        for at in 0..places.len() {
            bx += f64::from(targets[at]) * f64::from(scores[at]);
            add_scaled_long(r, targets[at] - weights[at] * scores[at], factors.row(places[at] as usize));
        }
    }
    let mut value = -bx - f64::from(dot_long(x, r));
    let mut square = dot_long(r, r);
    p.copy_from_slice(r);
    for _ in 0..steps {
        if square < CONVERGED {
            break;
        }
        dense_long(gram, rank, ridge, p, product);
        for begin in (0..others.len()).step_by(Scores::MOST) {
            let places = &others[begin..others.len().min(begin + Scores::MOST)];
            let weights = &weights[begin..][..places.len()];
            let scores = scores.of(factors, places, p.as_chunks::<LANES>().0);
            for at in 0..places.len() {
                add_scaled_long(product, weights[at] * scores[at], factors.row(places[at] as usize));
            }
        }
        let curvature = dot_long(p, product);
        if curvature <= 0.0 || !curvature.is_finite() {
            break;
        }
        let step = square / curvature;
        add_scaled_long(x, step, p);
        add_scaled_long(r, -step, product);
        value -= f64::from(step) * f64::from(square);
        let next = dot_long(r, r);
        let scale = next / square;
        for (p, r) in p.iter_mut().zip(r.iter()) {
            *p = r + scale * *p;
        }
        square = next;
    }
    value
}
