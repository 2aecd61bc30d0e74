//! One client's session: an engine session, opened when it is first needed, the statements that were prepared in it and the results that wait to be read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use orrery_engine::session::Session;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tonic::Status;

use crate::flight::Prepared;
use crate::limits::OPEN_PER_SESSION;
use crate::running::{Place, Running};
use crate::{OpenSession, Principal, secret, status};

/// Text of all prepared statements of a session.
const PREPARED_BYTES_MAX: usize = 64 << 20;

/// See the module documentation.
pub(crate) struct ClientSession {
    id: String,
    principal: Principal,
    has_own_token: bool,
    opener: Arc<dyn OpenSession>,
    place: Place,
    engine: OnceCell<Arc<Session>>,
    results: Mutex<HashMap<String, Arc<Running>>>,
    prepared: Mutex<HashMap<String, Arc<Prepared>>>,
    calls: AtomicUsize,
    is_closed: AtomicBool,
    last_call: Mutex<Instant>,
}

/// A call that goes on in a session.
pub(crate) struct InUse(Arc<ClientSession>);

impl Drop for InUse {
    fn drop(&mut self) {
        *self.0.last_call.lock() = Instant::now();
        self.0.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

impl ClientSession {
    pub fn new(id: String, principal: Principal, has_own_token: bool, opener: Arc<dyn OpenSession>, place: Place) -> Self {
        Self {
            id,
            principal,
            has_own_token,
            opener,
            place,
            engine: OnceCell::new(),
            results: Mutex::default(),
            prepared: Mutex::default(),
            calls: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            last_call: Mutex::new(Instant::now()),
        }
    }

    /// What clients know it by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where its work is done.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whose it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Whether a handshake gave a token for this session alone.
    pub fn has_own_token(&self) -> bool {
        self.has_own_token
    }

    /// A call begins, which lasts until what is returned is dropped.
    pub fn enter(session: &Arc<Self>) -> InUse {
        session.calls.fetch_add(1, Ordering::AcqRel);
        InUse(Arc::clone(session))
    }

    /// Whether there was no call for so long.
    pub fn is_idle_for(&self, timeout: Duration) -> bool {
        self.calls.load(Ordering::Acquire) == 0 && self.last_call.lock().elapsed() >= timeout
    }

    /// The engine's session.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn engine(&self) -> Result<Arc<Session>, Status> {
        let open = || async { self.opener.open(&self.principal, &self.id).await.map(Arc::new) };
        let engine = self.engine.get_or_try_init(open).await.map(Arc::clone).map_err(|error| status::of_error(&error))?;
        if self.is_closed.load(Ordering::Acquire) {
            engine.cancel();
            return Err(Status::unauthenticated("the session has ended; connect again"));
        }
        Ok(engine)
    }

    /// Keeps a result for whoever comes with the name that is returned.
    ///
    /// # Errors
    /// There are too many.
    pub fn keep_result(&self, running: Arc<Running>) -> Result<String, Status> {
        keep(&self.results, running, "results that were not read")
    }

    /// A result that is kept.
    pub fn result(&self, name: &str) -> Option<Arc<Running>> {
        self.results.lock().get(name).cloned()
    }

    /// Drops a result; its work stops unless somebody reads it.
    pub fn forget_result(&self, name: &str) {
        self.results.lock().remove(name);
    }

    /// Drops results that nobody has begun to read for so long.
    pub fn drop_old_results(&self, timeout: Duration) {
        self.results.lock().retain(|_, running| running.is_read() || running.age() < timeout || !running.is_waiting());
    }

    /// Keeps a prepared statement.
    ///
    /// # Errors
    /// There are too many.
    pub fn keep_prepared(&self, prepared: Arc<Prepared>) -> Result<String, Status> {
        let kept_bytes: usize = self.prepared.lock().values().map(|known| known.text_bytes()).sum();
        if kept_bytes + prepared.text_bytes() > PREPARED_BYTES_MAX {
            return Err(Status::resource_exhausted("the prepared statements of the session are too long together; close some"));
        }
        keep(&self.prepared, prepared, "prepared statements")
    }

    /// A prepared statement.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn prepared(&self, name: &str) -> Result<Arc<Prepared>, Status> {
        let missing = || Status::not_found("there is no such prepared statement; it was closed, or belongs to another session");
        self.prepared.lock().get(name).cloned().ok_or_else(missing)
    }

    /// Drops a prepared statement.
    pub fn forget_prepared(&self, name: &str) {
        self.prepared.lock().remove(name);
    }

    /// Ends everything in it.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        for (_, running) in self.results.lock().drain() {
            running.cancel();
        }
        self.prepared.lock().clear();
        if let Some(engine) = self.engine.get().cloned() {
            engine.cancel();
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { engine.close().await });
            }
        }
    }
}

fn keep<T>(kept: &Mutex<HashMap<String, T>>, value: T, what: &str) -> Result<String, Status> {
    let name = secret::random()?;
    let mut kept = kept.lock();
    if kept.len() >= OPEN_PER_SESSION {
        return Err(Status::resource_exhausted(format!("the session has {OPEN_PER_SESSION} {what}; read or close some")));
    }
    kept.insert(name.clone(), value);
    Ok(name)
}
