//! Starts the program under test and keeps what it said.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A finished run of the program.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// The program, with a warehouse in `dir` and no settings from the environment.
pub fn command(dir: &Path) -> Command {
    // Another build of it, for rounds that would take long in a debug build.
    let program = std::env::var_os("ORRERY_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_orrery").into());
    let mut command = Command::new(program);
    command.current_dir(dir).stdin(Stdio::null());
    for variable in ["ORRERY_WAREHOUSE", "ORRERY_CATALOG", "ORRERY_THREADS", "ORRERY_MEMORY_LIMIT", "ORRERY_SCRATCH_DIR"] {
        command.env_remove(variable);
    }
    command
}

/// Runs it to its end.
pub fn run(dir: &Path, args: &[&str]) -> Ran {
    finished(command(dir).args(args).output().unwrap())
}

/// `orrery sql -c`, rows as CSV.
pub fn sql(dir: &Path, sql: &str) -> Ran {
    run(dir, &["sql", "--format", "csv", "-c", sql])
}

/// The rows of a query as CSV without the header; panics with the program's words when it fails.
pub fn rows(dir: &Path, query: &str) -> Vec<String> {
    let ran = sql(dir, query);
    assert_eq!(ran.code, Some(0), "{query}\n{}", ran.stderr);
    ran.stdout.lines().skip(1).map(str::to_string).collect()
}

pub fn finished(output: Output) -> Ran {
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
