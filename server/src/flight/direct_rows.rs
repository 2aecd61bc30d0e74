//! The answers to `DoGet`, sent by [`RowMessages`] instead of the generated service, whose answers are copied into messages twice. What is not a ticket of a
//! statement's rows goes on to that service.

use std::convert::Infallible;
use std::pin::Pin;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow_flight::Ticket;
use arrow_flight::sql::Command;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, Limited};
use prost::Message as _;
use tonic::body::Body;
use tonic::codegen::http::header::CONTENT_TYPE;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::codegen::{Context, Poll, Service};
use tonic::server::NamedService;
use tonic::{Code, Status};

use super::row_messages::{PREFIX_BYTES, RowMessages};
use super::{command, execute, name_of};
use crate::sessions::Caller;

const DO_GET: &str = "/arrow.flight.protocol.FlightService/DoGet";
/// Longest request that is looked at; tickets of rows are short.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// A service whose rows are sent directly.
#[derive(Clone)]
pub struct DirectRows<S> {
    inner: S,
}

impl<S> DirectRows<S> {
    pub(crate) fn before(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: NamedService> NamedService for DirectRows<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for DirectRows<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The clone is what was polled to be ready.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            if request.uri().path() != DO_GET {
                return inner.call(request).await;
            }
            match answer(request).await {
                Ok(Answer::Rows(response)) => Ok(response),
                Ok(Answer::NotRows(request)) => inner.call(request).await,
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

enum Answer {
    Rows(Response<Body>),
    /// A request for something else.
    NotRows(Request<Body>),
}

async fn answer(request: Request<Body>) -> Result<Answer, Status> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, REQUEST_BYTES_MAX).collect().await;
    let bytes = body.map_err(|error| Status::invalid_argument(format!("the request cannot be read: {error}")))?.to_bytes();
    let (Some(caller), Some(name)) = (parts.extensions.get::<Caller>().cloned(), result_name(&bytes)) else {
        return Ok(Answer::NotRows(Request::from_parts(parts, Body::new(Full::new(bytes)))));
    };
    let (schema, rows) = execute::batches(caller, &name).await?;
    let messages = RowMessages::new(&schema).map_err(unsendable)?;
    let body = RowsBody { rows: Some(rows), messages, end: None };
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(Answer::Rows(response))
}

fn unsendable(error: ArrowError) -> Status {
    Status::internal(format!("the rows cannot be sent: {error}"))
}

/// The result that a request is for, if it is for one.
fn result_name(request: &Bytes) -> Option<String> {
    let (prefix, message) = request.split_at_checked(PREFIX_BYTES)?;
    let [0, a, b, c, d] = *prefix else { return None };
    if u32::from_be_bytes([a, b, c, d]) as usize != message.len() {
        return None;
    }
    let ticket = Ticket::decode(request.slice(PREFIX_BYTES..)).ok()?;
    match command(&ticket.ticket).ok()? {
        Command::TicketStatementQuery(ticket) => name_of(&ticket.statement_handle).ok(),
        _ => None,
    }
}

/// A result on its way.
struct RowsBody {
    /// Gone when they have ended.
    rows: Option<BoxStream<'static, Result<RecordBatch, Status>>>,
    messages: RowMessages,
    /// What is to be sent last.
    end: Option<HeaderMap>,
}

impl RowsBody {
    fn finish(&mut self, status: &Status) {
        self.rows = None;
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            // A message that does not fit into a header.
            trailers = HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from(status.code() as i32))]);
        }
        self.end = Some(trailers);
    }
}

impl http_body::Body for RowsBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            if let Some(piece) = this.messages.next() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let Some(rows) = &mut this.rows else {
                let rest = this.messages.rest().map(Frame::data);
                return Poll::Ready(rest.or_else(|| this.end.take().map(Frame::trailers)).map(Ok));
            };
            let sent = match rows.poll_next_unpin(context) {
                // What there is goes out while more rows are waited for.
                Poll::Pending => return this.messages.rest().map_or(Poll::Pending, |piece| Poll::Ready(Some(Ok(Frame::data(piece))))),
                Poll::Ready(None) => Err(Status::new(Code::Ok, "")),
                Poll::Ready(Some(Err(status))) => Err(status),
                Poll::Ready(Some(Ok(batch))) => this.messages.add(&batch).map_err(unsendable),
            };
            if let Err(status) = sent {
                this.finish(&status);
            }
        }
    }
}
