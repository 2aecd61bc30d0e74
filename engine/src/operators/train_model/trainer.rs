//! The trainer of a training, made anew in every process from what the statement said, and how it is watched and stopped there.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::runtime_env::RuntimeEnv;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use orrery_models::model_file::checksum;
use orrery_models::{Iteration, Model, ModelFile, ModelType, Observer, Trainer};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::models::ModelReference;
use crate::models::live::LiveTraining;
use crate::models::training_spec::TrainingSpec;
use crate::{Blame, Error};

/// The model type of a training.
pub(crate) fn model_type(name: &str) -> Result<&'static dyn ModelType, Error> {
    #[cfg(test)]
    if name == super::testing::NAME {
        return Ok(&super::testing::Tally);
    }
    Ok(orrery_models::model_type(name)?)
}

/// The trainer, which has checked options and columns.
pub(crate) async fn trainer(spec: &TrainingSpec, runtime: &RuntimeEnv) -> Result<Arc<dyn Trainer>, Error> {
    let warm_start = match &spec.warm_start {
        Some(reference) => Some(load(reference, runtime).await?),
        None => None,
    };
    Ok(Arc::from(model_type(&spec.model_type)?.trainer(&spec.options, &spec.columns, warm_start.as_deref())?))
}

async fn load(reference: &ModelReference, runtime: &RuntimeEnv) -> Result<Arc<dyn Model>, Error> {
    let bytes = fetch(&reference.url, runtime).await?;
    if checksum(&bytes) != reference.checksum {
        return Err(Error::new(Blame::Storage, format!("the file of {reference} is damaged: {} has another checksum", reference.url)));
    }
    let file = ModelFile::from_bytes(&bytes)?;
    Ok(model_type(&file.model_type)?.read(&file)?)
}

/// The bytes of an object.
pub(super) async fn fetch(url: &str, runtime: &RuntimeEnv) -> Result<Vec<u8>, Error> {
    let (store, path) = place(url, runtime)?;
    let read = async { store.get(&path).await?.bytes().await };
    Ok(read.await.map_err(|error| DataFusionError::ObjectStore(Box::new(error)))?.to_vec())
}

/// Where an object is.
pub(crate) fn place(url: &str, runtime: &RuntimeEnv) -> Result<(Arc<dyn object_store::ObjectStore>, Path), Error> {
    let url = Url::parse(url).map_err(|error| Error::new(Blame::Bug, format!("{url:?} is no URL: {error}")))?;
    let path = Path::from_url_path(url.path()).map_err(|error| Error::new(Blame::Bug, format!("{url} is no object: {error}")))?;
    Ok((runtime.object_store_registry.get_store(&url)?, path))
}

/// An error of the models crate on its way through a plan.
pub(super) fn failed(error: orrery_models::ModelError) -> DataFusionError {
    Error::from(error).into()
}

/// Runs work that computes for long on a thread of its own.
pub(super) async fn on_own_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Err(Error::interrupted().into()),
        Err(error) => Err(Error::new(Blame::Bug, format!("the training panicked: {error}")).into()),
    }
}

/// Follows a training in the process that runs it.
#[derive(Clone)]
pub(crate) struct Watch {
    pub live: Arc<LiveTraining>,
    pub cancelled: CancellationToken,
}

impl Observer for Watch {
    fn begin(&self, iterations: u32) {
        self.live.begin(iterations);
    }

    fn iteration(&self, iteration: &Iteration) {
        self.live.add(iteration);
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }
}

/// Only stops work.
pub(super) struct StopOnly(pub CancellationToken);

impl Observer for StopOnly {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}
