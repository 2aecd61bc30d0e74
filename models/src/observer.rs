//! How training is watched and stopped.

use serde::{Deserialize, Serialize};

use crate::{ModelError, Result};

/// What one iteration led to; a row of `ML.TRAINING_INFO`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Iteration {
    /// Which attempt or trial, from 0.
    pub training_run: u32,
    /// From 0.
    pub iteration: u32,
    /// The training loss after it; what that is says the model type. `None` where it is not computed.
    pub loss: Option<f64>,
    /// Time that it took, in milliseconds.
    pub duration_ms: f64,
    /// Sizes and radii of the clusters, where there are clusters.
    pub clusters: Vec<ClusterInfo>,
}

/// One cluster after an iteration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterInfo {
    /// From 1.
    pub centroid_id: i64,
    /// Root of the mean squared distance of its rows.
    pub cluster_radius: f64,
    /// Rows (weights, where rows are weighted).
    pub cluster_size: f64,
}

/// Follows a training and may stop it.
pub trait Observer: Send + Sync {
    /// Called before the first iteration with how many there will be at most, all trials and restarts counted.
    fn begin(&self, iterations: u32) {
        let _ = iterations;
    }
    /// Called after each iteration.
    fn iteration(&self, iteration: &Iteration) {
        let _ = iteration;
    }
    /// Whether somebody will read the statistics of the features, of which medians take passes of their own.
    fn reads_statistics(&self) -> bool {
        true
    }
    /// Looked at between and within iterations; once true, training ends with [`ModelError::cancelled`](crate::ModelError::cancelled).
    fn is_cancelled(&self) -> bool {
        false
    }
    /// Looks at that.
    ///
    /// # Errors
    /// Training is to end.
    fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(ModelError::cancelled()) } else { Ok(()) }
    }
}

/// Nobody watches.
#[derive(Debug, Default, Clone, Copy)]
pub struct Unobserved;

impl Observer for Unobserved {}
