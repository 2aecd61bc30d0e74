//! Scores of pairs and the best of many: tiles of products, of which only the best of each row are kept.
//!
//! A score is `Σ x_f y_f` in 32 bits, added in the order of the factors, so that a pair has the same score wherever it is computed.

use super::config::Feedback;
use super::factors::Factors;
use crate::simd::{Kernel, widest};

/// Candidates in a panel: two vectors of 8.
const PANEL: usize = 16;
/// Rows that are scored together, so that a panel is read once for all of them.
const ROWS: usize = 4;
/// Rows of a tile; with it goes a run of panels that stays in the cache.
pub const TILE_ROWS: usize = 64;
/// Numbers of the factors of a run of panels: 64 kB.
const RUN: usize = 16 * 1024;

/// What a prediction aims at: the rating, or whether there is a positive one.
pub fn target(feedback: Feedback, rating: f32) -> f64 {
    match feedback {
        Feedback::Explicit => f64::from(rating),
        Feedback::Implicit { .. } => f64::from(u8::from(rating > 0.0)),
    }
}

/// The score of a pair.
#[inline]
pub fn score(x: &[f32], y: &[f32], rank: usize) -> f32 {
    x[..rank].iter().zip(&y[..rank]).fold(0.0, |sum, (x, y)| sum + x * y)
}

/// Pairs that are scored side by side, so that no sum waits for another.
const PAIRS: usize = 4;

/// The scores of a row with some rows of the other side.
pub fn scores_with(x: &[f32], factors: &Factors, places: &[u32]) -> Vec<f32> {
    let rank = factors.rank();
    let row = |place: &u32| &factors.row(*place as usize)[..rank];
    let mut scores = Vec::with_capacity(places.len());
    let (together, alone) = places.as_chunks::<PAIRS>();
    for places in together {
        let rows = places.each_ref().map(row);
        let mut sums = [0.0; PAIRS];
        for (factor, x) in x[..rank].iter().enumerate() {
            for (sum, row) in sums.iter_mut().zip(&rows) {
                *sum += x * row[factor];
            }
        }
        scores.extend_from_slice(&sums);
    }
    scores.extend(alone.iter().map(|place| score(x, row(place), rank)));
    scores
}

/// One side's factors, laid out for scoring many candidates at once: panels of 16 rows, factor by factor.
#[derive(Debug)]
pub struct Panels {
    rank: usize,
    len: usize,
    values: Vec<f32>,
}

impl Panels {
    /// Of the factors of all candidates.
    pub fn new(factors: &Factors) -> Self {
        let (rank, len) = (factors.rank(), factors.len());
        let mut values = vec![0.0; len.div_ceil(PANEL) * PANEL * rank];
        for row in 0..len {
            let (panel, lane) = (row / PANEL, row % PANEL);
            for (factor, value) in factors.row(row)[..rank].iter().enumerate() {
                values[(panel * rank + factor) * PANEL + lane] = *value;
            }
        }
        Self { rank, len, values }
    }

    /// How many candidates.
    pub fn len(&self) -> usize {
        self.len
    }

    /// All scores of a row.
    pub fn scores(&self, x: &[f32], scores: &mut Vec<f32>) {
        scores.clear();
        scores.resize(self.len.next_multiple_of(PANEL), 0.0);
        widest(AllScores { panels: self, x, scores });
        scores.truncate(self.len);
    }

    /// Offers all candidates to the best of each row. `rows` are at most [`TILE_ROWS`].
    pub fn best(&self, rows: &[&[f32]], best: &mut [Best<'_>]) {
        widest(BestScores { panels: self, rows, best });
    }
}

/// `N` rows times a panel.
#[inline(always)]
fn multiply<const N: usize>(rows: &[&[f32]; N], panel: &[f32], rank: usize) -> [[f32; PANEL]; N] {
    let mut sums = [[0.0; PANEL]; N];
    for (factor, values) in panel.as_chunks::<PANEL>().0.iter().enumerate().take(rank) {
        for n in 0..N {
            let x = rows[n][factor];
            for lane in 0..PANEL {
                sums[n][lane] += x * values[lane];
            }
        }
    }
    sums
}

struct AllScores<'a> {
    panels: &'a Panels,
    x: &'a [f32],
    scores: &'a mut [f32],
}

impl Kernel for AllScores<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let rank = self.panels.rank;
        for (panel, scores) in self.panels.values.chunks_exact(rank * PANEL).zip(self.scores.chunks_exact_mut(PANEL)) {
            let [sums] = multiply(&[self.x], panel, rank);
            scores.copy_from_slice(&sums);
        }
    }
}

struct BestScores<'a, 'b> {
    panels: &'a Panels,
    rows: &'a [&'a [f32]],
    best: &'a mut [Best<'b>],
}

impl Kernel for BestScores<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let rank = self.panels.rank;
        let run = (RUN / (rank * PANEL)).max(1);
        for (number, panels) in self.panels.values.chunks(run * rank * PANEL).enumerate() {
            let first = number * run * PANEL;
            let mut row = 0;
            while row + ROWS <= self.rows.len() {
                let Some(rows) = self.rows[row..].first_chunk::<ROWS>() else { return };
                for (panel, values) in panels.chunks_exact(rank * PANEL).enumerate() {
                    let sums = multiply(rows, values, rank);
                    for (n, sums) in sums.iter().enumerate() {
                        offer(&mut self.best[row + n], first + panel * PANEL, sums, self.panels.len);
                    }
                }
                row += ROWS;
            }
            for row in row..self.rows.len() {
                for (panel, values) in panels.chunks_exact(rank * PANEL).enumerate() {
                    let [sums] = multiply(&[self.rows[row]], values, rank);
                    offer(&mut self.best[row], first + panel * PANEL, &sums, self.panels.len);
                }
            }
        }
    }
}

#[inline(always)]
fn offer(best: &mut Best<'_>, first: usize, scores: &[f32; PANEL], len: usize) {
    let bar = best.bar;
    let mut above = 0u32;
    for (lane, score) in scores.iter().enumerate() {
        above |= u32::from(*score > bar) << lane;
    }
    if above != 0 {
        best.take(first, scores, above, len);
    }
}

/// The best candidates of one row: by score, and among equal scores by place.
pub struct Best<'a> {
    count: usize,
    /// What a score has to exceed; candidates come by place, so that one that equals it comes too late.
    bar: f32,
    /// Places that do not count, ascending.
    excluded: &'a [u32],
    kept: Vec<(f32, u32)>,
}

impl<'a> Best<'a> {
    /// None yet of `count`; `excluded` places, ascending, do not count.
    pub fn new(count: usize, excluded: &'a [u32]) -> Self {
        let bar = if count == 0 { f32::INFINITY } else { f32::NEG_INFINITY };
        Self { count, bar, excluded, kept: Vec::with_capacity(2 * count.min(1024)) }
    }

    #[inline(never)]
    fn take(&mut self, first: usize, scores: &[f32; PANEL], mut above: u32, len: usize) {
        while above != 0 {
            let lane = above.trailing_zeros() as usize;
            above &= above - 1;
            let place = first + lane;
            if place < len && scores[lane] > self.bar && self.excluded.binary_search(&(place as u32)).is_err() {
                self.kept.push((scores[lane], place as u32));
                if self.kept.len() >= 2 * self.count.max(8) {
                    self.shrink();
                }
            }
        }
    }

    fn shrink(&mut self) {
        if self.kept.len() >= self.count && self.count > 0 {
            let (_, least, _) = self.kept.select_nth_unstable_by(self.count - 1, order);
            self.bar = least.0;
            self.kept.truncate(self.count);
        }
    }

    /// The best, best first.
    pub fn finish(mut self) -> Vec<(f32, u32)> {
        self.kept.sort_unstable_by(order);
        self.kept.truncate(self.count);
        self.kept
    }
}

fn order(a: &(f32, u32), b: &(f32, u32)) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}
