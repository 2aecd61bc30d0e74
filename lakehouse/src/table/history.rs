//! `DESCRIBE HISTORY`: what the commits say about themselves.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Int64Builder, MapBuilder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};
use chrono::{DateTime, Utc};
use datafusion::error::DataFusionError;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Map, Value};

use super::Table;
use crate::error::{Error, Result};
use crate::log::{CommitFile, TableLog};

/// Commit files read at the same time.
const READ_CONCURRENCY: usize = 16;

/// What one commit says about itself.
#[derive(Debug, Default)]
pub(crate) struct CommitSummary {
    pub version: u64,
    pub timestamp: DateTime<Utc>,
    /// The `commitInfo` action; empty if the writer left it out.
    pub info: Map<String, Value>,
    /// Application transaction ids recorded by the commit.
    pub transactions: Vec<String>,
}

impl Table {
    /// The table's commits up to this version, newest first, at most `limit`, in the columns of Spark's `DESCRIBE HISTORY`: version, timestamp (UTC), userId,
    /// userName, operation, operationParameters, readVersion, isolationLevel, isBlindAppend, operationMetrics, userMetadata, engineInfo. Commits whose log
    /// files have expired are not listed.
    pub async fn history(&self, limit: Option<usize>) -> Result<RecordBatch> {
        let commits = self.commit_summaries(limit).await?;
        history_batch(&commits).map_err(|error| Error::Engine(DataFusionError::from(error)))
    }

    pub(crate) async fn commit_summaries(&self, limit: Option<usize>) -> Result<Vec<CommitSummary>> {
        let mut commits = self.log.commits(0).await?;
        commits.retain(|commit| commit.version <= self.version());
        commits.reverse();
        commits.truncate(limit.unwrap_or(usize::MAX));
        let reads: Vec<_> = commits.into_iter().map(|commit| summarize(&self.log, commit)).collect();
        futures::stream::iter(reads).buffered(READ_CONCURRENCY).try_collect().await
    }
}

pub(super) async fn summarize(log: &TableLog, commit: CommitFile) -> Result<CommitSummary> {
    let bytes = log.read_commit(commit.version).await?;
    let mut summary = CommitSummary { version: commit.version, timestamp: commit.modified, ..CommitSummary::default() };
    for line in bytes.split(|byte| *byte == b'\n') {
        // The two actions of interest are found by their key first: data file entries are many and long.
        if contains(line, b"\"commitInfo\"") {
            if let Some(Value::Object(info)) = action(line, "commitInfo") {
                summary.info = info;
            }
        } else if contains(line, b"\"txn\"")
            && let Some(id) = action(line, "txn").as_ref().and_then(|txn| txn.get("appId")).and_then(Value::as_str)
        {
            summary.transactions.push(id.to_string());
        }
    }
    if let Some(millis) = summary.info.get("inCommitTimestamp").and_then(Value::as_i64) {
        summary.timestamp = DateTime::from_timestamp_millis(millis).unwrap_or(summary.timestamp);
    }
    Ok(summary)
}

fn contains(line: &[u8], key: &[u8]) -> bool {
    line.windows(key.len()).any(|window| window == key)
}

fn action(line: &[u8], key: &str) -> Option<Value> {
    serde_json::from_slice::<Value>(line).ok()?.get_mut(key).map(Value::take)
}

/// A JSON value as history shows it: strings bare, everything else as JSON.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn history_batch(commits: &[CommitSummary]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut version = Int64Builder::new();
    let mut timestamp = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let mut read_version = Int64Builder::new();
    let mut blind = BooleanBuilder::new();
    for commit in commits {
        version.append_value(i64::try_from(commit.version).unwrap_or(i64::MAX));
        timestamp.append_value(commit.timestamp.timestamp_micros());
        read_version.append_option(commit.info.get("readVersion").and_then(Value::as_i64));
        blind.append_option(commit.info.get("isBlindAppend").and_then(Value::as_bool));
    }
    let text = |key: &str| -> ArrayRef {
        let mut builder = StringBuilder::new();
        commits.iter().for_each(|commit| builder.append_option(commit.info.get(key).and_then(shown)));
        Arc::new(builder.finish())
    };
    let version: ArrayRef = Arc::new(version.finish());
    RecordBatch::try_from_iter_with_nullable([
        ("version", version, false),
        ("timestamp", Arc::new(timestamp.finish()), false),
        ("userId", text("userId"), true),
        ("userName", text("userName"), true),
        ("operation", text("operation"), true),
        ("operationParameters", map_column(commits, "operationParameters")?, true),
        ("readVersion", Arc::new(read_version.finish()), true),
        ("isolationLevel", text("isolationLevel"), true),
        ("isBlindAppend", Arc::new(blind.finish()), true),
        ("operationMetrics", map_column(commits, "operationMetrics")?, true),
        ("userMetadata", text("userMetadata"), true),
        ("engineInfo", text("engineInfo"), true),
    ])
}

fn map_column(commits: &[CommitSummary], key: &str) -> Result<ArrayRef, arrow::error::ArrowError> {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for commit in commits {
        let entries = commit.info.get(key).and_then(Value::as_object);
        for (name, value) in entries.into_iter().flatten() {
            builder.keys().append_value(name);
            builder.values().append_option(shown(value));
        }
        builder.append(entries.is_some())?;
    }
    Ok(Arc::new(builder.finish()))
}
