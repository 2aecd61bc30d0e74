//! Measures of predictions against what was observed, from sums.

use std::collections::BTreeMap;

/// Sums over observations, from which all measures follow.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Errors {
    /// How many.
    pub count: f64,
    /// `Σ t`
    pub targets: f64,
    /// `Σ t²`
    pub squared_targets: f64,
    /// `Σ (t - p)`
    pub errors: f64,
    /// `Σ (t - p)²`
    pub squares: f64,
    /// `Σ |t - p|`
    pub absolutes: f64,
    /// `Σ (ln(1 + t) - ln(1 + p))²`; NaN when there is a `t` or `p` of -1 or less.
    pub squared_logs: f64,
}

/// Sums in [`Errors`].
pub const SUMS: usize = 7;

impl Errors {
    /// Adds other sums.
    pub fn add(&mut self, other: &Self) {
        let (sums, more) = (self.as_array(), other.as_array());
        *self = Self::from_array(std::array::from_fn(|i| sums[i] + more[i]));
    }

    /// The sums of one observation.
    pub fn of(target: f64, predicted: f64) -> Self {
        let logs = if target > -1.0 && predicted > -1.0 { target.ln_1p() - predicted.ln_1p() } else { f64::NAN };
        Self { squared_logs: logs * logs, ..Self::without_logs(target, predicted) }
    }

    /// The sums of one observation but for that of logarithms, which are slow; it is NaN.
    pub fn without_logs(target: f64, predicted: f64) -> Self {
        let error = target - predicted;
        Self {
            count: 1.0,
            targets: target,
            squared_targets: target * target,
            errors: error,
            squares: error * error,
            absolutes: error.abs(),
            squared_logs: f64::NAN,
        }
    }

    /// In the order of the fields.
    pub fn as_array(&self) -> [f64; SUMS] {
        [self.count, self.targets, self.squared_targets, self.errors, self.squares, self.absolutes, self.squared_logs]
    }

    /// Of sums in the order of the fields.
    pub fn from_array([count, targets, squared_targets, errors, squares, absolutes, squared_logs]: [f64; SUMS]) -> Self {
        Self { count, targets, squared_targets, errors, squares, absolutes, squared_logs }
    }

    /// The measures of explicit feedback by the names of `ML.EVALUATE`; those that are not defined are left out.
    ///
    /// With `e = t - p`: `mean_absolute_error = Σ|e| / n`, `mean_squared_error = Σe² / n`, `root_mean_squared_error` its root,
    /// `mean_squared_log_error = Σ(ln(1 + t) - ln(1 + p))² / n`, `median_absolute_error` the `median` that is given, `r2_score = 1 - Σe² / Σ(t - mean t)²`, `explained_variance = 1 - var(e) / var(t)`.
    pub fn measures(&self, median: Option<f64>) -> BTreeMap<String, f64> {
        let n = self.count;
        let spread = self.squared_targets - self.targets * self.targets / n;
        let error_spread = self.squares - self.errors * self.errors / n;
        let of_spread = |share: f64| if spread > 0.0 { 1.0 - share / spread } else { f64::NAN };
        MEASURES
            .iter()
            .zip([
                self.absolutes / n,
                self.squares / n,
                (self.squares / n).sqrt(),
                self.squared_logs / n,
                median.unwrap_or(f64::NAN),
                of_spread(self.squares),
                of_spread(error_spread),
            ])
            .filter(|(_, value)| value.is_finite())
            .map(|(name, value)| ((*name).to_string(), value))
            .collect()
    }
}

/// Names of the measures of explicit feedback, in the order of `ML.EVALUATE`.
pub const MEASURES: [&str; 7] = [
    "mean_absolute_error",
    "mean_squared_error",
    "root_mean_squared_error",
    "mean_squared_log_error",
    "median_absolute_error",
    "r2_score",
    "explained_variance",
];

/// The median, of an even number of values the mean of the two in the middle; the order of the values changes.
pub fn median(values: &mut [f32]) -> Option<f64> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let (_, upper, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
    let upper = f64::from(*upper);
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = values[..middle].iter().copied().max_by(f32::total_cmp).map_or(upper, f64::from);
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0]), Some(3.0));
        assert_eq!(median(&mut [3.0, 1.0]), Some(2.0));
        assert_eq!(median(&mut [9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [9.0, 1.0, 2.0, 4.0]), Some(3.0));
    }
}
