//! Statements that are executed as they come, and the rows of whatever was executed.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::sql::CommandStatementQuery;
use arrow_flight::{FlightData, FlightDescriptor, FlightInfo};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use orrery_engine::Error;
use orrery_engine::access::called_from;
use orrery_engine::dialect::StatementText;
use orrery_engine::script::Located;
use orrery_engine::session::{Outcome, Parameters, PreparedStatement, Session};
use tonic::Status;

use super::{Answers, info as info_of, ticket, without_transaction};
use crate::running::{Course, Last, Running, Stream};
use crate::sessions::Caller;
use crate::{Limits, statements, status, wire};

/// Runs statements and promises the rows of the last one.
pub(super) async fn info(
    caller: &Caller,
    limits: &Limits,
    query: CommandStatementQuery,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo, Status> {
    let running = run(caller, limits, query).await?;
    promise(caller, running, descriptor).await
}

/// Runs statements in the background and returns the name of what is to come of them.
pub(super) async fn start(caller: &Caller, limits: &Limits, query: CommandStatementQuery) -> Result<String, Status> {
    caller.session.keep_result(run(caller, limits, query).await?)
}

async fn run(caller: &Caller, limits: &Limits, query: CommandStatementQuery) -> Result<Arc<Running>, Status> {
    without_transaction(query.transaction_id.as_ref())?;
    let statements = statements::read(query.query, limits).await?;
    let session = caller.session.engine().await?;
    statements::check(&session, &statements)?;
    Ok(begin(caller, session, Step::once(statements), Vec::new()))
}

/// Waits until a result's columns are known and promises it.
pub(super) async fn promise(caller: &Caller, running: Arc<Running>, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    let ready = running.ready().await?;
    let name = caller.session.keep_result(running)?;
    info_of(descriptor, &ready.schema, ticket(&name), ready.count)
}

/// The columns of a statement that is not run.
pub(super) async fn schema(caller: &Caller, limits: &Limits, query: CommandStatementQuery) -> Result<SchemaRef, Status> {
    without_transaction(query.transaction_id.as_ref())?;
    let statements = statements::read(query.query, limits).await?;
    let [statement] = statements.as_slice() else {
        return Err(Status::invalid_argument("the columns of several statements are known once they have run"));
    };
    let session = caller.session.engine().await?;
    let described = called_from(caller.address.clone(), session.describe_statement(&statement.text)).await;
    let described = described.map_err(|error| status::of_error(&error))?;
    Ok(described.columns.map_or_else(|| Arc::new(Schema::empty()), |columns| wire::schema(&columns)))
}

/// A statement of a request.
#[derive(Clone)]
pub(super) struct Step {
    number: usize,
    pub statement: Arc<PreparedStatement>,
}

impl Step {
    /// Statements that are run as they came.
    pub fn once(statements: Vec<Located>) -> Arc<[Self]> {
        Self::all(statements, PreparedStatement::once)
    }

    /// Statements that may be run again.
    pub fn again(statements: Vec<Located>) -> Arc<[Self]> {
        Self::all(statements, PreparedStatement::new)
    }

    fn all(statements: Vec<Located>, of: impl Fn(StatementText) -> PreparedStatement) -> Arc<[Self]> {
        statements.into_iter().map(|located| Self { number: located.number, statement: Arc::new(of(located.text)) }).collect()
    }
}

/// Runs statements in order: one without parameters, or one that is run once with each row of values.
pub(super) fn begin(caller: &Caller, session: Arc<Session>, steps: Arc<[Step]>, values: Vec<Parameters>) -> Arc<Running> {
    let address = caller.address.clone();
    Running::start(caller.session.place(), |course| called_from(address, carry_out(session, steps, values, course)).boxed())
}

async fn carry_out(session: Arc<Session>, steps: Arc<[Step]>, values: Vec<Parameters>, course: Arc<Course>) -> Result<Last, Status> {
    let mut count = 0;
    if let ([single], [first, rest @ ..]) = (&*steps, values.as_slice())
        && !rest.is_empty()
    {
        for (i, values) in [first].into_iter().chain(rest).enumerate() {
            let one = carry_out_one(&session, single, values.clone(), &course, true).await;
            let in_row = |status: Status| Status::new(status.code(), format!("row {} of the parameters: {}", i + 1, status.message()));
            if let Last::Count(rows) = one.map_err(in_row)? {
                count += rows.max(0);
            }
        }
        return Ok(Last::Count(count));
    }
    let of = steps.len();
    for (i, step) in steps.iter().enumerate() {
        let values = values.first().cloned().unwrap_or_default();
        let is_last = i + 1 == of;
        let done = carry_out_one(&session, step, values, &course, !is_last).await;
        match done.map_err(|status| numbered(status, step, of))? {
            Last::Rows(rows) => return Ok(Last::Rows(rows)),
            Last::Count(rows) => count += rows.max(0),
        }
    }
    Ok(Last::Count(count))
}

fn numbered(status: Status, step: &Step, of: usize) -> Status {
    if of == 1 { status } else { Status::new(status.code(), format!("statement {}: {}", step.number, status.message())) }
}

/// Carries one statement out, rows that are not for the client included.
fn carry_out_one<'a>(
    session: &'a Arc<Session>,
    step: &'a Step,
    values: Parameters,
    course: &'a Course,
    discards_rows: bool,
) -> BoxFuture<'a, Result<Last, Status>> {
    async move {
        let tracker = course.begin_statement();
        session.set_statement_key(None);
        let text = step.statement.text();
        let outcome = session.execute_prepared(&step.statement, values, &tracker).await;
        match outcome.map_err(|error| status::of_error(&error.at(Some(text.position))))? {
            Outcome::Written { outcome, .. } => Ok(Last::Count(i64::try_from(outcome.rows).unwrap_or(i64::MAX))),
            Outcome::Done(_) => Ok(Last::Count(0)),
            Outcome::Rows(rows) if !discards_rows => {
                let stream = Stream { session: Arc::clone(session), statement: Arc::clone(&step.statement), tracker, rows };
                Ok(Last::Rows(Box::new(stream)))
            }
            Outcome::Rows(mut rows) => {
                let token = tracker.cancellation();
                loop {
                    let batch = tokio::select! {
                        biased;
                        () = token.cancelled() => return Err(status::of_error(&Error::interrupted())),
                        batch = rows.next() => batch,
                    };
                    match batch {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => {
                            return Err(status::of_error(&session.explain_error(error.into(), text, &tracker).await));
                        }
                        None => return Ok(Last::Count(-1)),
                    }
                }
            }
        }
    }
    .boxed()
}

/// The rows of a result, once.
pub(super) async fn rows(caller: Caller, name: &str) -> Result<Answers<FlightData>, Status> {
    let (schema, rows) = batches(caller, name).await?;
    Ok(encoded(schema, rows))
}

/// The columns and rows of a result, once.
pub(super) async fn batches(caller: Caller, name: &str) -> Result<(SchemaRef, BoxStream<'static, Result<RecordBatch, Status>>), Status> {
    let gone = || Status::not_found("there are no such rows: they were read, were not fetched in time, or belong to another session");
    let running = caller.session.result(name).ok_or_else(gone)?;
    let ready = running.ready().await?;
    let rows = running.take_rows().ok_or_else(gone)?;
    let reading = Reading { caller, name: name.to_string() };
    let rows = rows.map(move |batch| {
        // Held until the last row is read or nobody reads any more.
        let _reading = &reading;
        batch
    });
    Ok((ready.schema, rows.boxed()))
}

/// Somebody reads a result, which is gone after that.
struct Reading {
    caller: Caller,
    name: String,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.caller.session.forget_result(&self.name);
    }
}

/// Batches as messages.
pub(super) fn encoded(schema: SchemaRef, rows: BoxStream<'static, Result<RecordBatch, Status>>) -> Answers<FlightData> {
    let rows = rows.map_err(|status| FlightError::Tonic(Box::new(status)));
    FlightDataEncoderBuilder::new().with_schema(schema).build(rows).map_err(Status::from).boxed()
}
