//! `orrery run`.

use std::time::Duration;

use orrery_engine::Blame;
use orrery_engine::script::{self, RunOptions};
use orrery_engine::session::Mode;

use crate::args::Run;
use crate::output::Output;
use crate::report::{self, RunReport, Style};
use crate::{exit, session};

/// Runs scripts; returns the exit code.
pub(crate) async fn run(args: Run) -> u8 {
    let files = match script::load(&args.paths) {
        Ok(files) => files,
        Err(failure) => return report::failure(&failure),
    };
    let statements = match script::statements(&files) {
        Ok(statements) => statements,
        Err(failure) => return report::failure(&failure),
    };
    if args.from > statements.len().max(1) {
        eprintln!("error: --from {} is past the last statement ({})", args.from, statements.len());
        return exit::USAGE;
    }
    let session = match session::open(args.session).await {
        Ok(session) => session,
        Err(error) => return report::error(&error),
    };
    session::cancel_on_interrupt(&session);
    let options = RunOptions { mode: if args.dry_run { Mode::Check } else { Mode::Run }, from: args.from, run_id: None };
    let style = match (args.quiet, args.dry_run) {
        (true, _) => Style::Quiet,
        (false, true) => Style::DryRun,
        (false, false) => Style::Script,
    };
    let mut observer = RunReport::new(Output::new(&args.display), style);
    match script::run(&session, &statements, options, &mut observer).await {
        Ok(done) => {
            observer.close();
            if !args.quiet {
                let verb = if args.dry_run { "planned" } else { "run" };
                let skipped = if done.skipped > 0 { format!(", {} skipped", done.skipped) } else { String::new() };
                eprintln!(
                    "{} statements {verb}{skipped} in {}",
                    done.statements,
                    report::duration(done.elapsed.max(Duration::from_millis(1)))
                );
            }
            exit::DONE
        }
        Err(failure) => {
            observer.close();
            let code = report::failure(&failure);
            if !args.dry_run
                && failure.error.blame != Blame::Interrupted
                && let Some(number) = failure.number.filter(|n| *n > 1)
            {
                eprintln!("  the {} statements before it are done; once it is mended, continue with --from {number}", number - 1);
            }
            code
        }
    }
}
