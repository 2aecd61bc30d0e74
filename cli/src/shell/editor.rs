//! The line editor of the shell: history, completion, and when a statement is complete.

use std::borrow::Cow;
use std::path::PathBuf;

use orrery_engine::dialect::split;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Editor, Helper, Hinter};

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
    "SHOW GRANTS",
    "SHOW USERS",
    "SHOW ROLES",
    "SHOW TOKENS",
    "CREATE USER",
    "CREATE ROLE",
    "CREATE TOKEN",
    "GRANT",
    "REVOKE",
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

pub(super) fn history_file() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    let dir = base.join("orrery");
    std::fs::create_dir_all(&dir).ok()?;
    Some(dir.join("history"))
}

pub(super) fn editor() -> rustyline::Result<Editor<ShellHelper, FileHistory>> {
    let config = Config::builder().history_ignore_space(true).max_history_size(5_000)?.build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(ShellHelper { words: Vec::new() }));
    Ok(editor)
}

#[derive(Helper, Hinter)]
pub(super) struct ShellHelper {
    pub(super) words: Vec<String>,
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
