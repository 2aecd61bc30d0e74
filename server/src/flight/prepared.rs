//! Prepared statements: described once, run with values that the client binds.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, CommandPreparedStatementQuery, DoPutPreparedStatementResult,
};
use arrow_flight::{FlightData, FlightDescriptor, FlightInfo};
use bytes::Bytes;
use datafusion::common::ScalarValue;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use orrery_engine::access::called_from;
use orrery_engine::dialect;
use orrery_engine::session::{Described, Parameters};
use parking_lot::Mutex;
use prost::Message as _;
use tonic::Status;

use super::execute::Step;
use super::{execute, name_of, without_transaction};
use crate::running::Running;
use crate::sessions::Caller;
use crate::status::malformed;
use crate::{Limits, statements, status, wire};

/// Rows of values that one request may bind.
const ROWS_MAX: usize = 100_000;
/// Bytes of parameters that are bound at once.
const VALUES_BYTES_MAX: usize = 64 << 20;

/// A row of values with the names that they came under.
pub(super) type Row = Vec<(String, ScalarValue)>;

/// A statement that was prepared.
pub(crate) struct Prepared {
    steps: Arc<[Step]>,
    parameters: Vec<String>,
    described: Option<Described>,
    bound: Mutex<Vec<Parameters>>,
}

impl Prepared {
    /// Length of its text.
    pub fn text_bytes(&self) -> usize {
        self.steps.iter().map(|step| step.statement.text().text.len()).sum()
    }

    /// What it runs.
    pub(super) fn steps(&self) -> Arc<[Step]> {
        Arc::clone(&self.steps)
    }

    /// Rows of values, each paired with the parameters.
    pub(super) fn paired(&self, rows: Vec<Row>) -> Result<Vec<Parameters>, Status> {
        let pair = |row| Parameters::pair(&self.parameters, row).map_err(|error| status::of_error(&error));
        rows.into_iter().map(pair).collect()
    }

    /// The values that were bound last; a single row of none for a statement without parameters.
    pub(super) fn bound(&self) -> Result<Vec<Parameters>, Status> {
        if self.parameters.is_empty() {
            return Ok(vec![Parameters::default()]);
        }
        let bound = self.bound.lock().clone();
        if bound.is_empty() { self.paired(vec![Vec::new()]) } else { Ok(bound) }
    }

    fn columns(&self) -> Option<SchemaRef> {
        self.described.as_ref().and_then(|described| described.columns.as_ref()).map(|columns| wire::schema(columns))
    }
}

/// The action `CreatePreparedStatement`.
pub(super) async fn create(
    caller: &Caller,
    limits: &Limits,
    request: ActionCreatePreparedStatementRequest,
) -> Result<ActionCreatePreparedStatementResult, Status> {
    without_transaction(request.transaction_id.as_ref())?;
    let statements = statements::read(request.query, limits).await?;
    let session = caller.session.engine().await?;
    statements::check(&session, &statements)?;
    let mut parameters = Vec::new();
    for statement in &statements {
        parameters.extend(dialect::parameters(&statement.text).map_err(|error| status::of_error(&error))?);
    }
    let described = match statements.as_slice() {
        [single] => {
            let described = called_from(caller.address.clone(), session.describe_statement(&single.text)).await;
            Some(described.map_err(|error| status::of_error(&error))?)
        }
        _ if !parameters.is_empty() => return Err(Status::invalid_argument("only a single statement can have parameters")),
        // What the later ones give depends on what the earlier ones do.
        _ => None,
    };
    let prepared = Prepared { steps: Step::again(statements), parameters, described, bound: Mutex::default() };
    let dataset_schema = prepared.columns().map(|columns| wire::schema_bytes(&columns)).transpose()?.unwrap_or_default();
    let parameter_schema = match &prepared.described {
        Some(described) => wire::schema_bytes(&described.parameters)?,
        None => wire::schema_bytes(&Schema::empty())?,
    };
    let name = caller.session.keep_prepared(Arc::new(prepared))?;
    Ok(ActionCreatePreparedStatementResult { prepared_statement_handle: name.into_bytes().into(), dataset_schema, parameter_schema })
}

/// Runs a prepared statement with the values that were bound, and promises its rows.
pub(super) async fn info(
    caller: &Caller,
    query: &CommandPreparedStatementQuery,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo, Status> {
    execute::promise(caller, run(caller, query).await?, descriptor).await
}

/// Runs it in the background and returns the name of what is to come of it.
pub(super) async fn start(caller: &Caller, query: &CommandPreparedStatementQuery) -> Result<String, Status> {
    caller.session.keep_result(run(caller, query).await?)
}

async fn run(caller: &Caller, query: &CommandPreparedStatementQuery) -> Result<Arc<Running>, Status> {
    let prepared = caller.session.prepared(&name_of(&query.prepared_statement_handle)?)?;
    let values = prepared.bound()?;
    if values.len() > 1 && prepared.columns().is_some() {
        return Err(Status::invalid_argument(format!("{} rows of parameters are bound, a query runs with one", values.len())));
    }
    Ok(execute::begin(caller, caller.session.engine().await?, prepared.steps(), values))
}

/// The columns of a prepared statement, as they were described.
pub(super) fn schema(caller: &Caller, query: &CommandPreparedStatementQuery) -> Result<SchemaRef, Status> {
    let prepared = caller.session.prepared(&name_of(&query.prepared_statement_handle)?)?;
    Ok(prepared.columns().unwrap_or_else(|| Arc::new(Schema::empty())))
}

/// Binds values for the next execution.
pub(super) async fn bind(
    caller: &Caller,
    query: &CommandPreparedStatementQuery,
    messages: BoxStream<'static, Result<FlightData, Status>>,
) -> Result<Bytes, Status> {
    let prepared = caller.session.prepared(&name_of(&query.prepared_statement_handle)?)?;
    let rows = values(messages).await?.unwrap_or_default();
    let paired = prepared.paired(rows)?;
    *prepared.bound.lock() = paired;
    let answer = DoPutPreparedStatementResult { prepared_statement_handle: Some(query.prepared_statement_handle.clone()) };
    Ok(answer.encode_to_vec().into())
}

/// The rows of values in a request; `None` if it has no batches.
pub(super) async fn values(messages: BoxStream<'static, Result<FlightData, Status>>) -> Result<Option<Vec<Row>>, Status> {
    let mut messages = messages;
    let first = messages.next().await.transpose()?;
    let Some(first) = first.filter(|first| !first.data_header.is_empty()) else { return Ok(None) };
    let messages = futures::stream::iter([Ok(first)]).chain(messages);
    let mut batches = FlightRecordBatchStream::new_from_flight_data(messages.map_err(|status| FlightError::Tonic(Box::new(status))));
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(malformed)?;
        if rows.len() + batch.num_rows() > ROWS_MAX {
            let problem = format!("more than {ROWS_MAX} rows of parameters are bound; hint: send rows by bulk ingestion");
            return Err(Status::invalid_argument(problem));
        }
        bytes += batch.get_array_memory_size();
        if bytes > VALUES_BYTES_MAX {
            let problem = format!("the parameters take more than {VALUES_BYTES_MAX} bytes; hint: send rows by bulk ingestion");
            return Err(Status::invalid_argument(problem));
        }
        read(&batch, &mut rows)?;
    }
    let has_columns = batches.schema().is_some_and(|schema| !schema.fields().is_empty());
    Ok((has_columns || !rows.is_empty()).then_some(rows))
}

fn read(batch: &RecordBatch, rows: &mut Vec<Row>) -> Result<(), Status> {
    let schema = batch.schema();
    for row in 0..batch.num_rows() {
        let cells = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
            let value = ScalarValue::try_from_array(column.as_ref(), row).map_err(malformed)?;
            Ok((field.name().clone(), plain(value)))
        });
        rows.push(cells.collect::<Result<Row, Status>>()?);
    }
    Ok(())
}

/// The value within a union or a dictionary, in which some drivers wrap values.
fn plain(value: ScalarValue) -> ScalarValue {
    match value {
        ScalarValue::Union(Some((_, inner)), ..) | ScalarValue::Dictionary(_, inner) => plain(*inner),
        ScalarValue::Union(None, ..) => ScalarValue::Null,
        other => other,
    }
}
