//! What clients ask of the server and its warehouse before they query: names, types, keys, abilities. Each answer's columns are fixed by Flight SQL.

mod keys;
mod names;
mod sql_info;
mod tables;
mod type_info;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::error::FlightError;
use arrow_flight::sql::Command;
use tonic::Status;

use super::unknown;
use crate::Limits;
use crate::sessions::Caller;

/// The columns of the answer to a command.
pub(super) fn schema(command: &Command) -> Result<SchemaRef, Status> {
    Ok(match command {
        Command::CommandGetCatalogs(command) => command.into_builder().schema(),
        Command::CommandGetDbSchemas(command) => command.clone().into_builder().schema(),
        Command::CommandGetTables(command) => command.clone().into_builder().schema(),
        Command::CommandGetTableTypes(command) => command.into_builder().schema(),
        Command::CommandGetPrimaryKeys(_) => keys::primary(),
        Command::CommandGetExportedKeys(_) | Command::CommandGetImportedKeys(_) | Command::CommandGetCrossReference(_) => keys::foreign(),
        Command::CommandGetSqlInfo(_) => sql_info::schema(),
        Command::CommandGetXdbcTypeInfo(_) => type_info::all().map_err(fault)?.schema(),
        other => return Err(unknown(other)),
    })
}

/// The answer to a command.
pub(super) async fn rows(caller: &Caller, limits: &Limits, command: Command) -> Result<RecordBatch, Status> {
    let columns = schema(&command)?;
    match command {
        Command::CommandGetCatalogs(command) => names::catalogs(caller.session.engine().await?.as_ref(), command).await,
        Command::CommandGetDbSchemas(command) => names::schemas(caller.session.engine().await?.as_ref(), command).await,
        Command::CommandGetTables(command) => tables::tables(caller.session.engine().await?.as_ref(), command).await,
        Command::CommandGetTableTypes(command) => tables::types(command),
        Command::CommandGetSqlInfo(command) => sql_info::rows(limits, command),
        Command::CommandGetXdbcTypeInfo(command) => type_info::all().and_then(|all| all.record_batch(command.data_type)).map_err(fault),
        // Tables have no keys: Delta Lake knows none.
        _ => Ok(RecordBatch::new_empty(columns)),
    }
}

/// An answer that cannot be put together is our own doing.
fn fault(error: FlightError) -> Status {
    Status::internal(format!("the answer cannot be put together: {error}"))
}
