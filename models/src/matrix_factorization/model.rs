//! A trained matrix factorization: its file, predictions of pairs, recommendations, and its factors as a table.

use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use rayon::prelude::*;
use safetensors::tensor::Dtype;

use super::NAME;
use super::config::{ColdStart, Config, Feedback};
use super::evaluation::{ErrorEvaluation, RankingEvaluation, unknown_prediction};
use super::factors::Factors;
use super::held_out::K;
use super::ids::{Dictionary, UNKNOWN};
use super::ratings::Rows;
use super::scores::{Best, Panels, TILE_ROWS, score};
use super::wire::Number as _;
use crate::feature_statistics::{self, FeatureStatistics};
use crate::model_file::Tensor;
use crate::{Evaluation, InputColumn, Model, ModelError, ModelFile, ModelTable, Options, Result};

const SIDES: [&str; 2] = ["user", "item"];

/// What a model's file is made of.
pub struct Content {
    /// Ids of users and items.
    pub dictionaries: [Dictionary; 2],
    /// Their factors, as [`Factors::to_bytes`] gives them.
    pub factors: [Vec<u8>; 2],
    /// How many items each user rated.
    pub lengths: Vec<u64>,
    /// Their places as bytes, user by user.
    pub rated: Vec<u8>,
    /// The mean of what is predicted.
    pub mean: f64,
    /// What ratings look like.
    pub statistics: FeatureStatistics,
}

/// A model's file.
///
/// # Errors
/// Ids that Arrow's format cannot hold.
pub fn write(config: &Config, content: Content) -> Result<ModelFile> {
    let mut file = ModelFile::new(NAME);
    file.set("columns", &config.names)?;
    file.set("num_factors", config.rank)?;
    file.set("cold_start", config.cold_start)?;
    file.set("feedback", config.feedback)?;
    file.set("mean", content.mean.to_bits())?;
    file.set("rating_statistics", &content.statistics)?;
    for (name, (ids, bytes)) in SIDES.iter().zip(content.dictionaries.iter().zip(content.factors)) {
        file.put_u8(&format!("{name}_ids"), ids.to_ipc()?);
        let factors = Tensor { dtype: Dtype::F32, shape: vec![ids.len(), config.rank], bytes };
        file.tensors.insert(format!("{name}_factors"), factors);
    }
    let mut offsets = vec![0i64];
    for length in content.lengths {
        offsets.push(offsets[offsets.len() - 1] + length as i64);
    }
    file.put_i64("rated_offsets", &[offsets.len()], &offsets);
    let rated = Tensor { dtype: Dtype::U32, shape: vec![content.rated.len() / size_of::<u32>()], bytes: content.rated };
    file.tensors.insert("rated_items".to_string(), rated);
    Ok(file)
}

/// One of the two sides of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Users, to whom items are recommended.
    Users,
    /// Items, for which users are found.
    Items,
}

impl Side {
    fn index(self) -> usize {
        match self {
            Self::Users => 0,
            Self::Items => 1,
        }
    }
}

/// The best of the other side for some ids of one side.
#[derive(Debug, Clone)]
pub struct Recommended {
    /// The ids for which there are recommendations.
    pub ids: ArrayRef,
    /// For each a list of structs of an id of the other side and a score, the best first.
    pub best: ListArray,
}

/// A trained matrix factorization.
pub struct MatrixFactorizationModel {
    names: [String; 3],
    inputs: [InputColumn; 2],
    feedback: Feedback,
    cold_start: ColdStart,
    mean: f64,
    rank: usize,
    dictionaries: [Dictionary; 2],
    factors: [Factors; 2],
    /// What was trained on, by user and, once it is asked for, by item.
    rated: Rows,
    rated_by_item: OnceLock<Rows>,
    /// What ratings looked like; missing in models of earlier versions.
    statistics: Option<FeatureStatistics>,
    panels: [OnceLock<Panels>; 2],
}

impl std::fmt::Debug for MatrixFactorizationModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [users, items] = &self.dictionaries;
        write!(f, "MatrixFactorizationModel({} users, {} items, {} factors)", users.len(), items.len(), self.rank)
    }
}

impl MatrixFactorizationModel {
    /// A model from its file.
    ///
    /// # Errors
    /// A file of another type, or one that contradicts itself.
    pub fn read(file: &ModelFile) -> Result<Self> {
        if file.model_type != NAME {
            return Err(ModelError::file(format!("the model file holds a model of type '{}' and not '{NAME}'", file.model_type)));
        }
        let names: [String; 3] = file.value("columns")?;
        let rank: usize = file.value("num_factors")?;
        let read = |side: &str| -> Result<(Dictionary, Factors)> {
            let ids = Dictionary::from_ipc(file.u8s(&format!("{side}_ids"))?)?;
            let (shape, dense) = file.f32s(&format!("{side}_factors"))?;
            if rank == 0 || ids.len() == 0 || shape != [ids.len(), rank] || dense.len() != ids.len() * rank {
                return Err(ModelError::file(format!(
                    "the {side} factors of the model file have shape {shape:?}, for {} ids of {rank} factors",
                    ids.len()
                )));
            }
            Ok((ids, Factors::from_dense(rank, &dense)))
        };
        let (users, user_factors) = read(SIDES[0])?;
        let (items, item_factors) = read(SIDES[1])?;
        let rated = read_rated(file, users.len(), items.len())?;
        let input = |name: &String, ids: &Dictionary| InputColumn { name: name.clone(), data_type: ids.ids().data_type().clone() };
        Ok(Self {
            inputs: [input(&names[0], &users), input(&names[1], &items)],
            names,
            feedback: file.value("feedback")?,
            cold_start: file.value("cold_start")?,
            mean: f64::from_bits(file.value("mean")?),
            rank,
            dictionaries: [users, items],
            factors: [user_factors, item_factors],
            rated,
            rated_by_item: OnceLock::new(),
            statistics: if file.metadata.contains_key("rating_statistics") { Some(file.value("rating_statistics")?) } else { None },
            panels: [OnceLock::new(), OnceLock::new()],
        })
    }

    /// The inputs of the model that a file holds, without the model.
    ///
    /// # Errors
    /// A file that lacks them.
    pub(super) fn inputs_of(file: &ModelFile) -> Result<Vec<InputColumn>> {
        let names: [String; 3] = file.value("columns")?;
        let input = |(name, side): (String, &str)| -> Result<InputColumn> {
            let ids = Dictionary::from_ipc(file.u8s(&format!("{side}_ids"))?)?;
            Ok(InputColumn { name, data_type: ids.ids().data_type().clone() })
        };
        names.into_iter().zip(SIDES).map(input).collect()
    }

    /// Names of the columns of users, items and ratings.
    pub fn column_names(&self) -> &[String; 3] {
        &self.names
    }

    /// What ratings are.
    pub(super) fn feedback(&self) -> Feedback {
        self.feedback
    }

    /// Whether ratings are evidence of what users like, and not opinions to be predicted.
    pub fn is_implicit(&self) -> bool {
        matches!(self.feedback, Feedback::Implicit { .. })
    }

    /// Whether rows with a user or item that was not trained on are to be left out of `ML.PREDICT` (`cold_start = 'drop'`); their prediction is NULL.
    pub fn drops_unknown(&self) -> bool {
        self.cold_start == ColdStart::Drop
    }

    /// The column that predictions are in: `predicted_<rating>`, for implicit feedback `predicted_<rating>_confidence`.
    pub fn predicted_name(&self) -> String {
        let suffix = if self.is_implicit() { "_confidence" } else { "" };
        format!("predicted_{}{suffix}", self.names[2])
    }

    /// All ids of a side, in their order.
    pub fn ids(&self, side: Side) -> &ArrayRef {
        self.dictionaries[side.index()].ids()
    }

    /// The places of users and items, [`UNKNOWN`] for those that were not trained on.
    pub(super) fn places(&self, users: &ArrayRef, items: &ArrayRef) -> Result<(Vec<u32>, Vec<u32>)> {
        Ok((self.dictionaries[0].places(&self.names[0], users)?, self.dictionaries[1].places(&self.names[1], items)?))
    }

    /// Whether there are a user and an item at these places.
    pub(super) fn has(&self, user: u32, item: u32) -> bool {
        (user as usize) < self.factors[0].len() && (item as usize) < self.factors[1].len()
    }

    /// The items that a user was trained on, ascending.
    pub(super) fn seen_by_user(&self, user: u32) -> &[u32] {
        self.rated.row(user as usize).0
    }

    /// The scores of all items for a user.
    pub(super) fn scores_of_user(&self, user: u32, scores: &mut Vec<f32>) {
        self.panels(1).scores(self.factors[0].row(user as usize), scores);
    }

    /// Predictions of pairs; those with unknown ids as `cold_start` says, those with NULL ids as unknown ones.
    ///
    /// # Errors
    /// Ids of a type that cannot be converted to that of training.
    pub fn predict_pairs(&self, users: &ArrayRef, items: &ArrayRef) -> Result<Float64Array> {
        let (users, items) = self.places(users, items)?;
        let unknown = unknown_prediction(self.cold_start, self.mean);
        let predict = |(user, item): (u32, u32)| {
            if user == UNKNOWN || item == UNKNOWN {
                return unknown;
            }
            Some(f64::from(score(self.factors[0].row(user as usize), self.factors[1].row(item as usize), self.rank)))
        };
        Ok(users.into_iter().zip(items).map(predict).collect())
    }

    /// The best `k` items for each user, or the best users for each item: a list of structs of id and score, the best first; equal scores are ordered by id.
    /// NULL for ids that were not trained on. With `exclude_seen` pairs that were trained on are left out.
    ///
    /// # Errors
    /// Ids of a type that cannot be converted to that of training.
    pub fn recommend(&self, side: Side, ids: &ArrayRef, k: usize, exclude_seen: bool) -> Result<ListArray> {
        let places = self.dictionaries[side.index()].places(&self.names[side.index()], ids)?;
        self.lists(side, &places, k, exclude_seen)
    }

    /// As [`MatrixFactorizationModel::recommend`] for `len` of the model's own ids from `start` on (fewer at the end): all of them, share by share.
    ///
    /// # Errors
    /// Lists that do not fit an array.
    pub fn recommend_range(&self, side: Side, start: usize, len: usize, k: usize, exclude_seen: bool) -> Result<Recommended> {
        let all = self.dictionaries[side.index()].ids();
        let start = start.min(all.len());
        let len = len.min(all.len() - start);
        let places: Vec<u32> = (start..start + len).map(|place| place as u32).collect();
        Ok(Recommended { ids: all.slice(start, len), best: self.lists(side, &places, k, exclude_seen)? })
    }

    fn panels(&self, side: usize) -> &Panels {
        self.panels[side].get_or_init(|| Panels::new(&self.factors[side]))
    }

    fn seen(&self, side: usize) -> &Rows {
        if side == 0 { &self.rated } else { self.rated_by_item.get_or_init(|| self.rated.transposed(self.factors[1].len())) }
    }

    fn lists(&self, side: Side, places: &[u32], k: usize, exclude_seen: bool) -> Result<ListArray> {
        let side = side.index();
        let other = 1 - side;
        let panels = self.panels(other);
        let k = k.min(panels.len());
        let seen = exclude_seen.then(|| self.seen(side));
        let tiles = places.par_chunks(TILE_ROWS).map(|places| self.best_of_tile(side, places, k, seen));
        let (best_places, scores, lengths) = tiles.reduce(Default::default, |mut one, mut next| {
            one.0.append(&mut next.0);
            one.1.append(&mut next.1);
            one.2.append(&mut next.2);
            one
        });
        let bug = |e: arrow::error::ArrowError| ModelError::bug(format!("recommendations: {e}"));
        let total: usize = lengths.iter().sum();
        if i32::try_from(total).is_err() {
            return Err(ModelError::data(format!("{total} recommendations do not fit one list")).hint("ask for fewer at a time"));
        }
        let ids = take(self.dictionaries[other].ids(), &UInt32Array::from(best_places), None).map_err(bug)?;
        let fields = self.list_fields(other);
        let values = StructArray::try_new(fields.clone(), vec![ids, Arc::new(Float64Array::from(scores))], None).map_err(bug)?;
        let item = Arc::new(Field::new("item", DataType::Struct(fields), false));
        let nulls: NullBuffer = places.iter().map(|place| *place != UNKNOWN).collect();
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), Arc::new(values), nulls).map_err(bug)
    }

    fn list_fields(&self, other: usize) -> Fields {
        let id = Field::new(&self.names[other], self.inputs[other].data_type.clone(), false);
        Fields::from(vec![id, Field::new(self.predicted_name(), DataType::Float64, false)])
    }

    /// The type of the lists of recommendations for ids of a side.
    pub fn recommended_type(&self, side: Side) -> DataType {
        DataType::List(Arc::new(Field::new("item", DataType::Struct(self.list_fields(1 - side.index())), false)))
    }

    fn best_of_tile(&self, side: usize, places: &[u32], k: usize, seen: Option<&Rows>) -> (Vec<u32>, Vec<f64>, Vec<usize>) {
        let known: Vec<u32> = places.iter().copied().filter(|place| *place != UNKNOWN).collect();
        let rows: Vec<&[f32]> = known.iter().map(|place| self.factors[side].row(*place as usize)).collect();
        let excluded = |place: u32| seen.map(|seen| seen.row(place as usize).0).unwrap_or_default();
        let mut best: Vec<Best<'_>> = known.iter().map(|place| Best::new(k, excluded(*place))).collect();
        self.panels(1 - side).best(&rows, &mut best);
        let (mut ids, mut scores, mut lengths) = (Vec::new(), Vec::new(), Vec::with_capacity(places.len()));
        let mut best = best.into_iter();
        for place in places {
            let kept = if *place == UNKNOWN { Vec::new() } else { best.next().map(Best::finish).unwrap_or_default() };
            lengths.push(kept.len());
            for (score, place) in kept {
                ids.push(place);
                scores.push(f64::from(score));
            }
        }
        (ids, scores, lengths)
    }

    /// `ML.WEIGHTS`: the factors of every user and item; there are no intercepts, so that they are 0.
    fn weights(&self) -> Result<RecordBatch> {
        let bug = |e: arrow::error::ArrowError| ModelError::bug(format!("the table of weights: {e}"));
        let rows = self.factors[0].len() + self.factors[1].len();
        let mut inputs = Vec::with_capacity(rows + 1);
        let mut features = Vec::with_capacity(rows + 1);
        let mut weights = Vec::with_capacity(rows * self.rank);
        for side in 0..2 {
            for row in 0..self.factors[side].len() {
                inputs.push(Some(self.names[side].clone()));
                features.push(Some(self.dictionaries[side].text(row)));
                weights.extend(self.factors[side].row(row)[..self.rank].iter().map(|v| f64::from(*v)));
            }
        }
        inputs.push(Some("global__intercept__".to_string()));
        features.push(None);
        let factors: Int64Array = (0..rows * self.rank).map(|i| (i % self.rank) as i64 + 1).collect();
        let fields = Fields::from(vec![Field::new("factor", DataType::Int64, false), Field::new("weight", DataType::Float64, false)]);
        let values =
            StructArray::try_new(fields.clone(), vec![Arc::new(factors), Arc::new(Float64Array::from(weights))], None).map_err(bug)?;
        let item = Arc::new(Field::new("item", DataType::Struct(fields), false));
        let lengths = std::iter::repeat_n(self.rank, rows).chain(std::iter::once(0));
        let lists = ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), Arc::new(values), None).map_err(bug)?;
        let schema = Schema::new(vec![
            Field::new("processed_input", DataType::Utf8, false),
            Field::new("feature", DataType::Utf8, true),
            Field::new("factor_weights", lists.data_type().clone(), false),
            Field::new("intercept", DataType::Float64, false),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(inputs)),
            Arc::new(StringArray::from(features)),
            Arc::new(lists),
            Arc::new(Float64Array::from(vec![0.0; rows + 1])),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).map_err(bug)
    }
}

fn read_rated(file: &ModelFile, users: usize, items: usize) -> Result<Rows> {
    let damaged = || ModelError::file("the pairs that the model file was trained on are damaged");
    let (_, offsets) = file.i64s("rated_offsets")?;
    let tensor = file.tensors.get("rated_items").filter(|tensor| tensor.dtype == Dtype::U32).ok_or_else(damaged)?;
    let others = u32::from_bytes(&tensor.bytes);
    let offsets: Vec<usize> = offsets.into_iter().map(usize::try_from).collect::<std::result::Result<_, _>>().map_err(|_| damaged())?;
    let fits = offsets.len() == users + 1 && offsets.first() == Some(&0) && offsets.last() == Some(&others.len());
    if !fits || !offsets.is_sorted() || offsets.windows(2).any(|row| !others[row[0]..row[1]].is_sorted_by(|a, b| a < b)) {
        return Err(damaged());
    }
    if others.iter().any(|item| *item as usize >= items) {
        return Err(damaged());
    }
    Ok(Rows { values: vec![0.0; others.len()], offsets, others })
}

impl Model for MatrixFactorizationModel {
    fn model_type(&self) -> &'static str {
        NAME
    }

    fn bytes(&self) -> usize {
        let sides =
            self.dictionaries.iter().map(Dictionary::bytes).sum::<usize>() + self.factors.iter().map(Factors::bytes).sum::<usize>() * 2;
        sides + self.rated.bytes() * 2
    }

    fn inputs(&self) -> &[InputColumn] {
        &self.inputs
    }

    fn predicted(&self) -> Vec<Field> {
        vec![Field::new(self.predicted_name(), DataType::Float64, true)]
    }

    fn predict(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let [users, items] = columns else { return Err(ModelError::bug("a matrix factorization scores two columns")) };
        Ok(vec![Arc::new(self.predict_pairs(users, items)?)])
    }

    fn table(&self, table: ModelTable) -> Result<Option<RecordBatch>> {
        match (table, &self.statistics) {
            (ModelTable::Weights, _) => self.weights().map(Some),
            (ModelTable::FeatureInfo, Some(ratings)) => {
                let ids = |side: usize| FeatureStatistics {
                    category_count: Some(self.dictionaries[side].len() as u64),
                    ..FeatureStatistics::default()
                };
                feature_statistics::table(self.names.iter().map(String::as_str), &[ids(0), ids(1), ratings.clone()]).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Explicit feedback by its errors, implicit feedback by rankings; with `top_k` or `wanted_above` explicit feedback by rankings too.
    fn evaluation(self: Arc<Self>, columns: &[InputColumn], options: &Options) -> Result<Box<dyn Evaluation>> {
        let (top_k, wanted_above) = (options.int("top_k"), options.float("wanted_above"));
        let k = top_k.and_then(|k| usize::try_from(k).ok()).unwrap_or(K);
        match (self.is_implicit(), top_k, wanted_above) {
            (true, ..) => Ok(Box::new(RankingEvaluation::new(self, columns, wanted_above.unwrap_or(0.0) as f32, k)?)),
            (false, None, None) => Ok(Box::new(ErrorEvaluation::new(self, columns)?)),
            (false, _, Some(above)) => Ok(Box::new(RankingEvaluation::new(self, columns, above as f32, k)?)),
            (false, Some(_), None) => Err(ModelError::option("top_k", "explicit feedback is not told which ratings are wanted")
                .hint("STRUCT(10 AS top_k, 3.5 AS wanted_above)")),
        }
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
