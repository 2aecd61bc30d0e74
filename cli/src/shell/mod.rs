//! `orrery sql`: the interactive shell, and one-shot statements, by the engine in this process or by a server.

mod editor;
mod local;
mod remote;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use orrery_engine::dialect::{StatementText, split};
use orrery_engine::script::{self, Located, ScriptFile};
use rustyline::error::ReadlineError;

use crate::args::{Display, Sql};
use crate::report::{self, Style};
use crate::{exit, session};
use local::Local;
use remote::Server;

const HELP: &str = "Statements end with ; and may span lines. Commands:
  \\h            this help
  \\d            tables and views of the current schema      \\d NAME   columns of a table or view
  \\l            catalogs                                     \\v        variables
  \\i FILE       run a script                                 \\q        leave (also Ctrl-D)
Tab completes names and keywords, the arrow keys recall earlier statements, Ctrl-C stops the running statement.";

/// What carries out statements.
trait Place {
    /// What it is, for the greeting.
    fn name(&self) -> String;

    /// What the shell asks with.
    fn prompt(&self) -> String;

    /// Names worth completing.
    async fn words(&mut self) -> Vec<String>;

    /// Statements are to come: from a person, whom Ctrl-C leaves in the shell, or from a text, which it ends.
    fn begin(&mut self, is_interactive: bool);

    /// Runs the statements of files in order, shows what they give, and returns the exit code.
    async fn run(&mut self, files: &[ScriptFile], statements: &[Located], display: &Display, style: Style) -> u8;
}

/// Runs `-c`, `-f`, piped statements or the interactive shell; returns the exit code.
pub(crate) async fn sql(args: Sql) -> u8 {
    if args.to.is_some() {
        return match Server::connect(&args).await {
            Ok(server) => on(server, args).await,
            Err(code) => code,
        };
    }
    match session::open(args.session.clone()).await {
        Ok(session) => on(Local::new(session), args).await,
        Err(error) => report::error(&error),
    }
}

async fn on(mut place: impl Place, args: Sql) -> u8 {
    let is_interactive = args.command.is_none() && args.file.is_none() && std::io::stdin().is_terminal();
    place.begin(is_interactive);
    if let Some(text) = args.command {
        return run_text(&mut place, "<command line>", text, &args.display, Style::Quiet).await;
    }
    if let Some(file) = args.file {
        return run_file(&mut place, file, &args.display).await;
    }
    if !is_interactive {
        return match std::io::read_to_string(std::io::stdin()) {
            Ok(text) => run_text(&mut place, "<standard input>", text, &args.display, Style::Quiet).await,
            Err(error) => {
                eprintln!("error: cannot read standard input: {error}");
                exit::FAILED
            }
        };
    }
    interactive(place, &args.display).await
}

async fn run_file(place: &mut impl Place, file: PathBuf, display: &Display) -> u8 {
    match script::load(&[file]) {
        Ok(files) => run_files(place, &files, display, Style::Quiet).await,
        Err(failure) => report::failure(&failure),
    }
}

async fn run_text(place: &mut impl Place, name: &str, text: String, display: &Display, style: Style) -> u8 {
    run_files(place, &[ScriptFile { path: name.to_string(), text }], display, style).await
}

async fn run_files(place: &mut impl Place, files: &[ScriptFile], display: &Display, style: Style) -> u8 {
    match script::statements(files) {
        Ok(statements) => place.run(files, &statements, display, style).await,
        Err(failure) => report::failure(&failure),
    }
}

async fn interactive(mut place: impl Place, display: &Display) -> u8 {
    println!("Orrery {} on {}; \\h for help, \\q to leave", env!("CARGO_PKG_VERSION"), place.name());
    let history = editor::history_file();
    let mut editor = match editor::editor() {
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
        let words = place.words().await;
        if let Some(helper) = editor.helper_mut() {
            helper.words = words;
        }
        let prompt = place.prompt();
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
                if !tells_secrets(&text) {
                    let _only_in_memory = editor.add_history_entry(text.trim());
                }
                if !obey(&mut place, text.trim(), display).await {
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

/// Whether a text is better not kept: what does not split might hold a password.
fn tells_secrets(text: &str) -> bool {
    split(text)
        .map_or_else(|_| text.to_ascii_lowercase().contains("password"), |statements| statements.iter().any(StatementText::tells_secrets))
}

/// Runs what was typed; false: leave.
async fn obey(place: &mut impl Place, text: &str, display: &Display) -> bool {
    let command = text.trim_end_matches(';').trim();
    let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let sql = match word {
        "\\q" | "exit" | "quit" if rest.is_empty() => return false,
        "\\h" | "\\?" => {
            println!("{HELP}");
            return true;
        }
        "\\i" => {
            run_file(place, PathBuf::from(rest.trim()), display).await;
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
    run_text(place, "<shell>", sql, display, Style::Shell).await;
    true
}
