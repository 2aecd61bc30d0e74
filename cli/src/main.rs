//! The `orrery` binary: scripts, the shell and the data generator.

mod args;
mod generate;
mod output;
mod report;
mod run;
mod session;
mod shell;

use std::process::ExitCode;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit codes: done, failed, wrong usage, interrupted.
pub(crate) mod exit {
    pub(crate) const DONE: u8 = 0;
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const INTERRUPTED: u8 = 130;
}

fn main() -> ExitCode {
    // A closed pipe (`orrery … | head`) ends the program quietly, as it does other command-line tools.
    let arguments = args::Arguments::parse();
    let threads = arguments.threads();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start worker threads: {error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    let code = runtime.block_on(async {
        match arguments.command {
            args::Command::Run(args) => run::run(args).await,
            args::Command::Sql(args) => shell::sql(args).await,
            args::Command::Generate(args::Generate::Clickstream(args)) => generate::clickstream(args).await,
        }
    });
    // Blocking reads of a half-done statement must not hold up the exit.
    runtime.shutdown_background();
    ExitCode::from(code)
}
