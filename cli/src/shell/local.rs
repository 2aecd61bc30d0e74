//! Statements carried out by the engine in this process.

use std::sync::Arc;

use orrery_engine::script::{self, Located, RunOptions, ScriptFile};
use orrery_engine::session::Session;

use super::Place;
use crate::args::Display;
use crate::output::Output;
use crate::report::{self, RunReport, Style};
use crate::{exit, session};

/// A session in this process.
pub(super) struct Local {
    session: Arc<Session>,
    is_interactive: bool,
}

impl Local {
    pub fn new(session: Arc<Session>) -> Self {
        Self { session, is_interactive: false }
    }
}

impl Place for Local {
    fn name(&self) -> String {
        self.session.warehouse().root().to_string()
    }

    fn prompt(&self) -> String {
        let (catalog, schema) = self.session.current();
        format!("{catalog}.{schema}> ")
    }

    async fn words(&mut self) -> Vec<String> {
        self.session.completions().await
    }

    fn begin(&mut self, is_interactive: bool) {
        self.is_interactive = is_interactive;
        if !is_interactive {
            session::cancel_on_interrupt(&self.session);
        }
    }

    async fn run(&mut self, _: &[ScriptFile], statements: &[Located], display: &Display, style: Style) -> u8 {
        let mut observer = RunReport::new(Output::new(display), style);
        let work = script::run(&self.session, statements, RunOptions::default(), &mut observer);
        let result = if self.is_interactive { watched(&self.session, work).await } else { work.await };
        observer.close();
        match result {
            Ok(_) => exit::DONE,
            Err(failure) => report::failure(&failure),
        }
    }
}

/// While a statement runs, Ctrl-C stops it and not the shell.
async fn watched<T>(session: &Arc<Session>, work: impl Future<Output = T>) -> T {
    session.resume();
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            pressed = tokio::signal::ctrl_c() => if pressed.is_ok() { session.cancel() },
        }
    }
}
