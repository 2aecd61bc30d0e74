//! The function reference, `docs/functions.md`: made from what functions say of themselves, every example run.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::logical_expr::Documentation;
use futures::TryStreamExt as _;
use orrery_engine::dialect::split;
use orrery_engine::session::{Function, Mode, Outcome, Session, SessionOptions, Tracker};

use super::data;

async fn session(dir: &std::path::Path) -> Session {
    Session::open(SessionOptions { warehouse: dir.display().to_string(), ..SessionOptions::default() }).await.unwrap()
}

/// Names of the functions that are ours.
fn own() -> BTreeSet<String> {
    let scalar = orrery_udfs::scalar_functions().into_iter().map(|f| f.name().to_string());
    let aggregate = orrery_udfs::aggregate_functions().into_iter().map(|f| f.name().to_string());
    let window = orrery_udfs::window_functions().into_iter().map(|f| f.name().to_string());
    scalar.chain(aggregate).chain(window).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn in_full(function: &Function, documentation: &Documentation, text: &mut String) {
    let _ =
        writeln!(text, "\n### `{}`\n\n{}\n\n    {}\n", function.name, one_line(&documentation.description), documentation.syntax_example);
    for (name, meaning) in documentation.arguments.iter().flatten() {
        let _ = writeln!(text, "- `{name}`: {}", one_line(meaning));
    }
    if let Some(example) = &documentation.sql_example {
        let _ = writeln!(text, "\n{}", example.trim());
    }
}

fn reference(functions: &[Function]) -> String {
    let own = own();
    let mut text = String::from(
        "# Functions\n\nMade from the code by `ORRERY_DOCS_COMPLETE=1 cargo nextest run --workspace -E 'test(function_reference)'`; \
         a test compares the two and runs the examples.\n\n## Orrery's own\n\n\
         `count`, `first_value`, `last_value` and `any_value` are DataFusion's by name and meaning, made for millions of groups.\n",
    );
    for (kind, title) in [("scalar", "Of a row"), ("aggregate", "Of a group"), ("window", "Of a window")] {
        let mut of_kind = functions.iter().filter(|f| f.kind == kind && own.contains(&f.name)).peekable();
        if of_kind.peek().is_some() {
            let _ = writeln!(text, "\n## {title}");
        }
        for function in of_kind {
            if let Some(documentation) = &function.documentation {
                in_full(function, documentation, &mut text);
            }
        }
    }
    let _ = writeln!(text, "\n## DataFusion's\n\n| function | kind | syntax | |\n|---|---|---|---|");
    for function in functions.iter().filter(|f| !own.contains(&f.name)) {
        let (syntax, description) = match &function.documentation {
            Some(d) => (one_line(&d.syntax_example), one_line(&d.description)),
            None => (String::new(), String::new()),
        };
        let cell = |text: &str| text.replace('|', "\\|");
        let syntax = if syntax.is_empty() { syntax } else { format!("`{}`", cell(&syntax)) };
        let _ = writeln!(text, "| `{}` | {} | {syntax} | {} |", cell(&function.name), function.kind, cell(&description));
    }
    text
}

#[tokio::test]
async fn function_reference_is_that_of_the_code() {
    let dir = tempfile::tempdir().unwrap();
    let made = reference(&session(dir.path()).await.functions());
    let path = data::root().join("docs/functions.md");
    if std::env::var_os("ORRERY_DOCS_COMPLETE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap() == made,
        "docs/functions.md is not what the code says; its first lines tell how to make it"
    );
}

/// Statements of an example with the table that each is to print.
fn examples(documentation: &Documentation) -> Vec<(String, String)> {
    let Some(text) = &documentation.sql_example else { return Vec::new() };
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("```")) {
        match (line.strip_prefix("> "), found.last_mut()) {
            (Some(statement), _) => found.push((statement.to_string(), String::new())),
            (None, Some((_, table))) if line.starts_with(['+', '|']) => {
                let _ = writeln!(table, "{line}");
            }
            (None, Some((statement, _))) => {
                let _ = write!(statement, "\n{line}");
            }
            (None, None) => panic!("the example begins with '{line}'"),
        }
    }
    found
}

async fn printed(session: &Session, statement: &str) -> String {
    let tracker = Tracker::default();
    let statement = split(statement).unwrap().remove(0);
    let outcome = session.execute(&statement, Mode::Run, &tracker).await.unwrap_or_else(|error| panic!("{error}"));
    let Outcome::Rows(rows) = outcome else { panic!("no rows") };
    let batches: Vec<RecordBatch> = rows.try_collect().await.unwrap();
    format!("{}\n", pretty_format_batches(&batches).unwrap())
}

#[tokio::test]
async fn examples_of_functions_print_what_they_show() {
    let dir = tempfile::tempdir().unwrap();
    let session = session(dir.path()).await;
    let mut own = own();
    // DataFusion's by name, and explained there over tables that nobody has.
    own.retain(|name| !["any_value", "count", "first_value", "last_value"].contains(&name.as_str()));
    let mut with_examples = BTreeSet::new();
    for function in session.functions().into_iter().filter(|f| own.contains(&f.name)) {
        let documentation = function.documentation.unwrap_or_else(|| panic!("{} says nothing of itself", function.name));
        for (statement, table) in examples(&documentation) {
            assert_eq!(printed(&session, &statement).await, table, "{}: {statement}", function.name);
            with_examples.insert(function.name.clone());
        }
    }
    let missing: Vec<&String> = own.difference(&with_examples).collect();
    assert!(missing.is_empty(), "without an example: {missing:?}");
}
