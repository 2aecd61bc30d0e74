//! What the tests share: warehouses in temporary folders, writes through the real plan, and results as text.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext};
use orrery_lakehouse::{PendingWrite, Relation, Result, Table, TableName, Warehouse, WriteMode, WriteOutcome, WriteRequest};

/// A warehouse in a folder of its own that goes away with it, and a session that knows its store.
pub struct Lake {
    pub warehouse: Warehouse,
    pub session: SessionContext,
    folder: Option<tempfile::TempDir>,
}

impl Lake {
    /// On the local file system.
    pub async fn local() -> Lake {
        let folder = tempfile::tempdir().unwrap();
        let mut lake = Self::at(&folder.path().join("warehouse").display().to_string()).await;
        lake.folder = Some(folder);
        lake
    }

    pub async fn at(location: &str) -> Lake {
        let warehouse = Warehouse::open(location, HashMap::new()).await.unwrap();
        let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
        warehouse.register_with(&session.runtime_env());
        Lake { warehouse, session, folder: None }
    }

    /// The warehouse's folder.
    pub fn root(&self) -> PathBuf {
        self.warehouse.root().to_file_path().unwrap()
    }

    pub fn table_folder(&self, table: &str) -> PathBuf {
        self.root().join("dev/default").join(table)
    }

    /// Runs a query and casts it to what the write wants, as an engine would.
    pub async fn plan(&self, pending: &PendingWrite, sql: &str) -> Arc<dyn ExecutionPlan> {
        let frame = self.session.sql(sql).await.unwrap();
        let target = pending.target_schema();
        let columns = frame.schema().columns();
        let cast = |(column, field): (datafusion::common::Column, &arrow::datatypes::FieldRef)| {
            datafusion::logical_expr::cast(datafusion::prelude::Expr::Column(column), field.data_type().clone()).alias(field.name())
        };
        let frame = frame.clone().select(columns.into_iter().zip(target.fields()).map(cast).collect::<Vec<_>>()).unwrap();
        pending.write_plan(frame.create_physical_plan().await.unwrap()).unwrap()
    }

    /// Runs a whole write.
    pub async fn write(&self, request: WriteRequest, sql: &str) -> Result<WriteOutcome> {
        let schema: SchemaRef = Arc::new(self.session.sql(sql).await.unwrap().schema().as_arrow().clone());
        let pending = self.warehouse.begin_write(WriteRequest { schema, ..request }).await?;
        if pending.already_exists() {
            return pending.commit(Vec::new()).await;
        }
        let plan = self.plan(&pending, sql).await;
        let files = match collect(plan, self.session.task_ctx()).await {
            Ok(files) => files,
            Err(error) => {
                pending.abort().await;
                return Err(error.into());
            }
        };
        pending.commit(files).await
    }

    pub async fn create(&self, table: &str, sql: &str) -> WriteOutcome {
        self.write(request(table, WriteMode::Create), sql).await.unwrap()
    }

    pub async fn append(&self, table: &str, sql: &str) -> WriteOutcome {
        self.write(request(table, WriteMode::Append), sql).await.unwrap()
    }

    /// The newest snapshot.
    pub async fn table(&self, table: &str) -> Arc<Table> {
        match self.warehouse.relation(&name(table)).await.unwrap() {
            Some(Relation::Table(table)) => table,
            other => panic!("{table} is {other:?}"),
        }
    }

    /// Makes the newest snapshot known to the session under its own name.
    pub async fn show(&self, table: &str) -> Arc<Table> {
        let snapshot = self.table(table).await;
        self.register(table, &snapshot);
        snapshot
    }

    pub fn register(&self, alias: &str, snapshot: &Arc<Table>) {
        let _ = self.session.deregister_table(alias);
        self.session.register_table(alias, snapshot.provider()).unwrap();
    }

    pub fn register_batches(&self, alias: &str, schema: SchemaRef, batches: Vec<Vec<RecordBatch>>) {
        let _ = self.session.deregister_table(alias);
        self.session.register_table(alias, Arc::new(MemTable::try_new(schema, batches).unwrap())).unwrap();
    }

    /// A query's result as a text table.
    pub async fn query(&self, sql: &str) -> String {
        let batches = self.session.sql(sql).await.unwrap().collect().await.unwrap();
        pretty_format_batches(&batches).unwrap().to_string()
    }

    /// The error of a query.
    pub async fn query_error(&self, sql: &str) -> String {
        match self.session.sql(sql).await {
            Ok(frame) => frame.collect().await.unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// A query's physical plan as text.
    pub async fn explain(&self, sql: &str) -> String {
        let plan = self.session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string()
    }

    /// All files of a table's folder except those of the log, relative, sorted.
    pub fn data_files(&self, table: &str) -> Vec<String> {
        let folder = self.table_folder(table);
        files_under(&folder).into_iter().filter(|path| !path.starts_with("_delta_log")).collect()
    }
}

pub fn name(table: &str) -> TableName {
    TableName::new("dev", "default", table)
}

/// A request of which the schema is filled in from the query.
pub fn request(table: &str, mode: WriteMode) -> WriteRequest {
    WriteRequest {
        statement: format!("{mode:?} {table}"),
        ..WriteRequest::new(name(table), mode, Arc::new(arrow::datatypes::Schema::empty()))
    }
}

/// Paths of all files below a folder, relative to it, sorted.
pub fn files_under(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, root, found) } else { found.push(path.strip_prefix(root).unwrap().display().to_string()) }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

/// Lines of a result table without its frame, trimmed cells joined by a bar.
pub fn rows(table: &str) -> Vec<String> {
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|")).collect()
}
