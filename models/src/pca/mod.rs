//! `model_type = 'pca'`: principal components of numeric features.
//!
//! ```text
//!   pass 1  widths      how many features each column has (only where there are lists)
//!   pass 2  moments     exact mean and range of each feature
//!   pass …  medians     how many numbers lie where medians may be                   ─► medians, for the record
//!   pass …  products    sums of products of centred features, on integer grids      ─► covariances ─► eigenvectors
//!   pass …  errors      how far rows lie from their reconstruction                  ─► thresholds of anomalies
//! ```
//!
//! The covariance matrix is that of centred features and, with `scale_features` (the default, as in BigQuery ML), of features divided by their sample
//! deviation; a constant feature counts 0 then. NULL counts as the mean. Eigenvalues are descending; of each component the largest weight is positive, so that
//! its sign is no accident. Sums are exact or on integer grids, and so the same in any order; the eigenvectors of one matrix are found by one sequence of
//! operations (Householder reflections and implicit QR steps, G. H. Golub and C. F. Van Loan, "Matrix Computations", section 8.3).

mod decompose;
mod evaluation;
mod histogram;
mod model;
mod passes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use model::PcaModel;

use decompose::{Chosen, choose, decompose};
use histogram::Histogram;
use passes::{Moments, Products, Request, Rows, Scaling, decode, encode, merge_errors, merge_moments, merge_products, merge_widths};

use crate::exact_sum::ExactMoments;
use crate::feature_statistics::FeatureStatistics;
use crate::features::{FeatureColumns, FeatureKind, Tiles};
use crate::medians;
use crate::{
    Block, Collector, InputColumn, Iteration, Model, ModelError, ModelFile, ModelType, Observer, OptionKind, OptionSpec, Options, Passes,
    Result, Trained, Trainer,
};

/// The covariance matrix and its eigenvectors lie in memory, and time grows with the cube.
const FEATURES_MAX: usize = 4096;
/// The measure of a training.
const EXPLAINED: &str = "total_explained_variance_ratio";

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "num_principal_components",
        kind: OptionKind::Int(1, FEATURES_MAX as i64),
        default: None,
        about: "How many components are kept; either this or pca_explained_variance_ratio.",
    },
    OptionSpec {
        name: "pca_explained_variance_ratio",
        kind: OptionKind::Float(0.0, 1.0),
        default: None,
        about: "As many components are kept as explain at least this share of the variance; either this or num_principal_components.",
    },
    OptionSpec {
        name: "scale_features",
        kind: OptionKind::Bool,
        default: Some("TRUE"),
        about: "Whether features are divided by their sample deviation, as in BigQuery ML; Spark's PCA never does.",
    },
    OptionSpec {
        name: "center",
        kind: OptionKind::Bool,
        default: Some("TRUE"),
        about: "Whether the mean is subtracted before rows are projected; FALSE projects them as they are, as Spark does.",
    },
];

/// See the module documentation.
#[derive(Debug, Clone, Copy)]
pub struct Pca;

impl ModelType for Pca {
    fn name(&self) -> &'static str {
        "pca"
    }

    fn about(&self) -> &'static str {
        "Principal components: the directions in which numeric features vary most."
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn trainer(&self, options: &Options, columns: &[InputColumn], _: Option<&dyn Model>) -> Result<Box<dyn Trainer>> {
        options.check(OPTIONS)?;
        let components = options.int("num_principal_components").map(|count| count as usize);
        let wanted = match (components, options.float("pca_explained_variance_ratio")) {
            (Some(count), None) => Wanted::Components(count),
            (None, Some(ratio)) if ratio > 0.0 => Wanted::Ratio(ratio),
            (None, Some(_)) => {
                return Err(
                    ModelError::option("pca_explained_variance_ratio", "0 explains nothing").hint("it is more than 0 and at most 1")
                );
            }
            (Some(_), Some(_)) => {
                return Err(ModelError::option("pca_explained_variance_ratio", "num_principal_components is given as well")
                    .hint("give one of the two"));
            }
            (None, None) => {
                return Err(ModelError::option("num_principal_components", "it is missing")
                    .hint("give num_principal_components or pca_explained_variance_ratio"));
            }
        };
        Ok(Box::new(PcaTrainer {
            features: FeatureColumns::new(columns, &[])?,
            columns: columns.to_vec(),
            wanted,
            scale: options.bool("scale_features").unwrap_or(true),
            center: options.bool("center").unwrap_or(true),
        }))
    }

    fn read(&self, file: &ModelFile) -> Result<Arc<dyn Model>> {
        Ok(Arc::new(PcaModel::read(file)?))
    }
}

/// How many components are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wanted {
    Components(usize),
    Ratio(f64),
}

struct PcaTrainer {
    features: FeatureColumns,
    columns: Vec<InputColumn>,
    wanted: Wanted,
    scale: bool,
    center: bool,
}

/// Gathers rows of features.
struct Gatherer {
    features: FeatureColumns,
    tiles: Tiles,
}

impl Collector for Gatherer {
    fn push(&mut self, batch: &arrow::array::RecordBatch) -> Result<()> {
        self.tiles.push(&self.features, &self.features.read(batch.columns())?)
    }

    fn bytes(&self) -> usize {
        self.tiles.bytes()
    }

    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any + Send> {
        self
    }
}

impl Trainer for PcaTrainer {
    fn bytes_per_row(&self) -> usize {
        self.features.widths().iter().map(|width| (*width).max(1)).sum::<usize>() * size_of::<f64>()
    }

    fn passes(&self) -> u32 {
        10
    }

    fn collector(&self) -> Box<dyn Collector> {
        Box::new(Gatherer { features: self.features.clone(), tiles: Tiles::new(self.features.widths()) })
    }

    fn blocks(&self, layouts: &[usize], collected: Vec<Box<dyn Collector>>, _: usize) -> Result<Vec<Vec<Box<dyn Block>>>> {
        let gathered = collected.into_iter().map(|collector| match collector.into_any().downcast::<Gatherer>() {
            Ok(gatherer) => Ok(gatherer.tiles),
            Err(_) => Err(ModelError::bug("rows of another model type")),
        });
        let blocks = gathered.map(|tiles| Ok(Box::new(Rows::new(self.features.clone(), tiles?)) as Box<dyn Block>));
        let blocks: Vec<Box<dyn Block>> = blocks.collect::<Result<_>>()?;
        // There is one layout: rows may lie anywhere.
        Ok(if layouts.is_empty() { Vec::new() } else { vec![blocks] })
    }

    fn fit(&self, passes: &mut dyn Passes, observer: &dyn Observer) -> Result<Trained> {
        let begun = std::time::Instant::now();
        observer.begin(1);
        let widths = self.widths(passes)?;
        let names = self.features.names(&widths);
        if names.len() > FEATURES_MAX {
            return Err(ModelError::data(format!("there are {} features", names.len()))
                .hint(format!("pca takes at most {FEATURES_MAX}; limit categories with the top_k of ML.ONE_HOT_ENCODER")));
        }
        if let Wanted::Components(count) = self.wanted
            && count > names.len()
        {
            return Err(too_many(count, names.len()));
        }
        let moments = passes.run(0, &encode(&Request::Moments { widths: widths.clone() })?)?;
        let moments = merge_moments(moments)?;
        let rows = moments.rows;
        if rows < 2 {
            return Err(
                ModelError::data(format!("{rows} rows are too few to vary")).hint("the training query has to return two rows at least")
            );
        }
        cancelled(observer)?;
        let means: Vec<f64> = moments.moments.iter().map(|m: &ExactMoments| m.mean().unwrap_or(0.0)).collect();
        let bounds: Vec<f64> =
            means.iter().zip(&moments.ranges).map(|(mean, (low, high))| (mean - low).max(high - mean).max(0.0)).collect();
        let statistics = statistics(&moments, &widths, passes)?;
        cancelled(observer)?;
        let request = Request::Products { widths: widths.clone(), means: means.clone(), bounds: bounds.clone() };
        let products: Products = merge_products(passes.run(0, &encode(&request)?)?)?;
        cancelled(observer)?;
        let covariances = products.covariances(&bounds, rows);
        let decomposed = decompose(&covariances, names.len(), self.scale);
        if decomposed.total <= 0.0 {
            return Err(ModelError::data("no feature varies: all rows are equal").hint("principal components need features that vary"));
        }
        let kept = choose(
            &decomposed.values,
            decomposed.total,
            match self.wanted {
                Wanted::Components(count) => Chosen::Count(count),
                Wanted::Ratio(ratio) => Chosen::Ratio(ratio),
            },
        );
        let mut model = PcaModel {
            inputs: self.columns.clone(),
            features: self.features.clone(),
            widths: widths.clone(),
            names,
            scaling: Scaling { means, deviations: decomposed.deviations.clone(), center: self.center },
            components: decomposed.vectors[..kept * decomposed.deviations.len()].to_vec(),
            values: decomposed.values[..kept].to_vec(),
            total: decomposed.total,
            errors: Default::default(),
            statistics,
        };
        let request = Request::Errors { widths, scaling: model.scaling.clone(), components: model.components.clone() };
        model.errors = merge_errors(passes.run(0, &encode(&request)?)?)?;
        let metrics = BTreeMap::from([(EXPLAINED.to_string(), model.explained_ratio())]);
        let iteration =
            Iteration { training_run: 0, iteration: 0, loss: None, duration_ms: begun.elapsed().as_secs_f64() * 1e3, clusters: Vec::new() };
        observer.iteration(&iteration);
        Ok(Trained { file: model.to_file()?, rows, iterations: vec![iteration], metrics, trials: Vec::new() })
    }

    fn outline(&self) -> Result<Trained> {
        let widths: Vec<usize> = self.features.widths().into_iter().map(|width| width.max(1)).collect();
        let names = self.features.names(&widths);
        let count = names.len();
        let kept = match self.wanted {
            Wanted::Components(kept) if kept > count && !self.has_lists() => return Err(too_many(kept, count)),
            Wanted::Components(kept) => kept,
            Wanted::Ratio(_) => count,
        };
        let mut errors = Histogram::default();
        // The error of one row, so that there is a threshold of anomalies.
        errors.add(0.0);
        let model = PcaModel {
            inputs: self.columns.clone(),
            features: self.features.clone(),
            widths,
            names,
            scaling: Scaling { means: vec![0.0; count], deviations: vec![1.0; count], center: self.center },
            components: vec![0.0; kept * count],
            values: vec![0.0; kept],
            total: 1.0,
            errors,
            statistics: vec![FeatureStatistics::default(); count],
        };
        let metrics = BTreeMap::from([(EXPLAINED.to_string(), 0.0)]);
        Ok(Trained { file: model.to_file()?, rows: 0, iterations: Vec::new(), metrics, trials: Vec::new() })
    }
}

fn too_many(components: usize, features: usize) -> ModelError {
    ModelError::option("num_principal_components", format!("{components} are more than there are features"))
        .hint(format!("the rows have {features}"))
}

impl PcaTrainer {
    /// Whether only rows tell how many features there are.
    fn has_lists(&self) -> bool {
        self.features.columns().iter().any(|column| !matches!(column.kind, FeatureKind::Number))
    }

    /// How many features each column has, for all rows.
    fn widths(&self, passes: &mut dyn Passes) -> Result<Vec<usize>> {
        if !self.has_lists() {
            return Ok(self.features.widths());
        }
        merge_widths(&self.features, passes.run(0, &encode(&Request::Widths)?)?)
    }
}

/// What features look like; finds their medians.
fn statistics(found: &Moments, widths: &[usize], passes: &mut dyn Passes) -> Result<Vec<FeatureStatistics>> {
    let features = || found.moments.iter().zip(&found.ranges);
    let ends: Vec<(f64, f64, u64)> = features().map(|(moments, (low, high))| (*low, *high, moments.count)).collect();
    let medians = medians::medians(&ends, |intervals| {
        let request = Request::Medians { widths: widths.to_vec(), intervals: intervals.to_vec() };
        passes.run(0, &encode(&request)?)?.iter().map(|bytes| decode(bytes)).collect()
    })?;
    let of = |((moments, (low, high)), median): ((&ExactMoments, &(f64, f64)), Option<f64>)| FeatureStatistics {
        min: median.map(|_| low + 0.0),
        max: median.map(|_| high + 0.0),
        mean: moments.mean(),
        stddev: moments.sample_variance().map(f64::sqrt),
        median,
        category_count: None,
        null_count: found.rows.saturating_sub(moments.count),
    };
    Ok(features().zip(medians).map(of).collect())
}

fn cancelled(observer: &dyn Observer) -> Result<()> {
    if observer.is_cancelled() { Err(ModelError::cancelled()) } else { Ok(()) }
}
