//! Polling: a statement that runs in the background, how far it is, and its result once there is something to fetch.

use std::time::Duration;

use arrow_flight::{FlightDescriptor, FlightInfo, PollInfo};
use bytes::Bytes;
use prost::Message as _;
use tonic::Status;

use super::{info, ticket};
use crate::sessions::Caller;

/// How long a poll waits for the statement before it tells how far that is.
const WAITS: Duration = Duration::from_millis(500);

/// How far a statement is that runs under a name.
pub(super) async fn poll(caller: &Caller, name: &str, descriptor: &FlightDescriptor) -> Result<PollInfo, Status> {
    let missing = || Status::not_found("there is no such statement: it was cancelled, has failed, or belongs to another session");
    let running = caller.session.result(name).ok_or_else(missing)?;
    match tokio::time::timeout(WAITS, running.flowing()).await {
        Ok(Ok(ready)) => Ok(complete(info(descriptor.clone(), &ready.schema, ticket(name), ready.count)?)),
        Ok(Err(status)) => {
            caller.session.forget_result(name);
            Err(status)
        }
        Err(_) => Ok(PollInfo {
            info: Some(FlightInfo { total_records: -1, total_bytes: -1, ..FlightInfo::default() }),
            flight_descriptor: Some(FlightDescriptor::new_cmd(Bytes::from(ticket(name).encode_to_vec()))),
            progress: running.progress(),
            expiration_time: None,
        }),
    }
}

/// The answer about what is done.
pub(super) fn complete(info: FlightInfo) -> PollInfo {
    PollInfo { info: Some(info), flight_descriptor: None, progress: Some(1.0), expiration_time: None }
}
