//! Generates a clickstream from the command line, for measuring: `clickstream EVENTS DIRECTORY [SEED] [FORMAT] [DIRTY_RATE]`.

use std::error::Error;
use std::ops::ControlFlow;
use std::time::Instant;

use orrery_generator::{ClickstreamOptions, generate_clickstream};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str);
    let (Some(events), Some(out)) = (argument(0), argument(1)) else {
        return Err("usage: clickstream EVENTS DIRECTORY [SEED] [FORMAT] [DIRTY_RATE]".into());
    };
    let options = ClickstreamOptions {
        seed: argument(2).unwrap_or("42").parse()?,
        format: argument(3).unwrap_or("parquet").parse()?,
        dirty_rate: argument(4).unwrap_or("0").parse()?,
        overwrite: true,
        ..ClickstreamOptions::new(events.parse()?, out)
    };
    let begin = Instant::now();
    let summary = generate_clickstream(&options, &mut |_| ControlFlow::Continue(()))?;
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{} events, {} files, {:.1} MB, {seconds:.2} s, {:.2} million events/s",
        summary.events,
        summary.files.len(),
        summary.bytes as f64 / 1e6,
        summary.events as f64 / seconds / 1e6
    );
    Ok(())
}
