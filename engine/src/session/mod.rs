//! A session: whose names resolve against which catalog and schema, with its variables, temporary views and caches. It carries out
//! statements; how a plan runs is the [`Backend`]'s business.

mod access;
pub mod analyze;
mod assert;
mod backend;
mod bytes_read;
mod cache;
mod catalog;
mod catalog_providers;
mod compute_once;
mod create_model;
mod csv_headers;
mod describe;
mod describe_statement;
mod diagnose;
mod execute;
mod explain;
mod explain_model;
mod export;
mod file_listing;
mod files;
mod functions;
mod information_schema;
mod ingest;
mod insert;
mod learn_preparation;
mod listing;
mod models;
mod named_models;
mod namespaces;
mod number_rows;
mod options;
mod parameters;
mod physical;
mod planned_models;
mod planning;
mod prepared;
mod progress;
mod relations;
mod reliance;
mod rows;
mod runtime;
mod scalar_calls;
mod scratch;
mod show;
mod spare_state;
mod summarize;
mod system_rows;
mod timestamp_types;
mod train;
mod types;
mod vacuum;
mod view_provider;
mod views;
mod write;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use orrery_lakehouse::Warehouse;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

pub use crate::models::live::TrainingProgress;
pub use backend::{Backend, InProcess, Workers};
pub use bytes_read::{bytes_read, source_bytes};
pub use describe_statement::Described;
pub use execute::{Mode, Outcome};
pub use functions::Function;
pub use ingest::{IfExists, Ingest};
pub use options::SessionOptions;
pub use parameters::Parameters;
pub use prepared::PreparedStatement;
pub use progress::{Progress, Reading, Tasks, Tracker};
pub use runtime::SharedRuntime;
pub(crate) use runtime::machine_memory_bytes;
pub(crate) use system_rows::SYSTEM;
pub use system_rows::append_system_rows;
pub use types::sql_type_name;

use crate::access::{Access, Principal};
use crate::dialect::{Variable, Variables};
use crate::{Error, Result, planner};
use catalog::Names;

/// One user's session on a warehouse.
pub struct Session {
    pub(crate) warehouse: Warehouse,
    pub(crate) names: Arc<Names>,
    pub(crate) context: SessionContext,
    pub(crate) backend: Arc<dyn Backend>,
    variables: Mutex<Variables>,
    scratch: scratch::Scratch,
    /// What a common subplan has to read at least to be computed once.
    least_common_bytes: AtomicU64,
    cancel: Mutex<CancellationToken>,
    statement_key: Mutex<Option<String>>,
    /// What the server calls it.
    session_name: Option<String>,
    spare_state: spare_state::SpareState,
}

impl Session {
    /// Opens a session on the embedded engine.
    ///
    /// # Errors
    /// A warehouse location that cannot be understood, a catalog that does not exist, or a scratch directory that cannot be used.
    pub async fn open(options: SessionOptions) -> Result<Self> {
        let warehouse = Warehouse::open(&options.warehouse, options.storage_options.clone()).await?;
        Self::open_on(warehouse, options, Arc::new(InProcess)).await
    }

    /// Opens a session on a warehouse that is open already, whose plans another backend runs.
    ///
    /// # Errors
    /// A catalog that does not exist, or a scratch directory that cannot be used.
    pub async fn open_on(warehouse: Warehouse, options: SessionOptions, backend: Arc<dyn Backend>) -> Result<Self> {
        // Which catalogs there are is not for everybody: who names one that does not exist is told when he uses it.
        if options.principal.is_none() && !warehouse.catalog_exists(&options.catalog).await? {
            let known = warehouse.catalogs().await?.join(", ");
            return Err(Error::sql(format!("the catalog '{}' does not exist", options.catalog)).hint(format!("catalogs are: {known}")));
        }
        let runtime = runtime::of(&options)?;
        warehouse.register_with(&runtime);
        let principal = options.principal;
        let (runtime, pool) = if principal.is_some() { runtime::of_user(&runtime) } else { (runtime, None) };
        let access = principal.as_ref().map_or_else(|| Access::open(warehouse.clone()), |principal| principal.access().clone());
        let guard = access::Guard::new(access, principal, options.until_users, pool);
        let names = Arc::new(Names::new(warehouse.clone(), &options.catalog, guard));
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(&options.catalog, catalog::DEFAULT_SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(false);
        config.options_mut().sql_parser.collect_spans = true;
        if let Some(threads) = options.threads {
            config = config.with_target_partitions(threads);
        }
        let catalogs: Arc<dyn datafusion::catalog::CatalogProviderList> = Arc::clone(&names) as _;
        let builder = SessionStateBuilder::new()
            .with_default_features()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_catalog_list(catalogs)
            .with_type_planner(Arc::new(timestamp_types::TimestampTypes));
        let context = SessionContext::new_with_state(backend.configure(planner::register(builder)).build());
        names.attach(&context);
        let mut variables = Variables::default();
        for (name, value) in options.variables {
            variables.give(&name, value);
        }
        Ok(Self {
            warehouse,
            names,
            context,
            backend,
            variables: Mutex::new(variables),
            scratch: scratch::Scratch::new(options.scratch_url),
            least_common_bytes: AtomicU64::new(compute_once::LEAST_BYTES),
            cancel: Mutex::new(CancellationToken::new()),
            statement_key: Mutex::default(),
            session_name: options.session_name,
            spare_state: spare_state::SpareState::default(),
        })
    }

    /// The warehouse it works on.
    pub fn warehouse(&self) -> &Warehouse {
        &self.warehouse
    }

    /// Whom it acts for; `None` is the embedded engine, which may do everything.
    pub fn principal(&self) -> Option<&Principal> {
        self.names.guard().principal()
    }

    /// Carries out work of a caller's own on this session with the rights of its user as they are now. Everything that a session's own methods do is within
    /// such a frame already; whoever plans by [`Session::context`] puts the planning into one.
    ///
    /// # Errors
    /// The user may not come in any more, or the rights cannot be read; and what the work says.
    pub async fn with_rights<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.names.for_statement(work).await
    }

    /// DataFusion's session below, for callers that build plans themselves.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Current catalog and schema.
    pub fn current(&self) -> (String, String) {
        self.names.current()
    }

    /// A copy of the variables in force.
    pub fn variables(&self) -> Variables {
        self.variables.lock().clone()
    }

    /// Sets a script variable as `SET` does; returns whether it took effect.
    pub fn set_variable(&self, name: &str, value: Variable) -> bool {
        let took_effect = self.variables.lock().set(name, value);
        self.names.begin_epoch();
        took_effect
    }

    /// Names the statement that comes next, the same whenever it is tried again: a write that was committed under that name is recognised and not done
    /// twice.
    pub fn set_statement_key(&self, key: Option<String>) {
        *self.statement_key.lock() = key;
    }

    pub(crate) fn statement_key(&self) -> Option<String> {
        self.statement_key.lock().clone()
    }

    /// Ends the session: its caches are removed. A session that is merely dropped leaves those on shared storage behind.
    pub async fn close(&self) {
        self.scratch.remove().await;
    }

    /// Stops the statement that runs now; it ends with [`Blame::Interrupted`](crate::Blame::Interrupted) and leaves its tables as they
    /// were. So do all statements after it, until [`Session::resume`].
    pub fn cancel(&self) {
        self.cancel.lock().cancel();
    }

    /// Lets statements run again after [`Session::cancel`].
    pub fn resume(&self) {
        let mut token = self.cancel.lock();
        if token.is_cancelled() {
            *token = CancellationToken::new();
        }
    }

    /// The token that stops statements.
    pub(crate) fn cancellation(&self) -> CancellationToken {
        self.cancel.lock().clone()
    }

    /// Everything that can be completed in a shell: catalogs, schemas, relations of the current catalog, temporary names, functions.
    pub async fn completions(&self) -> Vec<String> {
        let mut words: BTreeSet<String> = BTreeSet::new();
        let (catalog, current_schema) = self.current();
        words.extend(self.list_catalogs().await.unwrap_or_default());
        for schema in self.list_schemas(&catalog).await.unwrap_or_default() {
            for relation in self.list_relations(&catalog, &schema).await.unwrap_or_default() {
                if schema == current_schema {
                    words.insert(relation.name.clone());
                }
                words.insert(format!("{schema}.{}", relation.name));
            }
            words.insert(schema);
        }
        words.extend(self.names.temporary_names());
        words.extend(self.functions().into_iter().map(|function| function.name));
        words.into_iter().collect()
    }
}
