//! `orrery sql`: the interactive shell, and one-shot statements.

use std::borrow::Cow;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use orrery_engine::dialect::split;
use orrery_engine::script::{self, Located, RunOptions, ScriptFile};
use orrery_engine::session::Session;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Editor, Helper, Hinter};

use crate::args::{Display, Sql};
use crate::output::Output;
use crate::report::{self, RunReport, Style};
use crate::{exit, session};

const HELP: &str = "Statements end with ; and may span lines. Commands:
  \\h            this help
  \\d            tables and views of the current schema      \\d NAME   columns of a table or view
  \\l            catalogs                                     \\v        variables
  \\i FILE       run a script                                 \\q        leave (also Ctrl-D)
Tab completes names and keywords, the arrow keys recall earlier statements, Ctrl-C stops the running statement.";

/// Keywords worth completing.
const KEYWORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "QUALIFY",
    "LIMIT",
    "JOIN",
    "LEFT JOIN",
    "WITH",
    "UNION ALL",
    "CREATE TABLE",
    "CREATE OR REPLACE TABLE",
    "CREATE VIEW",
    "CREATE OR REPLACE VIEW",
    "CREATE TEMP VIEW",
    "CREATE SCHEMA",
    "CREATE CATALOG",
    "INSERT INTO",
    "INSERT OVERWRITE",
    "DROP TABLE",
    "DROP VIEW",
    "DROP SCHEMA",
    "USE CATALOG",
    "USE SCHEMA",
    "SHOW TABLES",
    "SHOW SCHEMAS",
    "SHOW CATALOGS",
    "SHOW VIEWS",
    "SHOW COLUMNS IN",
    "SHOW CREATE TABLE",
    "SHOW FUNCTIONS",
    "SHOW VARIABLES",
    "DESCRIBE",
    "DESCRIBE HISTORY",
    "DESCRIBE DETAIL",
    "CACHE TABLE",
    "UNCACHE TABLE",
    "SUMMARIZE",
    "ASSERT",
    "EXPLAIN",
    "EXPLAIN ANALYZE",
    "PARTITIONED BY",
    "VERSION AS OF",
    "TIMESTAMP AS OF",
    "read_parquet(",
    "read_csv(",
    "read_json(",
    "read_files(",
];

/// Runs `-c`, `-f`, piped statements or the interactive shell; returns the exit code.
pub(crate) async fn sql(args: Sql) -> u8 {
    let session = match session::open(args.session).await {
        Ok(session) => session,
        Err(error) => return report::error(&error),
    };
    if let Some(text) = args.command {
        session::cancel_on_interrupt(&session);
        return run_text(&session, "<command line>", text, &args.display).await;
    }
    if let Some(file) = args.file {
        session::cancel_on_interrupt(&session);
        return run_file(&session, file, &args.display).await;
    }
    if !std::io::stdin().is_terminal() {
        session::cancel_on_interrupt(&session);
        return match std::io::read_to_string(std::io::stdin()) {
            Ok(text) => run_text(&session, "<standard input>", text, &args.display).await,
            Err(error) => {
                eprintln!("error: cannot read standard input: {error}");
                exit::FAILED
            }
        };
    }
    interactive(session, &args.display).await
}

async fn run_file(session: &Arc<Session>, file: PathBuf, display: &Display) -> u8 {
    match script::load(&[file]) {
        Ok(files) => run_files(session, &files, display).await,
        Err(failure) => report::failure(&failure),
    }
}

async fn run_text(session: &Arc<Session>, name: &str, text: String, display: &Display) -> u8 {
    run_files(session, &[ScriptFile { path: name.to_string(), text }], display).await
}

async fn run_files(session: &Arc<Session>, files: &[ScriptFile], display: &Display) -> u8 {
    match script::statements(files) {
        Ok(statements) => run_statements(session, &statements, display, Style::Quiet).await,
        Err(failure) => report::failure(&failure),
    }
}

async fn run_statements(session: &Arc<Session>, statements: &[Located], display: &Display, style: Style) -> u8 {
    let mut observer = RunReport::new(Output::new(display), style);
    let result = script::run(session, statements, RunOptions::default(), &mut observer).await;
    observer.close();
    match result {
        Ok(_) => exit::DONE,
        Err(failure) => report::failure(&failure),
    }
}

async fn interactive(session: Arc<Session>, display: &Display) -> u8 {
    println!("Orrery {} on {}; \\h for help, \\q to leave", env!("CARGO_PKG_VERSION"), session.warehouse().root());
    let history = history_file();
    let mut editor = match editor() {
        Ok(editor) => editor,
        Err(error) => {
            eprintln!("error: the terminal cannot be used: {error}");
            return exit::FAILED;
        }
    };
    if let Some(path) = &history {
        let _no_history_yet = editor.load_history(path);
    }
    loop {
        let words = session.completions().await;
        if let Some(helper) = editor.helper_mut() {
            helper.words = words;
        }
        let (catalog, schema) = session.current();
        let prompt = format!("{catalog}.{schema}> ");
        let (returned, line) = match tokio::task::spawn_blocking(move || {
            let line = editor.readline(&prompt);
            (editor, line)
        })
        .await
        {
            Ok(pair) => pair,
            Err(_) => return exit::FAILED,
        };
        editor = returned;
        match line {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => {
                let _only_in_memory = editor.add_history_entry(text.trim());
                if !obey(&session, text.trim(), display).await {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => {
                eprintln!("error: {error}");
                return exit::FAILED;
            }
        }
        if let Some(path) = &history {
            let _history_is_a_convenience = editor.save_history(path);
        }
    }
    exit::DONE
}

/// Runs what was typed; false: leave.
async fn obey(session: &Arc<Session>, text: &str, display: &Display) -> bool {
    let command = text.trim_end_matches(';').trim();
    let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let sql = match word {
        "\\q" | "exit" | "quit" if rest.is_empty() => return false,
        "\\h" | "\\?" => {
            println!("{HELP}");
            return true;
        }
        "\\i" => {
            watched(session, run_file(session, PathBuf::from(rest.trim()), display)).await;
            return true;
        }
        "\\d" if rest.is_empty() => "SHOW TABLES".to_string(),
        "\\d" => format!("DESCRIBE {rest}"),
        "\\l" => "SHOW CATALOGS".to_string(),
        "\\v" => "SHOW VARIABLES".to_string(),
        other if other.starts_with('\\') => {
            eprintln!("error: unknown command {other}; \\h lists them");
            return true;
        }
        _ => text.to_string(),
    };
    let file = ScriptFile { path: "<shell>".to_string(), text: sql };
    match script::statements(&[file]) {
        Ok(statements) => {
            watched(session, run_statements(session, &statements, display, Style::Shell)).await;
        }
        Err(failure) => {
            report::failure(&failure);
        }
    }
    true
}

/// While a statement runs, Ctrl-C stops it and not the shell.
async fn watched(session: &Arc<Session>, work: impl Future<Output = u8>) {
    session.resume();
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            _code = &mut work => return,
            pressed = tokio::signal::ctrl_c() => if pressed.is_ok() { session.cancel() },
        }
    }
}

fn history_file() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    let dir = base.join("orrery");
    std::fs::create_dir_all(&dir).ok()?;
    Some(dir.join("history"))
}

fn editor() -> rustyline::Result<Editor<ShellHelper, FileHistory>> {
    let config = Config::builder().history_ignore_space(true).max_history_size(5_000)?.build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(ShellHelper { words: Vec::new() }));
    Ok(editor)
}

#[derive(Helper, Hinter)]
struct ShellHelper {
    words: Vec<String>,
}

impl Completer for ShellHelper {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let start = line[..position]
            .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
            .map_or(0, |i| i + line[i..].chars().next().map_or(1, char::len_utf8));
        let typed = &line[start..position];
        if typed.is_empty() {
            return Ok((position, Vec::new()));
        }
        let lower = typed.to_lowercase();
        let mut found: Vec<String> = self.words.iter().filter(|w| w.to_lowercase().starts_with(&lower)).cloned().collect();
        let upper = typed.to_uppercase();
        found.extend(KEYWORDS.iter().filter(|k| k.to_uppercase().starts_with(&upper)).map(ToString::to_string));
        Ok((start, found))
    }
}

impl Validator for ShellHelper {
    /// A statement is complete at its semicolon; an open string or comment goes on with the next line.
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input().trim();
        let command = text.is_empty() || text.starts_with('\\') || ["exit", "quit"].contains(&text);
        let complete = command || (text.ends_with(';') && split(text).is_ok());
        Ok(if complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Highlighter for ShellHelper {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        Cow::Borrowed(prompt)
    }
}
