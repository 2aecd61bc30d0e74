//! What a person sees while statements run: a live line, a line per finished statement, and errors with their place.

use std::io::IsTerminal as _;
use std::time::Duration;

use bytesize::ByteSize;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use orrery_engine::script::{Failure, Finished, Located, Observer};
use orrery_engine::session::Progress;
use orrery_engine::{Blame, Error, Result};

use crate::exit;
use crate::output::Output;

/// Characters of a statement that its line shows.
const HEADLINE: usize = 64;

/// A rate says something only from so many rows on.
const RATE_FROM_ROWS: u64 = 10_000;

/// The observer behind `orrery run`: results on standard output, everything else on standard error.
pub(crate) struct RunReport {
    output: Output,
    bar: ProgressBar,
    style: Style,
    label: String,
}

/// What is said of each statement beside its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Nothing.
    Quiet,
    /// Its number, place and text, then what it did: for scripts.
    Script,
    /// As `Script`, where nothing was carried out.
    DryRun,
    /// Only what it did, after its rows: for the shell, where the statement stands above.
    Shell,
}

impl RunReport {
    pub(crate) fn new(output: Output, style: Style) -> Self {
        let live = style != Style::Quiet && std::io::stderr().is_terminal();
        let target = if live { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        Self { output, bar, style, label: String::new() }
    }

    /// Changes what is said of each statement.
    pub(crate) fn set_style(&mut self, style: Style) {
        self.style = style;
    }

    /// Takes the live line away.
    pub(crate) fn close(&self) {
        self.bar.finish_and_clear();
    }

    fn summary(&self, finished: &Finished) -> String {
        let mut parts = Vec::new();
        if self.style != Style::Shell {
            parts.push(self.label.clone());
        }
        if self.style == Style::DryRun {
            parts.push(if finished.summary.is_empty() { "plans".to_string() } else { finished.summary.clone() });
            return parts.join(" · ");
        }
        parts.push(duration(finished.elapsed));
        if let Some(rows) = finished.rows {
            parts.push(if rows == 1 { "1 row".to_string() } else { format!("{} rows", count(rows)) });
        }
        if let Some(bytes) = finished.bytes {
            parts.push(ByteSize(bytes).to_string());
            if let Some(rows) = finished.rows.filter(|rows| *rows >= RATE_FROM_ROWS) {
                parts.push(format!("{} rows/s", count((rows as f64 / finished.elapsed.as_secs_f64()) as u64)));
            }
        }
        if !finished.summary.is_empty() {
            parts.push(finished.summary.clone());
        }
        parts.join(" · ")
    }
}

impl Observer for RunReport {
    fn started(&mut self, statement: &Located, _kind: &'static str, total: usize) {
        let file = statement.file.rsplit('/').next().unwrap_or_default();
        self.label =
            format!("[{}/{total}] {file}:{} {}", statement.number, statement.text.position.line, statement.text.headline(HEADLINE));
        self.bar.reset();
        self.bar.set_message(self.label.clone());
    }

    fn progress(&mut self, progress: &Progress) {
        let mut parts = vec![self.label.clone(), duration(progress.elapsed)];
        if let Some(tasks) = progress.tasks {
            parts.push(format!("{} of {} tasks, {} of {} stages", tasks.done, tasks.total, tasks.stages_done, tasks.stages_total));
        }
        if progress.rows_read > 0 {
            let total = progress.rows_total.map_or_else(String::new, |t| format!(" of {}", count(t)));
            parts.push(format!("{}{total} rows read", count(progress.rows_read)));
        }
        if progress.rows_written > 0 {
            parts.push(format!("{} written, {}", count(progress.rows_written), ByteSize(progress.bytes_written)));
        }
        if let Some(training) = progress.training {
            parts.push(format!("iteration {} of {}", training.iterations, training.iterations_total));
            if let Some(loss) = training.loss {
                parts.push(format!("loss {loss:.6}"));
            }
        }
        if let Some(eta) = progress.eta() {
            parts.push(format!("about {} left", duration(eta)));
        }
        self.bar.set_message(parts.join(" · "));
        self.bar.tick();
    }

    fn schema(&mut self, schema: &SchemaRef) -> Result<()> {
        self.output.schema(schema)
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let bar = self.bar.clone();
        bar.suspend(|| self.output.batch(batch))
    }

    fn finished(&mut self, _statement: &Located, finished: &Finished) -> Result<()> {
        self.bar.finish_and_clear();
        let summary = self.summary(finished);
        match self.style {
            Style::Quiet => self.output.finish(),
            Style::Script | Style::DryRun => {
                eprintln!("{summary}");
                self.output.finish()
            }
            Style::Shell => {
                let shown = self.output.finish();
                eprintln!("{summary}");
                shown
            }
        }
    }
}

/// Prints a failure with its place, statement and hint; returns the exit code.
pub(crate) fn failure(failure: &Failure) -> u8 {
    eprintln!("{}: {failure}", title(failure.error.blame));
    if let (Some(statement), Some(number)) = (&failure.statement, failure.number) {
        let lines: Vec<&str> = statement.lines().take(4).collect();
        let more = if statement.lines().count() > lines.len() { " …" } else { "" };
        eprintln!("  in statement {number}: {}{more}", lines.join("\n    "));
    }
    hint(&failure.error);
    code(&failure.error)
}

/// Prints an error; returns the exit code.
pub(crate) fn error(error: &Error) -> u8 {
    eprintln!("{}: {error}", title(error.blame));
    hint(error);
    code(error)
}

fn hint(error: &Error) {
    if let Some(hint) = &error.hint {
        eprintln!("  hint: {hint}");
    }
    if error.blame == Blame::Bug {
        eprintln!("  this is a defect of Orrery; please report it with the statement");
    }
}

fn title(blame: Blame) -> &'static str {
    match blame {
        Blame::Sql => "error",
        Blame::Data => "data error",
        Blame::Rights => "not allowed",
        Blame::Storage => "storage error",
        Blame::Cluster => "cluster error",
        Blame::Resources => "out of resources",
        Blame::Interrupted => "interrupted",
        Blame::Bug => "internal error",
    }
}

fn code(error: &Error) -> u8 {
    if error.blame == Blame::Interrupted { exit::INTERRUPTED } else { exit::FAILED }
}

/// `0.123 s`, `12.3 s`, `2 min 05 s`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s < 10.0 => format!("{s:.3} s"),
        s if s < 60.0 => format!("{s:.1} s"),
        _ => format!("{} min {:02} s", duration.as_secs() / 60, duration.as_secs() % 60),
    }
}

/// `42,448,764`.
pub(crate) fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}
