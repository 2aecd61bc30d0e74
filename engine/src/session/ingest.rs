//! Rows that a client sends, written into a table by the same statements that would write a query's rows: `CREATE TABLE … AS`, `INSERT INTO`, or `CACHE
//! TABLE` where the table is to be gone with the session.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::sql::sqlparser::ast::Ident;
use orrery_lakehouse::Relation;
use parking_lot::Mutex;

use super::cache::select_all;
use super::{Mode, Outcome, Session, Tracker};
use crate::access::Securable;
use crate::dialect::{CreateTable, Insert, Name, Statement, StatementText};
use crate::{Error, Position, Result};

/// What to do with rows if the table exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// It is an error.
    Fail,
    /// They are added to the table's, column by column of the same names.
    Append,
    /// The table gets their columns, and they are its only rows.
    Replace,
}

/// Where rows go.
#[derive(Debug, Clone)]
pub struct Ingest {
    /// One to three parts: `[catalog.[schema.]]table`.
    pub name: Vec<String>,
    /// Makes the table if it does not exist; else that is an error.
    pub create: bool,
    /// What happens if it exists.
    pub if_exists: IfExists,
    /// Lives and dies with the session.
    pub temporary: bool,
}

impl Session {
    /// Writes the rows of a stream into a table in one commit.
    ///
    /// # Errors
    /// The table exists or does not, against what was asked; columns that it does not have; an error of the stream. The table is as it was.
    pub async fn ingest(&self, ingest: Ingest, rows: SendableRecordBatchStream, tracker: &Tracker) -> Result<Outcome> {
        let token = self.cancellation().child_token();
        tracker.stop_with(token.clone());
        let schema = rows.schema();
        let scan = self.names.put_scan(Arc::new(StreamingTable::try_new(Arc::clone(&schema), vec![Arc::new(Sent::of(rows))])?));
        let work = async {
            let (statement, text) = self.ingest_statement(ingest, &scan, &schema).await?;
            if token.is_cancelled() {
                return Err(Error::interrupted());
            }
            self.account_for(&statement, &text, Mode::Run, tracker, &token).await
        };
        let result = Box::pin(self.with_rights(work)).await;
        self.names.drop_scans(&[scan]);
        result
    }

    async fn ingest_statement(&self, ingest: Ingest, scan: &str, schema: &SchemaRef) -> Result<(Statement, StatementText)> {
        let name = Name { parts: ingest.name.clone(), position: None };
        let query = select_all(&Name { parts: vec![scan.to_string()], position: None })?;
        let text = |words: &str| StatementText {
            text: format!("{words} {name} AS <rows of a client>"),
            position: Position { line: 1, column: 1 },
            tokens: Vec::new(),
        };
        if ingest.temporary {
            return self.temporary_statement(&ingest, name.clone(), query, text("CACHE TABLE"));
        }
        let target = self.names.resolve(&name);
        // What the user may not know of does not exist for him, until its name turns out to be taken.
        let is_seen = self.names.guard().sees(&Securable::table(&target));
        let existing = if is_seen { self.warehouse.relation(&target).await? } else { None };
        match (existing, ingest.if_exists) {
            (None, _) if !ingest.create => Err(Error::sql(format!("the table '{name}' does not exist")).hint("ask for it to be created")),
            (Some(Relation::View(_)), _) => Err(Error::sql(format!("{name} is a view; rows can only be sent to tables"))),
            (Some(_), IfExists::Fail) => Err(Error::sql(format!("the table '{name}' exists already")).hint("ask to append or to replace")),
            (Some(_), IfExists::Append) => {
                let columns = schema.fields().iter().map(|field| Ident::with_quote('"', field.name())).collect();
                let insert = Insert { name: name.clone(), columns, overwrite: false, query };
                Ok((Statement::Insert(Box::new(insert)), text("INSERT INTO")))
            }
            (existing, _) => {
                let create = CreateTable {
                    name: name.clone(),
                    or_replace: existing.is_some(),
                    if_not_exists: false,
                    columns: Vec::new(),
                    partitioned_by: Vec::new(),
                    comment: None,
                    properties: Vec::new(),
                    query: Some(query),
                };
                let words = if existing.is_some() { "CREATE OR REPLACE TABLE" } else { "CREATE TABLE" };
                Ok((Statement::CreateTable(Box::new(create)), text(words)))
            }
        }
    }

    fn temporary_statement(
        &self,
        ingest: &Ingest,
        name: Name,
        query: Box<datafusion::sql::sqlparser::ast::Query>,
        text: StatementText,
    ) -> Result<(Statement, StatementText)> {
        let exists = self.names.temporary(&name).is_some();
        match (exists, ingest.if_exists) {
            (true, IfExists::Fail) => Err(Error::sql(format!("the temporary table '{name}' exists already")).hint("ask to replace it")),
            (true, IfExists::Append) => Err(Error::sql("rows cannot be added to a temporary table").hint("ask to replace it")),
            (false, _) if !ingest.create => Err(Error::sql(format!("the temporary table '{name}' does not exist"))),
            _ => Ok((Statement::Cache { name, query: Some(query) }, text)),
        }
    }
}

/// Rows that can be read once.
struct Sent {
    schema: SchemaRef,
    rows: Mutex<Option<SendableRecordBatchStream>>,
}

impl Sent {
    fn of(rows: SendableRecordBatchStream) -> Self {
        Self { schema: rows.schema(), rows: Mutex::new(Some(rows)) }
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sent")
    }
}

impl PartitionStream for Sent {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        match self.rows.lock().take() {
            Some(rows) => rows,
            None => {
                let twice = futures::stream::once(async {
                    Err(DataFusionError::Internal("the rows of a client were to be read twice".to_string()))
                });
                Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), twice))
            }
        }
    }
}
