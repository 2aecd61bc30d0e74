//! `docs/models.md`: every example runs, and the tables of options are those of the code.

use std::fmt::Write as _;

use super::data;
use super::orrery::run;

/// The examples of a page: what stands in its blocks of SQL, in order.
fn examples(page: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for line in page.lines() {
        match (line, inside) {
            ("```sql", false) => inside = true,
            ("```", true) => inside = false,
            (line, true) => {
                let _ = writeln!(text, "{line}");
            }
            _ => {}
        }
    }
    text
}

#[test]
fn examples_of_models_run() {
    let dir = tempfile::tempdir().unwrap();
    let page = std::fs::read_to_string(data::root().join("docs/models.md")).unwrap();
    let script = dir.path().join("models.sql");
    std::fs::write(&script, examples(&page)).unwrap();
    let ran = run(dir.path(), &["run", script.to_str().unwrap(), "--quiet"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

/// The table of a model type's options, as the page has it.
fn options(model_type: &str) -> String {
    let mut text = String::from("| option | takes | default | |\n|---|---|---|---|\n");
    for option in orrery_models::model_type(model_type).unwrap().options() {
        let default = option.default.map_or(String::new(), |default| format!("`{default}`"));
        let kind = option.kind.to_string().replace('|', "\\|");
        let _ = writeln!(text, "| `{}` | {kind} | {default} | {} |", option.name, option.about.replace('|', "\\|"));
    }
    text
}

#[test]
fn options_of_models_are_those_of_the_code() {
    let path = data::root().join("docs/models.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let mut made = page.clone();
    for model_type in orrery_models::model_types().iter().filter(|model_type| !model_type.options().is_empty()) {
        let name = model_type.name();
        let begin = format!("<!-- options: {name} -->\n");
        let (head, rest) = made.split_once(&begin).unwrap_or_else(|| panic!("docs/models.md has no options of {name}"));
        let (_, tail) = rest.split_once("<!-- end -->").unwrap();
        made = format!("{head}{begin}{}<!-- end -->{tail}", options(name));
    }
    if std::env::var_os("ORRERY_DOCS_COMPLETE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    assert!(
        made == page,
        "docs/models.md is not what the code says: ORRERY_DOCS_COMPLETE=1 cargo nextest run --workspace -E 'test(options_of_models)'"
    );
}
