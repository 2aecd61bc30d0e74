//! Every function that statements can call, with its documentation: what `SHOW FUNCTIONS` and the function reference list.

use datafusion::logical_expr::Documentation;

use super::Session;

/// A function that statements can call.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name, or one of its other names.
    pub name: String,
    /// `scalar`, `aggregate`, `window` or `table`.
    pub kind: &'static str,
    /// What it does, if somebody has written that down.
    pub documentation: Option<Documentation>,
}

impl Session {
    /// All functions, by name and kind.
    pub fn functions(&self) -> Vec<Function> {
        let state = self.context.state();
        let mut functions = Vec::new();
        let mut add = |name: &str, kind, documentation: Option<&Documentation>| {
            functions.push(Function { name: name.to_string(), kind, documentation: documentation.cloned() });
        };
        // Operators are functions, too, and not called by their names.
        let called = state.scalar_functions().iter().filter(|(name, _)| name.starts_with(|c: char| c.is_alphabetic() || c == '_'));
        called.for_each(|(name, f)| add(name, "scalar", f.documentation()));
        state.aggregate_functions().iter().for_each(|(name, f)| add(name, "aggregate", f.documentation()));
        state.window_functions().iter().for_each(|(name, f)| add(name, "window", f.documentation()));
        state.table_functions().keys().for_each(|name| add(name, "table", None));
        ["read_parquet", "read_csv", "read_json", "read_files"].iter().for_each(|name| add(name, "table", None));
        functions.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind)));
        functions
    }
}
