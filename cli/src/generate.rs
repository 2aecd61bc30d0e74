//! `orrery generate`.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use orrery_generator::{
    ClickstreamOptions, Error, Format, Summary, TableOptions, generate_black_friday, generate_clickstream, generate_customer_personality,
};

use crate::args::{Clickstream, GeneratedTable};
use crate::exit;
use crate::report::{count, duration};

/// Rows of the public data sets that the tables stand in for.
const BLACK_FRIDAY_ROWS: u64 = 550_068;
const CUSTOMER_PERSONALITY_ROWS: u64 = 2_240;

/// Writes Black Friday sales; returns the exit code.
pub(crate) async fn black_friday(args: GeneratedTable) -> u8 {
    table(args, BLACK_FRIDAY_ROWS, generate_black_friday).await
}

/// Writes customers of a shop; returns the exit code.
pub(crate) async fn customer_personality(args: GeneratedTable) -> u8 {
    table(args, CUSTOMER_PERSONALITY_ROWS, generate_customer_personality).await
}

async fn table(args: GeneratedTable, rows: u64, generate: fn(&TableOptions) -> Result<Summary, Error>) -> u8 {
    let Ok(format) = args.format.parse::<Format>() else {
        eprintln!("error: --format {} is not known: parquet, csv or csv.gz", args.format);
        return exit::USAGE;
    };
    let mut options = TableOptions::new(args.rows.unwrap_or(rows), &args.out);
    (options.seed, options.format, options.overwrite) = (args.seed, format, args.overwrite);
    let started = Instant::now();
    match tokio::task::spawn_blocking(move || generate(&options)).await {
        Ok(Ok(summary)) => {
            if !args.quiet {
                let (rows, bytes) = (count(summary.events), ByteSize(summary.bytes));
                eprintln!("{rows} rows, {bytes} in {} · {}", args.out.display(), duration(started.elapsed()));
            }
            exit::DONE
        }
        Ok(Err(error)) => {
            eprintln!("error: {error}");
            exit::FAILED
        }
        Err(error) => {
            eprintln!("internal error: the generator panicked: {error}");
            exit::FAILED
        }
    }
}

/// Writes raw clickstream events; returns the exit code.
pub(crate) async fn clickstream(args: Clickstream) -> u8 {
    let Ok(format) = args.format.parse::<Format>() else {
        eprintln!("error: --format {} is not known: parquet, csv or csv.gz", args.format);
        return exit::USAGE;
    };
    if !(0.0..=1.0).contains(&args.dirty) {
        eprintln!("error: --dirty {} is not a share between 0 and 1", args.dirty);
        return exit::USAGE;
    }
    let mut options = ClickstreamOptions::new(args.events, &args.out);
    options.seed = args.seed;
    options.format = format;
    options.dirty_rate = args.dirty;
    options.overwrite = args.overwrite;
    let stop = Arc::new(AtomicBool::new(false));
    let pressed = Arc::clone(&stop);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            pressed.store(true, Ordering::Relaxed);
        }
    });
    let quiet = args.quiet;
    match tokio::task::spawn_blocking(move || generate(&options, &stop, quiet)).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("internal error: the generator panicked: {error}");
            exit::FAILED
        }
    }
}

fn generate(options: &ClickstreamOptions, stop: &AtomicBool, quiet: bool) -> u8 {
    let started = Instant::now();
    let bar = ProgressBar::with_draw_target(
        Some(options.events),
        if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() },
    );
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {human_pos} of {human_len} events · {msg} · {elapsed}, about {eta} left {wide_bar}")
    {
        bar.set_style(style);
    }
    let result = generate_clickstream(options, &mut |progress| {
        bar.set_position(progress.events_done);
        bar.set_message(ByteSize(progress.bytes_written).to_string());
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish_and_clear();
    match result {
        Ok(summary) => {
            if !quiet {
                let (events, bytes) = (count(summary.events), ByteSize(summary.bytes));
                let folder = options.out.display();
                eprintln!("{events} events, {} files, {bytes} in {folder} · {}", summary.files.len(), duration(started.elapsed()));
            }
            exit::DONE
        }
        Err(Error::Cancelled) => {
            eprintln!("interrupted: the files of this generation are removed");
            exit::INTERRUPTED
        }
        Err(error) => {
            eprintln!("error: {error}");
            exit::FAILED
        }
    }
}
