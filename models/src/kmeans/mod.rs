//! `model_type = 'kmeans'`.

use std::sync::Arc;

use crate::{InputColumn, Model, ModelError, ModelFile, ModelType, OptionSpec, Options, Result, Trainer};

/// See the module documentation.
#[derive(Debug, Clone, Copy)]
pub struct KMeans;

impl ModelType for KMeans {
    fn name(&self) -> &'static str {
        "kmeans"
    }

    fn about(&self) -> &'static str {
        ""
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn trainer(&self, _: &Options, _: &[InputColumn], _: Option<&dyn Model>) -> Result<Box<dyn Trainer>> {
        Err(ModelError::bug("not built yet"))
    }

    fn read(&self, _: &ModelFile) -> Result<Arc<dyn Model>> {
        Err(ModelError::bug("not built yet"))
    }
}
