//! Runs of scripts: accepted, carried out on the cluster, followed, cancelled, resumed, and remembered over restarts.

mod caller;
mod event_log;
mod execute;
mod follow;
mod messages;
mod observer;
mod record;
mod run;
mod secrets;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use orrery_engine::access;
use orrery_proto::v1::{RunState, SubmitScriptRequest};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::coordinator::Coordinator;
use crate::settings::Settings;
use crate::{Error, Result};

pub(crate) use caller::Caller;
pub(crate) use follow::follow;
pub(crate) use run::Run;

/// Runs that are kept with their events; older ones are in the system tables only.
const RUNS_KEPT: usize = 1000;

/// Runs of one user that may run or wait at the same time.
const UNFINISHED_PER_USER: usize = 500;

/// Why a run cannot be begun.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The request does not make sense.
    Invalid(String),
    /// No such run.
    NotFound(String),
    /// There are too many already.
    Full(String),
    /// The server is going down.
    Closing,
    /// The journal cannot be written.
    Journal(String),
}

/// See the module documentation.
pub(crate) struct Runs {
    folder: PathBuf,
    /// By id.
    known: Mutex<BTreeMap<String, Arc<Run>>>,
    slots: Arc<Semaphore>,
    pub(super) coordinator: Coordinator,
    pub(super) result_limit_bytes: u64,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Runs {
    /// Opens the journal. Runs that an earlier process left unfinished are marked as interrupted.
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub fn open(settings: &Settings, coordinator: Coordinator) -> Result<Arc<Self>> {
        let folder = settings.state_dir.join("runs");
        let fault = |error| Error::StateDir(folder.clone(), error);
        std::fs::create_dir_all(&folder).map_err(fault)?;
        let mut known = BTreeMap::new();
        for entry in std::fs::read_dir(&folder).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            match Run::reopen(&path) {
                Ok(run) => {
                    if !run.is_over() {
                        tracing::warn!(run = %run.id, "an earlier scheduler left this run unfinished");
                        run.finish(RunState::Interrupted, 0, 0, None);
                    }
                    known.insert(run.id.clone(), Arc::new(run));
                }
                // Killed before it was accepted, or damaged: it cannot be told what it was.
                Err(error) => tracing::warn!(folder = %path.display(), %error, "a run in the journal cannot be read"),
            }
        }
        Ok(Arc::new(Self {
            known: Mutex::new(known),
            slots: Arc::new(Semaphore::new(usize::from(settings.max_runs))),
            coordinator,
            result_limit_bytes: settings.result_limit.as_u64(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            folder,
        }))
    }

    /// Begins a run of a caller's, or finds the one that he began under the same id.
    pub fn submit(self: &Arc<Self>, mut request: SubmitScriptRequest, caller: &Caller) -> Result<Arc<Run>, Refusal> {
        if self.closing.is_cancelled() {
            return Err(Refusal::Closing);
        }
        let id = match std::mem::take(&mut request.run_id) {
            id if id.is_empty() => new_id(),
            id => checked_id(id)?,
        };
        let known = self.known.lock().get(&id).cloned();
        if let Some(run) = known {
            let taken = || Refusal::Invalid(format!("there is a run '{id}' of another user; choose another id"));
            return if caller.may_see(&run) { Ok(run) } else { Err(taken()) };
        }
        let root_id = self.resume(&mut request, caller)?.unwrap_or_else(|| id.clone());
        request.user_name.clone_from(&caller.name);
        secrets::refuse(&request)?;
        let unfinished = self.known.lock().values().filter(|run| !run.is_over() && run.user_name() == caller.name).count();
        if unfinished >= UNFINISHED_PER_USER {
            return Err(Refusal::Full(format!(
                "{} has {unfinished} runs that run or wait; more are taken when some of them are over",
                caller.name
            )));
        }
        if request.catalog.is_empty() {
            request.catalog = "dev".to_string();
        }
        let run = Run::create(&self.folder, id.clone(), root_id, request);
        let run = Arc::new(run.map_err(|error| Refusal::Journal(error.to_string()))?);
        self.known.lock().insert(id, Arc::clone(&run));
        let (runs, task, user) = (Arc::clone(self), Arc::clone(&run), caller.user.clone());
        self.tasks.spawn(async move {
            // The semaphore is never closed.
            let _slot = Arc::clone(&runs.slots).acquire_owned().await;
            runs.carry_out(&task, user).await;
        });
        Ok(run)
    }

    /// Fills a request to resume with what the earlier run was asked. Returns the name under which that one committed its writes.
    fn resume(&self, request: &mut SubmitScriptRequest, caller: &Caller) -> Result<Option<String>, Refusal> {
        if request.resume_run_id.is_empty() {
            return Ok(None);
        }
        let earlier = self.find(&request.resume_run_id, caller).ok_or_else(|| Refusal::NotFound(request.resume_run_id.clone()))?;
        // Its text would run with the rights of whoever resumes it.
        if !caller.has_begun(&earlier) && earlier.user_name() != access::LOCAL {
            let problem = format!("run {} is of {}, who alone can resume it", earlier.id, earlier.user_name());
            return Err(Refusal::Invalid(problem));
        }
        if !earlier.is_over() {
            return Err(Refusal::Invalid(format!("run {} is still running; attach to it instead", earlier.id)));
        }
        let seen = earlier.details();
        if seen.state() == RunState::Succeeded {
            return Err(Refusal::Invalid(format!("run {} has succeeded; there is nothing to resume", earlier.id)));
        }
        let unfinished = first_unfinished(&seen, earlier.request.from.max(1));
        *request = SubmitScriptRequest {
            from: unfinished,
            resume_run_id: earlier.id.clone(),
            run_id: String::new(),
            client_version: std::mem::take(&mut request.client_version),
            ..earlier.request.clone()
        };
        Ok(Some(earlier.root_id.clone()))
    }

    /// A run by its id, or by a beginning of it that no other has; runs that the caller may not see do not exist for him.
    pub fn find(&self, id: &str, caller: &Caller) -> Option<Arc<Run>> {
        let known = self.known.lock();
        if let Some(run) = known.get(id) {
            return caller.may_see(run).then(|| Arc::clone(run));
        }
        let like = known.range(id.to_string()..).take_while(|(known, _)| known.starts_with(id));
        let mut like = like.filter(|(_, run)| caller.may_see(run));
        match (like.next(), like.next()) {
            (Some((_, run)), None) if !id.is_empty() => Some(Arc::clone(run)),
            _ => None,
        }
    }

    /// All runs, newest first.
    pub fn list(&self) -> Vec<Arc<Run>> {
        let mut all: Vec<_> = self.known.lock().values().cloned().collect();
        all.sort_by_cached_key(|run| std::cmp::Reverse((run.summary().started_ms, run.id.clone())));
        all
    }

    /// Writes runs that are not in the system tables yet, and forgets the oldest that are.
    pub async fn catch_up(self: &Arc<Self>) {
        let unrecorded: Vec<_> = self.list().into_iter().rev().filter(|run| run.is_over() && !run.is_recorded()).collect();
        for run in unrecorded {
            self.record(&run).await;
        }
        self.forget_oldest();
    }

    pub(super) fn forget_oldest(&self) {
        let mut known = self.known.lock();
        let surplus = known.len().saturating_sub(RUNS_KEPT);
        let mut old: Vec<_> = known.values().filter(|run| run.is_over() && run.is_recorded()).cloned().collect();
        old.sort_by_cached_key(|run| run.summary().started_ms);
        for run in old.into_iter().take(surplus) {
            known.remove(&run.id);
            if let Err(error) = run.remove() {
                tracing::warn!(run = %run.id, %error, "an old run cannot be removed from the journal");
            }
        }
    }

    /// Takes no more runs, stops those that run and waits until they have cleaned up.
    pub async fn close(&self, patience: std::time::Duration) {
        self.closing.cancel();
        self.tasks.close();
        for run in self.list() {
            if let Some(session) = run.session_for_closing() {
                session.cancel();
            }
        }
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!("runs did not stop in time");
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }
}

/// The first statement that has not been finished: statements finish in order, and those that only prepare a session come again anyway.
fn first_unfinished(run: &orrery_proto::v1::Run, from: u32) -> u32 {
    let done = run.statements.iter().filter(|statement| statement.finished.as_ref().is_some_and(|finished| finished.error.is_none()));
    done.map(|statement| statement.number + 1).max().unwrap_or(from).max(from)
}

/// Ids sort by time and do not repeat.
fn new_id() -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{}-{}", chrono::Utc::now().format("%Y%m%dT%H%M%S%3f"), &random[..8])
}

/// Ids become names of folders.
fn checked_id(id: String) -> Result<String, Refusal> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if id.len() <= 64 && id.chars().all(is_plain) {
        Ok(id)
    } else {
        Err(Refusal::Invalid("a run id has at most 64 letters, digits, - and _".to_string()))
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Journal(error.to_string())
    }
}
