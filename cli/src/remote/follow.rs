//! Follows a run: its events become what `orrery run` shows. A connection that breaks is made again, and what was missed is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::ipc::reader::StreamReader;
use orrery_engine::dialect::split;
use orrery_engine::script::{Failure, Finished, Located, Observer as _};
use orrery_engine::session::{Progress, Tasks, TrainingProgress};
use orrery_engine::{Blame, Error, Position, Result};
use orrery_proto::v1::run_event::Event;
use orrery_proto::v1::{
    AttachRunRequest, CancelRunRequest, Progress as ProgressMessage, ResultBatch, RunError, RunEvent, RunFinished, RunState, Statement,
};
use tonic::{Code, Streaming};

use super::{Client, connect, refused, said, try_connect};
use crate::args::{Attach, Remote};
use crate::output::Output;
use crate::report::{self, RunReport, Style};
use crate::{exit, session};

/// How long a scheduler that went away is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// `orrery attach`.
pub(crate) async fn attach(args: Attach) -> u8 {
    let mut client = match connect(&args.remote).await {
        Ok(client) => client,
        Err(code) => return code,
    };
    let request = AttachRunRequest { run_id: args.run, after_sequence: 0 };
    let events = match client.attach_run(request).await {
        Ok(events) => events.into_inner(),
        Err(status) => return refused(&status),
    };
    let style = if args.quiet { Style::Quiet } else { Style::Script };
    Follower::new(args.remote, client, RunReport::new(Output::new(&args.display), style), style).follow(events, false).await
}

/// Follows one run to its end.
pub(super) struct Follower {
    remote: Remote,
    client: Client,
    report: RunReport,
    style: Style,
    run_id: String,
    after: u64,
    total: usize,
    statement: Option<Located>,
    has_schema: bool,
}

/// What a follower found at the end of a stream.
enum Ended {
    /// The run's last event.
    Run(RunFinished),
    /// The connection broke.
    Connection(String),
    /// The rows cannot be shown.
    Shown(Error),
}

impl Follower {
    pub fn new(remote: Remote, client: Client, report: RunReport, style: Style) -> Self {
        Self { remote, client, report, style, run_id: String::new(), after: 0, total: 0, statement: None, has_schema: false }
    }

    /// Shows events until the run ends; returns the exit code. Ctrl-C cancels the run if it was begun here, and only stops following otherwise.
    pub async fn follow(mut self, mut events: Streaming<RunEvent>, is_ours: bool) -> u8 {
        let interrupted = session::interrupt();
        tokio::pin!(interrupted);
        let mut is_cancelling = false;
        loop {
            let ended = tokio::select! {
                ended = self.read(&mut events) => ended,
                _ = &mut interrupted, if !is_cancelling => {
                    if !is_ours {
                        self.report.close();
                        eprintln!("the run goes on; orrery cancel {} stops it", self.run_id);
                        return exit::INTERRUPTED;
                    }
                    is_cancelling = true;
                    let request = CancelRunRequest { run_id: self.run_id.clone() };
                    if let Err(status) = self.client.cancel_run(request).await {
                        eprintln!("the run could not be cancelled: {}", status.message());
                    }
                    // A second Ctrl-C leaves at once.
                    tokio::spawn(async {
                        if session::interrupt().await.is_ok() {
                            std::process::exit(i32::from(exit::INTERRUPTED));
                        }
                    });
                    continue;
                }
            };
            match ended {
                Ended::Run(finished) => return self.finish(&finished),
                Ended::Shown(error) => {
                    self.report.close();
                    return report::error(&error);
                }
                Ended::Connection(reason) => match self.reconnect(&reason).await {
                    Ok(again) => events = again,
                    Err(code) => return code,
                },
            }
        }
    }

    async fn read(&mut self, events: &mut Streaming<RunEvent>) -> Ended {
        loop {
            let event = match events.message().await {
                Ok(Some(event)) => event,
                Ok(None) => return Ended::Connection("the connection was closed".to_string()),
                Err(status) => return Ended::Connection(said(&status)),
            };
            self.after = self.after.max(event.sequence);
            self.run_id = event.run_id;
            match event.event {
                Some(Event::Finished(finished)) => return Ended::Run(finished),
                Some(event) => {
                    if let Err(error) = self.show(event) {
                        return Ended::Shown(error);
                    }
                }
                None => {}
            }
        }
    }

    async fn reconnect(&mut self, reason: &str) -> Result<Streaming<RunEvent>, u8> {
        let deadline = Instant::now() + PATIENCE;
        let mut reason = reason.to_string();
        while Instant::now() < deadline {
            tokio::time::sleep(RETRY_AFTER).await;
            match try_connect(&self.remote).await {
                Ok(client) => self.client = client,
                Err(error) => {
                    reason = error;
                    continue;
                }
            }
            let request = AttachRunRequest { run_id: self.run_id.clone(), after_sequence: self.after };
            match self.client.attach_run(request).await {
                Ok(events) => return Ok(events.into_inner()),
                Err(status) if status.code() == Code::NotFound => {
                    self.report.close();
                    eprintln!("cluster error: the scheduler does not know run {} any more", self.run_id);
                    return Err(exit::FAILED);
                }
                Err(status) => reason = said(&status),
            }
        }
        self.report.close();
        eprintln!("cluster error: the scheduler at {} is gone: {reason}", self.remote.to);
        eprintln!("  hint: once it is back, orrery attach {} shows what became of the run", self.run_id);
        Err(exit::FAILED)
    }

    fn show(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Accepted(accepted) => {
                self.total = accepted.statements_total as usize;
                if accepted.dry_run && self.style == Style::Script {
                    self.style = Style::DryRun;
                    self.report.set_style(Style::DryRun);
                }
            }
            Event::StatementStarted(started) => {
                if let Some(statement) = started.statement {
                    let located = located(&statement)?;
                    self.report.started(&located, "", self.total);
                    self.statement = Some(located);
                    self.has_schema = false;
                }
            }
            Event::Progress(message) => self.report.progress(&progress(&message)),
            Event::Batch(batch) => self.rows(&batch)?,
            Event::StatementFinished(finished) => {
                if let (Some(statement), None) = (&self.statement, &finished.error) {
                    let finished = Finished {
                        summary: finished.summary,
                        rows: finished.rows,
                        bytes: finished.bytes,
                        elapsed: Duration::from_micros(finished.elapsed_us),
                    };
                    self.report.finished(statement, &finished)?;
                }
            }
            Event::Plan(_) | Event::Finished(_) => {}
        }
        Ok(())
    }

    fn rows(&mut self, batch: &ResultBatch) -> Result<()> {
        let reader = StreamReader::try_new(batch.ipc.as_slice(), None)?;
        if !self.has_schema {
            self.has_schema = true;
            self.report.schema(&reader.schema())?;
        }
        for batch in reader {
            self.report.batch(&batch?)?;
        }
        Ok(())
    }

    fn finish(&self, finished: &RunFinished) -> u8 {
        self.report.close();
        if let Some(error) = &finished.error {
            let failure = failure_of(error);
            let code = report::failure(&failure);
            if self.style != Style::DryRun {
                eprintln!("  orrery submit --resume {} goes on at the first unfinished statement", self.run_id);
            }
            return code;
        }
        match finished.state() {
            RunState::Succeeded => {
                if self.style != Style::Quiet {
                    let verb = if self.style == Style::DryRun { "planned" } else { "run" };
                    let skipped = finished.statements_skipped;
                    let skipped = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
                    let elapsed = report::duration(Duration::from_micros(finished.elapsed_us).max(Duration::from_millis(1)));
                    eprintln!("{} statements {verb}{skipped} in {elapsed}", finished.statements_done);
                }
                exit::DONE
            }
            RunState::Interrupted => {
                eprintln!("cluster error: the scheduler ended while run {} was under way", self.run_id);
                eprintln!("  hint: orrery submit --resume {} goes on at the first unfinished statement", self.run_id);
                exit::FAILED
            }
            _ => exit::INTERRUPTED,
        }
    }
}

/// A statement as the terminal shows it.
fn located(statement: &Statement) -> Result<Located> {
    let mut texts = split(&statement.text)?;
    if texts.is_empty() {
        return Err(Error::new(Blame::Bug, "the scheduler sent a statement without text"));
    }
    let mut text = texts.remove(0);
    text.position = Position { line: u64::from(statement.line), column: u64::from(statement.column) };
    Ok(Located { file: Arc::from(statement.file.as_str()), text, number: statement.number as usize })
}

fn progress(message: &ProgressMessage) -> Progress {
    Progress {
        rows_read: message.rows_read,
        rows_total: Some(message.rows_total).filter(|total| *total > 0),
        rows_written: message.rows_written,
        bytes_written: message.bytes_written,
        elapsed: Duration::from_millis(message.elapsed_ms),
        tasks: message.tasks.map(|tasks| Tasks {
            done: tasks.done,
            total: tasks.total,
            stages_done: tasks.stages_done,
            stages_total: tasks.stages_total,
        }),
        training: message.training.map(|training| TrainingProgress {
            iterations: training.iterations,
            iterations_total: training.iterations_total,
            loss: training.loss,
            elapsed: Duration::from_millis(training.elapsed_ms),
        }),
    }
}

/// The failure that a message tells of.
fn failure_of(error: &RunError) -> Failure {
    let blame = Blame::ALL.into_iter().find(|blame| blame.as_str() == error.blame).unwrap_or(Blame::Bug);
    let mut found = Error::new(blame, error.message.clone());
    found.hint = Some(error.hint.clone()).filter(|hint| !hint.is_empty());
    found.position = (error.line > 0).then_some(Position { line: error.line, column: error.column });
    Failure {
        file: Some(error.file.as_str()).filter(|file| !file.is_empty()).map(Arc::from),
        number: (error.number > 0).then_some(error.number as usize),
        statement: Some(error.statement.clone()).filter(|text| !text.is_empty()),
        error: found,
    }
}
