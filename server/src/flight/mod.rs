//! Flight SQL over sessions: which request is whose business. arrow-flight's own `FlightSqlService` answers neither polls nor questions for a schema and
//! knows nothing of sessions, so the service below it is implemented here, with its messages.

mod actions;
mod cancel;
mod direct_rows;
mod execute;
mod handshake;
mod ingest;
mod metadata;
mod poll;
mod prepared;
mod row_messages;
mod session_options;
mod updates;

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{Any, Command, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};

pub use direct_rows::DirectRows;
pub(crate) use prepared::Prepared;

use crate::limits::Limits;
use crate::sessions::{Caller, Sessions};
use crate::status::{malformed, refused};
use crate::wire;

/// Longest request that its answer repeats.
const DESCRIPTOR_BYTES_MAX: usize = 64 << 10;

type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// The service; see the module documentation.
pub struct FlightSql {
    sessions: Arc<Sessions>,
    limits: Limits,
}

impl FlightSql {
    pub(crate) fn new(sessions: Arc<Sessions>, limits: Limits) -> Self {
        Self { sessions, limits }
    }
}

#[tonic::async_trait]
impl FlightService for FlightSql {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn handshake(&self, request: Request<Streaming<HandshakeRequest>>) -> Result<Response<Self::HandshakeStream>, Status> {
        handshake::handshake(&self.sessions, request).await
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        caller(&request)?;
        Err(refused("listing flights is", "ask for catalogs, schemas and tables"))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let caller = caller(&request)?;
        let descriptor = request.into_inner();
        let info = match command_of(&descriptor)? {
            Command::CommandStatementQuery(query) => execute::info(&caller, &self.limits, query, descriptor).await?,
            Command::CommandPreparedStatementQuery(query) => prepared::info(&caller, &query, descriptor).await?,
            command => metadata_info(&command, descriptor)?,
        };
        Ok(Response::new(info))
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        let caller = caller(&request)?;
        let descriptor = request.into_inner();
        let answer = match command_of(&descriptor)? {
            Command::CommandStatementQuery(query) => {
                let name = execute::start(&caller, &self.limits, query).await?;
                poll::poll(&caller, &name, &descriptor).await?
            }
            Command::CommandPreparedStatementQuery(query) => {
                let name = prepared::start(&caller, &query).await?;
                poll::poll(&caller, &name, &descriptor).await?
            }
            Command::TicketStatementQuery(ticket) => poll::poll(&caller, &name_of(&ticket.statement_handle)?, &descriptor).await?,
            command => poll::complete(metadata_info(&command, descriptor)?),
        };
        Ok(Response::new(answer))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let caller = caller(&request)?;
        let schema = match command_of(&request.into_inner())? {
            Command::CommandStatementQuery(query) => execute::schema(&caller, &self.limits, query).await?,
            Command::CommandPreparedStatementQuery(query) => prepared::schema(&caller, &query)?,
            command => metadata::schema(&command)?,
        };
        Ok(Response::new(SchemaResult { schema: wire::schema_bytes(&schema)? }))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let caller = caller(&request)?;
        let rows = match command(&request.into_inner().ticket)? {
            Command::TicketStatementQuery(ticket) => execute::rows(caller, &name_of(&ticket.statement_handle)?).await?,
            Command::CommandPreparedStatementQuery(query) => {
                let name = prepared::start(&caller, &query).await?;
                execute::rows(caller, &name).await?
            }
            command => {
                let batch = metadata::rows(&caller, &self.limits, command).await?;
                execute::encoded(batch.schema(), futures::stream::iter([Ok(batch)]).boxed())
            }
        };
        Ok(Response::new(rows))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let caller = caller(&request)?;
        let mut messages = request.into_inner();
        let first = messages.message().await?.ok_or_else(|| malformed("it has no message"))?;
        let descriptor = first.flight_descriptor.clone().ok_or_else(|| malformed("its first message has no descriptor"))?;
        let messages = futures::stream::iter([Ok(first)]).chain(messages).boxed();
        let answer: Bytes = match command_of(&descriptor)? {
            Command::CommandStatementUpdate(update) => updates::update(&caller, &self.limits, update).await?,
            Command::CommandPreparedStatementUpdate(update) => updates::prepared(&caller, &update, messages).await?,
            Command::CommandPreparedStatementQuery(query) => prepared::bind(&caller, &query, messages).await?,
            Command::CommandStatementIngest(ingest) => ingest::ingest(&caller, ingest, messages).await?,
            command => return Err(unknown(&command)),
        };
        Ok(Response::new(one(PutResult { app_metadata: answer })))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let caller = caller(&request)?;
        let answer = actions::act(&self.sessions, &caller, &self.limits, request.into_inner()).await?;
        Ok(Response::new(match answer {
            Some(body) => one(arrow_flight::Result { body }),
            None => futures::stream::empty().boxed(),
        }))
    }

    async fn list_actions(&self, request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        caller(&request)?;
        Ok(Response::new(futures::stream::iter(actions::list().map(Ok)).boxed()))
    }

    async fn do_exchange(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        caller(&request)?;
        Err(refused("exchanging rows is", "send them by bulk ingestion and query them"))
    }
}

/// Who calls; the door has seen to that.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    request.extensions().get::<Caller>().cloned().ok_or_else(|| Status::unauthenticated("a bearer token is needed"))
}

fn one<T: Send + 'static>(answer: T) -> Answers<T> {
    futures::stream::iter([Ok(answer)]).boxed()
}

/// The command of a descriptor.
fn command_of(descriptor: &FlightDescriptor) -> Result<Command, Status> {
    if descriptor.r#type() != DescriptorType::Cmd {
        return Err(Status::invalid_argument("a descriptor with a Flight SQL command is expected; paths are of no meaning here"));
    }
    command(&descriptor.cmd)
}

/// The command in some bytes.
fn command(bytes: &Bytes) -> Result<Command, Status> {
    let any = Any::decode(bytes.clone()).map_err(malformed)?;
    Command::try_from(any).map_err(malformed)
}

/// The name in a ticket or handle.
fn name_of(handle: &Bytes) -> Result<String, Status> {
    String::from_utf8(handle.to_vec()).map_err(|_| Status::not_found("there is no such statement"))
}

fn unknown(command: &Command) -> Status {
    match command {
        Command::CommandStatementSubstraitPlan(_) => refused("Substrait plans are", "send SQL"),
        other => Status::invalid_argument(format!("this call does not take {}", other.type_url())),
    }
}

/// What is promised for a listing: its ticket is the command itself.
fn metadata_info(command: &Command, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    let schema = metadata::schema(command)?;
    info(descriptor, &schema, command.clone().into_any(), None)
}

/// A result with one endpoint, which is this server.
fn info(descriptor: FlightDescriptor, schema: &Schema, ticket: Any, records: Option<i64>) -> Result<FlightInfo, Status> {
    Ok(FlightInfo {
        schema: wire::schema_bytes(schema)?,
        // A long text need not travel back, all the less since clients take answers of a few megabytes only.
        flight_descriptor: Some(descriptor).filter(|descriptor| descriptor.cmd.len() <= DESCRIPTOR_BYTES_MAX),
        endpoint: vec![FlightEndpoint::new().with_ticket(Ticket::new(ticket.encode_to_vec()))],
        total_records: records.unwrap_or(-1),
        total_bytes: -1,
        ordered: false,
        app_metadata: Bytes::new(),
    })
}

/// The ticket of a result.
fn ticket(name: &str) -> Any {
    TicketStatementQuery { statement_handle: Bytes::copy_from_slice(name.as_bytes()) }.as_any()
}

/// Transactions of others' making are refused rather than ignored.
fn without_transaction(transaction: Option<&Bytes>) -> Result<(), Status> {
    match transaction.filter(|id| !id.is_empty()) {
        Some(_) => Err(no_transactions()),
        None => Ok(()),
    }
}

fn no_transactions() -> Status {
    refused("transactions are", "every statement commits by itself, whole or not at all")
}
