//! The statements of a request's text, read by the rules of scripts.

use std::sync::Arc;

use orrery_engine::dialect;
use orrery_engine::script::{Located, check_syntax};
use orrery_engine::session::Session;
use tonic::Status;

use crate::{Limits, status};

/// What stands for a script's file name.
const SOURCE: &str = "<request>";

/// Texts from this size on are read on a thread of their own.
const LONG_BYTES: usize = 64 << 10;

/// Cuts a text into statements; there is at least one.
pub(crate) async fn read(text: String, limits: &Limits) -> Result<Vec<Located>, Status> {
    if text.len() > limits.statement_bytes() {
        return Err(Status::invalid_argument(format!(
            "the statement has {} bytes, at most {} are read; hint: send rows by bulk ingestion or parameters",
            text.len(),
            limits.statement_bytes()
        )));
    }
    let split = if text.len() < LONG_BYTES {
        dialect::split(&text)
    } else {
        let split = tokio::task::spawn_blocking(move || dialect::split(&text)).await;
        split.map_err(|error| Status::internal(format!("the statement could not be read: {error}")))?
    };
    let texts = split.map_err(|error| status::of_error(&error))?;
    if texts.is_empty() {
        return Err(Status::invalid_argument("the text has no statement in it"));
    }
    let file: Arc<str> = SOURCE.into();
    let located = texts.into_iter().enumerate().map(|(i, text)| Located { file: Arc::clone(&file), text, number: i + 1 });
    Ok(located.collect())
}

/// Finds a slip in the last statement before the first one runs, as scripts do.
pub(crate) fn check(session: &Session, statements: &[Located]) -> Result<(), Status> {
    if statements.len() == 1 {
        return Ok(());
    }
    check_syntax(session, statements).map_err(|failure| status::of_failure(&failure, statements.len()))
}
