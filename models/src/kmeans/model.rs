//! A trained model: its file, and scoring.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema};

use super::evaluation::KMeansEvaluation;
use super::finish::{normalized, reported, threshold};
use super::nearest::{AllSquares, Nearest};
use super::preparation::Preparation;
use super::settings::MAX_CLUSTERS;
use crate::feature_statistics::{self, FeatureStatistics};
use crate::features::{FeatureColumns, FeatureKind, TILE_ROWS};
use crate::onnx::{Attribute, Graph, MEANS};
use crate::simd::widest;
use crate::{Evaluation, InputColumn, Model, ModelError, ModelFile, ModelTable, Options, Result};

/// Centres that `NEAREST_CENTROIDS_DISTANCE` lists.
const NEAREST: usize = 5;

/// A cluster of the training rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cluster {
    /// Rows, or their weight.
    pub size: f64,
    /// Root of the mean squared distance.
    pub radius: f64,
    /// The greatest distance.
    pub max_distance: f64,
}

/// What training found, to be written.
#[derive(Debug)]
pub struct Parts {
    /// Columns that are scored.
    pub inputs: Vec<InputColumn>,
    /// Name of each feature.
    pub feature_names: Vec<String>,
    /// What is done to rows first.
    pub preparation: Preparation,
    /// Centres in the space that was trained in.
    pub centres: Vec<f64>,
    /// Clusters of the training rows.
    pub clusters: Vec<Cluster>,
    /// Features of the training rows.
    pub statistics: Vec<FeatureStatistics>,
    /// How many training rows have a normalised distance in each step.
    pub steps: Vec<(u32, u64)>,
}

impl Parts {
    /// The model's file.
    ///
    /// # Errors
    /// None that is known.
    pub fn to_file(&self) -> Result<ModelFile> {
        let mut file = ModelFile::new("kmeans");
        let (clusters, features) = (self.clusters.len(), self.preparation.features());
        let of = |number: fn(&Cluster) -> f64| self.clusters.iter().map(number).collect::<Vec<f64>>();
        file.put_f64("centroids", &[clusters, features], &self.centres);
        file.put_f64("cluster_sizes", &[clusters], &of(|c| c.size));
        file.put_f64("cluster_radii", &[clusters], &of(|c| c.radius));
        file.put_f64("cluster_max_distances", &[clusters], &of(|c| c.max_distance));
        file.put_f64("feature_means", &[features], &self.preparation.means);
        if let Some(scales) = &self.preparation.scales {
            file.put_f64("feature_scales", &[features], scales);
        }
        let steps: Vec<i64> = self.steps.iter().flat_map(|(step, rows)| [i64::from(*step), *rows as i64]).collect();
        file.put_i64("distance_steps", &[self.steps.len(), 2], &steps);
        file.set("inputs", &self.inputs)?;
        file.set("feature_names", &self.feature_names)?;
        file.set("feature_widths", &self.preparation.widths)?;
        file.set("feature_statistics", &self.statistics)?;
        file.set("distance_type", if self.preparation.normalize { "cosine" } else { "euclidean" })?;
        Ok(file)
    }
}

/// A trained model.
#[derive(Debug)]
pub struct KMeansModel {
    inputs: Vec<InputColumn>,
    columns: FeatureColumns,
    feature_names: Vec<String>,
    pub(super) preparation: Preparation,
    pub(super) centres: Vec<f64>,
    clusters: Vec<Cluster>,
    statistics: Vec<FeatureStatistics>,
    steps: Vec<(u32, u64)>,
}

impl KMeansModel {
    /// A model from its file.
    ///
    /// # Errors
    /// A damaged file.
    pub fn read(file: &ModelFile) -> Result<Self> {
        let damaged = |what: &str| ModelError::file(format!("the model file is damaged: {what}"));
        let (shape, centres) = file.f64s("centroids")?;
        let [clusters, features] = shape[..] else { return Err(damaged("centroids are no table")) };
        let numbers = |name: &str, length: usize| match file.f64s(name)? {
            (_, values) if values.len() == length && values.iter().all(|v| v.is_finite()) => Ok(values),
            _ => Err(damaged(name)),
        };
        if clusters == 0 || clusters > MAX_CLUSTERS as usize || features == 0 || !centres.iter().all(|c| c.is_finite()) {
            return Err(damaged("centroids"));
        }
        let (sizes, radii) = (numbers("cluster_sizes", clusters)?, numbers("cluster_radii", clusters)?);
        let farthest = numbers("cluster_max_distances", clusters)?;
        let clusters = sizes.iter().zip(&radii).zip(&farthest).map(|((s, r), f)| Cluster { size: *s, radius: *r, max_distance: *f });
        let (_, steps) = file.i64s("distance_steps")?;
        let inputs: Vec<InputColumn> = file.value("inputs")?;
        let columns = FeatureColumns::new(&inputs, &[]).map_err(|e| damaged(&e.to_string()))?;
        let preparation = Preparation {
            widths: file.value("feature_widths")?,
            means: numbers("feature_means", features)?,
            scales: if file.tensors.contains_key("feature_scales") { Some(numbers("feature_scales", features)?) } else { None },
            normalize: file.value::<String>("distance_type")? == "cosine",
        };
        let feature_names: Vec<String> = file.value("feature_names")?;
        let widths = &preparation.widths;
        if widths.len() != inputs.len() || widths.iter().sum::<usize>() != features || feature_names.len() != features {
            return Err(damaged("features"));
        }
        let steps = steps.as_chunks::<2>().0.iter().map(|[step, rows]| (*step as u32, *rows as u64)).collect();
        let statistics: Vec<FeatureStatistics> = file.value("feature_statistics")?;
        if statistics.len() != features {
            return Err(damaged("feature_statistics"));
        }
        Ok(Self { inputs, columns, feature_names, clusters: clusters.collect(), statistics, centres, preparation, steps })
    }

    /// How many clusters there are.
    pub fn clusters(&self) -> usize {
        self.clusters.len()
    }

    /// Rows of the training in each cluster, or their weight.
    pub fn cluster_sizes(&self) -> impl Iterator<Item = f64> {
        self.clusters.iter().map(|cluster| cluster.size)
    }

    /// Root of the mean squared distance of each cluster's rows to its centre.
    pub fn cluster_radii(&self) -> impl Iterator<Item = f64> {
        self.clusters.iter().map(|cluster| cluster.radius)
    }

    /// Features of a row.
    pub fn features(&self) -> usize {
        self.preparation.features()
    }

    /// Whether distances are cosine distances.
    pub fn is_cosine(&self) -> bool {
        self.preparation.normalize
    }

    /// The centres in the units of the training columns, one after the other.
    pub fn centres_in_data_units(&self) -> Vec<f64> {
        self.centres.chunks(self.features()).flat_map(|c| self.preparation.in_data_units(c)).collect()
    }

    /// Calls `each(first row, rows, tile)` for prepared tiles of the rows.
    pub(super) fn for_each_tile(
        &self,
        columns: &FeatureColumns,
        arrays: &[ArrayRef],
        mut each: impl FnMut(usize, usize, &[f64]),
    ) -> Result<()> {
        let numbers = columns.read(arrays)?;
        for ((column, width), wanted) in columns.columns().iter().zip(numbers.widths()).zip(&self.preparation.widths) {
            if matches!(column.kind, FeatureKind::List(_)) && width != *wanted && numbers.rows() > 0 {
                return Err(ModelError::data(format!(
                    "column '{}' has lists of {width} numbers, the model was trained on {wanted}",
                    column.name
                )));
            }
        }
        let mut tile = vec![0.0; self.features() * TILE_ROWS];
        for from in (0..numbers.rows()).step_by(TILE_ROWS) {
            let rows = TILE_ROWS.min(numbers.rows() - from);
            numbers.fill(&self.preparation.widths, from, rows, &mut tile, 0);
            self.preparation.apply_to(&mut tile, rows)?;
            each(from, rows, &tile);
        }
        Ok(())
    }

    /// Calls `each(first row, labels, squared distances, tile)` for tiles of the rows.
    pub(super) fn for_each_nearest(
        &self,
        columns: &FeatureColumns,
        arrays: &[ArrayRef],
        mut each: impl FnMut(usize, &[u16], &[f64], &[f64]),
    ) -> Result<()> {
        let (mut labels, mut squares) = (vec![0; TILE_ROWS], vec![0.0; TILE_ROWS]);
        let (features, centres) = (self.features(), &self.centres[..]);
        self.for_each_tile(columns, arrays, |from, rows, tile| {
            widest(Nearest { tile, rows, features, centres, labels: &mut labels, squares: &mut squares });
            each(from, &labels[..rows], &squares[..rows], tile);
        })
    }

    fn ids(&self, arrays: &[ArrayRef]) -> Result<ArrayRef> {
        let mut ids: Vec<i64> = Vec::with_capacity(rows_of(arrays));
        self.for_each_nearest(&self.columns, arrays, |_, labels, _, _| ids.extend(labels.iter().map(|l| i64::from(*l) + 1)))?;
        Ok(Arc::new(Int64Array::from(ids)))
    }

    /// The nearest centres of each row with their distances, nearest first.
    fn nearest(&self, arrays: &[ArrayRef]) -> Result<(ArrayRef, ArrayRef)> {
        let (count, features) = (self.clusters(), self.features());
        let listed = NEAREST.min(count);
        let rows = rows_of(arrays);
        let (mut first, mut ids, mut distances) =
            (Vec::with_capacity(rows), Vec::with_capacity(rows * listed), Vec::with_capacity(rows * listed));
        let mut squares = vec![0.0; count * TILE_ROWS];
        self.for_each_tile(&self.columns, arrays, |_, rows, tile| {
            widest(AllSquares { tile, rows, features, centres: &self.centres, squares: &mut squares });
            for row in 0..rows {
                let mut best = [(f64::INFINITY, 0i64); NEAREST];
                for i in 0..count {
                    let square = squares[i * TILE_ROWS + row];
                    if square < best[listed - 1].0 {
                        let mut place = listed - 1;
                        while place > 0 && square < best[place - 1].0 {
                            best[place] = best[place - 1];
                            place -= 1;
                        }
                        best[place] = (square, i as i64 + 1);
                    }
                }
                first.push(best[0].1);
                ids.extend(best[..listed].iter().map(|b| b.1));
                distances.extend(best[..listed].iter().map(|b| reported(b.0, self.is_cosine())));
            }
        })?;
        let pairs = StructArray::new(pair_fields(), vec![Arc::new(Int64Array::from(ids)), Arc::new(Float64Array::from(distances))], None);
        let offsets = OffsetBuffer::from_repeated_length(listed, first.len());
        let lists = ListArray::new(item_field(), offsets, Arc::new(pairs), None);
        Ok((Arc::new(Int64Array::from(first)), Arc::new(lists)))
    }

    /// Scoring as a graph: an input for each column (NaN is NULL), the output `CENTROID_ID`.
    fn graph(&self) -> Graph {
        let (clusters, features) = (self.clusters(), self.features());
        let mut graph = Graph::default();
        let mut last = graph.features(&self.inputs, &self.preparation.widths, &self.preparation.means);
        if let Some(scales) = &self.preparation.scales {
            graph.constant("orrery.scales", &[features], scales);
            graph.node("Sub", &[last, MEANS], "orrery.centred", &[]);
            graph.node("Mul", &["orrery.centred", "orrery.scales"], "orrery.scaled", &[]);
            last = "orrery.scaled";
        }
        if self.is_cosine() {
            graph.node("Mul", &[last, last], "orrery.squares", &[]);
            graph.constant("orrery.ones", &[features, 1], &vec![1.0; features]);
            graph.node("MatMul", &["orrery.squares", "orrery.ones"], "orrery.length_square", &[]);
            graph.node("Sqrt", &["orrery.length_square"], "orrery.length", &[]);
            graph.node("Div", &[last, "orrery.length"], "orrery.direction", &[]);
            last = "orrery.direction";
        }
        // |c|² - 2 x·c, without the |x|² that all centres have in common; from the means, so that few digits cancel.
        let mut centres = self.centres.clone();
        if self.preparation.scales.is_none() && !self.is_cosine() {
            graph.node("Sub", &[last, MEANS], "orrery.centred", &[]);
            last = "orrery.centred";
            centres.chunks_mut(features).for_each(|c| c.iter_mut().zip(&self.preparation.means).for_each(|(x, mean)| *x -= mean));
        }
        let turned: Vec<f64> =
            (0..features).flat_map(|f| (0..clusters).map(move |i| (i, f))).map(|(i, f)| -2.0 * centres[i * features + f]).collect();
        let squares: Vec<f64> = centres.chunks(features).map(|c| c.iter().fold(0.0, |sum, x| sum + x * x)).collect();
        graph.constant("orrery.centres", &[features, clusters], &turned);
        graph.constant("orrery.centre_squares", &[clusters], &squares);
        graph.node("MatMul", &[last, "orrery.centres"], "orrery.products", &[]);
        graph.node("Add", &["orrery.products", "orrery.centre_squares"], "orrery.distances", &[]);
        graph.node("ArgMin", &["orrery.distances"], "orrery.nearest", &[Attribute::Int("axis", 1), Attribute::Int("keepdims", 0)]);
        graph.whole_number("orrery.one", 1);
        graph.node("Add", &["orrery.nearest", "orrery.one"], "CENTROID_ID", &[]);
        graph.output("CENTROID_ID", None);
        graph
    }

    fn centroids(&self, standardize: bool) -> Result<RecordBatch> {
        let centres = if standardize { self.centres.clone() } else { self.centres_in_data_units() };
        let ids = Int64Array::from_iter_values((1..=self.clusters() as i64).flat_map(|id| std::iter::repeat_n(id, self.features())));
        let names = StringArray::from((0..self.clusters()).flat_map(|_| self.feature_names.iter().map(String::as_str)).collect::<Vec<_>>());
        let pair = Fields::from(vec![Field::new("category", DataType::Utf8, true), Field::new("value", DataType::Float64, true)]);
        let categories = DataType::new_list(DataType::Struct(pair), true);
        let schema = Schema::new(vec![
            Field::new("centroid_id", DataType::Int64, false),
            Field::new("feature", DataType::Utf8, false),
            Field::new("numerical_value", DataType::Float64, true),
            Field::new("categorical_value", categories.clone(), true),
        ]);
        let nulls = new_null_array(&categories, centres.len());
        let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(names), Arc::new(Float64Array::from(centres)), nulls];
        RecordBatch::try_new(Arc::new(schema), columns).map_err(|e| ModelError::bug(e.to_string()))
    }
}

fn rows_of(arrays: &[ArrayRef]) -> usize {
    arrays.first().map_or(0, |a| a.len())
}

fn pair_fields() -> Fields {
    Fields::from(vec![Field::new("CENTROID_ID", DataType::Int64, false), Field::new("DISTANCE", DataType::Float64, false)])
}

fn item_field() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Struct(pair_fields()), false))
}

impl Model for KMeansModel {
    fn model_type(&self) -> &'static str {
        "kmeans"
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + (self.centres.capacity() + self.clusters.len() * 3 + self.features() * 8 + self.steps.len() * 2) * size_of::<f64>()
    }

    fn inputs(&self) -> &[InputColumn] {
        &self.inputs
    }

    fn predicted(&self) -> Vec<Field> {
        vec![
            Field::new("CENTROID_ID", DataType::Int64, false),
            Field::new("NEAREST_CENTROIDS_DISTANCE", DataType::List(item_field()), false),
        ]
    }

    fn predict(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let (ids, nearest) = self.nearest(columns)?;
        Ok(vec![ids, nearest])
    }

    fn predict_only(&self, columns: &[ArrayRef], wanted: &[usize]) -> Result<Vec<ArrayRef>> {
        if wanted.iter().all(|i| *i == 0) {
            let ids = self.ids(columns)?;
            return Ok(wanted.iter().map(|_| Arc::clone(&ids)).collect());
        }
        let all = self.predict(columns)?;
        wanted.iter().map(|i| all.get(*i).cloned().ok_or_else(|| ModelError::bug(format!("kmeans predicts no column {i}")))).collect()
    }

    fn anomaly_fields(&self) -> Vec<Field> {
        vec![Field::new("normalized_distance", DataType::Float64, false), Field::new("CENTROID_ID", DataType::Int64, false)]
    }

    fn anomalies(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let (mut scores, mut ids) = (Vec::with_capacity(rows_of(columns)), Vec::with_capacity(rows_of(columns)));
        self.for_each_nearest(&self.columns, columns, |_, labels, squares, _| {
            for (label, square) in labels.iter().zip(squares) {
                let radius = self.clusters.get(usize::from(*label)).map_or(0.0, |c| c.radius);
                scores.push(normalized(reported(*square, self.is_cosine()), radius));
                ids.push(i64::from(*label) + 1);
            }
        })?;
        Ok(vec![Arc::new(Float64Array::from(scores)), Arc::new(Int64Array::from(ids))])
    }

    fn anomaly_threshold(&self, contamination: f64) -> Option<f64> {
        threshold(&self.steps, contamination)
    }

    fn table(&self, table: ModelTable) -> Result<Option<RecordBatch>> {
        match table {
            ModelTable::Centroids { standardize } => self.centroids(standardize).map(Some),
            ModelTable::FeatureInfo => feature_statistics::table(self.feature_names.iter().map(String::as_str), &self.statistics).map(Some),
            _ => Ok(None),
        }
    }

    fn evaluation(self: Arc<Self>, columns: &[InputColumn], options: &Options) -> Result<Box<dyn Evaluation>> {
        options.refuse(self.model_type())?;
        Ok(Box::new(KMeansEvaluation::new(self, columns)?))
    }

    fn to_onnx(&self) -> Result<Option<Vec<u8>>> {
        Ok(Some(self.graph().to_bytes("kmeans")))
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
