//! A trained model: projection, reconstruction errors, tables, file.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Fields, Schema};

use super::evaluation::PcaEvaluation;
use super::histogram::Histogram;
use super::passes::{Scaling, squared_errors};
use crate::feature_statistics::{self, FeatureStatistics};
use crate::features::{FeatureColumns, TILE_ROWS, Tile, Tiles};
use crate::onnx::{Graph, MEANS};
use crate::{Evaluation, InputColumn, Model, ModelError, ModelFile, ModelTable, Options, Result};

/// Principal components.
#[derive(Debug, Clone, PartialEq)]
pub struct PcaModel {
    pub(super) inputs: Vec<InputColumn>,
    pub(super) features: FeatureColumns,
    pub(super) widths: Vec<usize>,
    pub(super) names: Vec<String>,
    pub(super) scaling: Scaling,
    /// One after the other.
    pub(super) components: Vec<f64>,
    /// Their eigenvalues.
    pub(super) values: Vec<f64>,
    /// The variance of all features.
    pub(super) total: f64,
    /// Mean squared errors of the training rows' reconstructions.
    pub(super) errors: Histogram,
    /// What features looked like; empty in models of earlier versions.
    pub(super) statistics: Vec<FeatureStatistics>,
}

impl PcaModel {
    /// Reads a model.
    ///
    /// # Errors
    /// A file that is damaged or contradicts itself.
    pub fn read(file: &ModelFile) -> Result<Self> {
        let inputs: Vec<InputColumn> = file.value("inputs")?;
        let features = FeatureColumns::new(&inputs, &[])?;
        let widths: Vec<usize> = file.value("widths")?;
        let (_, means) = file.f64s("means")?;
        let (_, deviations) = file.f64s("deviations")?;
        let (_, components) = file.f64s("components")?;
        let (_, values) = file.f64s("eigenvalues")?;
        let (_, total) = file.f64s("total_variance")?;
        let (_, buckets) = file.i64s("error_buckets")?;
        let (_, counts) = file.i64s("error_counts")?;
        let count = means.len();
        let fits = widths.len() == features.columns().len()
            && widths.iter().try_fold(0usize, |sum, width| sum.checked_add(*width)) == Some(count)
            && deviations.len() == count
            && components.len() == values.len() * count
            && buckets.len() == counts.len();
        let (true, [total]) = (fits, total.as_slice()) else {
            return Err(ModelError::file("the components of the model file do not fit its features"));
        };
        let statistics: Vec<FeatureStatistics> =
            if file.metadata.contains_key("feature_statistics") { file.value("feature_statistics")? } else { Vec::new() };
        if !statistics.is_empty() && statistics.len() != count {
            return Err(ModelError::file("the statistics of the model file do not fit its features"));
        }
        let errors = buckets.iter().zip(&counts).map(|(bucket, count)| (*bucket as u32, *count as u64)).collect();
        Ok(Self {
            names: features.names(&widths),
            inputs,
            features,
            widths,
            scaling: Scaling { means, deviations, center: file.value("center")? },
            components,
            values,
            total: *total,
            errors: Histogram { counts: errors },
            statistics,
        })
    }

    /// The model's file.
    ///
    /// # Errors
    /// None that is known.
    pub fn to_file(&self) -> Result<ModelFile> {
        let mut file = ModelFile::new("pca");
        let (count, kept) = (self.names.len(), self.values.len());
        file.set("inputs", &self.inputs)?;
        file.set("widths", &self.widths)?;
        file.set("features", &self.names)?;
        file.set("center", self.scaling.center)?;
        file.set("feature_statistics", &self.statistics)?;
        file.put_f64("means", &[count], &self.scaling.means);
        file.put_f64("deviations", &[count], &self.scaling.deviations);
        file.put_f64("components", &[kept, count], &self.components);
        file.put_f64("eigenvalues", &[kept], &self.values);
        file.put_f64("total_variance", &[1], &[self.total]);
        let buckets: Vec<i64> = self.errors.counts.keys().map(|bucket| i64::from(*bucket)).collect();
        let counts: Vec<i64> = self.errors.counts.values().map(|count| *count as i64).collect();
        file.put_i64("error_buckets", &[buckets.len()], &buckets);
        file.put_i64("error_counts", &[counts.len()], &counts);
        Ok(file)
    }

    /// The share of the training rows' variance that the components explain.
    pub fn explained_ratio(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.total
    }

    /// The rows of scoring columns in tiles.
    pub(super) fn tiles(&self, columns: &[ArrayRef]) -> Result<Tiles> {
        let numbers = self.features.read(columns)?;
        let mut tiles = Tiles::new(self.widths.clone());
        let mut from = 0;
        while from < numbers.rows() {
            // Categories that training did not meet are left out.
            let count = TILE_ROWS.min(numbers.rows() - from);
            let mut tile = Tile::new(self.names.len());
            numbers.fill(&self.widths, from, count, &mut tile.values, 0);
            tile.rows = count;
            tiles.tiles.push(tile);
            from += count;
        }
        Ok(tiles)
    }

    fn component(&self, at: usize) -> &[f64] {
        &self.components[at * self.names.len()..][..self.names.len()]
    }

    fn project(&self, tiles: &Tiles, at: usize) -> ArrayRef {
        let mut projected = Vec::with_capacity(tiles.rows() as usize);
        for tile in &tiles.tiles {
            let start = projected.len();
            projected.resize(start + tile.rows, 0.0);
            for (feature, weight) in self.component(at).iter().enumerate() {
                let out = projected[start..].iter_mut().zip(tile.feature(feature));
                out.for_each(|(out, value)| *out += weight * self.scaling.projected(feature, *value));
            }
        }
        Arc::new(Float64Array::from(projected))
    }

    /// Projection as a graph: an input for each column (NaN is NULL), the output `principal_components` with a number for each component.
    fn graph(&self) -> Graph {
        let (features, kept) = (self.names.len(), self.values.len());
        let mut graph = Graph::default();
        let mut last = graph.features(&self.inputs, &self.widths, &self.scaling.means);
        if self.scaling.center {
            graph.node("Sub", &[last, MEANS], "orrery.centred", &[]);
            last = "orrery.centred";
        }
        // Divided by the deviation; a constant feature counts 0.
        let scale = |feature: usize| if self.scaling.deviations[feature] == 0.0 { 0.0 } else { 1.0 / self.scaling.deviations[feature] };
        let weights: Vec<f64> = (0..features)
            .flat_map(|feature| (0..kept).map(move |at| (at, feature)))
            .map(|(at, f)| self.component(at)[f] * scale(f))
            .collect();
        graph.constant("orrery.components", &[features, kept], &weights);
        graph.node("MatMul", &[last, "orrery.components"], "principal_components", &[]);
        graph.output("principal_components", Some(kept));
        graph
    }

    fn components_table(&self) -> Result<RecordBatch> {
        let per = self.names.len();
        let ids = Int64Array::from_iter_values((0..self.values.len() * per).map(|at| (at / per.max(1)) as i64 + 1));
        let names = StringArray::from_iter_values(self.names.iter().cycle().take(self.values.len() * per));
        let category: Fields = vec![Field::new("category", DataType::Utf8, true), Field::new("value", DataType::Float64, true)].into();
        let categories = DataType::new_list(DataType::Struct(category), true);
        let nothing = new_null_array(&categories, ids.len());
        let schema = Schema::new(vec![
            Field::new("principal_component_id", DataType::Int64, false),
            Field::new("feature", DataType::Utf8, false),
            Field::new("numerical_value", DataType::Float64, true),
            Field::new("categorical_value", categories, true),
        ]);
        let values = Float64Array::from(self.components.clone());
        table(schema, vec![Arc::new(ids), Arc::new(names), Arc::new(values), nothing])
    }

    fn info_table(&self) -> Result<RecordBatch> {
        let number = |name: &str| Field::new(name, DataType::Float64, false);
        let schema = Schema::new(vec![
            Field::new("principal_component_id", DataType::Int64, false),
            number("eigenvalue"),
            number("explained_variance_ratio"),
            number("cumulative_explained_variance_ratio"),
        ]);
        let cumulative = self.values.iter().scan(0.0, |sum, value| {
            *sum += value;
            Some(*sum / self.total)
        });
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(1..=self.values.len() as i64)),
            Arc::new(Float64Array::from(self.values.clone())),
            Arc::new(Float64Array::from_iter_values(self.values.iter().map(|value| value / self.total))),
            Arc::new(Float64Array::from_iter_values(cumulative)),
        ];
        table(schema, columns)
    }
}

fn table(schema: Schema, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(Arc::new(schema), columns).map_err(|e| ModelError::bug(format!("a table of pca: {e}")))
}

impl Model for PcaModel {
    fn model_type(&self) -> &'static str {
        "pca"
    }

    fn bytes(&self) -> usize {
        let numbers = self.components.len() + self.values.len() + 2 * self.names.len() + 4 * self.errors.counts.len();
        size_of::<Self>() + numbers * size_of::<f64>() + self.names.iter().map(String::len).sum::<usize>()
    }

    fn inputs(&self) -> &[InputColumn] {
        &self.inputs
    }

    fn predicted(&self) -> Vec<Field> {
        (1..=self.values.len()).map(|id| Field::new(format!("principal_component_{id}"), DataType::Float64, false)).collect()
    }

    fn predict(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let tiles = self.tiles(columns)?;
        Ok((0..self.values.len()).map(|at| self.project(&tiles, at)).collect())
    }

    fn predict_only(&self, columns: &[ArrayRef], wanted: &[usize]) -> Result<Vec<ArrayRef>> {
        let tiles = self.tiles(columns)?;
        if let Some(wrong) = wanted.iter().find(|at| **at >= self.values.len()) {
            return Err(ModelError::bug(format!("pca predicts no column {wrong}")));
        }
        Ok(wanted.iter().map(|at| self.project(&tiles, *at)).collect())
    }

    fn anomaly_fields(&self) -> Vec<Field> {
        vec![Field::new("mean_squared_error", DataType::Float64, false)]
    }

    fn anomalies(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let tiles = self.tiles(columns)?;
        let (mut errors, mut of_tile) = (Vec::with_capacity(tiles.rows() as usize), Vec::new());
        for tile in &tiles.tiles {
            squared_errors(tile, &self.scaling, &self.components, &mut of_tile);
            errors.extend(of_tile.iter().map(|error| error / self.names.len() as f64));
        }
        Ok(vec![Arc::new(Float64Array::from(errors))])
    }

    fn anomaly_threshold(&self, contamination: f64) -> Option<f64> {
        self.errors.threshold(contamination)
    }

    fn table(&self, table: ModelTable) -> Result<Option<RecordBatch>> {
        match table {
            ModelTable::PrincipalComponents => self.components_table().map(Some),
            ModelTable::PrincipalComponentsInfo => self.info_table().map(Some),
            ModelTable::FeatureInfo if !self.statistics.is_empty() => {
                feature_statistics::table(self.names.iter().map(String::as_str), &self.statistics).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn evaluation(self: Arc<Self>, columns: &[InputColumn], options: &Options) -> Result<Box<dyn Evaluation>> {
        options.refuse(self.model_type())?;
        Ok(Box::new(PcaEvaluation::new(self, columns)?))
    }

    fn to_onnx(&self) -> Result<Option<Vec<u8>>> {
        Ok(Some(self.graph().to_bytes("pca")))
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
