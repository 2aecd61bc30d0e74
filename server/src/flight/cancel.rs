//! Cancelling what runs, by the answer that the client was given for it.

use arrow_flight::sql::{ActionCancelQueryRequest, ActionCancelQueryResult, Command};
use arrow_flight::{CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo};
use bytes::Bytes;
use prost::Message as _;
use tonic::Status;

use super::{command, name_of};
use crate::sessions::Caller;
use crate::status::malformed;

/// The action `CancelFlightInfo`.
pub(super) fn flight_info(caller: &Caller, body: &Bytes) -> Result<Bytes, Status> {
    let request = CancelFlightInfoRequest::decode(body.clone()).map_err(malformed)?;
    let info = request.info.ok_or_else(|| malformed("it names nothing to cancel"))?;
    let status = cancel(caller, &info)?;
    Ok(CancelFlightInfoResult { status: status as i32 }.encode_to_vec().into())
}

/// The older action `CancelQuery`.
pub(super) fn query(caller: &Caller, request: &ActionCancelQueryRequest) -> Result<ActionCancelQueryResult, Status> {
    let info = FlightInfo::decode(request.info.clone()).map_err(malformed)?;
    // Its results have the same numbers.
    Ok(ActionCancelQueryResult { result: cancel(caller, &info)? as i32 })
}

fn cancel(caller: &Caller, info: &FlightInfo) -> Result<CancelStatus, Status> {
    let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref()).map(|ticket| &ticket.ticket);
    // A statement that is still polled has no endpoint, but its descriptor names it.
    let descriptors = info.flight_descriptor.iter().map(|descriptor| &descriptor.cmd);
    let mut found = CancelStatus::NotCancellable;
    for bytes in tickets.chain(descriptors) {
        if let Ok(Command::TicketStatementQuery(ticket)) = command(bytes) {
            let name = name_of(&ticket.statement_handle)?;
            if let Some(running) = caller.session.result(&name) {
                running.cancel();
                caller.session.forget_result(&name);
                found = CancelStatus::Cancelled;
            }
        }
    }
    Ok(found)
}
