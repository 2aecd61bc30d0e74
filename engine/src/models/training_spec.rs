//! What a training needs beside the plan of its rows.

use orrery_models::{InputColumn, Options};
use serde::{Deserialize, Serialize};

use super::ModelReference;

/// A training, as the statement asked for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainingSpec {
    /// Lower-case name of the model type.
    pub model_type: String,
    /// Its options, without those that concern the model as an object (`model_type`, `description`, …).
    pub options: Options,
    /// The columns of the plan, in its order.
    pub columns: Vec<InputColumn>,
    /// The model that training starts from.
    pub warm_start: Option<ModelReference>,
    /// Names this attempt in `system.ml.runs`.
    pub run_id: String,
}
