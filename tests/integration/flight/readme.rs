//! The example of the README for other programs, run as it is written there.

use super::served::serve;
use crate::data;
use crate::orrery::{rows, run};
use crate::python::{interpreter, python};

/// Where the README has the server listen.
const ADDRESS: &str = "127.0.0.1:50060";
/// The scripts that make the table which the example reads.
const SCRIPTS: [&str; 5] =
    ["00_setup", "10_bronze_events", "20_silver_events_clean", "30_gold_session_summary", "60_insight_conversion_funnel"];

/// The README's only block of Python.
fn example() -> String {
    let readme = std::fs::read_to_string(data::root().join("README.md")).unwrap();
    let blocks: Vec<&str> = readme.split("```python\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [block] = blocks.as_slice() else { panic!("one block of Python is expected in the README, there are {}", blocks.len()) };
    assert!(block.contains("adbc_driver_flightsql"), "{block}");
    block.to_string()
}

/// The values of a column of whole numbers in a printed table, in ascending order.
fn printed(table: &str, column: &str) -> Vec<i64> {
    let values = table.lines().find_map(|line| line.strip_prefix(&format!("{column}: [")));
    let values = values.unwrap_or_else(|| panic!("no column {column} is printed:\n{table}"));
    let mut values: Vec<i64> = values.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect();
    values.sort_unstable();
    values
}

#[test]
fn the_example_reads_the_table_that_the_pipeline_made() {
    let Some(interpreter) = interpreter() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = format!("source={}", data::generated(dir.path(), 5_000, "parquet", 0.0).display());
    let scripts = SCRIPTS.map(|script| data::root().join(format!("sql/clickstream/{script}.sql")).display().to_string());
    let mut arguments = vec!["run"];
    arguments.extend(scripts.iter().map(String::as_str));
    arguments.extend(["--set", &source, "--quiet"]);
    let ran = run(dir.path(), &arguments);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);

    let (_process, server) = serve(dir.path(), &[]);
    let example = example();
    assert_eq!(example.matches(ADDRESS).count(), 1, "{example}");
    let example = example.replace(ADDRESS, &format!("127.0.0.1:{}", server.port));
    let ran = python(&interpreter, &["-c", &example]);
    assert_eq!(ran.code, Some(0), "{example}\n{}{}", ran.stdout, ran.stderr);
    for step in ["view", "cart", "purchase"] {
        assert!(ran.stdout.contains(&format!("\"{step}\"")), "{}", ran.stdout);
    }
    for column in ["events", "sessions", "users"] {
        let stored = rows(dir.path(), &format!("SELECT {column} FROM gold.conversion_funnel ORDER BY {column}"));
        let stored: Vec<i64> = stored.iter().map(|value| value.parse().unwrap()).collect();
        assert_eq!(printed(&ran.stdout, column), stored, "{column}\n{}", ran.stdout);
        assert!(stored.len() == 3 && stored[0] > 0, "{column}: {stored:?}");
    }
}

#[test]
fn the_server_listens_where_the_example_looks_for_it() {
    let (host, port) = ADDRESS.split_once(':').unwrap();
    let help = run(data::root(), &["serve", "--help"]);
    assert_eq!(help.code, Some(0), "{}", help.stderr);
    for default in [host, port] {
        assert!(help.stdout.contains(&format!("[default: {default}]")), "{}", help.stdout);
    }
    assert!(example().contains(ADDRESS));
}
