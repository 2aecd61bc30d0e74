//! Carrying out a run: a session of its own on the cluster with its user's rights, statement after statement, whatever happens to the client.

use std::sync::Arc;
use std::time::Instant;

use orrery_engine::script::{self, Failure, Report, RunOptions, ScriptFile};
use orrery_engine::session::{Mode, SessionOptions};
use orrery_engine::{Blame, Error, access};
use orrery_proto::v1::run_event::Event;
use orrery_proto::v1::{RunAccepted, RunState, StatementFinished};

use super::messages::{self, number, variable};
use super::observer::Recorder;
use super::{Run, Runs};

impl Runs {
    /// Runs the script to its end and writes down what became of it.
    pub(super) async fn carry_out(self: &Arc<Self>, run: &Arc<Run>, user: Option<access::Principal>) {
        let started = Instant::now();
        let outcome = self.run_script(run, user).await;
        let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        match outcome {
            Ok(report) => {
                tracing::info!(run = %run.id, statements = report.statements, elapsed_ms = elapsed_us / 1000, "run succeeded");
                run.finish(RunState::Succeeded, number(report.skipped), elapsed_us, None);
            }
            Err(failure) => {
                let state = match failure.error.blame {
                    Blame::Interrupted if run.is_cancelled() => RunState::Cancelled,
                    Blame::Interrupted if self.is_closing() => RunState::Interrupted,
                    _ => RunState::Failed,
                };
                tracing::info!(run = %run.id, state = state.as_str_name(), error = %failure, "run ended");
                run.finish(state, 0, elapsed_us, Some(messages::failure(&failure)));
            }
        }
        self.record(run).await;
        self.forget_oldest();
    }

    async fn run_script(&self, run: &Arc<Run>, user: Option<access::Principal>) -> Result<Report, Failure> {
        let whole = |error| Failure { file: None, number: None, statement: None, error };
        let request = &run.request;
        let files: Vec<ScriptFile> =
            request.files.iter().map(|file| ScriptFile { path: file.path.clone(), text: file.text.clone() }).collect();
        let statements = script::statements(&files)?;
        let from = request.from.max(1);
        if from as usize > statements.len().max(1) && request.resume_run_id.is_empty() {
            return Err(whole(Error::sql(format!("statement {from} is past the last one ({})", statements.len()))));
        }
        let accepted = RunAccepted { statements_total: number(statements.len()), from, dry_run: request.dry_run };
        run.tell(Event::Accepted(accepted))
            .map_err(|error| whole(Error::new(Blame::Storage, format!("the journal of runs cannot be written: {error}"))))?;
        if run.is_cancelled() || self.is_closing() {
            return Err(whole(Error::interrupted()));
        }
        let cluster = self.coordinator.cluster.for_session();
        let asked = SessionOptions {
            catalog: request.catalog.clone(),
            variables: request.variables.iter().cloned().map(variable).collect(),
            until_users: user.is_none(),
            principal: user,
            session_name: Some(run.id.clone()),
            ..SessionOptions::default()
        };
        let session = Arc::new(self.coordinator.open_session_on(&cluster, asked).await.map_err(whole)?);
        run.set_session(Arc::clone(&session));
        let options = RunOptions {
            mode: if request.dry_run { Mode::Check } else { Mode::Run },
            from: from as usize,
            run_id: Some(run.root_id.clone()),
        };
        let mut recorder = Recorder::new(Arc::clone(run), cluster, self.result_limit_bytes);
        let outcome = script::run(&session, &statements, options, &mut recorder).await;
        session.close().await;
        if let Err(failure) = &outcome
            && failure.number.map(number) == Some(recorder.number())
        {
            let finished =
                StatementFinished { number: recorder.number(), error: Some(messages::failure(failure)), ..StatementFinished::default() };
            if let Err(error) = run.tell(Event::StatementFinished(finished)) {
                tracing::error!(run = %run.id, %error, "an event is lost");
            }
        }
        outcome
    }
}
