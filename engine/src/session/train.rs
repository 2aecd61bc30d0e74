//! Training in the memory of this process.

use datafusion::logical_expr::LogicalPlan;
use orrery_models::{Observer, Trained, train_in_memory};
use tokio_util::sync::CancellationToken;

use super::{Session, Tracker};
use crate::models::training_spec::TrainingSpec;
use crate::{Blame, Error, Result};

struct Watched(CancellationToken);

impl Observer for Watched {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl Session {
    /// Trains on the rows of a plan; also says in how many tasks.
    pub(super) async fn train(&self, plan: &LogicalPlan, spec: &TrainingSpec, tracker: &Tracker) -> Result<(Trained, u32)> {
        let model_type = orrery_models::model_type(&spec.model_type)?;
        let before = match &spec.warm_start {
            Some(reference) => Some(self.names.registry().load(reference).await?),
            None => None,
        };
        let trainer = model_type.trainer(&spec.options, &spec.columns, before.as_deref())?;
        let batches = self.collect(plan, tracker).await?;
        let token = self.cancellation();
        let trained = tokio::task::spawn_blocking(move || {
            let mut collector = trainer.collector();
            for batch in &batches {
                collector.push(batch)?;
            }
            train_in_memory(trainer.as_ref(), vec![collector], &Watched(token))
        });
        let trained = trained.await.map_err(|e| Error::new(Blame::Bug, format!("the training ended: {e}")))?;
        Ok((trained?, 1))
    }
}
