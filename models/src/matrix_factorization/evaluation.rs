//! `ML.EVALUATE`: errors of predicted ratings, or how early the items that were wanted come in each user's ranking.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::config::{ColdStart, rating_type};
use super::error_median::{self, LOWER_BYTES, Middle, UPPER_BYTES, count_upper};
use super::errors::{Errors, MEASURES, SUMS};
use super::ids::UNKNOWN;
use super::model::MatrixFactorizationModel;
use super::ratings::read_ratings;
use super::scores::target;
use super::user_ranking::{UserRanking, Wanted};
use crate::exact_sum::ExactSum;
use crate::{Evaluation, InputColumn, ModelError, Result};

/// Where users, items and ratings are among columns.
///
/// # Errors
/// Columns that are missing, or ratings that are no numbers.
fn find(model: &MatrixFactorizationModel, columns: &[InputColumn]) -> Result<[usize; 3]> {
    let mut found = [0; 3];
    for (place, name) in found.iter_mut().zip(model.column_names()) {
        *place = columns.iter().position(|column| column.name == *name).ok_or_else(|| {
            let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            ModelError::column(name, "the rows to evaluate on have no such column").hint(format!("they have: {}", names.join(", ")))
        })?;
    }
    rating_type(&columns[found[2]].name, &columns[found[2]].data_type)?;
    Ok(found)
}

fn row_of(names: impl Iterator<Item = String>, values: impl Iterator<Item = Option<f64>>) -> Result<RecordBatch> {
    let fields: Vec<Field> = names.map(|name| Field::new(name, DataType::Float64, true)).collect();
    let columns: Vec<ArrayRef> = values.map(|value| Arc::new(Float64Array::from(vec![value])) as ArrayRef).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|e| ModelError::bug(format!("a row of measures: {e}")))
}

fn damaged(error: impl std::fmt::Display) -> ModelError {
    ModelError::bug(format!("a partial result of an evaluation: {error}"))
}

/// Errors of predicted ratings. Stage 0 gathers sums and counts of absolute errors, stage 1 what else the exact median of those, in 32 bits, takes. Pairs with
/// unknown ids are left out with `cold_start = 'drop'`; with 'nan' one of them makes all measures NaN.
pub struct ErrorEvaluation {
    model: Arc<MatrixFactorizationModel>,
    columns: [usize; 3],
}

/// What stage 0 gathers beside the counts of the median.
#[derive(Default, Serialize, Deserialize)]
struct Sums {
    sums: [ExactSum; SUMS],
    /// Some prediction was NaN.
    nan: bool,
    /// Some rating or prediction was -1 or less.
    without_logs: bool,
}

impl Sums {
    /// A partial result: the counts, then the sums.
    fn split(bytes: &[u8]) -> Result<(&[u8], Self)> {
        let (counts, rest) = bytes.split_at_checked(UPPER_BYTES).ok_or_else(|| damaged("it ends early"))?;
        Ok((counts, postcard::from_bytes(rest).map_err(damaged)?))
    }

    /// The same, to which more is added.
    fn take(mut bytes: Vec<u8>) -> Result<(Vec<u8>, Self)> {
        let (_, sums) = Self::split(&bytes)?;
        bytes.truncate(UPPER_BYTES);
        Ok((bytes, sums))
    }

    fn join(&self, mut counts: Vec<u8>) -> Result<Vec<u8>> {
        counts.extend(postcard::to_allocvec(self).map_err(damaged)?);
        Ok(counts)
    }
}

impl ErrorEvaluation {
    /// Of a model on rows with these columns.
    ///
    /// # Errors
    /// Columns that are missing, or ratings that are no numbers.
    pub fn new(model: Arc<MatrixFactorizationModel>, columns: &[InputColumn]) -> Result<Self> {
        let columns = find(&model, columns)?;
        Ok(Self { model, columns })
    }

    /// Hands over what each row aims at, and what is predicted for it.
    fn for_each(&self, columns: &[ArrayRef], mut each: impl FnMut(f64, f64)) -> Result<()> {
        let [users, items, ratings] = columns else { return Err(ModelError::bug("an evaluation takes three columns")) };
        let ratings = read_ratings(&self.model.column_names()[2], ratings)?;
        let predicted = self.model.predict_pairs(users, items)?;
        for (prediction, rating) in predicted.iter().zip(ratings) {
            if let Some(prediction) = prediction {
                each(target(self.model.feedback(), rating), prediction);
            }
        }
        Ok(())
    }

    fn sum(&self, partial: Option<Vec<u8>>, columns: &[ArrayRef]) -> Result<Vec<u8>> {
        let begin = || Ok((vec![0; UPPER_BYTES], Sums::default()));
        let (mut counts, mut sums) = partial.map_or_else(begin, Sums::take)?;
        self.for_each(columns, |target, prediction| {
            if prediction.is_nan() {
                sums.nan = true;
                return;
            }
            let errors = Errors::of(target, prediction);
            for (sum, value) in sums.sums.iter_mut().zip(errors.as_array()) {
                if value.is_finite() { sum.add(value) } else { sums.without_logs = true }
            }
            count_upper(&mut counts, errors.absolutes as f32);
        })?;
        sums.join(counts)
    }

    fn count(&self, before: &[u8], partial: Option<Vec<u8>>, columns: &[ArrayRef]) -> Result<Vec<u8>> {
        let (counts, _) = Sums::split(before)?;
        let mut lower = partial.unwrap_or_else(|| vec![0; LOWER_BYTES]);
        let Some(middle) = Middle::of(counts) else { return Ok(lower) };
        self.for_each(columns, |target, prediction| {
            if !prediction.is_nan() {
                middle.count_lower(&mut lower, Errors::without_logs(target, prediction).absolutes as f32);
            }
        })?;
        Ok(lower)
    }
}

impl Evaluation for ErrorEvaluation {
    fn columns(&self) -> Vec<usize> {
        self.columns.to_vec()
    }

    fn stages(&self) -> usize {
        2
    }

    fn accumulate(&self, stage: usize, before: Option<&[u8]>, partial: Option<Vec<u8>>, columns: &[ArrayRef]) -> Result<Vec<u8>> {
        match (stage, before) {
            (0, _) => self.sum(partial, columns),
            (_, Some(before)) => self.count(before, partial, columns),
            (_, None) => Err(damaged("the stage before gave none")),
        }
    }

    fn merge(&self, stage: usize, mut one: Vec<u8>, other: &[u8]) -> Result<Vec<u8>> {
        if stage > 0 {
            error_median::merge(&mut one, other);
            return Ok(one);
        }
        let (mut counts, mut sums) = Sums::take(one)?;
        let (more, other) = Sums::split(other)?;
        error_median::merge(&mut counts, more);
        for (sum, other) in sums.sums.iter_mut().zip(&other.sums) {
            sum.merge(other);
        }
        sums.nan |= other.nan;
        sums.without_logs |= other.without_logs;
        sums.join(counts)
    }

    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(MEASURES.map(|name| Field::new(name, DataType::Float64, true)).to_vec()))
    }

    fn finish(&self, before: Option<&[u8]>, partial: Option<&[u8]>) -> Result<RecordBatch> {
        let (counts, gathered) = before.map_or_else(|| Ok((&[][..], Sums::default())), Sums::split)?;
        let mut sums = Errors::from_array(gathered.sums.each_ref().map(ExactSum::value));
        if gathered.without_logs {
            sums.squared_logs = f64::NAN;
        }
        let median = Middle::of(counts).and_then(|middle| middle.median(partial.unwrap_or_default()));
        let measures = sums.measures(median);
        let value = |name: &str| if gathered.nan { Some(f64::NAN) } else { measures.get(name).copied() };
        row_of(MEASURES.iter().map(|name| (*name).to_string()), MEASURES.iter().map(|name| value(name)))
    }
}

/// How early the items that a user wanted come when all items are ranked for the user.
///
/// Of the rows with known users and items, those whose rating is above a bound are *wanted*. Every user with a wanted item counts alike. Ranked are all items of
/// the model, but for those that the user was trained on and that the rows do not name: what is known already is not to be recommended.
///
/// `mean_average_precision`, `normalized_discounted_cumulative_gain`, `precision_at_k`, `recall_at_k` as in Spark's `RankingMetrics` (see
/// [`ranking`](super::ranking)); `average_rank = Σ w rank / Σ w` with the rank as a share, 0 the first and 1 the last, and `w` the rating for implicit
/// feedback, 1 for explicit (Hu, Koren, Volinsky); `mean_squared_error` over all known rows, of implicit feedback against 1 for positive ratings and 0 for others.
pub struct RankingEvaluation {
    model: Arc<MatrixFactorizationModel>,
    columns: [usize; 3],
    wanted_above: f32,
    k: usize,
}

/// User, item and rating of a row, 4 bytes each.
const RECORD: usize = 12;

impl RankingEvaluation {
    /// Of a model on rows with these columns; items with a rating above `wanted_above` are wanted, `k` is how many are recommended.
    ///
    /// # Errors
    /// Columns that are missing, or ratings that are no numbers.
    pub fn new(model: Arc<MatrixFactorizationModel>, columns: &[InputColumn], wanted_above: f32, k: usize) -> Result<Self> {
        let columns = find(&model, columns)?;
        Ok(Self { model, columns, wanted_above, k })
    }

    /// The sums of one user's rows, which are ordered by item.
    fn measure(&self, rows: &[(u32, u32, f32)], scores: &mut Vec<f32>) -> UserRanking {
        let Some((user, _, _)) = rows.first() else { return UserRanking::default() };
        self.model.scores_of_user(*user, scores);
        let rated: Vec<(u32, f32)> = rows.iter().map(|row| (row.1, row.2)).collect();
        let seen = self.model.seen_by_user(*user);
        Wanted { feedback: self.model.feedback(), above: self.wanted_above, k: self.k, rows: &rated, seen }.measure(scores)
    }
}

impl Evaluation for RankingEvaluation {
    fn columns(&self) -> Vec<usize> {
        self.columns.to_vec()
    }

    fn stages(&self) -> usize {
        1
    }

    fn accumulate(&self, _: usize, _: Option<&[u8]>, partial: Option<Vec<u8>>, columns: &[ArrayRef]) -> Result<Vec<u8>> {
        let mut records = partial.unwrap_or_default();
        let [users, items, ratings] = columns else { return Err(ModelError::bug("an evaluation takes three columns")) };
        let ratings = read_ratings(&self.model.column_names()[2], ratings)?;
        let (users, items) = self.model.places(users, items)?;
        for ((user, item), rating) in users.into_iter().zip(items).zip(ratings) {
            if user != UNKNOWN && item != UNKNOWN {
                records.extend_from_slice(&user.to_le_bytes());
                records.extend_from_slice(&item.to_le_bytes());
                records.extend_from_slice(&rating.to_le_bytes());
            }
        }
        Ok(records)
    }

    fn merge(&self, _: usize, mut one: Vec<u8>, other: &[u8]) -> Result<Vec<u8>> {
        one.extend_from_slice(other);
        Ok(one)
    }

    fn schema(&self) -> SchemaRef {
        let measures = UserRanking::default().measures(self.k);
        Arc::new(Schema::new(measures.map(|(name, _)| Field::new(name, DataType::Float64, true)).to_vec()))
    }

    fn finish(&self, _: Option<&[u8]>, partial: Option<&[u8]>) -> Result<RecordBatch> {
        let (records, rest) = partial.unwrap_or_default().as_chunks::<RECORD>();
        if !rest.is_empty() {
            return Err(damaged("it ends early"));
        }
        let mut rows: Vec<(u32, u32, f32)> = records
            .iter()
            .map(|r| {
                (
                    u32::from_le_bytes([r[0], r[1], r[2], r[3]]),
                    u32::from_le_bytes([r[4], r[5], r[6], r[7]]),
                    f32::from_le_bytes([r[8], r[9], r[10], r[11]]),
                )
            })
            .collect();
        if rows.iter().any(|(user, item, _)| !self.model.has(*user, *item)) {
            return Err(damaged("ids that the model does not have"));
        }
        // Of rows with one user and item the one of the highest rating counts.
        rows.par_sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(b.2.total_cmp(&a.2)));
        rows.dedup_by_key(|row| (row.0, row.1));
        let users: Vec<&[(u32, u32, f32)]> = rows.chunk_by(|a, b| a.0 == b.0).collect();
        let measured: Vec<UserRanking> = users.into_par_iter().map_init(Vec::new, |scores, rows| self.measure(rows, scores)).collect();
        let mut sums = UserRanking::default();
        measured.iter().for_each(|user| sums.add(user));
        let (names, values): (Vec<_>, Vec<_>) = sums.measures(self.k).into_iter().unzip();
        row_of(names.into_iter(), values.into_iter())
    }
}

/// The rule of a model for ids that it does not know, as a prediction.
pub fn unknown_prediction(rule: ColdStart, mean: f64) -> Option<f64> {
    match rule {
        ColdStart::Drop => None,
        ColdStart::Nan => Some(f64::NAN),
        ColdStart::Mean => Some(mean),
    }
}
