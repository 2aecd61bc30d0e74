//! Generates clickstreams and reads them back with independent readers: what the files hold is compared with what was asked for.

// Test code outside of test functions, to which the exemption for tests does not reach.
#![allow(clippy::unwrap_used, clippy::panic)]

mod files;
mod formats;
mod marginals;
mod sessions;

use std::collections::HashSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use orrery_generator::{ClickstreamOptions, Format, Summary, generate_clickstream};
use tempfile::TempDir;

/// One raw row as text, nulls as empty text.
type Row = [String; 9];

/// Large enough for rates to settle and for more than one chunk.
const MANY: u64 = 300_000;

fn generate(options: &ClickstreamOptions) -> Summary {
    generate_clickstream(options, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn csv_options(events: u64, directory: &TempDir) -> ClickstreamOptions {
    ClickstreamOptions { format: Format::Csv, ..ClickstreamOptions::new(events, directory.path().join("out")) }
}

/// The bytes of all files of a generation, in order.
fn bytes_of(options: &ClickstreamOptions) -> Vec<u8> {
    generate(options).files.iter().flat_map(|file| fs::read(file).unwrap()).collect()
}

fn csv_rows(files: &[PathBuf]) -> Vec<Row> {
    let mut rows = Vec::new();
    for file in files {
        let mut reader = csv::Reader::from_path(file).unwrap();
        assert_eq!(
            reader.headers().unwrap().iter().collect::<Vec<_>>(),
            ["event_time", "event_type", "product_id", "category_id", "category_code", "brand", "price", "user_id", "user_session"]
        );
        for record in reader.records() {
            let record = record.unwrap();
            rows.push(std::array::from_fn(|column| record[column].to_owned()));
        }
    }
    rows
}

fn many_rows() -> Vec<Row> {
    let directory = TempDir::new().unwrap();
    csv_rows(&generate(&csv_options(MANY, &directory)).files)
}

/// An event with its columns as numbers; only for clean rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Event {
    second: u32,
    kind: String,
    product: u64,
    category: u64,
    code: String,
    brand: String,
    cents: u64,
    user: u64,
    session: String,
}

fn event(row: &Row) -> Event {
    let time = row[0].strip_prefix("2019-10-").and_then(|rest| rest.strip_suffix(" UTC")).unwrap();
    let parts: Vec<u32> = time.split([' ', ':']).map(|part| part.parse().unwrap()).collect();
    let [day, hour, minute, second] = parts[..] else { panic!("not a time: {time}") };
    assert!((1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60, "not a time: {time}");
    let (whole, hundredths) = row[6].split_once('.').unwrap();
    assert_eq!(hundredths.len(), 2);
    Event {
        second: (day - 1) * 86_400 + hour * 3600 + minute * 60 + second,
        kind: row[1].clone(),
        product: row[2].parse().unwrap(),
        category: row[3].parse().unwrap(),
        code: row[4].clone(),
        brand: row[5].clone(),
        cents: whole.parse::<u64>().unwrap() * 100 + hundredths.parse::<u64>().unwrap(),
        user: row[7].parse().unwrap(),
        session: row[8].clone(),
    }
}

fn many_events() -> Vec<Event> {
    many_rows().iter().map(event).collect()
}

/// The first of the events that agree on the five keys that tell duplicates.
fn without_duplicates(events: &[Event]) -> Vec<Event> {
    let mut seen = HashSet::new();
    let first = |event: &&Event| seen.insert((event.second, event.user, event.product, event.kind.clone(), event.cents));
    events.iter().filter(first).cloned().collect()
}

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}
