//! Statement after statement until the first failure.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt as _;

use super::{Finished, Located, Observer};
use crate::dialect::{self, Statement, Variable};
use crate::session::{Mode, Outcome, Session, Tracker};
use crate::{Error, Result};

/// How often an observer hears of progress.
const TICK: Duration = Duration::from_millis(100);

/// How to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Carry out or only plan.
    pub mode: Mode,
    /// The statement to start at, from 1. Those before it are skipped, but for the ones that only prepare the session (`SET`, `USE`,
    /// temporary views and caches), which later statements need.
    pub from: usize,
    /// Names the run, the same when it is resumed: writes that it has committed are not repeated.
    pub run_id: Option<String>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { mode: Mode::Run, from: 1, run_id: None }
    }
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// Statements carried out.
    pub statements: usize,
    /// Statements skipped.
    pub skipped: usize,
    /// All of it.
    pub elapsed: Duration,
}

/// The failure that ended a run.
#[derive(Debug)]
pub struct Failure {
    /// The script.
    pub file: Option<Arc<str>>,
    /// The statement's place in the run, from 1.
    pub number: Option<usize>,
    /// The statement's text.
    pub statement: Option<String>,
    /// What went wrong, where and what would be right.
    pub error: Error,
}

impl Failure {
    fn of(statement: &Located, error: Error) -> Self {
        let error = error.at(Some(statement.text.position));
        Self {
            file: Some(Arc::clone(&statement.file)),
            number: Some(statement.number),
            statement: Some(statement.text.text.clone()),
            error,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}")?;
            if let Some(position) = self.error.position {
                write!(f, ":{}:{}", position.line, position.column)?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{}", self.error.message)
    }
}

impl std::error::Error for Failure {}

/// Parses every statement, so that a slip in the last file is found before the first statement runs. Variables that scripts set to a
/// computed value count as a number here.
///
/// # Errors
/// The first statement that does not parse or names a variable that nothing sets.
pub fn check_syntax(session: &Session, statements: &[Located]) -> Result<(), Failure> {
    let mut variables = session.variables();
    for located in statements {
        let parsed = variables.substitute(&located.text).and_then(|tokens| dialect::parse(&tokens));
        let mut statement = &parsed.map_err(|e| Failure::of(located, e))?;
        while let Statement::Explain { statement: inner, .. } = statement {
            statement = inner;
        }
        if let Statement::SetVariable { name, value } = statement {
            let text = value.to_string();
            let quoted = text.len() >= 2 && text.starts_with('\'') && text.ends_with('\'');
            variables.set(name, if quoted { Variable::from_argument(&text) } else { Variable::Number("0".to_string()) });
        }
    }
    Ok(())
}

/// Runs statements in order.
///
/// # Errors
/// The first failure; the statements before it stay done, its own table is as it was.
pub async fn run(session: &Session, statements: &[Located], options: RunOptions, observer: &mut dyn Observer) -> Result<Report, Failure> {
    let started = Instant::now();
    check_syntax(session, statements)?;
    let mut report = Report::default();
    for located in statements {
        let statement = session.parse(&located.text).map_err(|e| Failure::of(located, e))?;
        if located.number < options.from && !prepares_session(&statement) {
            report.skipped += 1;
            continue;
        }
        observer.started(located, statement.kind(), statements.len());
        session.set_statement_key(options.run_id.as_ref().map(|run| format!("{run}/{}", located.number)));
        one(session, located, options.mode, observer).await.map_err(|e| Failure::of(located, e))?;
        report.statements += 1;
    }
    report.elapsed = started.elapsed();
    Ok(report)
}

fn prepares_session(statement: &Statement) -> bool {
    match statement {
        Statement::SetVariable { .. } | Statement::SetOption { .. } | Statement::Use { .. } | Statement::Cache { .. } => true,
        Statement::CreateView(view) => view.temporary,
        _ => false,
    }
}

async fn one(session: &Session, located: &Located, mode: Mode, observer: &mut dyn Observer) -> Result<()> {
    let started = Instant::now();
    let tracker = Tracker::default();
    let mut is_told = false;
    let outcome = {
        let mut work = pin!(session.execute(&located.text, mode, &tracker));
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                outcome = &mut work => break outcome?,
                _ = ticks.tick() => {
                    if let Some(progress) = tracker.read() {
                        tell_plan(&tracker, &mut is_told, observer);
                        observer.progress(&progress);
                    }
                }
            }
        }
    };
    tell_plan(&tracker, &mut is_told, observer);
    let mut finished = Finished { summary: String::new(), rows: None, bytes: None, elapsed: Duration::ZERO };
    match outcome {
        Outcome::Rows(stream) => {
            let rows = match show(session, stream, &tracker, observer).await {
                Ok(rows) => rows,
                Err(error) => return Err(session.explain_error(error, &located.text, &tracker).await),
            };
            finished.rows = Some(rows);
        }
        Outcome::Written { table, outcome } => {
            finished.summary = format!("{table} version {}", outcome.version);
            finished.rows = Some(outcome.rows);
            finished.bytes = Some(outcome.bytes);
        }
        Outcome::Done(summary) => finished.summary = summary,
    }
    finished.elapsed = started.elapsed();
    observer.finished(located, &finished)
}

fn tell_plan(tracker: &Tracker, is_told: &mut bool, observer: &mut dyn Observer) {
    if !*is_told && let Some(plan) = tracker.plan() {
        *is_told = true;
        observer.planned(&plan);
    }
}

async fn show(session: &Session, mut stream: SendableRecordBatchStream, tracker: &Tracker, observer: &mut dyn Observer) -> Result<u64> {
    observer.schema(&stream.schema())?;
    let token = session.cancellation();
    let mut ticks = tokio::time::interval(TICK);
    let mut rows = 0;
    loop {
        tokio::select! {
            biased;
            () = token.cancelled() => return Err(Error::interrupted()),
            batch = stream.next() => match batch {
                Some(batch) => {
                    let batch = batch?;
                    rows += batch.num_rows() as u64;
                    observer.batch(&batch)?;
                }
                None => return Ok(rows),
            },
            _ = ticks.tick() => {
                if let Some(progress) = tracker.read() {
                    observer.progress(&progress);
                }
            }
        }
    }
}
