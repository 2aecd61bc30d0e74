//! Which files a generation leaves behind: exact counts, the same bytes for a seed, and nothing at all when it fails.

use std::fs;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use orrery_generator::{ClickstreamOptions, Error, Format, generate_clickstream};
use tempfile::TempDir;

use crate::{MANY, bytes_of, csv_options, csv_rows, generate, names_in};

#[test]
fn a_seed_gives_the_same_bytes_with_any_number_of_threads() {
    let directory = TempDir::new().unwrap();
    let with = |seed, threads| {
        let options = csv_options(MANY, &directory);
        bytes_of(&ClickstreamOptions { seed, threads: NonZeroUsize::new(threads), overwrite: true, ..options })
    };
    let one = with(7, 1);
    assert!(one == with(7, 2), "two threads give other bytes");
    assert!(one == with(7, 5), "five threads give other bytes");
    assert!(one != with(8, 2), "another seed gives the same bytes");
}

#[test]
fn compressed_formats_repeat_too() {
    let directory = TempDir::new().unwrap();
    for format in [Format::Parquet, Format::CsvGz] {
        let options = ClickstreamOptions { format, dirty_rate: 0.1, overwrite: true, ..csv_options(5_000, &directory) };
        assert!(bytes_of(&options) == bytes_of(&options), "{format}");
    }
}

#[test]
fn the_bytes_are_pinned() {
    // The same on every machine and in every version: a change here changes every generated data set and must be meant.
    let directory = TempDir::new().unwrap();
    let bytes = bytes_of(&ClickstreamOptions { dirty_rate: 0.05, ..csv_options(2_000, &directory) });
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    assert_eq!(hash, PINNED_HASH, "{hash:#x}");
}

const PINNED_HASH: u64 = 0x3fef_efe1_8182_c9ad;

#[test]
fn exactly_the_events_asked_for_come_out() {
    let directory = TempDir::new().unwrap();
    for events in [1, 2, 10, 1_000, 54_321] {
        let summary = generate(&ClickstreamOptions { overwrite: true, ..csv_options(events, &directory) });
        assert_eq!(summary.events, events);
        assert_eq!(summary.bytes, fs::metadata(&summary.files[0]).unwrap().len());
        assert_eq!(csv_rows(&summary.files).len() as u64, events);
    }
}

#[test]
fn many_events_are_spread_over_files_in_order() {
    let directory = TempDir::new().unwrap();
    let mut last_done = 0;
    let options = csv_options(2_200_000, &directory);
    let summary = generate_clickstream(&options, &mut |progress| {
        assert!(progress.events_done >= last_done && progress.events_total == 2_200_000);
        last_done = progress.events_done;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(last_done, 2_200_000);
    assert_eq!(names_in(&options.out), ["events-00000.csv", "events-00001.csv"]);
    let mut last_time = String::new();
    for file in &summary.files {
        let text = fs::read_to_string(file).unwrap();
        assert_eq!(text.lines().count(), 1_100_001);
        for line in text.lines().skip(1) {
            assert!(line[..19] >= *last_time);
            line[..19].clone_into(&mut last_time);
        }
    }
    assert_eq!(last_time, "2019-10-31 23:59:59");
}

#[test]
fn earlier_files_are_refused_or_overwritten() {
    let directory = TempDir::new().unwrap();
    let options = csv_options(500, &directory);
    generate(&options);
    fs::write(options.out.join("notes.txt"), "mine").unwrap();
    fs::write(options.out.join("events-mine.parquet"), "mine").unwrap();
    fs::write(options.out.join(".events-00007.csv.unfinished"), "left by a killed process").unwrap();
    let before = fs::read(options.out.join("events-00000.csv")).unwrap();

    let other = ClickstreamOptions { format: Format::Parquet, seed: 1, ..options.clone() };
    let error = generate_clickstream(&other, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, Error::AlreadyGenerated { count: 1, .. }));
    let text = error.to_string();
    assert!(text.contains("already holds 1 generated file(s), for example events-00000.csv"), "{text}");
    assert_eq!(fs::read(options.out.join("events-00000.csv")).unwrap(), before);

    generate(&ClickstreamOptions { overwrite: true, ..other });
    assert_eq!(names_in(&options.out), ["events-00000.parquet", "events-mine.parquet", "notes.txt"]);
}

#[test]
fn cancelling_removes_what_was_written() {
    let directory = TempDir::new().unwrap();
    for (format, events, at_event) in [(Format::Parquet, MANY, 0), (Format::Csv, MANY, 1), (Format::CsvGz, 1_000, 1_000)] {
        let options = ClickstreamOptions { format, ..csv_options(events, &directory) };
        let result = generate_clickstream(&options, &mut |progress| {
            if progress.events_done >= at_event { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
        assert_eq!(names_in(&options.out), [""; 0]);
    }
}

#[test]
fn a_directory_that_cannot_be_is_named() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "no directory").unwrap();
    let options = ClickstreamOptions::new(10, file.join("out"));
    let error = generate_clickstream(&options, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot create {}: ", options.out.display())), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_takes_no_files_is_named() {
    // Even the superuser cannot create files there.
    let options = ClickstreamOptions::new(10, "/proc/self/task");
    let error = generate_clickstream(&options, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(error.starts_with("cannot create /proc/self/task/.events-00000.parquet.unfinished: "), "{error}");
}
