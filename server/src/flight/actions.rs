//! Actions: what there is, and whose business each is.

use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, Any, ProstMessageExt,
};
use arrow_flight::{Action, ActionType};
use bytes::Bytes;
use prost::Message as _;
use tonic::Status;

use super::{cancel, name_of, no_transactions, prepared, session_options};
use crate::Limits;
use crate::sessions::{Caller, Sessions};
use crate::status::{malformed, refused};

/// Every action that does something, with what it is for.
const ACTIONS: [(&str, &str); 7] = [
    (
        "CreatePreparedStatement",
        "Describes a statement and keeps it. ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult",
    ),
    ("ClosePreparedStatement", "Drops a prepared statement. ActionClosePreparedStatementRequest, no result"),
    ("CancelFlightInfo", "Stops a statement. CancelFlightInfoRequest, CancelFlightInfoResult"),
    ("CancelQuery", "The older CancelFlightInfo. ActionCancelQueryRequest, ActionCancelQueryResult"),
    ("SetSessionOptions", "Sets catalog, schema, settings and variables. SetSessionOptionsRequest, SetSessionOptionsResult"),
    ("GetSessionOptions", "Tells catalog, schema and variables. GetSessionOptionsRequest, GetSessionOptionsResult"),
    ("CloseSession", "Ends the session. CloseSessionRequest, CloseSessionResult"),
];

/// The actions as clients list them.
pub(super) fn list() -> impl Iterator<Item = ActionType> + Send {
    ACTIONS.into_iter().map(|(name, description)| ActionType { r#type: name.to_string(), description: description.to_string() })
}

/// Carries an action out; `None` where it has no result.
pub(super) async fn act(sessions: &Sessions, caller: &Caller, limits: &Limits, action: Action) -> Result<Option<Bytes>, Status> {
    match action.r#type.as_str() {
        "CreatePreparedStatement" => {
            let request: ActionCreatePreparedStatementRequest = unpack(&action.body)?;
            pack(&prepared::create(caller, limits, request).await?)
        }
        "ClosePreparedStatement" => {
            let request: ActionClosePreparedStatementRequest = unpack(&action.body)?;
            caller.session.forget_prepared(&name_of(&request.prepared_statement_handle)?);
            Ok(None)
        }
        "CancelFlightInfo" => cancel::flight_info(caller, &action.body).map(Some),
        "CancelQuery" => {
            let request: ActionCancelQueryRequest = unpack(&action.body)?;
            pack(&cancel::query(caller, &request)?)
        }
        "SetSessionOptions" => session_options::set(caller, &action.body).await.map(Some),
        "GetSessionOptions" => session_options::get(caller).await.map(Some),
        "CloseSession" => Ok(Some(session_options::close(sessions, caller))),
        "BeginTransaction" | "EndTransaction" | "BeginSavepoint" | "EndSavepoint" => Err(no_transactions()),
        "CreatePreparedSubstraitPlan" => Err(refused("Substrait plans are", "prepare SQL")),
        "RenewFlightEndpoint" => Err(refused("renewing results is", "rows are read once; run the statement again")),
        other => Err(Status::invalid_argument(format!("there is no action '{other}'"))),
    }
}

/// The message within the body of one of Flight SQL's own actions.
fn unpack<M: ProstMessageExt>(body: &Bytes) -> Result<M, Status> {
    let any = Any::decode(body.clone()).map_err(malformed)?;
    any.unpack().map_err(malformed)?.ok_or_else(|| malformed(format!("expected {}", M::type_url())))
}

fn pack<M: ProstMessageExt>(message: &M) -> Result<Option<Bytes>, Status> {
    Ok(Some(message.as_any().encode_to_vec().into()))
}
