//! Rows that the program itself makes, appended to tables of its own in catalog `system`: what ran, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::SessionContext;
use orrery_lakehouse::{Relation, TableName, Warehouse, WriteMode, WriteOutcome, WriteRequest};

use super::{Backend as _, InProcess, Tracker};
use crate::{Blame, Result};

/// Times that an append is tried when others write at the same time.
const ATTEMPTS: u32 = 10;
/// Commits between two checkpoints, which name every file: there may be a commit every second.
const CHECKPOINT_INTERVAL: u32 = 100;
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// The catalog of these tables.
pub const SYSTEM: &str = "system";

/// Appends rows to `system.<schema>.<table>`, which is made if it does not exist. Rows that were appended under the same `key` before are not appended
/// again.
///
/// # Errors
/// The warehouse cannot be written, or the table has other columns.
pub async fn append_system_rows(
    warehouse: &Warehouse,
    schema: &str,
    table: &str,
    comment: &str,
    rows: RecordBatch,
    key: &str,
) -> Result<WriteOutcome> {
    let name = TableName::new(SYSTEM, schema, table);
    // Without functions and rewrites, which nothing here needs and which take longer to list than the rows to write.
    let context = SessionContext::new_with_state(SessionStateBuilder::new().build());
    warehouse.register_with(&context.runtime_env());
    let columns = match warehouse.relation(&name).await? {
        Some(Relation::Table(table)) => Some(table.schema()),
        _ => create(warehouse, &name, comment, rows.schema()).await?,
    };
    let rows = match columns {
        Some(columns) => known_columns(rows, &columns)?,
        None => rows,
    };
    // Many runs may end at the same time; a key keeps what was appended after all from being appended again.
    let mut attempt = 1;
    loop {
        match append(warehouse, &context, &name, &rows, key).await {
            Err(error) if error.blame == Blame::Storage && attempt < ATTEMPTS => {
                tokio::time::sleep(RETRY_AFTER * attempt).await;
                attempt += 1;
            }
            other => return other,
        }
    }
}

/// Makes the table unless somebody else does; the columns that it has if so.
async fn create(warehouse: &Warehouse, name: &TableName, comment: &str, columns: SchemaRef) -> Result<Option<SchemaRef>> {
    warehouse.create_catalog(SYSTEM, true, Some("What the program knows of itself")).await?;
    warehouse.create_schema(SYSTEM, &name.schema, true, None).await?;
    let mut create = WriteRequest::new(name.clone(), WriteMode::CreateIfNotExists, columns);
    create.comment = Some(comment.to_string());
    create.has_query = false;
    create.properties.extend([("delta.checkpointInterval".to_string(), CHECKPOINT_INTERVAL.to_string())]);
    let created = warehouse.begin_write(create).await?;
    if !created.already_exists() {
        created.commit(Vec::new()).await?;
        return Ok(None);
    }
    Ok(match warehouse.relation(name).await? {
        Some(Relation::Table(table)) => Some(table.schema()),
        _ => None,
    })
}

/// The columns that a table has, which an earlier version of the program may have made with fewer.
fn known_columns(rows: RecordBatch, table: &Schema) -> Result<RecordBatch> {
    let known: Vec<usize> = (0..rows.num_columns()).filter(|i| table.column_with_name(rows.schema().field(*i).name()).is_some()).collect();
    if known.len() == rows.num_columns() { Ok(rows) } else { Ok(rows.project(&known)?) }
}

async fn append(warehouse: &Warehouse, context: &SessionContext, name: &TableName, rows: &RecordBatch, key: &str) -> Result<WriteOutcome> {
    let mut append = WriteRequest::new(name.clone(), WriteMode::Append, rows.schema());
    append.run_id = Some(key.to_string());
    let pending = warehouse.begin_write(append).await?;
    if pending.already_exists() {
        return Ok(pending.commit(Vec::new()).await?);
    }
    let rows = MemorySourceConfig::try_new_exec(&[vec![rows.clone()]], rows.schema(), None)?;
    let plan = pending.write_plan(rows)?;
    match InProcess.run(Arc::clone(&plan), context, &Tracker::default()).await {
        Ok(files) => Ok(pending.commit(files).await?),
        Err(error) => {
            pending.abort().await;
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::Int64Array;
    use datafusion::arrow::datatypes::{DataType, Field};
    use std::collections::HashMap;

    #[tokio::test]
    async fn checkpoints_are_seldom() {
        let dir = tempfile::tempdir().unwrap();
        let warehouse = Warehouse::open(&dir.path().display().to_string(), HashMap::new()).await.unwrap();
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let mut written = Vec::new();
        for n in 1..=i64::from(CHECKPOINT_INTERVAL) {
            let rows = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![n]))]).unwrap();
            append_system_rows(&warehouse, "query", "runs", "Runs", rows, &n.to_string()).await.unwrap();
            let log = std::fs::read_dir(dir.path().join("system/query/runs/_delta_log")).unwrap();
            let names = log.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            written = names.filter(|name| name.contains(".checkpoint.")).collect();
            assert_eq!(written.is_empty(), n < i64::from(CHECKPOINT_INTERVAL), "after {n} appends: {written:?}");
        }
        assert_eq!(written, ["00000000000000000100.checkpoint.parquet"]);
    }

    #[tokio::test]
    async fn appends_once_per_key() {
        let warehouse = Warehouse::open("memory:///system-rows", HashMap::new()).await.unwrap();
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let batch = |n: i64| RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![n]))]).unwrap();
        let append = |n, key| append_system_rows(&warehouse, "query", "runs", "Runs", batch(n), key);
        let first = append(1, "a").await.unwrap();
        let again = append(1, "a").await.unwrap();
        let other = append(2, "b").await.unwrap();
        assert_eq!((first.version, again.version, other.version), (1, 1, 2));
        assert_eq!(other.rows, 1);
        let wider = Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("later", DataType::Int64, true)]);
        let column = || Arc::new(Int64Array::from(vec![3])) as _;
        let wider = RecordBatch::try_new(Arc::new(wider), vec![column(), column()]).unwrap();
        let third = append_system_rows(&warehouse, "query", "runs", "Runs", wider, "c").await.unwrap();
        assert_eq!((third.version, third.rows), (3, 1), "a table without the newest columns takes the others");
    }
}
