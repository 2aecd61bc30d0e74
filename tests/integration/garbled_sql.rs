//! SQL that nobody would write: statements of the SQL tests with tokens taken out, doubled, exchanged and made up. Whatever comes, it is read or refused; nothing
//! panics, overflows a stack or takes memory without end.
//!
//! `ORRERY_GARBLED_STATEMENTS` says how many are tried (20,000 otherwise), `ORRERY_GARBLED_SEED` where to begin, and `ORRERY_GARBLED_PLANS` has some planned too.

use std::panic::{AssertUnwindSafe, catch_unwind};

use orrery_engine::dialect::{self, Variables, split};
use orrery_engine::session::{Mode, Session, SessionOptions, Tracker};

use crate::data;

/// Every so-manieth statement is planned, too.
const PLANNED_EVERY: u64 = 20;
/// Longest text that is tried; lengths have tests of their own.
const LONGEST_BYTES: usize = 20_000;

/// A generator of its own, so that a seed says everything: xorshift64* (Vigna, 2016).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// What statements are made of: those of the SQL tests, cut into words.
fn statements() -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(data::root().join("tests/slt")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        for block in text.split("\n\n") {
            let mut lines = block.lines().skip_while(|line| line.starts_with('#'));
            if lines.next().is_some_and(|head| head.starts_with("statement") || head.starts_with("query")) {
                let sql: Vec<&str> = lines.take_while(|line| *line != "----").collect();
                all.push(words(&sql.join("\n")));
            }
        }
    }
    all.retain(|words| !words.is_empty());
    assert!(all.len() > 500, "only {} statements were found", all.len());
    all
}

/// Words, numbers and texts whole, everything else by characters.
fn words(sql: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut quote = None;
    for c in sql.chars() {
        let joins = |word: &String| word.chars().all(|c| c.is_alphanumeric() || c == '_') && (c.is_alphanumeric() || c == '_');
        match (quote, words.last_mut()) {
            (Some(open), Some(last)) => {
                last.push(c);
                if c == open {
                    quote = None;
                }
            }
            (None, Some(last)) if joins(last) => last.push(c),
            _ => {
                quote = ['\'', '"', '`'].into_iter().find(|q| *q == c);
                words.push(c.to_string());
            }
        }
    }
    words
}

/// Pieces that are seldom written by hand.
const ODD: [&str; 34] = [
    "",
    "'",
    "\"",
    "`",
    "$$",
    "/*",
    "*/",
    "--",
    "\0",
    "\u{feff}",
    "é",
    "𝄞",
    ";",
    "::",
    "${x}",
    "$1",
    "?",
    "@",
    "[",
    "{",
    "-1",
    "1e309",
    "0x",
    "NULL",
    "99999999999999999999",
    "'\\",
    "E'\\u'",
    "OVER",
    "(SELECT",
    "AND AND",
    "CASE",
    "INTERVAL",
    "/*+ SKEW(",
    "U&'\\",
];

fn garble(random: &mut Random, all: &[Vec<String>]) -> String {
    let mut words = random.pick(all).clone();
    for _ in 0..=random.below(6) {
        let at = random.below(words.len());
        match random.below(9) {
            0 => {
                words.remove(at);
            }
            1 => words.insert(at, words[at].clone()),
            2 => {
                let other = random_statement(random.next(), all);
                words[at] = random.pick(other).clone();
            }
            3 => words.insert(at, (*random.pick(&ODD)).to_string()),
            4 => {
                let other = random.below(words.len());
                words.swap(at, other);
            }
            5 => words.truncate(at),
            6 => words.extend(random.pick(all).iter().skip(at).cloned()),
            7 => {
                let deep = 1 << random.below(9);
                words.insert(at, "(".repeat(deep));
                words.insert(at + 1, ")".repeat(random.below(deep + 2)));
            }
            _ => {
                let part: Vec<String> = words[at..words.len().min(at + 12)].to_vec();
                for _ in 0..random.below(20) {
                    words.extend(part.iter().cloned());
                }
            }
        }
        if words.is_empty() {
            words.push(" ".to_string());
        }
    }
    let mut text = words.concat();
    if text.len() > LONGEST_BYTES {
        let end = (0..=LONGEST_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

fn random_statement(number: u64, all: &[Vec<String>]) -> &[String] {
    &all[(number % all.len() as u64) as usize]
}

fn number_of(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn garbled_statements_are_read_or_refused() {
    let count = number_of("ORRERY_GARBLED_STATEMENTS", 20_000);
    let seed = number_of("ORRERY_GARBLED_SEED", 1);
    // As deep as the program's own threads: syntax trees are walked by recursion.
    let worker = std::thread::Builder::new().stack_size(16 << 20).spawn(move || try_all(count, seed)).unwrap();
    let read = worker.join().unwrap();
    assert!(read > count / 50, "only {read} of {count} were read: what is tried is too far from SQL");
}

/// Returns how many could be read.
fn try_all(count: u64, seed: u64) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = SessionOptions { warehouse: dir.path().join("w").display().to_string(), threads: Some(1), ..SessionOptions::default() };
    let session = runtime.block_on(Session::open(options)).unwrap();
    let all = statements();
    // Where the last one is written down, should the process not survive it.
    let last = std::env::var_os("ORRERY_GARBLED_LAST");
    let plans = std::env::var_os("ORRERY_GARBLED_PLANS").is_some();
    let mut random = Random(seed.max(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut read = 0;
    for number in 0..count {
        let text = garble(&mut random, &all);
        if let Some(path) = &last {
            std::fs::write(path, &text).unwrap();
        }
        let done = catch_unwind(AssertUnwindSafe(|| {
            let Ok(statements) = split(&text) else { return 0 };
            let mut parsed = 0;
            for statement in &statements {
                let tokens = Variables::default().substitute(statement);
                parsed += u64::from(tokens.is_ok_and(|tokens| dialect::parse(&tokens).is_ok()));
                if plans && number % PLANNED_EVERY == 0 {
                    let tracker = Tracker::default();
                    let _planned_or_refused = runtime.block_on(session.execute(statement, Mode::Check, &tracker));
                }
            }
            parsed
        }));
        read += u64::from(done.unwrap_or_else(|_| panic!("statement {number} of seed {seed}:\n{text}")) > 0);
    }
    read
}
