//! What became of runs, for SQL: the tables `runs`, `statements` and `statement_executors` of `system.query`. The journal holds the same until it is in there.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Int32Builder, Int64Builder, ListBuilder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use orrery_engine::session::append_system_rows;
use orrery_proto::v1::{ExecutorShare, Run as RunMessage, RunError, Statement};

use super::{Run, Runs};

const SCHEMA: &str = "query";
const UTC: &str = "UTC";

impl Runs {
    /// Appends a run that is over to the system tables. A failure leaves it to be recorded at the next start.
    pub(super) async fn record(&self, run: &Run) {
        let seen = run.details();
        let written = async {
            append_system_rows(
                &self.coordinator.warehouse,
                SCHEMA,
                "runs",
                "One row per run of scripts that has ended",
                run_row(&seen)?,
                &run.id,
            )
            .await?;
            if !seen.statements.is_empty() {
                let rows = statement_rows(&seen)?;
                append_system_rows(&self.coordinator.warehouse, SCHEMA, "statements", "One row per statement of these runs", rows, &run.id)
                    .await?;
            }
            let shares = share_rows(&seen)?;
            if shares.num_rows() > 0 {
                let comment = "What each executor did for these statements";
                append_system_rows(&self.coordinator.warehouse, SCHEMA, "statement_executors", comment, shares, &run.id).await?;
            }
            Ok::<(), orrery_engine::Error>(())
        };
        match written.await {
            Ok(()) => {
                if let Err(error) = run.set_recorded() {
                    tracing::warn!(run = %run.id, %error, "the journal cannot be written");
                }
            }
            Err(error) => tracing::warn!(run = %run.id, %error, "a run could not be recorded; it will be at the next start"),
        }
    }
}

fn text(values: impl IntoIterator<Item = Option<String>>) -> ArrayRef {
    let mut builder = StringBuilder::new();
    values.into_iter().for_each(|value| builder.append_option(value.filter(|value| !value.is_empty())));
    Arc::new(builder.finish())
}

fn times(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    let mut builder = TimestampMicrosecondBuilder::new().with_timezone(UTC);
    values.into_iter().for_each(|ms| builder.append_option((ms > 0).then_some(ms.saturating_mul(1000))));
    Arc::new(builder.finish())
}

fn numbers(values: impl IntoIterator<Item = Option<u64>>) -> ArrayRef {
    let mut builder = Int64Builder::new();
    values.into_iter().for_each(|value| builder.append_option(value.and_then(|value| i64::try_from(value).ok())));
    Arc::new(builder.finish())
}

fn places(values: impl IntoIterator<Item = u32>) -> ArrayRef {
    let mut builder = Int32Builder::new();
    values.into_iter().for_each(|value| builder.append_value(i32::try_from(value).unwrap_or(i32::MAX)));
    Arc::new(builder.finish())
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> orrery_engine::Result<RecordBatch> {
    let fields: Vec<Field> = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect())?)
}

fn error_text(error: Option<&RunError>) -> Option<String> {
    error.map(|error| match (error.file.as_str(), error.line) {
        ("", _) => error.message.clone(),
        (file, 0) => format!("{file}: {}", error.message),
        (file, line) => format!("{file}:{line}:{}: {}", error.column, error.message),
    })
}

fn run_row(run: &RunMessage) -> orrery_engine::Result<RecordBatch> {
    let mut files = ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
    files.append_value(run.files.iter().map(Some));
    let mut dry_run = BooleanBuilder::new();
    dry_run.append_value(run.dry_run);
    batch(vec![
        ("run_id", text([Some(run.run_id.clone())])),
        ("user_name", text([Some(run.user_name.clone())])),
        ("state", text([Some(run.state().word().to_string())])),
        ("catalog", text([Some(run.catalog.clone())])),
        ("files", Arc::new(files.finish())),
        ("dry_run", Arc::new(dry_run.finish())),
        ("resumed_run_id", text([Some(run.resumed_run_id.clone())])),
        ("started_at", times([run.started_ms])),
        ("ended_at", times([run.ended_ms])),
        ("statements_total", places([run.statements_total])),
        ("statements_done", places([run.statements_done])),
        ("error_blame", text([run.error.as_ref().map(|error| error.blame.clone())])),
        ("error", text([error_text(run.error.as_ref())])),
    ])
}

fn statement_rows(run: &RunMessage) -> orrery_engine::Result<RecordBatch> {
    let all = &run.statements;
    let of = |value: fn(&Statement) -> String| text(all.iter().map(|statement| Some(value(statement))));
    let finished = |statement: &Statement| statement.finished.clone().unwrap_or_default();
    batch(vec![
        ("run_id", text(all.iter().map(|_| Some(run.run_id.clone())))),
        ("user_name", text(all.iter().map(|_| Some(run.user_name.clone())))),
        ("number", places(all.iter().map(|statement| statement.number))),
        ("file", of(|statement| statement.file.clone())),
        ("line", places(all.iter().map(|statement| statement.line))),
        ("kind", of(|statement| statement.kind.clone())),
        ("statement", of(|statement| statement.text.clone())),
        ("state", text(all.iter().map(|statement| Some(statement.state_word(run.state()).to_string())))),
        ("started_at", times(all.iter().map(|statement| statement.started_ms))),
        ("elapsed_us", numbers(all.iter().map(|statement| statement.finished.as_ref().map(|finished| finished.elapsed_us)))),
        ("rows", numbers(all.iter().map(|statement| finished(statement).rows))),
        ("bytes", numbers(all.iter().map(|statement| finished(statement).bytes))),
        ("summary", text(all.iter().map(|statement| Some(finished(statement).summary)))),
        ("error", text(all.iter().map(|statement| error_text(finished(statement).error.as_ref())))),
    ])
}

fn share_rows(run: &RunMessage) -> orrery_engine::Result<RecordBatch> {
    let of = |statement: &Statement| statement.finished.as_ref().map(|finished| finished.shares.clone()).unwrap_or_default();
    let all: Vec<(u32, ExecutorShare)> =
        run.statements.iter().flat_map(|statement| of(statement).into_iter().map(|share| (statement.number, share))).collect();
    let count = |value: fn(&ExecutorShare) -> u64| numbers(all.iter().map(|(_, share)| Some(value(share))));
    batch(vec![
        ("run_id", text(all.iter().map(|_| Some(run.run_id.clone())))),
        ("user_name", text(all.iter().map(|_| Some(run.user_name.clone())))),
        ("number", places(all.iter().map(|(number, _)| *number))),
        ("executor_id", text(all.iter().map(|(_, share)| Some(share.executor_id.clone())))),
        ("tasks", places(all.iter().map(|(_, share)| share.tasks))),
        ("rows", count(|share| share.rows)),
        ("bytes", count(|share| share.bytes)),
        ("busy_ms", count(|share| share.busy_ms)),
    ])
}
