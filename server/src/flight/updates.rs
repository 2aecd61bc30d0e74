//! Statements that are run for what they do: the answer is how many rows they wrote.

use std::sync::Arc;

use arrow_flight::FlightData;
use arrow_flight::sql::{CommandPreparedStatementUpdate, CommandStatementUpdate, DoPutUpdateResult};
use bytes::Bytes;
use futures::stream::BoxStream;
use prost::Message as _;
use tonic::Status;

use super::execute::Step;
use super::{execute, name_of, prepared, without_transaction};
use crate::running::Running;
use crate::sessions::Caller;
use crate::{Limits, statements};

/// Runs statements; the rows of all that write are counted.
pub(super) async fn update(caller: &Caller, limits: &Limits, update: CommandStatementUpdate) -> Result<Bytes, Status> {
    without_transaction(update.transaction_id.as_ref())?;
    let statements = statements::read(update.query, limits).await?;
    let session = caller.session.engine().await?;
    statements::check(&session, &statements)?;
    counted(execute::begin(caller, session, Step::once(statements), Vec::new())).await
}

/// Runs a prepared statement once for each row of values that comes with the request, or was bound before.
pub(super) async fn prepared(
    caller: &Caller,
    update: &CommandPreparedStatementUpdate,
    messages: BoxStream<'static, Result<FlightData, Status>>,
) -> Result<Bytes, Status> {
    let prepared = caller.session.prepared(&name_of(&update.prepared_statement_handle)?)?;
    let sent = prepared::values(messages).await?;
    let values = match sent {
        Some(rows) => prepared.paired(rows)?,
        None => prepared.bound()?,
    };
    if values.is_empty() {
        return Ok(answer(0));
    }
    counted(execute::begin(caller, caller.session.engine().await?, prepared.steps(), values)).await
}

/// Waits for the end of some work and tells how many rows it wrote.
pub(super) async fn counted(running: Arc<Running>) -> Result<Bytes, Status> {
    Ok(answer(running.count().await?))
}

fn answer(record_count: i64) -> Bytes {
    DoPutUpdateResult { record_count }.encode_to_vec().into()
}
