//! One run: what was asked, what has happened so far, and who waits for more.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orrery_engine::session::Session;
use orrery_proto::v1::run_event::Event;
use orrery_proto::v1::{Run as RunMessage, RunError, RunEvent, RunFinished, RunState, Statement, SubmitScriptRequest};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::watch;

use super::event_log::{EventReader, EventWriter};
use super::messages::{ms_of, now_ms};

const REQUEST: &str = "request";
const EVENTS: &str = "events";
const RECORDED: &str = "recorded";

/// What followers wait for: how many events there are, and the present progress.
#[derive(Debug, Clone, Default)]
pub(crate) struct News {
    /// Sequence number of the last event.
    pub sequence: u64,
    /// The newest progress of the statement that runs.
    pub progress: Option<RunEvent>,
    /// Whether the last event is the run's last.
    pub is_over: bool,
}

/// See the module documentation.
pub(crate) struct Run {
    /// Its name.
    pub id: String,
    /// The first of the runs that this one goes on with, under whose name its writes are committed; itself if it goes on with none.
    pub root_id: String,
    /// What was asked; of a resumed run, what the first one was asked.
    pub request: SubmitScriptRequest,
    folder: PathBuf,
    log: Mutex<EventWriter>,
    seen: Mutex<RunMessage>,
    news: watch::Sender<News>,
    session: Mutex<Option<Arc<Session>>>,
    is_cancelled: std::sync::atomic::AtomicBool,
}

impl Run {
    /// A new run in a folder of its own.
    pub fn create(parent: &Path, id: String, root_id: String, request: SubmitScriptRequest) -> io::Result<Self> {
        let folder = parent.join(&id);
        // Not where another run of that id is, should both have been submitted at the same time.
        std::fs::create_dir(&folder)?;
        // The root is kept beside the request in the field that names the run that is gone on with.
        let kept = SubmitScriptRequest { run_id: root_id.clone(), ..request.clone() };
        write_synced(&folder.join(REQUEST), &kept.encode_to_vec())?;
        let log = EventWriter::create(&folder.join(EVENTS))?;
        sync_folder(&folder)?;
        sync_folder(parent)?;
        let seen = RunMessage {
            run_id: id.clone(),
            state: RunState::Running.into(),
            files: request.files.iter().map(|file| file.path.clone()).collect(),
            catalog: request.catalog.clone(),
            started_ms: now_ms(),
            dry_run: request.dry_run,
            resumed_run_id: request.resume_run_id.clone(),
            user_name: request.user_name.clone(),
            ..RunMessage::default()
        };
        Ok(Self::new(id, root_id, request, folder, log, seen))
    }

    /// A run that an earlier process left.
    pub fn reopen(folder: &Path) -> io::Result<Self> {
        let id = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let kept = SubmitScriptRequest::decode(std::fs::read(folder.join(REQUEST))?.as_slice()).map_err(io::Error::other)?;
        let log = EventWriter::reopen(&folder.join(EVENTS))?;
        let mut seen = RunMessage {
            run_id: id.clone(),
            state: RunState::Running.into(),
            files: kept.files.iter().map(|file| file.path.clone()).collect(),
            catalog: kept.catalog.clone(),
            // Of one that waited for its turn there is no event yet.
            started_ms: ms_of(std::fs::metadata(folder.join(REQUEST))?.modified()?),
            dry_run: kept.dry_run,
            resumed_run_id: kept.resume_run_id.clone(),
            user_name: kept.user_name.clone(),
            ..RunMessage::default()
        };
        let mut reader = EventReader::open(&folder.join(EVENTS))?;
        while let Some(event) = reader.next()? {
            apply(&mut seen, &event);
        }
        let root_id = kept.run_id.clone();
        Ok(Self::new(id, root_id, kept, folder.to_path_buf(), log, seen))
    }

    fn new(id: String, root_id: String, request: SubmitScriptRequest, folder: PathBuf, log: EventWriter, seen: RunMessage) -> Self {
        let news = News { sequence: log.sequence, progress: None, is_over: seen.ended_ms > 0 };
        Self {
            id,
            root_id,
            request,
            folder,
            log: Mutex::new(log),
            seen: Mutex::new(seen),
            news: watch::Sender::new(news),
            session: Mutex::default(),
            is_cancelled: std::sync::atomic::AtomicBool::new(false),
        }
    }

    /// Appends an event and tells followers. Those that end something are synced to disk.
    pub fn tell(&self, event: Event) -> io::Result<()> {
        let is_over = matches!(event, Event::Finished(_));
        let is_durable = is_over || matches!(event, Event::StatementFinished(_) | Event::Accepted(_));
        let event = RunEvent { run_id: self.id.clone(), sequence: 0, time_ms: now_ms(), event: Some(event) };
        let mut log = self.log.lock();
        apply(&mut self.seen.lock(), &event);
        log.append(event)?;
        if is_durable {
            log.sync()?;
        }
        let sequence = log.sequence;
        self.news.send_modify(|news| {
            news.sequence = sequence;
            news.is_over = is_over;
            news.progress = None;
        });
        Ok(())
    }

    /// Tells followers how far the statement is; not kept.
    pub fn tell_progress(&self, progress: orrery_proto::v1::Progress) {
        let event = RunEvent { run_id: self.id.clone(), sequence: 0, time_ms: now_ms(), event: Some(Event::Progress(progress)) };
        self.news.send_modify(|news| news.progress = Some(event));
    }

    /// Ends the run.
    pub fn finish(&self, state: RunState, skipped: u32, elapsed_us: u64, error: Option<RunError>) {
        *self.session.lock() = None;
        let done = self.seen.lock().statements_done;
        let finished = RunFinished { state: state.into(), statements_done: done, statements_skipped: skipped, elapsed_us, error };
        if let Err(error) = self.tell(Event::Finished(finished)) {
            tracing::error!(run = %self.id, %error, "the end of a run cannot be written down");
        }
    }

    /// With whose rights it runs.
    pub fn user_name(&self) -> &str {
        &self.request.user_name
    }

    /// When it began, in milliseconds since 1970.
    pub fn started_ms(&self) -> i64 {
        self.seen.lock().started_ms
    }

    /// Bytes of events so far.
    pub fn bytes(&self) -> u64 {
        self.log.lock().bytes
    }

    /// What can be told of it without its statements.
    pub fn summary(&self) -> RunMessage {
        let seen = self.seen.lock();
        RunMessage { statements: Vec::new(), ..seen.clone() }
    }

    /// All that can be told of it.
    pub fn details(&self) -> RunMessage {
        self.seen.lock().clone()
    }

    /// Whether its last event has been.
    pub fn is_over(&self) -> bool {
        self.news.borrow().is_over
    }

    /// News from now on, beginning with the present state.
    pub fn news(&self) -> watch::Receiver<News> {
        self.news.subscribe()
    }

    /// Its events from the first on.
    pub fn events(&self) -> io::Result<EventReader> {
        EventReader::open(&self.folder.join(EVENTS))
    }

    /// The session that carries it out, so that it can be cancelled.
    pub fn set_session(&self, session: Arc<Session>) {
        *self.session.lock() = Some(Arc::clone(&session));
        // Looked at afterwards, so that whoever cancels finds the session or is found here.
        if self.is_cancelled() {
            session.cancel();
        }
    }

    /// Stops it; returns false if it is over.
    pub fn cancel(&self) -> bool {
        if self.is_over() {
            return false;
        }
        self.is_cancelled.store(true, std::sync::atomic::Ordering::SeqCst);
        if let Some(session) = self.session.lock().as_ref() {
            session.cancel();
        }
        true
    }

    /// The session that carries it out, if it runs.
    pub fn session_for_closing(&self) -> Option<Arc<Session>> {
        self.session.lock().clone()
    }

    /// Whether somebody asked to stop it.
    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Whether its outcome is in the system tables.
    pub fn is_recorded(&self) -> bool {
        self.folder.join(RECORDED).exists()
    }

    /// Remembers that its outcome is in the system tables.
    pub fn set_recorded(&self) -> io::Result<()> {
        std::fs::write(self.folder.join(RECORDED), b"")
    }

    /// Forgets the run.
    pub fn remove(&self) -> io::Result<()> {
        std::fs::remove_dir_all(&self.folder)
    }
}

/// Brings what is known of a run up to an event.
fn apply(run: &mut RunMessage, event: &RunEvent) {
    match &event.event {
        Some(Event::Accepted(accepted)) => {
            run.started_ms = event.time_ms;
            run.statements_total = accepted.statements_total;
        }
        Some(Event::StatementStarted(started)) => run.statements.extend(started.statement.clone()),
        Some(Event::StatementFinished(finished)) => {
            let found = run.statements.iter_mut().rev().find(|statement: &&mut Statement| statement.number == finished.number);
            if let Some(statement) = found {
                statement.finished = Some(finished.clone());
            }
            run.statements_done += u32::from(finished.error.is_none());
        }
        Some(Event::Finished(finished)) => {
            run.state = finished.state;
            run.ended_ms = event.time_ms;
            run.error.clone_from(&finished.error);
        }
        Some(Event::Plan(_) | Event::Progress(_) | Event::Batch(_)) | None => {}
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()
}

/// A new file survives a crash only if its folder does.
fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}
