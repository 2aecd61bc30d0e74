//! Models in memory: each is loaded once per process, however many plans score with it, and the least recently used are let go when they take too much.
//!
//! A model is known by the checksum of its file, which is verified. Loading runs on threads of its own, so that a function in the middle of a plan may wait
//! for it on a thread of the plan without holding up what it waits for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Weak};

use datafusion::common::DataFusionError;
use datafusion::execution::object_store::ObjectStoreRegistry as _;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use orrery_lakehouse::{Stores, Warehouse};
use orrery_models::{Model, ModelFile, model_file, model_type};
use parking_lot::Mutex;
use url::Url;

use super::ModelReference;
use crate::session::machine_memory_bytes;
use crate::{Blame, Error, Position};

/// One of how many parts of the machine's memory models may take.
const MEMORY_SHARE: usize = 10;
/// What they may take where the machine's memory is not known.
const FALLBACK_BYTES: usize = 1 << 30;
/// Threads that load.
const LOADING_THREADS: usize = 2;

/// Why a model could not be loaded; known to all that waited for it.
#[derive(Debug, Clone)]
pub struct LoadError {
    error: Arc<Error>,
    /// Another attempt may succeed: the store did not answer.
    may_pass: bool,
}

impl From<Error> for LoadError {
    fn from(error: Error) -> Self {
        Self { error: Arc::new(error), may_pass: false }
    }
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        let Error { blame, message, position, hint } = error.error.as_ref();
        Error { blame: *blame, message: message.clone(), position: *position, hint: hint.clone() }
    }
}

/// What may pass becomes an error of input and output, after which a cluster tries a task again.
impl From<LoadError> for DataFusionError {
    fn from(error: LoadError) -> Self {
        if error.may_pass {
            return DataFusionError::IoError(std::io::Error::other(error.error.message.clone()));
        }
        Error::from(error).into()
    }
}

impl LoadError {
    /// The same as an error of a statement, with the place that named the model.
    pub fn at(self, position: Option<Position>) -> Error {
        Error::from(self).at(position)
    }
}

/// Makes a model of its file.
type OpenModel = fn(&ModelFile) -> orrery_models::Result<Arc<dyn Model>>;
type Loaded = Result<Arc<dyn Model>, LoadError>;

/// See the module documentation.
#[derive(Clone)]
pub struct ModelCache {
    inner: Arc<Inner>,
}

struct Inner {
    stores: Stores,
    open: OpenModel,
    budget_bytes: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By checksum.
    models: HashMap<String, Entry>,
    loading: HashMap<String, Shared<BoxFuture<'static, Loaded>>>,
    /// Models without a file, kept by who has lent them.
    lent: HashMap<String, Weak<dyn Model>>,
    bytes: usize,
    uses: u64,
}

struct Entry {
    model: Arc<dyn Model>,
    bytes: usize,
    /// The number of the use that came last.
    used: u64,
}

impl std::fmt::Debug for ModelCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.inner.state.lock();
        f.debug_struct("ModelCache").field("models", &state.models.len()).field("bytes", &state.bytes).finish_non_exhaustive()
    }
}

/// The cache of this process.
pub fn process() -> &'static ModelCache {
    static CACHE: LazyLock<ModelCache> =
        LazyLock::new(|| ModelCache::with_budget(machine_memory_bytes().map_or(FALLBACK_BYTES, |bytes| bytes / MEMORY_SHARE)));
    &CACHE
}

/// The threads that load; `None` if the machine gives none.
fn loading_threads() -> Option<&'static tokio::runtime::Runtime> {
    static THREADS: LazyLock<Option<tokio::runtime::Runtime>> = LazyLock::new(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(LOADING_THREADS).thread_name("models").enable_all().build().ok()
    });
    THREADS.as_ref()
}

impl ModelCache {
    /// A cache that keeps models of this many bytes; the newest is kept even if it has more.
    pub fn with_budget(budget_bytes: usize) -> Self {
        Self::opening_with(budget_bytes, of_its_type)
    }

    fn opening_with(budget_bytes: usize, open: OpenModel) -> Self {
        let inner = Inner { stores: Stores::default(), open, budget_bytes: AtomicUsize::new(budget_bytes), state: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Changes how many bytes of models are kept, from the next load on.
    pub fn set_budget(&self, bytes: usize) {
        self.inner.budget_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Loads models of a warehouse with the warehouse's own credentials. Those of other warehouses are loaded with those of the process.
    pub fn learn_stores(&self, warehouse: &Warehouse) {
        self.inner.stores.register_store(warehouse.store_url().as_ref(), warehouse.store());
    }

    /// The model, loaded if it is not here.
    ///
    /// # Errors
    /// Its file is missing, damaged or cannot be read.
    pub async fn load(&self, reference: &ModelReference) -> Loaded {
        match self.find_or_begin(reference) {
            Found::Here(model) => Ok(model),
            Found::Loading(loading) => loading.await,
        }
    }

    /// The same for callers that cannot await; the thread waits.
    ///
    /// # Errors
    /// As [`ModelCache::load`].
    pub fn load_blocking(&self, reference: &ModelReference) -> Loaded {
        match self.find_or_begin(reference) {
            Found::Here(model) => Ok(model),
            // A thread of its own: the one that asks may be within another executor of futures.
            Found::Loading(loading) => match std::thread::spawn(move || futures::executor::block_on(loading)).join() {
                Ok(loaded) => loaded,
                Err(_) => Err(Error::new(Blame::Bug, format!("loading {reference} ended without a result")).into()),
            },
        }
    }

    /// Begins to load the model if it is not here, and does not wait.
    pub fn prime(&self, reference: &ModelReference) {
        let _ = self.find_or_begin(reference);
    }

    /// Gives out a model that has no file, as long as who lends it keeps it: what a dry run would have trained.
    pub fn lend(&self, reference: &ModelReference, model: &Arc<dyn Model>) {
        let mut state = self.inner.state.lock();
        state.lent.retain(|_, lent| lent.strong_count() > 0);
        state.lent.insert(reference.checksum.clone(), Arc::downgrade(model));
    }

    /// How many bytes the models that are kept take.
    pub fn bytes(&self) -> usize {
        self.inner.state.lock().bytes
    }

    /// Whether the model is in memory now.
    pub fn holds(&self, reference: &ModelReference) -> bool {
        self.inner.state.lock().models.contains_key(&reference.checksum)
    }

    fn find_or_begin(&self, reference: &ModelReference) -> Found {
        let mut state = self.inner.state.lock();
        if let Some(model) = state.find(&reference.checksum) {
            return Found::Here(model);
        }
        if let Some(loading) = state.loading.get(&reference.checksum) {
            return Found::Loading(loading.clone());
        }
        let loading = self.begin(reference);
        state.loading.insert(reference.checksum.clone(), loading.clone());
        Found::Loading(loading)
    }

    fn begin(&self, reference: &ModelReference) -> Shared<BoxFuture<'static, Loaded>> {
        let Some(threads) = loading_threads() else {
            let error = Error::new(Blame::Resources, "no thread could be started to load models");
            return futures::future::ready(Err(error.into())).boxed().shared();
        };
        let (inner, reference) = (Arc::clone(&self.inner), reference.clone());
        let task = threads.spawn(async move {
            let loaded = read(&inner.stores, inner.open, &reference).await;
            inner.finish(&reference, &loaded);
            loaded
        });
        let ended = task.map(|ended| match ended {
            Ok(loaded) => loaded,
            Err(error) => Err(Error::new(Blame::Bug, format!("loading a model ended: {error}")).into()),
        });
        ended.boxed().shared()
    }
}

enum Found {
    Here(Arc<dyn Model>),
    Loading(Shared<BoxFuture<'static, Loaded>>),
}

impl Inner {
    /// A load that failed is forgotten, so that the next one tries anew.
    fn finish(&self, reference: &ModelReference, loaded: &Loaded) {
        let mut state = self.state.lock();
        state.loading.remove(&reference.checksum);
        if let Ok(model) = loaded {
            state.keep(&reference.checksum, model, self.budget_bytes.load(Ordering::Relaxed));
        }
    }
}

impl State {
    fn find(&mut self, checksum: &str) -> Option<Arc<dyn Model>> {
        self.uses += 1;
        if let Some(lent) = self.lent.get(checksum).and_then(Weak::upgrade) {
            return Some(lent);
        }
        let entry = self.models.get_mut(checksum)?;
        entry.used = self.uses;
        Some(Arc::clone(&entry.model))
    }

    fn keep(&mut self, checksum: &str, model: &Arc<dyn Model>, budget: usize) {
        self.uses += 1;
        let entry = Entry { model: Arc::clone(model), bytes: model.bytes(), used: self.uses };
        self.bytes += entry.bytes;
        if let Some(before) = self.models.insert(checksum.to_string(), entry) {
            self.bytes -= before.bytes;
        }
        while self.bytes > budget && self.models.len() > 1 {
            let oldest = self.models.iter().min_by_key(|(_, entry)| entry.used).map(|(checksum, _)| checksum.clone());
            let Some(gone) = oldest.and_then(|oldest| self.models.remove(&oldest)) else { return };
            self.bytes -= gone.bytes;
        }
    }
}

/// Reads and verifies a model's file.
async fn read(stores: &Stores, open: OpenModel, reference: &ModelReference) -> Loaded {
    let url = &reference.url;
    let wrong = |e: &dyn std::fmt::Display| Error::new(Blame::Storage, format!("the file of {reference}, {url}, is no URL: {e}"));
    let parsed = Url::parse(url).map_err(|e| wrong(&e))?;
    let path = Path::from_url_path(parsed.path()).map_err(|e| wrong(&e))?;
    let store = stores.get_store(&parsed).map_err(Error::from)?;
    let bytes = fetch(store.as_ref(), &path, reference).await?;
    let bytes = bytes.as_ref();
    let found = model_file::checksum(bytes);
    if found != reference.checksum {
        let problem =
            format!("the file of {reference} is damaged: {url} has the SHA-256 {found}, and {} was registered", reference.checksum);
        return Err(Error::new(Blame::Storage, problem).hint("restore the file, or train the model anew").into());
    }
    let of_model = |error: orrery_models::ModelError| {
        let error = Error::from(error);
        Error { message: format!("{reference} ({url}): {}", error.message), ..error }
    };
    let file = ModelFile::from_bytes(bytes).map_err(of_model)?;
    Ok(open(&file).map_err(of_model)?)
}

fn of_its_type(file: &ModelFile) -> orrery_models::Result<Arc<dyn Model>> {
    model_type(&file.model_type)?.read(file)
}

async fn fetch(store: &dyn ObjectStore, path: &Path, reference: &ModelReference) -> Result<impl AsRef<[u8]>, LoadError> {
    let read = async { store.get(path).await?.bytes().await };
    read.await.map_err(|error| match error {
        object_store::Error::NotFound { .. } => {
            let problem = format!("the file of {reference} is missing: {}", reference.url);
            Error::new(Blame::Storage, problem).hint("restore the file, or drop the version and train the model anew").into()
        }
        other => {
            let error = Error::new(Blame::Storage, format!("the file of {reference} cannot be read: {other}"));
            LoadError { error: Arc::new(error), may_pass: true }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::scoring::testing::{model, stored};
    use std::sync::atomic::AtomicUsize;

    #[tokio::test]
    async fn a_model_is_loaded_once_however_many_ask() {
        static OPENED: AtomicUsize = AtomicUsize::new(0);
        let open: OpenModel = |file| {
            OPENED.fetch_add(1, Ordering::Relaxed);
            // Long enough for all to ask while it is loaded.
            std::thread::sleep(std::time::Duration::from_millis(50));
            of_its_type(file)
        };
        let dir = tempfile::tempdir().unwrap();
        let (cache, reference) = (ModelCache::opening_with(usize::MAX, open), stored(dir.path(), 0.0));
        cache.prime(&reference);
        let loads = (0..8).map(|_| {
            let (cache, reference) = (cache.clone(), reference.clone());
            tokio::task::spawn_blocking(move || cache.load_blocking(&reference).unwrap())
        });
        let models: Vec<_> = futures::future::join_all(loads).await.into_iter().map(Result::unwrap).collect();
        let last = cache.load(&reference).await.unwrap();
        assert!(models.iter().all(|model| Arc::ptr_eq(model, &last)));
        assert_eq!(OPENED.load(Ordering::Relaxed), 1);
        assert_eq!(cache.bytes(), last.bytes());
    }

    #[tokio::test]
    async fn the_least_recently_used_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = [0.0, 1.0, 2.0].map(|shift| stored(dir.path(), shift));
        let cache = ModelCache::with_budget(2 * model(0.0).bytes());
        for reference in [&a, &b, &a, &c] {
            cache.load(reference).await.unwrap();
        }
        assert_eq!([&a, &b, &c].map(|reference| cache.holds(reference)), [true, false, true]);
        assert_eq!(cache.bytes(), 2 * model(0.0).bytes());
        // One that is larger than the budget is kept until the next one comes.
        cache.set_budget(1);
        cache.load(&b).await.unwrap();
        assert_eq!([&a, &b, &c].map(|reference| cache.holds(reference)), [false, true, false]);
    }

    #[tokio::test]
    async fn a_lent_model_is_there_as_long_as_it_is_kept() {
        let cache = ModelCache::with_budget(usize::MAX);
        let reference = ModelReference { name: "dev.default.m".into(), version: 1, url: String::new(), checksum: "planned".into() };
        let lent = model(0.0);
        cache.lend(&reference, &lent);
        assert!(Arc::ptr_eq(&cache.load(&reference).await.unwrap(), &lent));
        assert_eq!(cache.bytes(), 0);
        drop(lent);
        assert!(cache.load(&reference).await.is_err());
    }

    #[tokio::test]
    async fn damage_is_told_and_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, reference) = (ModelCache::with_budget(usize::MAX), stored(dir.path(), 0.0));
        let path = Url::parse(&reference.url).unwrap().to_file_path().unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let error = Error::from(cache.load(&reference).await.err().unwrap());
        assert_eq!(error.blame, Blame::Storage);
        for part in [reference.url.as_str(), reference.checksum.as_str(), &model_file::checksum(&damaged), "dev.default.m version 1"] {
            assert!(error.message.contains(part), "{}", error.message);
        }
        std::fs::remove_file(&path).unwrap();
        let error = Error::from(cache.load_blocking(&reference).err().unwrap());
        assert!(error.message.contains("is missing"), "{}", error.message);
        std::fs::write(&path, &whole).unwrap();
        assert!(cache.load(&reference).await.is_ok());
    }

    #[tokio::test]
    async fn what_the_store_does_not_answer_may_pass() {
        let reference =
            ModelReference { name: "dev.default.m".into(), version: 1, url: "ftp://nowhere/m.safetensors".into(), checksum: "00".into() };
        let error = ModelCache::with_budget(1).load(&reference).await.err().unwrap();
        assert!(!matches!(DataFusionError::from(error), DataFusionError::IoError(_)));
        let passing = LoadError { error: Arc::new(Error::new(Blame::Storage, "timed out")), may_pass: true };
        assert!(matches!(DataFusionError::from(passing), DataFusionError::IoError(_)));
    }
}
