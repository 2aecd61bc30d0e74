//! Statements carried out by a server, `orrery serve` or a scheduler, as any Flight SQL client's are.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use arrow_flight::HandshakeRequest;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::CommandGetTables;
use arrow_flight::sql::client::FlightSqlServiceClient;
use datafusion::arrow::array::{AsArray as _, RecordBatch};
use futures::{StreamExt as _, TryStreamExt as _};
use orrery_engine::dialect::Variable;
use orrery_engine::script::{Failure, Finished, Located, Observer as _, ScriptFile};
use orrery_engine::{Blame, Error, Result};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::Place;
use crate::args::{Display, Sql};
use crate::output::Output;
use crate::remote::{Authorization, connected, said};
use crate::report::{self, RunReport, Style};
use crate::{exit, session};

/// How long names for completion are waited for.
const WORDS_WITHIN: Duration = Duration::from_secs(2);
/// Largest message that is accepted: rows of one batch.
const MESSAGE_LIMIT_BYTES: usize = 256 << 20;

/// A session on a server.
pub(super) struct Server {
    client: FlightSqlServiceClient<Channel>,
    url: String,
    user: String,
    is_interactive: bool,
}

impl Server {
    /// Logs in, or says why not and returns the exit code.
    pub async fn connect(args: &Sql) -> Result<Self, u8> {
        let url = args.to.clone().unwrap_or_default();
        let channel = connected(&url, &args.login).await?;
        let mut client = FlightServiceClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT_BYTES);
        let token = log_in(&mut client, &Authorization::or_nameless(&args.login)).await.map_err(|status| {
            match status.code() {
                Code::Unauthenticated => eprintln!("error: {}; give --user and ORRERY_PASSWORD, or ORRERY_TOKEN", said(&status)),
                _ => eprintln!("cluster error: {}", said(&status)),
            }
            exit::FAILED
        })?;
        let mut client = FlightSqlServiceClient::new_from_inner(client);
        client.set_token(token);
        let user = args.login.user.clone().unwrap_or_default();
        let mut server = Self { client, url, user, is_interactive: false };
        for (name, value) in &args.session.variables {
            let statement = format!("SET {name} = {}", literal(value));
            server.client.execute_update(statement, None).await.map_err(|error| report::error(&error_of(&status_of(error))))?;
        }
        Ok(server)
    }

    async fn one(&mut self, statement: &Located, source: &str, total: usize, observer: &mut RunReport) -> Result<()> {
        let started = Instant::now();
        observer.started(statement, "", total);
        let info = self.client.execute(source.to_string(), None).await.map_err(|error| error_of(&status_of(error)))?;
        let counted = u64::try_from(info.total_records).ok();
        let mut rows = None;
        for endpoint in info.endpoint {
            let Some(ticket) = endpoint.ticket else { continue };
            let mut batches = self.client.do_get(ticket).await.map_err(|error| error_of(&status_of(error)))?;
            let mut has_schema = false;
            while let Some(batch) = batches.try_next().await.map_err(|error| error_of(&status_of(error)))? {
                if !has_schema {
                    has_schema = true;
                    observer.schema(&batch.schema())?;
                }
                *rows.get_or_insert(0) += batch.num_rows() as u64;
                observer.batch(&batch)?;
            }
            if let (false, Some(schema)) = (has_schema, batches.schema().filter(|schema| !schema.fields().is_empty())) {
                observer.schema(schema)?;
                rows = Some(0);
            }
        }
        let finished = Finished { summary: String::new(), rows: rows.or(counted), bytes: None, elapsed: started.elapsed() };
        observer.finished(statement, &finished)
    }
}

async fn log_in(client: &mut FlightServiceClient<Channel>, authorization: &Authorization) -> Result<String, Status> {
    let hello = futures::stream::iter([HandshakeRequest { protocol_version: 0, payload: Default::default() }]);
    let request = authorization.on(Request::new(hello));
    let response = client.handshake(request).await?;
    let payload = response.into_inner().next().await.transpose()?.map(|answer| answer.payload);
    payload.and_then(|token| String::from_utf8(token.into()).ok()).ok_or_else(|| Status::internal("the server gave no token"))
}

impl Place for Server {
    fn name(&self) -> String {
        self.url.clone()
    }

    fn prompt(&self) -> String {
        let host = self.url.rsplit('/').next().unwrap_or_default();
        if self.user.is_empty() { format!("{host}> ") } else { format!("{}@{host}> ", self.user) }
    }

    async fn words(&mut self) -> Vec<String> {
        let everything = CommandGetTables {
            catalog: None,
            db_schema_filter_pattern: None,
            table_name_filter_pattern: None,
            table_types: Vec::new(),
            include_schema: false,
        };
        let client = &mut self.client;
        let fetch = async move {
            let mut tables = Vec::new();
            for endpoint in client.get_tables(everything).await?.endpoint {
                if let Some(ticket) = endpoint.ticket {
                    tables.extend(client.do_get(ticket).await?.try_collect::<Vec<RecordBatch>>().await?);
                }
            }
            Ok::<_, FlightError>(tables)
        };
        // Completion is a convenience: nothing is said where it is not to be had.
        let tables = tokio::time::timeout(WORDS_WITHIN, fetch).await.ok().and_then(Result::ok).unwrap_or_default();
        names_in(&tables).into_iter().collect()
    }

    fn begin(&mut self, is_interactive: bool) {
        self.is_interactive = is_interactive;
    }

    async fn run(&mut self, files: &[ScriptFile], statements: &[Located], display: &Display, style: Style) -> u8 {
        let mut observer = RunReport::new(Output::new(display), style);
        for statement in statements {
            let interrupted = session::interrupt();
            let file = files.iter().find(|file| file.path == *statement.file).map_or("", |file| file.text.as_str());
            let source = statement.text.source_in(file);
            // A call or a stream that ends stops the statement.
            let outcome = tokio::select! {
                outcome = self.one(statement, source, statements.len(), &mut observer) => outcome,
                _ = interrupted => Err(Error::interrupted()),
            };
            if let Err(mut error) = outcome {
                observer.close();
                error.position = None;
                let failure = Failure {
                    file: Some(statement.file.clone()).filter(|_| !self.is_interactive),
                    number: (statements.len() > 1).then_some(statement.number),
                    statement: (statements.len() > 1).then(|| statement.text.text.clone()),
                    error,
                };
                return report::failure(&failure);
            }
        }
        observer.close();
        exit::DONE
    }
}

fn literal(value: &Variable) -> String {
    match value {
        Variable::Null | Variable::Boolean(_) | Variable::Number(_) => value.to_string(),
        Variable::String(text) | Variable::Date(text) | Variable::Timestamp(text) => format!("'{}'", text.replace('\'', "''")),
    }
}

/// Schemas and tables in an answer to `GetTables`.
fn names_in(tables: &[RecordBatch]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for batch in tables {
        let columns = ["catalog_name", "db_schema_name", "table_name"].map(|name| batch.column_by_name(name)?.as_string_opt::<i32>());
        let [Some(catalogs), Some(schemas), Some(tables)] = columns else { continue };
        for row in 0..batch.num_rows() {
            let (catalog, schema, table) = (catalogs.value(row), schemas.value(row), tables.value(row));
            names.extend([catalog.to_string(), schema.to_string(), format!("{schema}.{table}"), table.to_string()]);
        }
    }
    names
}

fn status_of(error: impl Into<FlightError>) -> Status {
    match error.into() {
        FlightError::Tonic(status) => *status,
        other => Status::internal(other.to_string()),
    }
}

/// What the server says, as the engine in this process would have said it.
fn error_of(status: &Status) -> Error {
    let blame = match status.code() {
        Code::InvalidArgument | Code::NotFound | Code::Unimplemented => Blame::Sql,
        Code::FailedPrecondition => Blame::Data,
        Code::PermissionDenied | Code::Unauthenticated => Blame::Rights,
        Code::ResourceExhausted => Blame::Resources,
        Code::Cancelled => Blame::Interrupted,
        Code::Internal => Blame::Bug,
        _ => Blame::Cluster,
    };
    let text = said(status);
    match text.split_once("; hint: ") {
        Some((message, hint)) => Error::new(blame, message).hint(hint),
        None => Error::new(blame, text),
    }
}
