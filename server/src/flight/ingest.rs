//! Bulk ingestion: rows that a client sends, written into a table in one commit.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption};
use bytes::Bytes;
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use orrery_engine::Error;
use orrery_engine::access::called_from;
use orrery_engine::session::{IfExists, Ingest, Outcome};
use tonic::Status;

use super::{updates, without_transaction};
use crate::running::{Last, Running};
use crate::sessions::Caller;
use crate::status;
use crate::status::malformed;

/// Writes the rows of the messages; nothing is written if one of them cannot be read.
pub(super) async fn ingest(
    caller: &Caller,
    command: CommandStatementIngest,
    messages: BoxStream<'static, Result<FlightData, Status>>,
) -> Result<Bytes, Status> {
    without_transaction(command.transaction_id.as_ref())?;
    if let Some(option) = command.options.keys().min() {
        return Err(Status::invalid_argument(format!("the ingestion option '{option}' is not known; there are none")));
    }
    let target = target(command)?;
    let rows = rows(messages).await?;
    let session = caller.session.engine().await?;
    let address = caller.address.clone();
    let running = Running::start(caller.session.place(), |course| {
        let work = async move {
            let tracker = course.begin_statement();
            match session.ingest(target, rows, &tracker).await {
                Ok(Outcome::Written { outcome, .. }) => Ok(Last::Count(i64::try_from(outcome.rows).unwrap_or(i64::MAX))),
                Ok(_) => Ok(Last::Count(0)),
                Err(error) => Err(status::of_error(&error)),
            }
        };
        called_from(address, work).boxed()
    });
    updates::counted(running).await
}

fn target(command: CommandStatementIngest) -> Result<Ingest, Status> {
    let options = command.table_definition_options.unwrap_or(TableDefinitionOptions { if_not_exist: 0, if_exists: 0 });
    let unspecified = |what| Status::invalid_argument(format!("the ingestion does not say what to do if the table {what}"));
    let create = match options.if_not_exist() {
        TableNotExistOption::Create => true,
        TableNotExistOption::Fail => false,
        TableNotExistOption::Unspecified => return Err(unspecified("does not exist")),
    };
    let if_exists = match options.if_exists() {
        TableExistsOption::Fail => IfExists::Fail,
        TableExistsOption::Append => IfExists::Append,
        TableExistsOption::Replace => IfExists::Replace,
        TableExistsOption::Unspecified => return Err(unspecified("exists")),
    };
    let given = |name: Option<String>| name.filter(|name| !name.is_empty());
    let (catalog, schema) = (given(command.catalog), given(command.schema));
    if command.table.is_empty() {
        return Err(Status::invalid_argument("the ingestion names no table"));
    }
    if command.temporary && (catalog.is_some() || schema.is_some()) {
        return Err(Status::invalid_argument("a temporary table is in no catalog or schema; name the table only"));
    }
    let name = match (catalog, schema) {
        (Some(catalog), Some(schema)) => vec![catalog, schema, command.table],
        (None, Some(schema)) => vec![schema, command.table],
        (None, None) => vec![command.table],
        (Some(_), None) => return Err(Status::invalid_argument("the ingestion names a catalog and no schema; name both or neither")),
    };
    Ok(Ingest { name, create, if_exists, temporary: command.temporary })
}

/// The rows of the messages. Their columns are known once the first batch, or the end, has come.
async fn rows(messages: BoxStream<'static, Result<FlightData, Status>>) -> Result<SendableRecordBatchStream, Status> {
    let messages = messages.map_err(|status| FlightError::Tonic(Box::new(status)));
    let mut batches = FlightRecordBatchStream::new_from_flight_data(messages);
    let first = batches.next().await.transpose().map_err(unreadable)?;
    let schema: SchemaRef = batches.schema().cloned().ok_or_else(|| malformed("it has no columns"))?;
    let expected = Arc::clone(&schema);
    let rest = batches.map(move |batch| {
        let batch = batch.map_err(|error| Error::data(format!("the rows cannot be read: {error}")))?;
        if batch.schema() == expected {
            return Ok(batch);
        }
        Err(DataFusionError::from(Error::data("the rows have other columns than the first ones")))
    });
    let rows = futures::stream::iter(first.map(Ok)).chain(rest);
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
}

fn unreadable(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        other => malformed(other),
    }
}
