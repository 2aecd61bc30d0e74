//! How early the items that a user wanted come when all items are ranked for the user, and the measures that follow over many users.

use super::config::Feedback;
use super::ranking::{RankedHits, positions};
use super::scores::target;

/// Numbers in [`UserRanking`].
pub const SUMS: usize = 9;

/// Sums over users.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct UserRanking {
    /// Users who wanted something.
    pub users: f64,
    /// Their average precisions.
    pub average_precision: f64,
    /// Their normalised discounted cumulative gains.
    pub ndcg: f64,
    /// Their precisions at k.
    pub precision: f64,
    /// Their recalls at k.
    pub recall: f64,
    /// Ranks of what they wanted as shares of all ranks, weighted.
    pub ranks: f64,
    /// The weights.
    pub rank_weights: f64,
    /// Squared errors of all rows.
    pub squares: f64,
    /// Rows.
    pub rows: f64,
}

/// One user's rows, to be measured.
pub struct Wanted<'a> {
    /// What ratings are.
    pub feedback: Feedback,
    /// Items with a rating above it are wanted.
    pub above: f32,
    /// How many are recommended.
    pub k: usize,
    /// Items and ratings, ascending by item.
    pub rows: &'a [(u32, f32)],
    /// Items that are not ranked, ascending: those that the user was trained on. Items of the rows are ranked all the same.
    pub seen: &'a [u32],
}

impl Wanted<'_> {
    /// Measures; `scores` are those of all items for the user.
    pub fn measure(&self, scores: &[f32]) -> UserRanking {
        let square = |row: &(u32, f32)| (target(self.feedback, row.1) - f64::from(scores[row.0 as usize])).powi(2);
        let mut measured =
            UserRanking { squares: self.rows.iter().map(square).sum(), rows: self.rows.len() as f64, ..UserRanking::default() };
        let wanted: Vec<(u32, f32)> = self.rows.iter().filter(|row| row.1 > self.above).copied().collect();
        if wanted.is_empty() {
            return measured;
        }
        let named = |item: &u32| self.rows.binary_search_by_key(item, |row| row.0).is_ok();
        let skipped: Vec<u32> = self.seen.iter().copied().filter(|item| !named(item)).collect();
        let candidates: Vec<u32> = wanted.iter().map(|(item, _)| *item).collect();
        let found = positions(scores, &candidates, &skipped);
        let last = (scores.len() - skipped.len()).saturating_sub(1).max(1) as f64;
        let is_implicit = matches!(self.feedback, Feedback::Implicit { .. });
        for (position, (_, rating)) in found.iter().zip(&wanted) {
            let weight = if is_implicit { f64::from(*rating).max(0.0) } else { 1.0 };
            measured.ranks += weight * *position as f64 / last;
            measured.rank_weights += weight;
        }
        let mut ascending = found;
        ascending.sort_unstable();
        let hits = RankedHits::new(ascending, wanted.len());
        measured.users = 1.0;
        measured.average_precision = hits.average_precision();
        measured.ndcg = hits.ndcg();
        measured.precision = hits.precision_at(self.k);
        measured.recall = hits.recall_at(self.k);
        measured
    }
}

impl UserRanking {
    /// In the order of the fields.
    pub fn as_array(&self) -> [f64; SUMS] {
        let Self { users, average_precision, ndcg, precision, recall, ranks, rank_weights, squares, rows } = *self;
        [users, average_precision, ndcg, precision, recall, ranks, rank_weights, squares, rows]
    }

    /// Of numbers in the order of the fields.
    pub fn from_array([users, average_precision, ndcg, precision, recall, ranks, rank_weights, squares, rows]: [f64; SUMS]) -> Self {
        Self { users, average_precision, ndcg, precision, recall, ranks, rank_weights, squares, rows }
    }

    /// Adds those of other users.
    pub fn add(&mut self, other: &Self) {
        let (one, other) = (self.as_array(), other.as_array());
        *self = Self::from_array(std::array::from_fn(|i| one[i] + other[i]));
    }

    /// The measures by name; `None` of those that are not defined.
    pub fn measures(&self, k: usize) -> [(String, Option<f64>); 6] {
        let mean = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
        [
            ("mean_average_precision".to_string(), mean(self.average_precision, self.users)),
            ("normalized_discounted_cumulative_gain".to_string(), mean(self.ndcg, self.users)),
            ("average_rank".to_string(), mean(self.ranks, self.rank_weights)),
            ("mean_squared_error".to_string(), mean(self.squares, self.rows)),
            (format!("precision_at_{k}"), mean(self.precision, self.users)),
            (format!("recall_at_{k}"), mean(self.recall, self.users)),
        ]
    }
}
