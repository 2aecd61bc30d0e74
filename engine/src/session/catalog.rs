//! Names → relations for DataFusion's planner: the session's own names first, then the warehouse's.
//!
//! DataFusion asks for catalogs and schemas without waiting, and for tables with waiting; so catalogs and schemas always "exist" here and
//! every question is settled when the table is asked for, by one look into the warehouse.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use datafusion::catalog::TableProvider;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::Query;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use orrery_lakehouse::{Relation, ScanOptions, Table, TableName, Warehouse};
use parking_lot::RwLock;

use super::access::{Guard, Verdict};
use super::options::restore_meaning;
use super::planned_models::PlannedModels;
use super::reliance::{Epoch, Reliance};
use super::{information_schema, parameters, planning, view_provider};
use crate::access::Securable;
use crate::dialect::{self, Name, Statement};
use crate::models::Registry;
use crate::planner::barrier;
use crate::{Error, Result};

/// The schema that every catalog has.
pub(crate) const DEFAULT_SCHEMA: &str = "default";

/// How deep views may stand on views.
const VIEW_DEPTH: usize = 32;

tokio::task_local! {
    /// The views being planned, outermost first.
    static VIEWS: Vec<String>;
    /// Set while a stored view is planned, which knows nothing of the session's temporary names.
    static STORED: ();
    /// The session's names as they were when the statement began.
    static AT_BEGIN: Arc<AtBegin>;
}

/// What names stand for throughout one statement. Others of the same session may run beside it and change that, between the moment that a right is asked for
/// and the one that it is used.
struct AtBegin {
    epoch: Epoch,
    catalog: String,
    schema: String,
    temporary: HashMap<String, Temporary>,
    /// What the statement's plan rests on besides.
    reliance: Reliance,
}

/// A query kept under a name, with the names it resolves against.
#[derive(Debug, Clone)]
pub(crate) struct StoredQuery {
    pub query: Box<Query>,
    pub columns: Vec<String>,
    pub catalog: String,
    pub schema: String,
}

/// What a session-owned name stands for.
#[derive(Debug, Clone)]
pub(crate) enum Temporary {
    View(StoredQuery),
    Rows(Arc<dyn TableProvider>),
}

#[derive(Default)]
struct Own {
    /// Another one after every change of what the session has of its own, its settings and variables among it.
    epoch: Epoch,
    catalog: String,
    schema: String,
    /// Temporary views and caches by unqualified name.
    temporary: HashMap<String, Temporary>,
    /// Cached copies of stored relations.
    cached: HashMap<TableName, Arc<dyn TableProvider>>,
    /// Relations that a dry run would have made.
    planned: HashMap<TableName, Arc<dyn TableProvider>>,
    /// Schemas that a dry run would have made.
    planned_schemas: HashSet<(String, String)>,
    /// Scans of one statement: files, table versions.
    scans: HashMap<String, Arc<dyn TableProvider>>,
}

/// All names that a session can see.
pub(crate) struct Names {
    warehouse: Warehouse,
    registry: Registry,
    /// Models that a dry run would have made.
    pub(super) planned_models: PlannedModels,
    guard: Guard,
    own: RwLock<Own>,
    state: OnceLock<Weak<RwLock<SessionState>>>,
    scan_options: OnceLock<ScanOptions>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

impl Names {
    pub(crate) fn new(warehouse: Warehouse, catalog: &str, guard: Guard) -> Self {
        let own = Own { catalog: catalog.to_string(), schema: DEFAULT_SCHEMA.to_string(), ..Own::default() };
        let registry = Registry::new(warehouse.clone());
        Self {
            warehouse,
            registry,
            planned_models: PlannedModels::default(),
            guard,
            own: RwLock::new(own),
            state: OnceLock::new(),
            scan_options: OnceLock::new(),
        }
    }

    /// Views are planned with the session's functions and settings; the session owns us, so the way back is weak.
    pub(crate) fn attach(&self, context: &SessionContext) {
        let _ = self.state.set(context.state_weak_ref());
        let view_types = context.state().config_options().execution.parquet.schema_force_view_types;
        let _ = self.scan_options.set(ScanOptions { view_types });
    }

    /// The state of the session whose names these are.
    pub(super) fn state(&self) -> Option<&Weak<RwLock<SessionState>>> {
        self.state.get()
    }

    /// A stored table as queries read it: like Parquet files, with strings as views or not.
    pub(crate) fn scan(&self, table: &Arc<Table>) -> Arc<dyn TableProvider> {
        table.provider_with(self.scan_options.get().copied().unwrap_or_default())
    }

    pub(crate) fn warehouse(&self) -> &Warehouse {
        &self.warehouse
    }

    /// Who may see what.
    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The models of the warehouse.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Carries out what belongs to a statement, with the names and the rights of this moment.
    ///
    /// # Errors
    /// The rights cannot be read, or the user may not come in any more; and what the work says.
    pub(crate) async fn for_statement<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        if AT_BEGIN.try_with(|_| ()).is_ok() {
            return self.guard.for_statement(work).await;
        }
        let at_begin = {
            let own = self.own.read();
            AtBegin {
                epoch: own.epoch,
                catalog: own.catalog.clone(),
                schema: own.schema.clone(),
                temporary: own.temporary.clone(),
                reliance: Reliance::default(),
            }
        };
        AT_BEGIN.scope(Arc::new(at_begin), self.guard.for_statement(work)).await
    }

    /// Which names, settings and variables the session has: of a statement, when it began.
    pub(super) fn epoch(&self) -> Epoch {
        AT_BEGIN.try_with(|at_begin| at_begin.epoch).unwrap_or_else(|_| self.own.read().epoch)
    }

    /// Says that something of the session's own has changed, after it has.
    pub(super) fn begin_epoch(&self) {
        self.own.write().epoch = Epoch::next();
    }

    /// What the present statement's plan rests on, to be noted and asked for; `None` outside of a statement.
    pub(super) fn with_reliance<T>(&self, of: impl FnOnce(&Reliance) -> T) -> Option<T> {
        AT_BEGIN.try_with(|at_begin| of(&at_begin.reliance)).ok()
    }

    /// Changes what the session has of its own.
    fn change<T>(&self, change: impl FnOnce(&mut Own) -> T) -> T {
        let mut own = self.own.write();
        own.epoch = Epoch::next();
        change(&mut own)
    }

    /// Current catalog and schema: of a statement, as they were when it began.
    pub(crate) fn current(&self) -> (String, String) {
        AT_BEGIN.try_with(|at_begin| (at_begin.catalog.clone(), at_begin.schema.clone())).unwrap_or_else(|_| {
            let own = self.own.read();
            (own.catalog.clone(), own.schema.clone())
        })
    }

    pub(crate) fn set_current(&self, catalog: &str, schema: &str) {
        self.change(|own| {
            own.catalog = catalog.to_string();
            own.schema = schema.to_string();
        });
    }

    /// The full name that `name` stands for.
    pub(crate) fn resolve(&self, name: &Name) -> TableName {
        let (catalog, schema) = self.current();
        match name.parts.as_slice() {
            [c, s, t] => TableName::new(c, s, t),
            [s, t] => TableName::new(catalog, s, t),
            parts => TableName::new(catalog, schema, parts.last().map_or("", String::as_str)),
        }
    }

    /// As [`Names::resolve`], against the current names of a planning state (those of a view while it is planned).
    pub(crate) fn resolve_in(&self, name: &Name, state: &SessionState) -> TableName {
        let options = &state.config_options().catalog;
        match name.parts.as_slice() {
            [c, s, t] => TableName::new(c, s, t),
            [s, t] => TableName::new(&options.default_catalog, s, t),
            parts => TableName::new(&options.default_catalog, &options.default_schema, parts.last().map_or("", String::as_str)),
        }
    }

    /// The session-owned relation of an unqualified name.
    pub(crate) fn temporary(&self, name: &Name) -> Option<Temporary> {
        match name.parts.as_slice() {
            [single] => AT_BEGIN
                .try_with(|at_begin| at_begin.temporary.get(single).cloned())
                .unwrap_or_else(|_| self.own.read().temporary.get(single).cloned()),
            _ => None,
        }
    }

    pub(crate) fn temporary_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.own.read().temporary.keys().cloned().collect();
        names.sort();
        names
    }

    pub(crate) fn put_temporary(&self, name: &str, temporary: Temporary) {
        self.change(|own| own.temporary.insert(name.to_string(), temporary));
    }

    pub(crate) fn drop_temporary(&self, name: &str) -> Option<Temporary> {
        self.change(|own| own.temporary.remove(name))
    }

    pub(crate) fn put_cached(&self, name: TableName, rows: Arc<dyn TableProvider>) {
        self.change(|own| own.cached.insert(name, rows));
    }

    /// Forgets the cached copy; a write to the table makes it stale.
    pub(crate) fn drop_cached(&self, name: &TableName) -> bool {
        self.change(|own| own.cached.remove(name)).is_some()
    }

    pub(crate) fn put_planned(&self, name: TableName, rows: Arc<dyn TableProvider>) {
        self.change(|own| own.planned.insert(name, rows));
    }

    pub(crate) fn planned(&self, name: &TableName) -> Option<Arc<dyn TableProvider>> {
        self.own.read().planned.get(name).cloned()
    }

    pub(crate) fn plan_schema(&self, catalog: &str, schema: &str) {
        self.change(|own| own.planned_schemas.insert((catalog.to_string(), schema.to_string())));
    }

    pub(crate) fn schema_planned(&self, catalog: &str, schema: &str) -> bool {
        self.own.read().planned_schemas.contains(&(catalog.to_string(), schema.to_string()))
    }

    /// Forgets all cached copies of which `gone` is true.
    pub(crate) fn forget_cached(&self, gone: impl Fn(&TableName) -> bool) {
        self.change(|own| own.cached.retain(|name, _| !gone(name)));
    }

    /// Gives a scan a name that no user can write or guess, since it may have been opened with another's rights; [`Names::drop_scans`] forgets it when the
    /// statement is planned.
    pub(crate) fn put_scan(&self, provider: Arc<dyn TableProvider>) -> String {
        let name = format!("\u{1}{}", uuid::Uuid::new_v4());
        self.own.write().scans.insert(name.clone(), provider);
        name
    }

    pub(crate) fn drop_scans(&self, names: &[String]) {
        let mut own = self.own.write();
        for name in names {
            own.scans.remove(name);
        }
    }

    /// The relation behind a full name, or `None`.
    pub(crate) async fn relation(&self, name: &TableName) -> Result<Option<Arc<dyn TableProvider>>> {
        let (found, cached) = {
            let own = self.own.read();
            let scan = own.scans.get(&name.table).cloned();
            // What a view or a row filter reads is what there is, not what the reader keeps of it or has only tried out.
            if self.guard.plans_for_an_owner() {
                (scan, None)
            } else {
                (scan.or_else(|| own.planned.get(name).cloned()), own.cached.get(name).cloned())
            }
        };
        // A copy is not read for longer than the table itself could be.
        match cached.map(|provider| (self.guard.may_read(name), provider)) {
            None => {}
            Some((Verdict::Allowed, provider)) => {
                self.note_policies(name);
                return Ok(Some(provider));
            }
            Some((Verdict::Hidden, _)) => return Ok(None),
            Some((Verdict::Refused(error), _)) => return Err(error),
        }
        if found.is_some() {
            self.with_reliance(Reliance::note_unrepeatable);
            return Ok(found);
        }
        let own = {
            let own = self.own.read();
            let here = own.catalog == name.catalog && own.schema == name.schema;
            if here && STORED.try_with(|()| ()).is_err() { own.temporary.get(&name.table).cloned() } else { None }
        };
        match own {
            Some(Temporary::Rows(rows)) => return Ok(Some(rows)),
            Some(Temporary::View(stored)) => return self.view(&name.table, stored).await.map(Some),
            None => {}
        }
        self.stored_relation(name).await
    }

    /// The table or stored view behind a full name, whatever the session has under that name.
    pub(crate) async fn stored_relation(&self, name: &TableName) -> Result<Option<Arc<dyn TableProvider>>> {
        if name.schema == information_schema::NAME && self.catalog_exists(&name.catalog).await? {
            self.with_reliance(Reliance::note_unrepeatable);
            return information_schema::relation(self, name).await.map(Some);
        }
        let Some(relation) = self.readable_relation(name).await? else { return Ok(None) };
        match relation {
            Relation::Table(table) => self.protect(name, self.scan(&table)).await.map(Some),
            Relation::View(definition) => {
                let Statement::Query(query) = parse_view(&definition.sql)? else {
                    return Err(Error::data(format!("the view {name} does not hold a query")));
                };
                let stored = StoredQuery { query, columns: definition.columns, catalog: definition.catalog, schema: definition.schema };
                let owner = self.guard.rights().owner(&Securable::table(name)).map(str::to_string).or(definition.created_by);
                self.owned_view(name, stored, owner).await.map(Some)
            }
        }
    }

    /// The table or stored view of a name, if there is one and whoever acts may know of it.
    ///
    /// # Errors
    /// He may know of it and not read it.
    pub(crate) async fn readable_relation(&self, name: &TableName) -> Result<Option<Relation>> {
        match self.warehouse.relation(name).await? {
            None => Ok(None),
            Some(relation) => match self.guard.may_read(name) {
                Verdict::Allowed => {
                    self.with_reliance(|reliance| reliance.note(name, &relation));
                    Ok(Some(relation))
                }
                Verdict::Hidden => Ok(None),
                Verdict::Refused(error) => Err(error),
            },
        }
    }

    /// A stored view, planned with its owner's rights.
    async fn owned_view(&self, name: &TableName, stored: StoredQuery, owner: Option<String>) -> Result<Arc<dyn TableProvider>> {
        let borrowed = self.guard.borrowed();
        let full = name.to_string();
        let planned = self.guard.as_owner(owner.as_deref(), STORED.scope((), self.view_plan(&full, stored))).await;
        let is_others = !self.guard.is_unrestricted() && owner.as_deref().is_none_or(|owner| !self.guard.reader_is(owner));
        let plan = planned.map_err(|error| {
            if !is_others || self.guard.reader_is_administrator() {
                return error;
            }
            // What is wrong with it may tell of what its reader may not know.
            tracing::info!(view = %full, %error, "a view does not work any more");
            let problem =
                format!("the view {full} does not work any more: what it reads is gone, has changed, or is not its owner's to read");
            Error { blame: error.blame, ..Error::sql(problem).hint("whoever owns it has to look at it") }
        })?;
        if self.guard.borrowed() == borrowed {
            return Ok(view_provider::of_plan(plan));
        }
        self.guard.note_withheld(format!("what the view {full} reads"));
        Ok(view_provider::of_plan(barrier::over(plan)))
    }

    async fn view(&self, name: &str, stored: StoredQuery) -> Result<Arc<dyn TableProvider>> {
        Ok(view_provider::of_plan(self.view_plan(name, stored).await?))
    }

    async fn view_plan(&self, name: &str, stored: StoredQuery) -> Result<LogicalPlan> {
        let mut stack = VIEWS.try_with(Clone::clone).unwrap_or_default();
        if stack.len() >= VIEW_DEPTH || stack.iter().any(|v| v == name) {
            return Err(Error::sql(format!("the view {name} stands on itself: {} → {name}", stack.join(" → "))));
        }
        stack.push(name.to_string());
        VIEWS.scope(stack, self.plan_view(&stored)).await.map_err(|e| {
            // Positions inside the view's text mean nothing to the reader of the statement.
            Error { position: None, message: format!("in view {name}: {}", e.message), ..e }
        })
    }

    /// Plans the query of a row filter or mask, which may read other tables but not, in a circle, its own.
    pub(crate) async fn plan_policy(&self, name: &str, stored: &StoredQuery) -> Result<LogicalPlan> {
        let mut stack = VIEWS.try_with(Clone::clone).unwrap_or_default();
        if stack.len() >= VIEW_DEPTH || stack.iter().any(|policy| policy == name) {
            return Err(Error::sql(format!("{name} stands on itself")));
        }
        stack.push(name.to_string());
        VIEWS.scope(stack, STORED.scope((), self.plan_view(stored))).await
    }

    /// Plans a query that is to be stored.
    pub(crate) async fn plan_stored(&self, stored: &StoredQuery) -> Result<LogicalPlan> {
        STORED.scope((), self.plan_view(stored)).await
    }

    /// True if a temporary name hides this table or view.
    pub(crate) fn is_hidden(&self, name: &TableName) -> bool {
        let own = self.own.read();
        own.catalog == name.catalog && own.schema == name.schema && own.temporary.contains_key(&name.table)
    }

    /// Plans a stored query with its own current catalog and schema. Boxed: views stand on views.
    pub(crate) fn plan_view<'a>(&'a self, stored: &'a StoredQuery) -> BoxFuture<'a, Result<LogicalPlan>> {
        async move {
            let state = self.state.get().and_then(Weak::upgrade).ok_or_else(|| Error::new(crate::Blame::Bug, "the session has ended"))?;
            let mut state = state.read().clone();
            let options = state.config_mut().options_mut();
            options.catalog.default_catalog.clone_from(&stored.catalog);
            options.catalog.default_schema.clone_from(&stored.schema);
            if STORED.try_with(|()| ()).is_ok() {
                restore_meaning(options);
            }
            let plan = parameters::without("a view", planning::plan_query(&state, self, stored.query.clone())).await?;
            planning::rename_columns(plan, &stored.columns)
        }
        .boxed()
    }
}

/// Parses the text of a stored view.
pub(crate) fn parse_view(sql: &str) -> Result<Statement> {
    let mut statements = dialect::split(sql)?;
    if statements.len() != 1 {
        return Err(Error::data("a view must hold exactly one query"));
    }
    dialect::parse(&statements.remove(0).tokens)
}
