//! Catalogs and schemas.

use arrow::array::RecordBatch;
use arrow_flight::sql::{CommandGetCatalogs, CommandGetDbSchemas};
use orrery_engine::session::Session;
use tonic::Status;

use super::fault;
use crate::status::of_error;

/// `GetCatalogs`.
pub(super) async fn catalogs(session: &Session, command: CommandGetCatalogs) -> Result<RecordBatch, Status> {
    let mut answer = command.into_builder();
    for catalog in session.list_catalogs().await.map_err(|error| of_error(&error))? {
        answer.append(catalog);
    }
    answer.build().map_err(fault)
}

/// `GetDbSchemas`.
pub(super) async fn schemas(session: &Session, command: CommandGetDbSchemas) -> Result<RecordBatch, Status> {
    let catalogs = in_scope(session, command.catalog.as_deref()).await?;
    let mut answer = command.into_builder();
    for catalog in catalogs {
        for schema in session.list_schemas(&catalog).await.map_err(|error| of_error(&error))? {
            answer.append(&catalog, schema);
        }
    }
    answer.build().map_err(fault)
}

/// The catalogs that a filter leaves; the empty name is that of no catalog.
pub(super) async fn in_scope(session: &Session, filter: Option<&str>) -> Result<Vec<String>, Status> {
    let mut catalogs = session.list_catalogs().await.map_err(|error| of_error(&error))?;
    catalogs.retain(|catalog| filter.is_none_or(|filter| filter == catalog));
    Ok(catalogs)
}
