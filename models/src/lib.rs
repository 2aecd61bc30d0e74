//! Models: the mathematics of training, evaluating and scoring, a folder per model type.
//!
//! Knows numbers, slices and Arrow arrays; nothing of SQL, plans or storage. The engine above finds a model type by name in [`model_types`], gathers rows
//! for it, runs its passes on threads or on executors, and keeps the file that comes out. See [`model_type`] for how the two meet.
//!
//! Everything here is deterministic to the bit: the same rows and seed give the same file, however the rows were divided into partitions and in whatever
//! order they came. Sums over rows are exact ([`exact_sum`]), random numbers are keyed by seed and row ([`keyed_random`]).

pub mod error;
pub mod exact_sum;
pub mod feature_statistics;
pub mod features;
pub mod keyed_random;
pub mod kmeans;
pub mod matrix_factorization;
mod medians;
pub mod model_file;
pub mod model_type;
pub mod observer;
pub mod onnx;
pub mod options;
pub mod pca;
pub mod simd;
pub mod transform_only;
pub mod type_names;

pub use error::{ModelError, Result};
pub use model_file::ModelFile;
pub use model_type::{
    Block, Collector, Evaluation, InputColumn, Layout, Model, ModelTable, ModelType, Passes, Trained, Trainer, Trial, train_in_memory,
};
pub use observer::{Iteration, Observer, Unobserved};
pub use options::{OptionKind, OptionSpec, OptionValue, Options};

/// Every model type that can be trained, in the order of the documentation.
pub fn model_types() -> &'static [&'static dyn ModelType] {
    &[&kmeans::KMeans, &matrix_factorization::MatrixFactorization, &pca::Pca, &transform_only::TransformOnly]
}

/// The model type of a name as written in `OPTIONS (model_type = '…')`, whatever its case.
///
/// # Errors
/// A name that no model type has, with the nearest one.
pub fn model_type(name: &str) -> Result<&'static dyn ModelType> {
    let wanted = name.to_ascii_lowercase();
    if let Some(found) = model_types().iter().find(|t| t.name() == wanted) {
        return Ok(*found);
    }
    let names: Vec<&str> = model_types().iter().map(|t| t.name()).collect();
    Err(ModelError::option("model_type", format!("'{name}' is no model type")).hint(format!("model types are: {}", names.join(", "))))
}
