//! `orrery serve`, `orrery scheduler` and `orrery executor`.

use std::io::IsTerminal as _;

use clap::Args;
use tracing_subscriber::EnvFilter;

use crate::args::{LogFormat, Server};
use crate::{exit, session};

/// Serves clients until it is told to stop; returns the exit code.
pub(crate) async fn serve(server: Server<orrery_server::Settings>) -> u8 {
    if let Err(code) = start_log(&server) {
        return code;
    }
    report(orrery_server::serve(server.settings, interrupted()).await)
}

/// Runs a scheduler until it is told to stop; returns the exit code.
pub(crate) async fn scheduler(server: Server<orrery_scheduler::Settings>) -> u8 {
    if let Err(code) = start_log(&server) {
        return code;
    }
    report(orrery_scheduler::serve(server.settings, interrupted()).await)
}

/// Runs an executor until it is told to stop; returns the exit code.
pub(crate) async fn executor(server: Server<orrery_executor::Settings>) -> u8 {
    if let Err(code) = start_log(&server) {
        return code;
    }
    report(orrery_executor::serve(server.settings).await)
}

/// Completes when the process is told to stop.
async fn interrupted() {
    if let Err(error) = session::interrupt().await {
        tracing::warn!(%error, "signals cannot be received; end the process to stop the server");
        std::future::pending::<()>().await;
    }
}

fn report<E: std::error::Error>(outcome: Result<(), E>) -> u8 {
    match outcome {
        Ok(()) => exit::DONE,
        Err(error) => {
            tracing::error!("{error}");
            eprintln!("error: {error}");
            exit::FAILED
        }
    }
}

fn start_log<S: Args>(server: &Server<S>) -> Result<(), u8> {
    let filter = EnvFilter::try_new(&server.log).map_err(|error| {
        eprintln!("error: --log {}: {error}", server.log);
        exit::USAGE
    })?;
    let silenced = [
        // It shows finished stages, and complains of those that run a whole plan, of which it sees only the leaf.
        "ballista_scheduler::display=off",
        // It shows all settings of tasks, and what lets them through is among these.
        "ballista_core::extension=off",
    ];
    let filter = silenced.iter().filter_map(|directive| directive.parse().ok()).fold(filter, EnvFilter::add_directive);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    match server.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
