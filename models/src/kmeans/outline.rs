//! What a training would lead to, without rows.

use std::collections::BTreeMap;

use super::fit::trial;
use super::model::{Cluster, Parts};
use super::preparation::Preparation;
use super::settings::Settings;
use crate::feature_statistics::FeatureStatistics;
use crate::{Result, Trained};

/// Measures of every training.
const MEASURES: [&str; 2] = ["training_cost", "mean_squared_distance"];
/// Measures of several clusters.
const MEASURES_OF_SEVERAL: [&str; 2] = ["davies_bouldin_index", "silhouette"];

/// See [`Trainer::outline`](crate::Trainer::outline).
///
/// # Errors
/// None that is known.
pub fn outline(settings: &Settings) -> Result<Trained> {
    let widths: Vec<usize> = settings.features.widths().into_iter().map(|width| width.max(1)).collect();
    let features = widths.iter().sum();
    let clusters = settings.clusters.last().copied().unwrap_or(1);
    let measures = |clusters: usize| -> BTreeMap<String, f64> {
        let several: &[&str] = if clusters > 1 { &MEASURES_OF_SEVERAL } else { &[] };
        MEASURES.iter().chain(several).map(|name| ((*name).to_string(), 0.0)).collect()
    };
    let parts = Parts {
        inputs: settings.inputs.clone(),
        feature_names: settings.features.names(&widths),
        preparation: Preparation {
            widths,
            means: vec![0.0; features],
            scales: settings.standardize.then(|| vec![1.0; features]),
            normalize: settings.cosine,
        },
        centres: vec![0.0; clusters * features],
        clusters: vec![Cluster { size: 0.0, radius: 0.0, max_distance: 0.0 }; clusters],
        statistics: vec![FeatureStatistics::default(); features],
        // A distance of one row, so that there is a threshold of anomalies.
        steps: vec![(0, 1)],
    };
    let trials = if settings.clusters.len() > 1 {
        settings.clusters.iter().enumerate().map(|(place, k)| trial(place, *k, measures(*k), None)).collect()
    } else {
        Vec::new()
    };
    Ok(Trained { file: parts.to_file()?, rows: 0, iterations: Vec::new(), metrics: measures(clusters), trials })
}
