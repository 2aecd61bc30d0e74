//! Training over rows that are spread over tasks: each pass is a plan that the backend runs, and the trainer, on a thread of its own, asks for one after the
//! other.
//!
//! ```text
//!   Trainer::fit, on a thread of its own             the session
//!     Passes::run(layout, request) ───────► TrainingPassExec over the layout's rows ──► Backend::run
//!                                  ◄─────── partial results
//! ```

use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};
use orrery_models::{Layout, ModelError, Passes, Trained};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::super::Session;
use super::super::scratch::{ScratchObjects, ScratchTable};
use super::Training;
use super::estimate::Estimate;
use super::stored_rows::Buckets;
use crate::models::blocks;
use crate::models::training_spec::TrainingSpec;
use crate::operators::train_model::pass::{LaidOut, Request, TrainingPassExec};
use crate::operators::train_model::trainer::Watch;
use crate::operators::train_model::{on_threads, one_partition, payload};
use crate::{Blame, Error, Result};

/// A request that is larger lies in scratch storage when it is for other processes: plans are copied to every task.
const INLINE_BYTES: usize = 256 << 10;

/// A pass that the trainer asks for.
struct Ask {
    layout: usize,
    request: Vec<u8>,
    answer: oneshot::Sender<Vec<Vec<u8>>>,
}

/// The trainer's side.
struct Asking(mpsc::Sender<Ask>);

impl Passes for Asking {
    fn run(&mut self, layout: usize, request: &[u8]) -> orrery_models::Result<Vec<Vec<u8>>> {
        let (answer, answered) = oneshot::channel();
        // Nobody answers any more when a pass has failed, for which the session has the reason, or when the statement is over.
        self.0.blocking_send(Ask { layout, request: request.to_vec(), answer }).map_err(|_| ModelError::cancelled())?;
        answered.blocking_recv().map_err(|_| ModelError::cancelled())
    }
}

/// The rows of every layout.
struct Layouts {
    plans: Vec<Arc<dyn ExecutionPlan>>,
    are_keyed: Vec<bool>,
    tables: Vec<ScratchTable>,
}

/// Drops what this process keeps of a run.
struct Ending<'a>(&'a str);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        blocks::end(self.0);
    }
}

impl Session {
    pub(super) async fn train_distributed(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        estimate: &Estimate,
        training: &Training<'_>,
    ) -> Result<(Trained, u32)> {
        // A run that is tried again under its name keeps nothing of what came before.
        let run_id = format!("{}/{}", training.spec.run_id, uuid::Uuid::new_v4().simple());
        let _ending = Ending(&run_id);
        let mut layouts = Layouts { plans: Vec::new(), are_keyed: Vec::new(), tables: Vec::new() };
        let trained = match self.lay_out(plan, estimate, training, &mut layouts).await {
            Ok(()) => Box::pin(self.fit_over(&layouts, &run_id, training)).await,
            Err(error) => Err(error),
        };
        let tasks = layouts.plans.first().map_or(1, |plan| plan.output_partitioning().partition_count());
        for table in layouts.tables {
            table.remove().await;
        }
        Ok((trained?, u32::try_from(tasks).unwrap_or(u32::MAX)))
    }

    /// Writes the rows where they cannot be read from where they are.
    async fn lay_out(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        estimate: &Estimate,
        training: &Training<'_>,
        layouts: &mut Layouts,
    ) -> Result<()> {
        let again = one_partition::read_again(plan);
        let mut source = Arc::clone(again.as_ref().unwrap_or(plan));
        for layout in training.trainer.layouts() {
            layouts.are_keyed.push(layout != Layout::Any);
            let buckets = match (&layout, &again) {
                (Layout::Any, Some(again)) => {
                    layouts.plans.push(one_partition::in_partitions(Arc::clone(again), self.training_threads())?);
                    continue;
                }
                (Layout::Any, None) => None,
                (Layout::By(keys), _) => Some(Buckets { keys, count: self.buckets_for(estimate.block_bytes) }),
            };
            let stored = self.store_rows(&source, training, buckets).await?;
            if again.is_none() {
                // What the query gave once is what all layouts hold.
                source = Arc::clone(&stored.plan);
            }
            layouts.plans.push(stored.plan);
            layouts.tables.push(stored.table);
        }
        Ok(())
    }

    async fn fit_over(&self, layouts: &Layouts, run_id: &str, training: &Training<'_>) -> Result<Trained> {
        let cancelled = CancellationToken::new();
        // Dropped with this future: the trainer's thread stops too.
        let _stop = cancelled.clone().drop_guard();
        let (sender, mut asks) = mpsc::channel(1);
        let watch = Watch { live: Arc::clone(&training.live), cancelled };
        let trainer = Arc::clone(&training.trainer);
        let threads = self.context.copied_config().target_partitions();
        let fit = tokio::task::spawn_blocking(move || on_threads(threads, || trainer.fit(&mut Asking(sender), &watch)));
        let spec = Arc::new(TrainingSpec { run_id: run_id.to_string(), ..training.spec.clone() });
        let mut passes = SessionPasses { session: self, layouts, training, spec, objects: None, done: 0 };
        let mut failed = None;
        while let Some(Ask { layout, request, answer }) = asks.recv().await {
            match Box::pin(passes.run(layout, request)).await {
                // It may be gone: then its own result says why.
                Ok(partials) => drop(answer.send(partials)),
                Err(error) => {
                    failed = Some(error);
                    drop(answer);
                    break;
                }
            }
        }
        drop(asks);
        let fitted = fit.await;
        if let Some(objects) = passes.objects {
            objects.remove().await;
        }
        let fitted = fitted.map_err(|error| Error::new(Blame::Bug, format!("the training panicked: {error}")))??;
        match failed {
            Some(error) => Err(error),
            None => Ok(fitted?),
        }
    }
}

/// The session's side.
struct SessionPasses<'a> {
    session: &'a Session,
    layouts: &'a Layouts,
    training: &'a Training<'a>,
    /// The training's, under the name by which blocks are known.
    spec: Arc<TrainingSpec>,
    /// For large requests.
    objects: Option<ScratchObjects>,
    done: u64,
}

impl SessionPasses<'_> {
    async fn run(&mut self, layout: usize, request: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let rows = self.layouts.plans.get(layout).ok_or_else(|| Error::new(Blame::Bug, format!("there is no layout {layout}")))?;
        let name = format!("request{}", self.done);
        let is_object = request.len() > INLINE_BYTES && self.session.backend.workers().are_remote;
        let request = if is_object {
            let objects = match &mut self.objects {
                Some(objects) => objects,
                None => self.objects.insert(self.session.scratch_objects().await?),
            };
            Request::At(objects.put(&name, request).await?)
        } else {
            Request::Inline(Arc::new(request))
        };
        let laid_out = LaidOut { layout, is_keyed: self.layouts.are_keyed.get(layout).copied().unwrap_or(false) };
        let pass: Arc<dyn ExecutionPlan> = Arc::new(TrainingPassExec::new(Arc::clone(rows), Arc::clone(&self.spec), laid_out, request));
        if self.done == 0 {
            self.training.tracker.start(&pass);
        }
        self.done += 1;
        let batches = self.session.backend.run(pass, &self.session.context, self.training.tracker).await?;
        if let (true, Some(objects)) = (is_object, &mut self.objects) {
            objects.remove_object(&name).await;
        }
        Ok(payload::payloads(&batches)?)
    }
}
