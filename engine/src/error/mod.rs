//! Errors by blame: whose doing it is, where in the script it stands, what was found and what would be right.

mod wire;

use std::fmt;

use datafusion::arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use datafusion::sql::sqlparser::tokenizer::{Location, Span};
use orrery_lakehouse::Error as LakehouseError;
use orrery_udfs::memory::NoRoom;

pub use wire::WireError;

/// Result of the engine's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who has to act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The statement is wrong: its author mends it.
    Sql,
    /// The data do not allow what the statement asks, or an assertion about them failed.
    Data,
    /// The user lacks a right: whoever owns or manages the object may grant it.
    Rights,
    /// Files, directories or object stores: missing, damaged, full or not permitted.
    Storage,
    /// The cluster: no executors, lost ones, or nodes that cannot reach each other.
    Cluster,
    /// The memory budget, or another limit of the machine, was reached.
    Resources,
    /// The user or the operator stopped it.
    Interrupted,
    /// A defect of Orrery itself.
    Bug,
}

impl Blame {
    /// Every blame.
    pub const ALL: [Blame; 8] =
        [Blame::Sql, Blame::Data, Blame::Rights, Blame::Storage, Blame::Cluster, Blame::Resources, Blame::Interrupted, Blame::Bug];

    /// One lower-case word for messages and event records.
    pub fn as_str(self) -> &'static str {
        match self {
            Blame::Sql => "sql",
            Blame::Data => "data",
            Blame::Rights => "rights",
            Blame::Storage => "storage",
            Blame::Cluster => "cluster",
            Blame::Resources => "resources",
            Blame::Interrupted => "interrupted",
            Blame::Bug => "bug",
        }
    }
}

/// A place in a script, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
}

impl Position {
    /// The position of a parser location; `None` for the parser's "nowhere".
    pub fn of(location: Location) -> Option<Self> {
        (location.line > 0).then_some(Self { line: location.line, column: location.column })
    }

    /// Where a span starts.
    pub fn of_span(span: Span) -> Option<Self> {
        Self::of(span.start)
    }

    /// A span that starts here and has no length.
    pub(crate) fn to_span(self) -> Span {
        let location = Location { line: self.line, column: self.column };
        Span::new(location, location)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// What went wrong, whose doing it is, where, and what would be right.
#[derive(Debug)]
pub struct Error {
    /// Who has to act.
    pub blame: Blame,
    /// What was found, in one or two sentences.
    pub message: String,
    /// Where in the script.
    pub position: Option<Position>,
    /// What would be right.
    pub hint: Option<String>,
}

impl Error {
    /// An error without a place or hint yet.
    pub fn new(blame: Blame, message: impl Into<String>) -> Self {
        Self { blame, message: message.into(), position: None, hint: None }
    }

    /// The statement is wrong.
    pub fn sql(message: impl Into<String>) -> Self {
        Self::new(Blame::Sql, message)
    }

    /// The data are wrong.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(Blame::Data, message)
    }

    /// A construct that parses but that Orrery does not carry out.
    pub fn unsupported(construct: impl fmt::Display, position: Option<Position>) -> Self {
        Self { position, ..Self::sql(format!("{construct} is not supported")) }
    }

    /// The run was stopped from outside.
    pub fn interrupted() -> Self {
        Self::new(Blame::Interrupted, "interrupted")
    }

    /// Sets the place unless a more exact one is known already.
    pub fn at(mut self, position: Option<Position>) -> Self {
        self.position = self.position.or(position);
        self
    }

    /// Sets the hint unless there is one.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(position) = self.position {
            write!(f, " ({position})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl From<LakehouseError> for Error {
    fn from(error: LakehouseError) -> Self {
        let error = match error {
            LakehouseError::Engine(inner) => return inner.into(),
            other => other,
        };
        let blame = match &error {
            LakehouseError::Invalid(_)
            | LakehouseError::NotFound(_)
            | LakehouseError::AlreadyExists(_)
            | LakehouseError::Unsupported { .. } => Blame::Sql,
            _ => Blame::Storage,
        };
        Self::new(blame, error.to_string())
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        let position = error
            .diagnostic()
            .and_then(|d| d.span)
            .and_then(|span| (span.start.line > 0).then_some(Position { line: span.start.line, column: span.start.column }));
        classify(error).at(position)
    }
}

/// The way of an error through DataFusion's planner, which hands it back unchanged.
impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

impl Error {
    /// The same as conversion from an owned error, for one that is shared.
    pub fn of_arrow(error: &ArrowError) -> Self {
        match error {
            ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
                Some(inner) => classify_ref(inner),
                None => Self::new(Blame::Data, inner.to_string()),
            },
            ArrowError::IoError(message, _) => Self::new(Blame::Storage, message),
            ArrowError::MemoryError(message) => Self::new(Blame::Resources, message),
            ArrowError::CastError(message)
            | ArrowError::ParseError(message)
            | ArrowError::CsvError(message)
            | ArrowError::JsonError(message) => Self::data(message),
            other => Self::data(other.to_string()),
        }
    }

    /// The same as conversion from an owned error, for one that is shared.
    pub fn of_datafusion(error: &DataFusionError) -> Self {
        classify_ref(error)
    }
}

/// The blame of a DataFusion error is that of its innermost cause.
fn classify(error: DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => classify(*inner),
        DataFusionError::Shared(inner) => classify_ref(&inner),
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(first) => first.into(),
            None => Error::new(Blame::Bug, "an empty collection of errors"),
        },
        DataFusionError::External(inner) => classify_external(inner),
        DataFusionError::ArrowError(inner, _) => classify_arrow(*inner),
        other => classify_ref(&other),
    }
}

fn classify_external(inner: Box<dyn std::error::Error + Send + Sync>) -> Error {
    let inner = match inner.downcast::<LakehouseError>() {
        Ok(error) => return (*error).into(),
        Err(inner) => inner,
    };
    let inner = match inner.downcast::<Error>() {
        Ok(error) => return *error,
        Err(inner) => inner,
    };
    if inner.is::<NoRoom>() {
        return Error::new(Blame::Resources, inner.to_string());
    }
    match inner.downcast::<DataFusionError>() {
        Ok(error) => classify(*error),
        Err(other) => Error::new(Blame::Data, other.to_string()),
    }
}

fn classify_arrow(error: ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => classify_external(inner),
        other => Error::of_arrow(&other),
    }
}

fn classify_ref(error: &DataFusionError) -> Error {
    let text = error.strip_backtrace();
    let blame = match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => return classify_ref(inner),
        DataFusionError::Shared(inner) => return classify_ref(inner),
        DataFusionError::SQL(..) | DataFusionError::Plan(_) | DataFusionError::SchemaError(..) | DataFusionError::NotImplemented(_) => {
            Blame::Sql
        }
        DataFusionError::Configuration(_) => Blame::Sql,
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) | DataFusionError::ParquetError(_) => Blame::Storage,
        DataFusionError::ResourcesExhausted(_) => Blame::Resources,
        DataFusionError::Internal(_) | DataFusionError::Substrait(_) => Blame::Bug,
        DataFusionError::ExecutionJoin(inner) if inner.is_cancelled() => return Error::interrupted(),
        DataFusionError::ExecutionJoin(_) => Blame::Bug,
        DataFusionError::ArrowError(inner, _) => return Error::of_arrow(inner),
        DataFusionError::Collection(errors) if !errors.is_empty() => return classify_ref(&errors[0]),
        DataFusionError::External(inner) if inner.is::<Error>() || inner.is::<DataFusionError>() => {
            return match (inner.downcast_ref::<Error>(), inner.downcast_ref::<DataFusionError>()) {
                (Some(error), _) => Error { blame: error.blame, message: error.message.clone(), position: None, hint: error.hint.clone() },
                (None, Some(inner)) => classify_ref(inner),
                (None, None) => Error::new(Blame::Bug, text),
            };
        }
        DataFusionError::External(inner) if inner.is::<NoRoom>() => Blame::Resources,
        DataFusionError::External(inner) => match inner.downcast_ref::<LakehouseError>() {
            Some(LakehouseError::Damaged { .. } | LakehouseError::Storage { .. } | LakehouseError::Conflict(_)) => Blame::Storage,
            Some(LakehouseError::Engine(inner)) => return classify_ref(inner),
            Some(_) => Blame::Sql,
            None => Blame::Data,
        },
        _ => Blame::Data,
    };
    Error::new(blame, readable(&text))
}

/// DataFusion prefixes messages with its error class; the blame says that already.
fn readable(text: &str) -> String {
    let mut text = text.trim();
    loop {
        let before = text;
        for prefix in [
            "Error during planning: ",
            "Execution error: ",
            "External error: ",
            "Schema error: ",
            "SQL error: ",
            "Arrow error: ",
            "Parquet error: ",
            "Object Store error: ",
            "IO error: ",
            "Invalid or Unsupported Configuration: ",
            "This feature is not implemented: ",
            "Optimizer rule 'simplify_expressions' failed\ncaused by\n",
        ] {
            text = text.strip_prefix(prefix).unwrap_or(text);
        }
        if text == before {
            return of_arguments(text).unwrap_or(text).to_string();
        }
    }
}

/// What a function itself says of its arguments, without what DataFusion says around it.
fn of_arguments(text: &str) -> Option<&str> {
    let (_, said) = text.strip_prefix("Function '")?.split_once("user-defined coercion failed with: ")?;
    let said = said.strip_prefix("Error during planning: ").unwrap_or(said);
    Some(said.split_once(" No function matches the given name").map_or(said, |(said, _)| said.trim_end_matches('.')))
}
