//! `ML.EVALUATE`: how well the clusters fit rows, which may be others than those that the model was trained on.
//!
//! Stage 0 gathers exact sums of each cluster; stage 1 the silhouettes, which need them. Rows are those of any query, so nothing is known of their size
//! beforehand: sums are [`ExactSum`]s, fed with the rows of a tile cluster by cluster.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::finish::{davies_bouldin, reported, silhouette};
use super::model::KMeansModel;
use super::nearest::OwnAndOther;
use super::request::{decode, encode};
use crate::exact_sum::ExactSum;
use crate::features::{FeatureColumns, FeatureKind, TILE_ROWS};
use crate::simd::widest;
use crate::type_names::sql_type_name;
use crate::{Evaluation, InputColumn, Model, ModelError, Result};

const STAGES: usize = 2;

/// Sums over the rows of a cluster.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Gathered {
    rows: u64,
    distance: ExactSum,
    distance_square: ExactSum,
    /// Squared Euclidean distances to the centre in the space that was trained in.
    square: ExactSum,
    sums: Vec<ExactSum>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Silhouettes {
    rows: u64,
    sum: ExactSum,
}

/// Evaluates one model.
#[derive(Debug)]
pub struct KMeansEvaluation {
    model: Arc<KMeansModel>,
    places: Vec<usize>,
    columns: FeatureColumns,
}

/// What stage 1 has to know of stage 0.
struct Clusters {
    means: Vec<f64>,
    variances: Vec<f64>,
    weights: Vec<f64>,
    places: Vec<u16>,
}

impl KMeansEvaluation {
    /// Finds the model's inputs among columns.
    ///
    /// # Errors
    /// A column that is missing or of an unsuitable type.
    pub fn new(model: Arc<KMeansModel>, columns: &[InputColumn]) -> Result<Self> {
        let find = |input: &InputColumn| {
            let place = columns.iter().position(|c| c.name == input.name);
            place.ok_or_else(|| ModelError::column(&input.name, "the model was trained on it, but the rows do not have it"))
        };
        let places: Vec<usize> = model.inputs().iter().map(find).collect::<Result<_>>()?;
        let chosen: Vec<InputColumn> = places.iter().map(|p| columns[*p].clone()).collect();
        let (features, trained) = (FeatureColumns::new(&chosen, &[])?, FeatureColumns::new(model.inputs(), &[])?);
        let group = |kind: FeatureKind| if let FeatureKind::List(_) = kind { FeatureKind::List(None) } else { kind };
        for ((column, before), chosen) in features.columns().iter().zip(trained.columns()).zip(model.inputs()) {
            if group(column.kind) != group(before.kind) {
                return Err(ModelError::column(&column.name, format!("the model was trained on {}", sql_type_name(&chosen.data_type))));
            }
        }
        Ok(Self { model, places, columns: features })
    }

    fn gather(&self, partial: Option<Vec<u8>>, arrays: &[ArrayRef]) -> Result<Vec<u8>> {
        let features = self.model.features();
        let empty = || vec![Gathered { sums: vec![ExactSum::new(); features], ..Gathered::default() }; self.model.clusters()];
        let mut all: Vec<Gathered> = partial.map_or_else(|| Ok(empty()), |bytes| decode(&bytes))?;
        let (mut order, mut values) = (Vec::with_capacity(TILE_ROWS), Vec::with_capacity(TILE_ROWS));
        let cosine = self.model.is_cosine();
        self.model.for_each_nearest(&self.columns, arrays, |_, labels, squares, tile| {
            order.clear();
            order.extend(0..labels.len());
            order.sort_unstable_by_key(|row| labels[*row]);
            for rows in order.chunk_by(|one, other| labels[*one] == labels[*other]) {
                let Some(gathered) = rows.first().and_then(|row| all.get_mut(usize::from(labels[*row]))) else { continue };
                let mut add = |sum: &mut ExactSum, number: &dyn Fn(usize) -> f64| {
                    values.clear();
                    values.extend(rows.iter().map(|row| number(*row)));
                    sum.add_slice(&values);
                };
                gathered.rows += rows.len() as u64;
                add(&mut gathered.square, &|row| squares[row]);
                add(&mut gathered.distance, &|row| reported(squares[row], cosine));
                add(&mut gathered.distance_square, &|row| reported(squares[row], cosine).powi(2));
                for (f, sum) in gathered.sums.iter_mut().enumerate() {
                    add(sum, &|row| tile[f * TILE_ROWS + row]);
                }
            }
        })?;
        encode(&all)
    }

    fn clusters(&self, gathered: &[Gathered]) -> Clusters {
        let mut clusters = Clusters { means: Vec::new(), variances: Vec::new(), weights: Vec::new(), places: Vec::new() };
        for (one, centre) in gathered.iter().zip(self.model.centres.chunks(self.model.features())) {
            clusters.places.push(if one.rows > 0 { clusters.weights.len() as u16 } else { u16::MAX });
            if one.rows > 0 {
                let rows = one.rows as f64;
                let mean: Vec<f64> = one.sums.iter().map(|sum| sum.value() / rows).collect();
                let off = mean.iter().zip(centre).fold(0.0, |sum, (a, b)| sum + (a - b) * (a - b));
                clusters.variances.push((one.square.value() / rows - off).max(0.0));
                clusters.means.extend(mean);
                clusters.weights.push(rows);
            }
        }
        clusters
    }

    fn silhouettes(&self, before: &[u8], partial: Option<Vec<u8>>, arrays: &[ArrayRef]) -> Result<Vec<u8>> {
        let clusters = self.clusters(&decode::<Vec<Gathered>>(before)?);
        let mut all: Silhouettes = partial.map_or_else(|| Ok(Silhouettes::default()), |bytes| decode(&bytes))?;
        let (mut own, mut other) = (vec![0.0; TILE_ROWS], vec![0.0; TILE_ROWS]);
        let mut places = vec![0; TILE_ROWS];
        self.model.for_each_nearest(&self.columns, arrays, |_, labels, _, tile| {
            let rows = labels.len();
            all.rows += rows as u64;
            if clusters.weights.len() < 2 {
                return;
            }
            places.iter_mut().zip(labels).for_each(|(place, label)| *place = clusters.places[usize::from(*label)]);
            let (features, means, variances) = (self.model.features(), &clusters.means[..], &clusters.variances[..]);
            widest(OwnAndOther { tile, rows, features, means, variances, labels: &places, own: &mut own, other: &mut other });
            for ((own, other), place) in own.iter_mut().zip(&other).zip(&places).take(rows) {
                if let Some(weight) = clusters.weights.get(usize::from(*place)) {
                    *own = silhouette(*own, *other, 1.0, *weight);
                }
            }
            all.sum.add_slice(&own[..rows]);
        })?;
        encode(&all)
    }
}

impl Evaluation for KMeansEvaluation {
    fn columns(&self) -> Vec<usize> {
        self.places.clone()
    }

    fn stages(&self) -> usize {
        STAGES
    }

    fn accumulate(&self, stage: usize, before: Option<&[u8]>, partial: Option<Vec<u8>>, columns: &[ArrayRef]) -> Result<Vec<u8>> {
        match (stage, before) {
            (0, _) => self.gather(partial, columns),
            (1, Some(before)) => self.silhouettes(before, partial, columns),
            _ => Err(ModelError::bug(format!("kmeans has no stage {stage} of evaluation, or what comes before it is missing"))),
        }
    }

    fn merge(&self, stage: usize, one: Vec<u8>, other: &[u8]) -> Result<Vec<u8>> {
        if stage == 0 {
            let (mut one, other): (Vec<Gathered>, Vec<Gathered>) = (decode(&one)?, decode(other)?);
            for (one, other) in one.iter_mut().zip(&other) {
                one.rows += other.rows;
                one.distance.merge(&other.distance);
                one.distance_square.merge(&other.distance_square);
                one.square.merge(&other.square);
                one.sums.iter_mut().zip(&other.sums).for_each(|(one, other)| one.merge(other));
            }
            return encode(&one);
        }
        let (mut one, other): (Silhouettes, Silhouettes) = (decode(&one)?, decode(other)?);
        one.rows += other.rows;
        one.sum.merge(&other.sum);
        encode(&one)
    }

    fn schema(&self) -> SchemaRef {
        let field = |name: &str| Field::new(name, DataType::Float64, true);
        Arc::new(Schema::new(vec![field("davies_bouldin_index"), field("mean_squared_distance"), field("silhouette")]))
    }

    fn finish(&self, before: Option<&[u8]>, partial: Option<&[u8]>) -> Result<RecordBatch> {
        let gathered: Vec<Gathered> = before.map_or_else(|| Ok(Vec::new()), decode)?;
        let silhouettes: Silhouettes = partial.map_or_else(|| Ok(Silhouettes::default()), decode)?;
        let rows: u64 = gathered.iter().map(|g| g.rows).sum();
        let mut square = ExactSum::new();
        gathered.iter().for_each(|g| square.merge(&g.distance_square));
        let used = || gathered.iter().zip(self.model.centres.chunks(self.model.features())).filter(|(g, _)| g.rows > 0);
        let centres: Vec<&[f64]> = used().map(|(_, centre)| centre).collect();
        let distances: Vec<f64> = used().map(|(g, _)| g.distance.value() / g.rows as f64).collect();
        let index = davies_bouldin(&centres, &distances, self.model.is_cosine());
        let mean = (rows > 0).then(|| square.value() / rows as f64);
        let silhouette = (centres.len() > 1 && silhouettes.rows > 0).then(|| silhouettes.sum.value() / silhouettes.rows as f64);
        let columns: Vec<ArrayRef> = [index, mean, silhouette].map(|v| Arc::new(Float64Array::from(vec![v])) as ArrayRef).to_vec();
        RecordBatch::try_new(self.schema(), columns).map_err(|e| ModelError::bug(e.to_string()))
    }
}
