//! The engine's words ↔ the interface's messages.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::writer::StreamWriter;
use orrery_engine::Result;
use orrery_engine::dialect::Variable as EngineVariable;
use orrery_engine::script::{Failure, Finished, Located};
use orrery_engine::session::Progress as EngineProgress;
use orrery_proto::v1::variable::Value;
use orrery_proto::v1::{ExecutorShare, Progress, RunError, Statement, StatementFinished, TaskProgress, TrainingProgress, Variable};

use crate::backend;

/// Milliseconds since 1970 in UTC.
pub(crate) fn now_ms() -> i64 {
    ms_of(SystemTime::now())
}

/// The same of any moment.
pub(crate) fn ms_of(moment: SystemTime) -> i64 {
    moment.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A variable as a session takes it.
pub(crate) fn variable(given: Variable) -> (String, EngineVariable) {
    let value = match given.value {
        Some(Value::Text(text)) => EngineVariable::String(text),
        Some(Value::Number(number)) => EngineVariable::Number(number),
        Some(Value::Boolean(boolean)) => EngineVariable::Boolean(boolean),
        Some(Value::Null(_)) | None => EngineVariable::Null,
    };
    (given.name, value)
}

/// A statement that begins.
pub(crate) fn statement(located: &Located, kind: &str) -> Statement {
    Statement {
        number: number(located.number),
        file: located.file.to_string(),
        line: u32::try_from(located.text.position.line).unwrap_or(u32::MAX),
        column: u32::try_from(located.text.position.column).unwrap_or(u32::MAX),
        text: located.text.text.clone(),
        kind: kind.to_string(),
        started_ms: now_ms(),
        finished: None,
    }
}

/// Places in a run fit 32 bits.
pub(crate) fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// How far a statement is.
pub(crate) fn progress(statement: u32, progress: &EngineProgress) -> Progress {
    Progress {
        number: statement,
        rows_read: progress.rows_read,
        rows_total: progress.rows_total.unwrap_or(0),
        rows_written: progress.rows_written,
        bytes_written: progress.bytes_written,
        elapsed_ms: u64::try_from(progress.elapsed.as_millis()).unwrap_or(u64::MAX),
        tasks: progress.tasks.map(|tasks| TaskProgress {
            done: tasks.done,
            total: tasks.total,
            stages_done: tasks.stages_done,
            stages_total: tasks.stages_total,
        }),
        training: progress.training.map(|training| TrainingProgress {
            iterations: training.iterations,
            iterations_total: training.iterations_total,
            loss: training.loss,
            elapsed_ms: u64::try_from(training.elapsed.as_millis()).unwrap_or(u64::MAX),
        }),
    }
}

/// How a statement ended.
pub(crate) fn finished(statement: u32, finished: &Finished, shares: Vec<backend::ExecutorShare>) -> StatementFinished {
    StatementFinished {
        number: statement,
        summary: finished.summary.clone(),
        rows: finished.rows,
        bytes: finished.bytes,
        elapsed_us: micros(finished.elapsed),
        error: None,
        shares: shares.into_iter().map(share).collect(),
    }
}

fn share(share: backend::ExecutorShare) -> ExecutorShare {
    ExecutorShare { executor_id: share.executor_id, tasks: share.tasks, rows: share.rows, bytes: share.bytes, busy_ms: share.busy_ms }
}

/// What ended a run.
pub(crate) fn failure(failure: &Failure) -> RunError {
    let (line, column) = failure.error.position.map_or((0, 0), |position| (position.line, position.column));
    RunError {
        blame: failure.error.blame.as_str().to_string(),
        message: failure.error.message.clone(),
        hint: failure.error.hint.clone().unwrap_or_default(),
        file: failure.file.as_deref().unwrap_or_default().to_string(),
        line,
        column,
        number: failure.number.map_or(0, number),
        statement: failure.statement.clone().unwrap_or_default(),
    }
}

/// Rows in the Arrow IPC stream format, each message complete in itself.
pub(crate) fn ipc(schema: &SchemaRef, batch: Option<&RecordBatch>) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    if let Some(batch) = batch {
        writer.write(batch)?;
    }
    Ok(writer.into_inner()?)
}
