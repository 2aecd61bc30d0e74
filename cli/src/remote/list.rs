//! `orrery runs` and `orrery cancel`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::datatypes::{Field, Schema};
use orrery_proto::v1::{CancelRunRequest, ExecutorShare, GetRunRequest, ListRunsRequest, Run};

use super::{connect, refused};
use crate::args::{Cancel, Runs};
use crate::exit;
use crate::output::Output;
use crate::report;

/// Characters of a statement that a row shows.
const HEADLINE: usize = 60;

/// Lists runs, or the statements of one; returns the exit code.
pub(crate) async fn runs(args: Runs) -> u8 {
    let mut client = match connect(&args.remote).await {
        Ok(client) => client,
        Err(code) => return code,
    };
    let rows = match args.run {
        None => client
            .list_runs(ListRunsRequest { limit: args.limit, states: Vec::new() })
            .await
            .map(|answer| runs_table(&answer.into_inner().runs)),
        Some(run_id) => client.get_run(GetRunRequest { run_id }).await.map(|answer| {
            let run = answer.into_inner();
            if args.executors { executors_table(&run) } else { statements_table(&run) }
        }),
    };
    let rows = match rows {
        Ok(rows) => rows,
        Err(status) => return refused(&status),
    };
    let mut output = Output::new(&args.display);
    let shown = rows.and_then(|rows| {
        output.schema(&rows.schema())?;
        output.batch(&rows)?;
        output.finish()
    });
    match shown {
        Ok(()) => exit::DONE,
        Err(error) => report::error(&error),
    }
}

/// Stops a run; returns the exit code.
pub(crate) async fn cancel(args: Cancel) -> u8 {
    let mut client = match connect(&args.remote).await {
        Ok(client) => client,
        Err(code) => return code,
    };
    match client.cancel_run(CancelRunRequest { run_id: args.run.clone() }).await {
        Ok(answer) if answer.get_ref().cancelled => {
            eprintln!("run {} is being cancelled", args.run);
            exit::DONE
        }
        Ok(_) => {
            eprintln!("run {} is over already", args.run);
            exit::DONE
        }
        Err(status) => refused(&status),
    }
}

fn time(ms: i64) -> Option<String> {
    let time = DateTime::from_timestamp_millis(ms).filter(|_| ms > 0)?;
    Some(time.format("%Y-%m-%d %H:%M:%S").to_string())
}

fn text<T: Into<Option<String>>>(values: impl Iterator<Item = T>) -> ArrayRef {
    Arc::new(values.map(Into::into).collect::<StringArray>())
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> orrery_engine::Result<RecordBatch> {
    let fields: Vec<Field> = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect())?)
}

fn runs_table(runs: &[Run]) -> orrery_engine::Result<RecordBatch> {
    let elapsed = |run: &Run| {
        let ms = u64::try_from(run.ended_ms - run.started_ms).ok().filter(|_| run.ended_ms > 0)?;
        Some(report::duration(Duration::from_millis(ms)))
    };
    batch(vec![
        ("run_id", text(runs.iter().map(|run| run.run_id.clone()))),
        ("state", text(runs.iter().map(|run| run.state().word().to_string()))),
        ("started", text(runs.iter().map(|run| time(run.started_ms)))),
        ("elapsed", text(runs.iter().map(elapsed))),
        ("statements", text(runs.iter().map(|run| format!("{} of {}", run.statements_done, run.statements_total)))),
        ("first_file", text(runs.iter().map(|run| run.files.first().cloned()))),
        ("error", text(runs.iter().map(|run| run.error.as_ref().map(|error| error.message.clone())))),
    ])
}

fn statements_table(run: &Run) -> orrery_engine::Result<RecordBatch> {
    let all = &run.statements;
    let headline = |sql: &str| {
        let line: String = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.chars().count() > HEADLINE { format!("{}…", line.chars().take(HEADLINE).collect::<String>()) } else { line }
    };
    batch(vec![
        ("number", Arc::new(all.iter().map(|statement| Some(u64::from(statement.number))).collect::<UInt64Array>())),
        ("place", text(all.iter().map(|statement| format!("{}:{}", statement.file, statement.line)))),
        ("statement", text(all.iter().map(|statement| headline(&statement.text)))),
        ("state", text(all.iter().map(|statement| statement.state_word(run.state()).to_string()))),
        (
            "elapsed",
            text(
                all.iter().map(|statement| {
                    statement.finished.as_ref().map(|finished| report::duration(Duration::from_micros(finished.elapsed_us)))
                }),
            ),
        ),
        ("rows", Arc::new(all.iter().map(|statement| statement.finished.as_ref()?.rows).collect::<UInt64Array>())),
        ("error", text(all.iter().map(|statement| Some(statement.finished.as_ref()?.error.as_ref()?.message.clone())))),
    ])
}

/// What each executor did for the run, over all its statements.
fn executors_table(run: &Run) -> orrery_engine::Result<RecordBatch> {
    let mut sums: BTreeMap<&str, ExecutorShare> = BTreeMap::new();
    for share in run.statements.iter().filter_map(|statement| statement.finished.as_ref()).flat_map(|finished| &finished.shares) {
        let sum = sums.entry(share.executor_id.as_str()).or_default();
        sum.tasks += share.tasks;
        sum.rows += share.rows;
        sum.bytes += share.bytes;
        sum.busy_ms += share.busy_ms;
    }
    let count = |value: fn(&ExecutorShare) -> u64| -> ArrayRef { Arc::new(sums.values().map(value).collect::<UInt64Array>()) };
    batch(vec![
        ("executor_id", text(sums.keys().map(ToString::to_string))),
        ("tasks", count(|sum| u64::from(sum.tasks))),
        ("rows_read", count(|sum| sum.rows)),
        ("bytes_written", count(|sum| sum.bytes)),
        ("busy_ms", count(|sum| sum.busy_ms)),
    ])
}
