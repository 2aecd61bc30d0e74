//! A small Delta table in which the program keeps what it knows (models, rights): read whole, cached by version, changed in commits that only land on the
//! version they were worked out from.

pub(crate) mod columns;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::SchemaRef;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::physical_plan;
use datafusion::prelude::SessionContext;
use orrery_lakehouse::{
    Error as LakehouseError, Relation, ScanOptions, Table, TableName, Warehouse, WriteMode, WriteOutcome, WriteRequest,
};
use parking_lot::Mutex;

use crate::session::SYSTEM;
use crate::{Blame, Error, Result};

/// Files from which on a commit writes the whole table anew.
const FILES_MAX: u64 = 32;
/// Times that a change is tried while others change the same table.
pub(crate) const ATTEMPTS: u32 = 200;
const RETRY_MS_MAX: u64 = 400;

/// All rows of a version of the table.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    /// `None` while the table does not exist.
    version: Option<u64>,
    files: u64,
    /// In no particular order.
    pub batch: RecordBatch,
}

impl Rows {
    /// Whether these are the rows of the same version of the same table.
    pub(crate) fn are(&self, other: &Self) -> bool {
        self.version == other.version
    }
}

/// What a commit does.
pub(crate) enum Change {
    /// Adds rows.
    Append(RecordBatch),
    /// Puts other rows in the place of all.
    Replace(RecordBatch),
}

/// See the module documentation.
pub(crate) struct StoredTable {
    name: TableName,
    /// What its schema is for.
    purpose: &'static str,
    comment: &'static str,
    schema: SchemaRef,
    cached: Mutex<Option<Arc<Rows>>>,
    /// Changes of one process wait for each other, so that they need not meet in the log.
    turn: tokio::sync::Mutex<()>,
}

impl StoredTable {
    /// `system.<place.0>.<table>`; `place.1` says what that schema is for.
    pub(crate) fn new(place: (&str, &'static str), table: &str, comment: &'static str, schema: SchemaRef) -> Self {
        let name = TableName::new(SYSTEM, place.0, table);
        Self { name, purpose: place.1, comment, schema, cached: Mutex::new(None), turn: tokio::sync::Mutex::new(()) }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn full_name(&self) -> &TableName {
        &self.name
    }

    /// Waits until no other change of this process is on its way.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The rows of the newest version.
    ///
    /// # Errors
    /// The table is damaged, has other columns, or cannot be read.
    pub(crate) async fn read(&self, on: &Place) -> Result<Arc<Rows>> {
        let Some(table) = self.table(on).await? else {
            return Ok(Arc::new(Rows { version: None, files: 0, batch: RecordBatch::new_empty(Arc::clone(&self.schema)) }));
        };
        let cached = self.cached.lock().clone();
        if let Some(cached) = cached
            && cached.version == Some(table.version())
        {
            return Ok(cached);
        }
        let batch = self.scan(on, &table).await?;
        let rows = Arc::new(Rows { version: Some(table.version()), files: table.num_files(), batch });
        self.remember(&rows);
        Ok(rows)
    }

    /// The newest version; `None` while there is none.
    ///
    /// # Errors
    /// It is no table, is damaged, or cannot be read.
    pub(crate) async fn table(&self, on: &Place) -> Result<Option<Arc<Table>>> {
        match on.warehouse.relation(&self.name).await? {
            Some(Relation::Table(table)) => Ok(Some(table)),
            Some(Relation::View(_)) => {
                Err(Error::new(Blame::Storage, format!("{} is a view, where the program keeps a table of its own", self.name)))
            }
            None => Ok(None),
        }
    }

    async fn scan(&self, on: &Place, table: &Arc<Table>) -> Result<RecordBatch> {
        let provider = table.provider_with(ScanOptions { view_types: false });
        let state = on.context.state();
        let plan = provider.scan(&state, None, &[], None).await?;
        let batches = physical_plan::collect(plan, on.context.task_ctx()).await?;
        let batch = concat_batches(&provider.schema(), &batches)?;
        let columns = self.schema.fields().iter().map(|field| {
            let column = batch.column_by_name(field.name());
            let missing = || Error::new(Blame::Storage, format!("{} has no column '{}'", self.name, field.name()));
            Ok(cast(column.ok_or_else(missing)?, field.data_type())?)
        });
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns.collect::<Result<Vec<_>>>()?)?)
    }

    fn remember(&self, rows: &Arc<Rows>) {
        let mut cached = self.cached.lock();
        if cached.as_ref().is_none_or(|cached| cached.version < rows.version) {
            *cached = Some(Arc::clone(rows));
        }
    }

    /// Commits a change that was worked out from `base`; `false` when another change came first, and it has to be worked out anew.
    ///
    /// # Errors
    /// The table cannot be written.
    pub(crate) async fn commit(&self, on: &Place, base: &Rows, change: Change) -> Result<bool> {
        let (added, all) = match change {
            Change::Append(rows) if base.files < FILES_MAX && base.version.is_some() => {
                (Some(rows.clone()), concat_batches(&self.schema, [&base.batch, &rows])?)
            }
            Change::Append(rows) => (None, concat_batches(&self.schema, [&base.batch, &rows])?),
            Change::Replace(rows) => (None, rows),
        };
        let mode = match (base.version, &added) {
            (None, _) => WriteMode::Create,
            (Some(_), Some(_)) => WriteMode::Append,
            (Some(_), None) => WriteMode::Overwrite,
        };
        let files = if mode == WriteMode::Append { base.files } else { 0 };
        let written = added.unwrap_or_else(|| all.clone());
        match self.write(on, mode, base.version, written).await {
            Ok(outcome) => {
                self.remember(&Arc::new(Rows { version: Some(outcome.version), files: files + outcome.files, batch: all }));
                Ok(true)
            }
            Err(Lost::Race) => Ok(false),
            Err(Lost::Failed(error)) => Err(error),
        }
    }

    /// Works out a change from the newest rows and commits it, anew as long as others come first; `None` changes nothing.
    ///
    /// # Errors
    /// What working it out says, or the table cannot be written.
    pub(crate) async fn change(&self, on: &Place, mut work_out: impl FnMut(&Rows) -> Result<Option<Change>>) -> Result<()> {
        let _turn = self.turn().await;
        for attempt in 1..=ATTEMPTS {
            let base = self.read(on).await?;
            let Some(change) = work_out(&base)? else { return Ok(()) };
            if self.commit(on, &base, change).await? {
                return Ok(());
            }
            pause(attempt).await;
        }
        Err(self.too_busy())
    }

    /// Adds rows that depend on no others; when there are many files, all rows become one.
    ///
    /// # Errors
    /// The table cannot be written.
    pub(crate) async fn append(&self, on: &Place, rows: &RecordBatch) -> Result<()> {
        let _turn = self.turn().await;
        for attempt in 1..=ATTEMPTS {
            let existing = self.table(on).await?;
            let many = existing.as_ref().is_some_and(|table| table.num_files() >= FILES_MAX);
            let done = if existing.is_none() || many {
                let base = self.read(on).await?;
                self.commit(on, &base, Change::Append(rows.clone())).await?
            } else {
                match self.write(on, WriteMode::Append, None, rows.clone()).await {
                    Ok(_) => true,
                    Err(Lost::Race) => false,
                    Err(Lost::Failed(error)) => return Err(error),
                }
            };
            if done {
                return Ok(());
            }
            pause(attempt).await;
        }
        Err(self.too_busy())
    }

    /// Nobody got out of the way.
    pub(crate) fn too_busy(&self) -> Error {
        Error::new(Blame::Storage, format!("others kept changing {} at the same time", self.name)).hint("run the statement again")
    }

    async fn write(&self, on: &Place, mode: WriteMode, base: Option<u64>, rows: RecordBatch) -> Result<WriteOutcome, Lost> {
        if mode == WriteMode::Create {
            on.warehouse.create_schema(SYSTEM, &self.name.schema, true, Some(self.purpose)).await?;
        }
        let mut request = WriteRequest::new(self.name.clone(), mode, rows.schema());
        request.comment = Some(self.comment.to_string());
        request.base_version = base;
        request.has_query = false;
        request.properties = HashMap::new();
        let pending = on.warehouse.begin_write(request).await?;
        if rows.num_rows() == 0 {
            return Ok(pending.commit(Vec::new()).await?);
        }
        let schema = rows.schema();
        let written = async {
            let rows = MemorySourceConfig::try_new_exec(&[vec![rows]], schema, None)?;
            let plan = pending.write_plan(rows)?;
            Ok::<_, Error>(physical_plan::collect(plan, on.context.task_ctx()).await?)
        };
        match written.await {
            Ok(files) => Ok(pending.commit(files).await?),
            Err(error) => {
                pending.abort().await;
                Err(Lost::Failed(error))
            }
        }
    }
}

/// Why a commit did not happen.
enum Lost {
    /// Another came first.
    Race,
    Failed(Error),
}

impl From<LakehouseError> for Lost {
    fn from(error: LakehouseError) -> Self {
        match error {
            LakehouseError::Conflict(_) | LakehouseError::AlreadyExists(_) => Self::Race,
            other => Self::Failed(other.into()),
        }
    }
}

/// Waits a while that differs from one waiter to the next.
pub(crate) async fn pause(attempt: u32) {
    let longest = RETRY_MS_MAX.min(4 * u64::from(attempt));
    let random = u64::try_from(uuid::Uuid::new_v4().as_u128() & 0xffff).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(1 + longest * random / 0xffff)).await;
}

/// Where the tables lie, and what reads and writes them.
pub(crate) struct Place {
    pub warehouse: Warehouse,
    pub context: SessionContext,
}
