//! What features looked like in training: the rows of `ML.FEATURE_INFO`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use crate::{ModelError, Result};

/// A feature of the training rows, before it was prepared. What has no meaning for it is missing: numbers have no categories, ids no mean.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FeatureStatistics {
    /// Least value.
    pub min: Option<f64>,
    /// Greatest value.
    pub max: Option<f64>,
    /// Mean of what is not NULL.
    pub mean: Option<f64>,
    /// Sample deviation.
    pub stddev: Option<f64>,
    /// Median of what is not NULL; missing in models of earlier versions.
    #[serde(default)]
    pub median: Option<f64>,
    /// How many values there are, of what is no number.
    #[serde(default)]
    pub category_count: Option<u64>,
    /// Rows with NULL.
    pub null_count: u64,
}

/// The table of `ML.FEATURE_INFO`: names, and a row for each.
///
/// # Errors
/// None that is known.
pub fn table<'a>(names: impl IntoIterator<Item = &'a str>, statistics: &[FeatureStatistics]) -> Result<RecordBatch> {
    let of =
        |number: fn(&FeatureStatistics) -> Option<f64>| -> ArrayRef { Arc::new(statistics.iter().map(number).collect::<Float64Array>()) };
    let count = |number: fn(&FeatureStatistics) -> Option<u64>| -> ArrayRef {
        Arc::new(statistics.iter().map(|s| number(s).map(|n| i64::try_from(n).unwrap_or(i64::MAX))).collect::<Int64Array>())
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("input", Arc::new(StringArray::from_iter_values(names))),
        ("min", of(|s| s.min)),
        ("max", of(|s| s.max)),
        ("mean", of(|s| s.mean)),
        ("median", of(|s| s.median)),
        ("stddev", of(|s| s.stddev)),
        ("category_count", count(|s| s.category_count)),
        ("null_count", count(|s| Some(s.null_count))),
        ("dimension", new_null_array(&DataType::Int64, statistics.len())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .map_err(|e| ModelError::bug(format!("the table of features: {e}")))
}
