//! Measures of rankings, with the formulas of Spark's `RankingMetrics`: what of the first predictions was wanted, and how early it comes.

use crate::simd::{Kernel, widest};

/// Where in a list of predictions those are that were wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankedHits {
    /// Positions from 0, ascending.
    positions: Vec<usize>,
    /// How many are wanted in all, predicted or not.
    wanted: usize,
}

impl RankedHits {
    /// Of positions from 0, ascending, of which each is a wanted one; `wanted` is how many there are, predicted or not.
    pub fn new(positions: Vec<usize>, wanted: usize) -> Self {
        Self { positions, wanted }
    }

    /// Of predictions, the best first, and what is wanted. What is wanted twice counts once.
    pub fn of<T: Ord + Copy>(predicted: &[T], wanted: &[T]) -> Self {
        let mut sorted = wanted.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let positions = (0..predicted.len()).filter(|position| sorted.binary_search(&predicted[*position]).is_ok()).collect();
        Self { positions, wanted: sorted.len() }
    }

    fn first(&self, k: usize) -> impl Iterator<Item = usize> + '_ {
        self.positions.iter().copied().take_while(move |position| *position < k)
    }

    /// Hits among the first `k` predictions, divided by `k`, however few predictions there are.
    pub fn precision_at(&self, k: usize) -> f64 {
        if k == 0 { 0.0 } else { self.first(k).count() as f64 / k as f64 }
    }

    /// Hits among the first `k` predictions, divided by how many are wanted; 0 when nothing is.
    pub fn recall_at(&self, k: usize) -> f64 {
        if self.wanted == 0 { 0.0 } else { self.first(k).count() as f64 / self.wanted as f64 }
    }

    /// The precision up to each hit among the first `k` predictions, added, divided by how many hits there could be, `min(wanted, k)`.
    pub fn average_precision_at(&self, k: usize) -> f64 {
        let possible = self.wanted.min(k);
        if possible == 0 {
            return 0.0;
        }
        let precisions = self.first(k).enumerate().map(|(before, position)| (before + 1) as f64 / (position + 1) as f64);
        precisions.sum::<f64>() / possible as f64
    }

    /// As [`RankedHits::average_precision_at`] over all predictions.
    pub fn average_precision(&self) -> f64 {
        self.average_precision_at(usize::MAX)
    }

    /// `Σ 1 / ln(position + 2)` over hits among the first `k` predictions (positions from 0), divided by the sum were all hits in front.
    pub fn ndcg_at(&self, k: usize) -> f64 {
        let gain = |position: usize| 1.0 / (position as f64 + 2.0).ln();
        let ideal: f64 = (0..self.wanted.min(k)).map(gain).sum();
        if ideal == 0.0 { 0.0 } else { self.first(k).map(gain).sum::<f64>() / ideal }
    }

    /// As [`RankedHits::ndcg_at`] over all predictions.
    pub fn ndcg(&self) -> f64 {
        self.ndcg_at(usize::MAX)
    }
}

/// Up to so many candidates each is compared with all places, which vectors do many at a time.
const FEW: usize = 256;

/// The positions that candidates have among all when ranked by score, equal scores by place.
///
/// `scores` are those of all places; `skipped` places, ascending, are not ranked. `candidates` are places, ascending, and none of them is skipped. The positions
/// are in the order of the candidates.
pub fn positions(scores: &[f32], candidates: &[u32], skipped: &[u32]) -> Vec<usize> {
    if candidates.len() <= FEW { counted(scores, candidates, skipped) } else { searched(scores, candidates, skipped) }
}

/// A number's bits, ordered as [`f32::total_cmp`] orders numbers.
#[inline(always)]
fn key(score: f32) -> i32 {
    let bits = score.to_bits() as i32;
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

/// [`positions`] of few candidates.
pub(super) fn counted(scores: &[f32], candidates: &[u32], skipped: &[u32]) -> Vec<usize> {
    let mut keys = Vec::with_capacity(scores.len());
    let mut from = 0;
    for place in skipped.iter().map(|place| *place as usize).chain([scores.len()]) {
        keys.extend(scores.get(from..place).unwrap_or_default().iter().map(|score| key(*score)));
        from = place + 1;
    }
    let ranked = |place: &u32| *place as usize - skipped.partition_point(|skipped| skipped < place);
    let places: Vec<usize> = candidates.iter().map(ranked).collect();
    let mut positions = vec![0; places.len()];
    widest(Count { keys: &keys, places: &places, positions: &mut positions });
    positions
}

/// How many keys come before those at some places.
struct Count<'a> {
    keys: &'a [i32],
    places: &'a [usize],
    positions: &'a mut [usize],
}

impl Kernel for Count<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (place, position) in self.places.iter().zip(self.positions) {
            let key = self.keys[*place];
            let (earlier, later) = self.keys.split_at(*place);
            let mut before = 0u32;
            for other in earlier {
                before += u32::from(*other >= key);
            }
            for other in later {
                before += u32::from(*other > key);
            }
            *position = before as usize;
        }
    }
}

/// [`positions`] of many candidates.
pub(super) fn searched(scores: &[f32], candidates: &[u32], skipped: &[u32]) -> Vec<usize> {
    let order = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    let mut ranked: Vec<(f32, u32)> = candidates.iter().map(|place| (scores[*place as usize], *place)).collect();
    ranked.sort_unstable_by(order);
    // How many places come before the candidate of each rank, but not before the one of the rank before.
    let mut before = vec![0; ranked.len() + 1];
    let mut skipped = skipped.iter().copied().peekable();
    for (place, score) in scores.iter().enumerate() {
        let place = place as u32;
        if skipped.next_if_eq(&place).is_some() {
            continue;
        }
        let rank = ranked.partition_point(|candidate| order(candidate, &(*score, place)).is_le());
        before[rank] += 1;
    }
    // A candidate comes after itself: rank r counts places that come after r candidates, itself being the last of them.
    let mut position = 0;
    let mut positions: Vec<(u32, usize)> = Vec::with_capacity(ranked.len());
    for (rank, (_, place)) in ranked.iter().enumerate() {
        position += before[rank];
        positions.push((*place, position));
    }
    positions.sort_unstable();
    positions.into_iter().map(|(_, position)| position).collect()
}
