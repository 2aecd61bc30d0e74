//! The `orrery` binary: scripts on this machine or on a cluster, the shell, the cluster's servers and the data generator.

mod args;
mod config_file;
mod generate;
mod output;
mod remote;
mod report;
mod run;
mod servers;
mod session;
mod shell;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Stack of a worker thread: syntax trees and plans are walked and dropped by recursion, and may be as deep as the dialect allows.
const STACK_BYTES: usize = 16 << 20;

/// Exit codes: done, failed, wrong usage, interrupted.
pub(crate) mod exit {
    pub(crate) const DONE: u8 = 0;
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const INTERRUPTED: u8 = 130;
}

fn main() -> ExitCode {
    // A closed pipe (`orrery … | head`) ends the program quietly, as it does other command-line tools.
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(exit::USAGE);
        }
    };
    let threads = arguments.threads();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    let runtime = match builder.enable_all().thread_stack_size(STACK_BYTES).build() {
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
            args::Command::Submit(args) => remote::submit(args).await,
            args::Command::Runs(args) => remote::runs(args).await,
            args::Command::Attach(args) => remote::attach(args).await,
            args::Command::Cancel(args) => remote::cancel(args).await,
            args::Command::Serve(server) => servers::serve(server).await,
            args::Command::Scheduler(server) => servers::scheduler(server).await,
            args::Command::Executor(server) => servers::executor(server).await,
            args::Command::Generate(args::Generate::Clickstream(args)) => generate::clickstream(args).await,
            args::Command::Generate(args::Generate::BlackFriday(args)) => generate::black_friday(args).await,
            args::Command::Generate(args::Generate::CustomerPersonality(args)) => generate::customer_personality(args).await,
        }
    });
    // Blocking reads of a half-done statement must not hold up the exit.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// The command line, with defaults from the configuration file where a server is given one.
fn parse() -> Result<args::Arguments, String> {
    let command = args::Arguments::command();
    let named = command.clone().ignore_errors(true).try_get_matches().ok().and_then(|matches| {
        let (server, matches) = matches.subcommand()?;
        let path = matches.try_get_one::<std::path::PathBuf>("config").ok().flatten()?.clone();
        Some((server.to_string(), path))
    });
    let command = match named {
        Some((server, path)) => config_file::apply(command, &server, &path)?,
        None => command,
    };
    let mut matches = command.get_matches();
    args::Arguments::from_arg_matches_mut(&mut matches).map_err(|error| error.to_string())
}
