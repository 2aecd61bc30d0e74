//! Ratings that are held out to compare trials, and how well blocks of users predict ratings: those held out, or those of the training.
//!
//! Whether a pair is held out depends on the seed and its two ids alone. Rankings cost a look at every item for each user, so that they are made for some
//! users only, chosen by their ids.

use rayon::prelude::*;

use super::config::{Config, Feedback};
use super::errors::{self, Errors};
use super::factors::Factors;
use super::ids::Dictionary;
use super::ratings::Rows;
use super::scores::{Panels, scores_with, target};
use super::user_ranking::{self, UserRanking, Wanted};
use super::wire::Number as _;
use crate::Result;
use crate::keyed_random::{mix, random};

/// One of how many pairs is held out.
pub const HELD_OUT_ONE_OF: u64 = 10;
/// Users for whom rankings are made at most.
const RANKED_USERS: usize = 512;
/// How many recommendations rankings are about.
pub const K: usize = 10;

/// The greatest key of a user for whom rankings are made.
///
/// # Errors
/// An id that occurs twice.
pub fn sample(users: &Dictionary) -> Result<u64> {
    let mut keys = users.random_keys()?;
    keys.sort_unstable();
    Ok(keys.get(RANKED_USERS - 1).copied().unwrap_or(u64::MAX))
}

/// Which pairs of some users and items are held out.
pub struct Split {
    seed: u64,
    users: Vec<u64>,
    items: Vec<u64>,
}

impl Split {
    /// Of users and items.
    ///
    /// # Errors
    /// An id that occurs twice.
    pub fn new(seed: u64, users: &Dictionary, items: &Dictionary) -> Result<Self> {
        Ok(Self { seed, users: users.random_keys()?, items: items.random_keys()? })
    }

    /// Whether a pair is held out.
    pub fn holds_out(&self, user: usize, item: usize) -> bool {
        random(self.seed, self.users[user] ^ mix(self.items[item]), 1).is_multiple_of(HELD_OUT_ONE_OF)
    }

    /// Ratings that are not held out; rows are those of users (side 0) or of items.
    pub fn training(&self, ratings: &Rows, side: usize) -> Rows {
        let mut kept = Rows { offsets: vec![0], others: Vec::new(), values: Vec::new() };
        for row in 0..ratings.len() {
            let (others, values) = ratings.row(row);
            for (other, value) in others.iter().zip(values) {
                let (user, item) = if side == 0 { (row, *other as usize) } else { (*other as usize, row) };
                if !self.holds_out(user, item) {
                    kept.others.push(*other);
                    kept.values.push(*value);
                }
            }
            kept.offsets.push(kept.others.len());
        }
        kept
    }
}

/// Users with what they rated, and factors to predict it.
pub struct Predicted<'a> {
    /// The options of the run.
    pub config: &'a Config,
    /// Ratings by user.
    pub ratings: &'a Rows,
    /// Factors of the users.
    pub users: &'a Factors,
    /// Factors of all items.
    pub items: &'a Factors,
    /// The place of each item of the ratings among all.
    pub places: Option<&'a [u32]>,
    /// Keys of the users.
    pub keys: &'a [u64],
    /// The greatest key of a user for whom rankings are made.
    pub sample: u64,
    /// What is held out, if that is what is to be measured.
    pub held_out: Option<HeldOut<'a>>,
}

/// What is held out of a run, and who is known in it.
#[derive(Clone, Copy)]
pub struct HeldOut<'a> {
    /// Which pairs.
    pub split: &'a Split,
    /// Whether each user has ratings that were trained on: without any, there is nothing to predict from.
    pub users: &'a [bool],
    /// The same of all items.
    pub items: &'a [bool],
}

/// Sums of each user.
pub struct Measured {
    /// Of errors.
    pub errors: Vec<Errors>,
    /// Of rankings; none of explicit feedback.
    pub rankings: Vec<UserRanking>,
}

impl Measured {
    /// As bytes: sums of errors, sums of rankings.
    pub fn to_bytes(&self) -> [Vec<u8>; 2] {
        let errors: Vec<f64> = self.errors.iter().flat_map(Errors::as_array).collect();
        let rankings: Vec<f64> = self.rankings.iter().flat_map(UserRanking::as_array).collect();
        [f64::to_bytes(&errors), f64::to_bytes(&rankings)]
    }

    /// What [`Measured::to_bytes`] gave.
    pub fn from_bytes(errors: &[u8], rankings: &[u8]) -> Self {
        let (errors, rankings) = (f64::from_bytes(errors), f64::from_bytes(rankings));
        Self {
            errors: errors.as_chunks::<{ errors::SUMS }>().0.iter().map(|sums| Errors::from_array(*sums)).collect(),
            rankings: rankings.as_chunks::<{ user_ranking::SUMS }>().0.iter().map(|sums| UserRanking::from_array(*sums)).collect(),
        }
    }
}

impl Predicted<'_> {
    /// Measures every user.
    pub fn measure(&self) -> Measured {
        let rows = (0..self.ratings.len()).into_par_iter().with_min_len(64);
        let errors = rows.map(|row| self.errors(row)).collect();
        let Feedback::Implicit { .. } = self.config.feedback else { return Measured { errors, rankings: Vec::new() } };
        let panels = Panels::new(self.items);
        let rank = |scores: &mut Vec<f32>, row: usize| {
            if self.keys[row] > self.sample {
                return UserRanking::default();
            }
            self.ranking(row, &panels, scores)
        };
        let rows = (0..self.ratings.len()).into_par_iter().with_min_len(8);
        Measured { errors, rankings: rows.map_init(Vec::new, rank).collect() }
    }

    /// The absolute errors of all ratings.
    pub fn absolutes(&self) -> Vec<f32> {
        let rows = (0..self.ratings.len()).into_par_iter().with_min_len(64);
        let of_row = |row: usize| {
            let (items, ratings) = self.ratings.row(row);
            let places: Vec<u32> = items.iter().map(|item| self.place(*item)).collect();
            let predicted = scores_with(self.users.row(row), self.items, &places);
            let error = |(score, rating): (f32, &f32)| (target(self.config.feedback, *rating) - f64::from(score)).abs() as f32;
            predicted.into_iter().zip(ratings).map(error).collect::<Vec<f32>>()
        };
        rows.flat_map_iter(of_row).collect()
    }

    fn place(&self, item: u32) -> u32 {
        self.places.map_or(item, |places| places[item as usize])
    }

    fn is_measured(&self, user: usize, item: u32) -> bool {
        self.held_out.is_none_or(|held_out| held_out.split.holds_out(user, item as usize))
    }

    /// Whether both were trained on. Factors do not tell: those of who is known may all be 0.
    fn is_known(&self, user: usize, place: u32) -> bool {
        self.held_out.is_none_or(|held_out| held_out.users[user] && held_out.items[place as usize])
    }

    fn errors(&self, user: usize) -> Errors {
        let (items, ratings) = self.ratings.row(user);
        let pairs = items.iter().zip(ratings).map(|(item, rating)| (*item, self.place(*item), *rating));
        let counted = pairs.filter(|(item, place, _)| self.is_measured(user, *item) && self.is_known(user, *place));
        let (places, ratings): (Vec<u32>, Vec<f32>) = counted.map(|(_, place, rating)| (place, rating)).unzip();
        let mut errors = Errors::default();
        for (score, rating) in scores_with(self.users.row(user), self.items, &places).into_iter().zip(ratings) {
            errors.add(&Errors::without_logs(target(self.config.feedback, rating), f64::from(score)));
        }
        errors
    }

    fn ranking(&self, user: usize, panels: &Panels, scores: &mut Vec<f32>) -> UserRanking {
        let (items, ratings) = self.ratings.row(user);
        let (mut rows, mut seen) = (Vec::new(), Vec::new());
        for (item, rating) in items.iter().zip(ratings) {
            let place = self.place(*item);
            if !self.is_measured(user, *item) {
                seen.push(place);
            } else if self.is_known(user, place) {
                rows.push((place, *rating));
            }
        }
        if rows.is_empty() {
            return UserRanking::default();
        }
        panels.scores(self.users.row(user), scores);
        Wanted { feedback: self.config.feedback, above: 0.0, k: K, rows: &rows, seen: &seen }.measure(scores)
    }
}
