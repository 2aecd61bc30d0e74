//! What the registry keeps of one version of a model.

use std::collections::BTreeMap;

use orrery_models::{InputColumn, Iteration, Options, Trial};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ModelReference;

/// A table that a model was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceTable {
    /// `catalog.schema.table`, or the path of files.
    pub name: String,
    /// Its Delta version; `None` for files.
    pub version: Option<u64>,
}

/// JSON has no infinities and nothing that is no number: what is one is left out of a record.
fn keep_finite(measures: &mut BTreeMap<String, f64>) {
    measures.retain(|_, value| value.is_finite());
}

impl ModelRecord {
    /// Takes out the numbers that JSON cannot hold.
    pub(super) fn keep_finite(&mut self) {
        keep_finite(&mut self.metrics);
        for trial in &mut self.trials {
            keep_finite(&mut trial.metrics);
            keep_finite(&mut trial.hyperparameters);
            trial.training_loss = trial.training_loss.filter(|loss| loss.is_finite());
        }
        for iteration in &mut self.iterations {
            iteration.loss = iteration.loss.filter(|loss| loss.is_finite());
            for cluster in &mut iteration.clusters {
                if !cluster.cluster_radius.is_finite() {
                    cluster.cluster_radius = 0.0;
                }
            }
        }
    }
}

/// One version of a model, as registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Name, version, file and checksum.
    pub reference: ModelReference,
    /// Names the attempt that led to it, in `system.ml.runs`.
    pub run_id: String,
    /// Lower-case type.
    pub model_type: String,
    /// The whole statement as it was written, variables replaced.
    pub statement: String,
    /// The training query as it was written.
    pub query: String,
    /// Options as written.
    pub options: Options,
    /// The seed that was used.
    pub seed: Option<i64>,
    /// The columns of the training query that scoring needs, before `TRANSFORM`.
    pub inputs: Vec<InputColumn>,
    /// What `TRANSFORM` learned, and its select list; `None` without one. Written and read by the planner's preparation.
    pub preparation: Option<Value>,
    /// What was read.
    pub sources: Vec<SourceTable>,
    /// Measures on the training rows.
    pub metrics: BTreeMap<String, f64>,
    /// Every iteration.
    pub iterations: Vec<Iteration>,
    /// What was tried.
    pub trials: Vec<Trial>,
    /// Training rows.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// From the statement's begin to the file's end.
    pub duration_ms: f64,
    /// One task, or distributed over how many.
    pub tasks: u32,
    /// When it was registered, microseconds since 1970 UTC.
    pub created_at_micros: i64,
    /// Version of the program.
    pub engine_version: String,
}

impl ModelRecord {
    /// What stands for a model while its first version is being trained: nothing but its name.
    pub(crate) fn in_training(name: &str) -> Self {
        let reference = ModelReference { name: name.to_string(), version: 0, url: String::new(), checksum: String::new() };
        Self {
            reference,
            run_id: String::new(),
            model_type: String::new(),
            statement: String::new(),
            query: String::new(),
            options: Options::default(),
            seed: None,
            inputs: Vec::new(),
            preparation: None,
            sources: Vec::new(),
            metrics: BTreeMap::new(),
            iterations: Vec::new(),
            trials: Vec::new(),
            rows: 0,
            bytes: 0,
            duration_ms: 0.0,
            tasks: 0,
            created_at_micros: 0,
            engine_version: String::new(),
        }
    }
}
