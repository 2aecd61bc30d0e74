//! `orrery generate`.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use orrery_generator::{ClickstreamOptions, Error, Format, generate_clickstream};

use crate::args::Clickstream;
use crate::exit;
use crate::report::{count, duration};

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
