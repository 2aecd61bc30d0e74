//! The first pass: what features look like, exactly.

#![allow(clippy::needless_range_loop, reason = "lanes are indexed so that loops over them become vector instructions")]

use serde::{Deserialize, Serialize};

use super::rows::Rows;
use crate::exact_sum::{ExactMoments, ExactSum};
use crate::feature_statistics::FeatureStatistics;
use crate::features::FeatureColumns;
use crate::simd::{Kernel, widest};
use crate::{ModelError, Result};

/// Squares of numbers beyond this overflow.
const LARGEST: f64 = 1e150;

/// One feature over rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureMoments {
    /// Count, sum and sum of squares of what is not NULL.
    pub moments: ExactMoments,
    /// Least value; infinite when there is none.
    pub min: f64,
    /// Greatest value.
    pub max: f64,
    /// Rows with NULL.
    pub nulls: u64,
}

impl Default for FeatureMoments {
    fn default() -> Self {
        Self { moments: ExactMoments::default(), min: f64::INFINITY, max: f64::NEG_INFINITY, nulls: 0 }
    }
}

impl FeatureMoments {
    fn add(&mut self, values: &[f64], spare: &mut Vec<f64>) {
        let (min, max, has_null) = widest(Ends { values });
        let values = if has_null {
            spare.clear();
            spare.extend(values.iter().filter(|v| !v.is_nan()));
            self.nulls += (values.len() - spare.len()) as u64;
            spare
        } else {
            values
        };
        // -0 + 0 = 0: which zero is least must not depend on the order.
        self.min = self.min.min(min) + 0.0;
        self.max = self.max.max(max) + 0.0;
        self.moments.add_slice(values);
    }

    /// Rows that have 0.
    fn add_zeros(&mut self, rows: u64) {
        if rows > 0 {
            self.moments.count += rows;
            self.min = self.min.min(0.0);
            self.max = self.max.max(0.0);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.moments.merge(&other.moments);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.nulls += other.nulls;
    }

    /// What is told of the feature; `median` is known from other passes.
    pub fn statistics(&self, median: Option<f64>) -> FeatureStatistics {
        let known = |number: f64| (self.min <= self.max).then_some(number);
        FeatureStatistics {
            min: known(self.min),
            max: known(self.max),
            mean: known(self.mean()),
            stddev: known(self.deviation()),
            median,
            category_count: None,
            null_count: self.nulls,
        }
    }

    /// The mean of what is not NULL; 0 when all is.
    pub fn mean(&self) -> f64 {
        self.moments.mean().unwrap_or(0.0).clamp(self.min.min(self.max), self.max.max(self.min))
    }

    /// The sample deviation; 0 of a constant.
    pub fn deviation(&self) -> f64 {
        if self.min >= self.max { 0.0 } else { self.moments.sample_variance().unwrap_or(0.0).sqrt() }
    }
}

/// All features over rows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Moments {
    /// How many features each column has.
    pub widths: Vec<usize>,
    /// How many rows there are.
    pub rows: u64,
    /// The features.
    pub features: Vec<FeatureMoments>,
    /// Sum of the weights.
    pub weight: ExactSum,
    /// The greatest weight.
    pub max_weight: f64,
}

impl Moments {
    /// Looks at rows that have not been prepared.
    pub fn of(rows: &Rows) -> Self {
        let mut features = vec![FeatureMoments::default(); rows.widths.iter().sum()];
        let mut spare = Vec::new();
        let (mut count, mut weight, mut max_weight) = (0, ExactSum::new(), 0.0f64);
        for part in &rows.parts {
            for (f, feature) in features.iter_mut().enumerate() {
                feature.add(part.tile.feature(f), &mut spare);
            }
            count += part.tile.rows as u64;
            if let Some(weights) = &part.weights {
                weight.add_slice(weights);
                max_weight = weights.iter().fold(max_weight, |most, w| most.max(*w));
            }
        }
        if !rows.weighted {
            weight.add(count as f64);
            max_weight = 1.0;
        }
        Self { widths: rows.widths.clone(), rows: count, features, weight, max_weight }
    }

    /// Those of both.
    ///
    /// # Errors
    /// Lists of different lengths.
    pub fn merge(self, other: Self, columns: &FeatureColumns) -> Result<Self> {
        let widths = columns.merge_widths(&self.widths, &other.widths)?;
        let mut one = self.widened(&widths);
        let other = other.widened(&widths);
        one.features.iter_mut().zip(&other.features).for_each(|(one, other)| one.merge(other));
        one.rows += other.rows;
        one.weight.merge(&other.weight);
        one.max_weight = one.max_weight.max(other.max_weight);
        Ok(one)
    }

    fn widened(self, widths: &[usize]) -> Self {
        if self.widths == widths {
            return self;
        }
        let mut features = Vec::with_capacity(widths.iter().sum());
        let mut from = self.features.iter();
        for (old, new) in self.widths.iter().zip(widths) {
            features.extend(from.by_ref().take(*old).cloned());
            for _ in *old..*new {
                let mut zeros = FeatureMoments::default();
                zeros.add_zeros(self.rows);
                features.push(zeros);
            }
        }
        Self { widths: widths.to_vec(), features, ..self }
    }

    /// Refuses rows that cannot be trained on.
    ///
    /// # Errors
    /// No rows, no weight, numbers whose squares overflow.
    pub fn check(&self, columns: &FeatureColumns) -> Result<()> {
        if self.rows == 0 {
            return Err(ModelError::data("there are no rows to train on").hint("the training query has to return rows"));
        }
        if self.max_weight <= 0.0 {
            return Err(ModelError::data("all rows have weight 0").hint("weight_col has to name a column with positive numbers"));
        }
        for (feature, name) in self.features.iter().zip(columns.names(&self.widths)) {
            if feature.moments.count == 0 {
                return Err(ModelError::data(format!("feature '{name}' is NULL in every row")).hint("leave the column out"));
            }
            let most = feature.max.max(-feature.min);
            if most > LARGEST {
                return Err(ModelError::data(format!("feature '{name}' holds {most:e}, whose square is beyond what a number can hold"))
                    .hint("scale the feature down"));
            }
        }
        Ok(())
    }
}

struct Ends<'a> {
    values: &'a [f64],
}

impl Kernel for Ends<'_> {
    type Output = (f64, f64, bool);

    #[inline(always)]
    fn run(self) -> (f64, f64, bool) {
        const LANES: usize = 16;
        let (mut min, mut max, mut nan) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES], [0u64; LANES]);
        let (full, rest) = self.values.as_chunks::<LANES>();
        for values in full {
            for lane in 0..LANES {
                let value = values[lane];
                min[lane] = if value < min[lane] { value } else { min[lane] };
                max[lane] = if value > max[lane] { value } else { max[lane] };
                nan[lane] |= u64::from(value.is_nan());
            }
        }
        for (lane, value) in rest.iter().enumerate() {
            min[lane] = if *value < min[lane] { *value } else { min[lane] };
            max[lane] = if *value > max[lane] { *value } else { max[lane] };
            nan[lane] |= u64::from(value.is_nan());
        }
        let min = min.iter().fold(f64::INFINITY, |least, v| if *v < least { *v } else { least });
        let max = max.iter().fold(f64::NEG_INFINITY, |most, v| if *v > most { *v } else { most });
        (min, max, nan.iter().any(|n| *n != 0))
    }
}
