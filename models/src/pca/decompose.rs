//! Covariances → principal components.

use nalgebra::{DMatrix, SymmetricEigen};

use super::passes::pairs;

/// Weights that differ by less are equal for the choice of a component's sign: rounding must not choose it.
const EQUAL_WEIGHTS: f64 = 1e-9;

/// Eigenvectors of a covariance matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Decomposed {
    /// What features are divided by: 1 without scaling, 0 for a constant feature with it.
    pub deviations: Vec<f64>,
    /// Eigenvalues, descending, none negative.
    pub values: Vec<f64>,
    /// Eigenvectors one after the other, in the order of the values.
    pub vectors: Vec<f64>,
    /// The sum of the variances.
    pub total: f64,
}

/// Decomposes covariances, given as the upper triangle row by row; with `scale` those of features that are divided by their deviation.
pub fn decompose(covariances: &[f64], features: usize, scale: bool) -> Decomposed {
    let mut matrix = DMatrix::<f64>::zeros(features, features);
    for ((i, j), covariance) in pairs(features).zip(covariances) {
        (matrix[(i, j)], matrix[(j, i)]) = (*covariance, *covariance);
    }
    let deviations: Vec<f64> = (0..features).map(|i| if scale { matrix[(i, i)].max(0.0).sqrt() } else { 1.0 }).collect();
    if scale {
        for (i, j) in pairs(features) {
            let scaled = match (deviations[i], deviations[j]) {
                (a, b) if a == 0.0 || b == 0.0 => 0.0,
                _ if i == j => 1.0,
                (a, b) => matrix[(i, j)] / a / b,
            };
            (matrix[(i, j)], matrix[(j, i)]) = (scaled, scaled);
        }
    }
    let total = (0..features).map(|i| matrix[(i, i)]).sum();
    let eigen = SymmetricEigen::new(matrix);
    let mut order: Vec<usize> = (0..features).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    let values = order.iter().map(|at| eigen.eigenvalues[*at].max(0.0)).collect();
    let vectors = order.iter().flat_map(|at| signed(eigen.eigenvectors.column(*at).iter().copied().collect())).collect();
    Decomposed { deviations, values, vectors, total }
}

/// The vector or its opposite: the one whose largest weight, the first of several, is positive. Zeros have no sign.
fn signed(vector: Vec<f64>) -> Vec<f64> {
    let largest = vector.iter().fold(0.0f64, |most, weight| most.max(weight.abs()));
    let first = vector.iter().find(|weight| weight.abs() >= largest * (1.0 - EQUAL_WEIGHTS));
    let sign = if first.is_some_and(|weight| *weight < 0.0) { -1.0 } else { 1.0 };
    vector.into_iter().map(|weight| sign * weight + 0.0).collect()
}

/// How many components are wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Chosen {
    /// So many.
    Count(usize),
    /// As few as explain this share of the variance.
    Ratio(f64),
}

/// How many components are kept, one at least.
pub fn choose(values: &[f64], total: f64, chosen: Chosen) -> usize {
    match chosen {
        Chosen::Count(count) => count.clamp(1, values.len().max(1)),
        Chosen::Ratio(ratio) => {
            let mut explained = 0.0;
            for (at, value) in values.iter().enumerate() {
                explained += value;
                // A hair less, since all of them sum up to the whole only but for rounding.
                if explained >= ratio * total * (1.0 - 1e-12) {
                    return at + 1;
                }
            }
            values.len()
        }
    }
}
