//! The trainings that this process has started and that have not ended: how far they are, for the progress line and for whoever asks for a model's
//! iterations while it is being trained.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use orrery_models::Iteration;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

static LIVE: LazyLock<Mutex<HashMap<String, Entry>>> = LazyLock::new(Mutex::default);

struct Entry {
    /// Full name of the model, once it is announced.
    model: Option<String>,
    training: Arc<LiveTraining>,
    /// How many hold it: who announced it, who runs it.
    holders: usize,
}

/// One training while it runs.
#[derive(Debug)]
pub struct LiveTraining {
    started: Instant,
    /// At most so many iterations; 0 before that is known.
    total: AtomicU32,
    iterations: Mutex<Vec<Iteration>>,
}

/// How far a training is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TrainingProgress {
    /// Iterations that are done.
    pub iterations: u32,
    /// Iterations that there will be at most; 0 before that is known.
    pub iterations_total: u32,
    /// The loss after the last iteration, where there is one.
    pub loss: Option<f64>,
    /// Since the training began.
    pub elapsed: Duration,
}

impl TrainingProgress {
    /// The time that is left if all iterations are needed and go at the pace so far; `None` before the first one has ended.
    pub fn eta(&self) -> Option<Duration> {
        if self.iterations == 0 || self.iterations_total == 0 {
            return None;
        }
        let left = f64::from(self.iterations_total.saturating_sub(self.iterations)) / f64::from(self.iterations);
        Duration::try_from_secs_f64(self.elapsed.as_secs_f64() * left).ok()
    }
}

/// What one process tells another of a training, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// As [`LiveTraining`] has it.
    pub total: u32,
    /// All so far.
    pub iterations: Vec<Iteration>,
}

impl Default for LiveTraining {
    fn default() -> Self {
        Self { started: Instant::now(), total: AtomicU32::new(0), iterations: Mutex::default() }
    }
}

impl LiveTraining {
    pub(crate) fn begin(&self, iterations: u32) {
        self.total.store(iterations, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, iteration: &Iteration) {
        self.iterations.lock().push(iteration.clone());
    }

    /// What another process knows takes the place of what is known here.
    pub(crate) fn replace(&self, told: Told) {
        self.begin(told.total);
        *self.iterations.lock() = told.iterations;
    }

    pub(crate) fn told(&self) -> Told {
        Told { total: self.total.load(Ordering::Relaxed), iterations: self.iterations.lock().clone() }
    }

    /// Another attempt begins: what there was is gone.
    pub(crate) fn restart(&self) {
        self.replace(Told::default());
    }

    /// How far it is.
    pub fn progress(&self) -> TrainingProgress {
        let iterations = self.iterations.lock();
        TrainingProgress {
            iterations: u32::try_from(iterations.len()).unwrap_or(u32::MAX),
            iterations_total: self.total.load(Ordering::Relaxed),
            loss: iterations.last().and_then(|last| last.loss),
            elapsed: self.started.elapsed(),
        }
    }
}

/// Keeps a training among the live ones.
#[derive(Debug)]
pub struct Announced {
    run_id: String,
    training: Arc<LiveTraining>,
}

impl Announced {
    /// The training.
    pub fn training(&self) -> &Arc<LiveTraining> {
        &self.training
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let mut live = LIVE.lock();
        let is_over = live.get_mut(&self.run_id).is_some_and(|entry| {
            entry.holders -= 1;
            entry.holders == 0
        });
        if is_over {
            live.remove(&self.run_id);
        }
    }
}

/// Says which model a run trains; the run is live at least until this is dropped.
pub fn announce(run_id: &str, model: &str) -> Announced {
    enter(run_id, Some(model))
}

/// The run is live at least until this is dropped.
pub(crate) fn begin(run_id: &str) -> Announced {
    enter(run_id, None)
}

fn enter(run_id: &str, model: Option<&str>) -> Announced {
    let mut live = LIVE.lock();
    let entry = live.entry(run_id.to_string()).or_insert_with(|| Entry { model: None, training: Arc::default(), holders: 0 });
    entry.holders += 1;
    entry.model = entry.model.take().or_else(|| model.map(str::to_string));
    Announced { run_id: run_id.to_string(), training: Arc::clone(&entry.training) }
}

/// A run that this process has started.
pub(crate) fn find(run_id: &str) -> Option<Arc<LiveTraining>> {
    LIVE.lock().get(run_id).map(|entry| Arc::clone(&entry.training))
}

/// The iterations so far of the training of a model (`catalog.schema.model`) that was started last; `None` if none is running in this process.
pub fn iterations(model: &str) -> Option<Vec<Iteration>> {
    let live = LIVE.lock();
    let newest = live.values().filter(|entry| entry.model.as_deref() == Some(model)).max_by_key(|entry| entry.training.started)?;
    Some(newest.training.iterations.lock().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iteration(number: u32) -> Iteration {
        Iteration { training_run: 0, iteration: number, loss: Some(f64::from(number)), duration_ms: 1.0, clusters: Vec::new() }
    }

    #[test]
    fn a_training_is_found_by_run_and_by_model_until_it_ends() {
        assert_eq!(iterations("dev.live.a"), None);
        let announced = announce("run-a", "dev.live.a");
        {
            let running = begin("run-a");
            running.training().begin(4);
            running.training().add(&iteration(0));
        }
        assert_eq!(iterations("dev.live.a").map(|all| all.len()), Some(1));
        let progress = find("run-a").map(|training| training.progress()).unwrap_or_default();
        assert_eq!((progress.iterations, progress.iterations_total, progress.loss), (1, 4, Some(0.0)));
        drop(announced);
        assert_eq!((iterations("dev.live.a"), find("run-a").is_none()), (None, true));
    }

    #[test]
    fn the_rest_goes_at_the_pace_so_far() {
        let progress = TrainingProgress { iterations: 5, iterations_total: 20, loss: None, elapsed: Duration::from_secs(2) };
        assert_eq!(progress.eta(), Some(Duration::from_secs(6)));
        assert_eq!(TrainingProgress { iterations: 0, ..progress }.eta(), None);
    }
}
