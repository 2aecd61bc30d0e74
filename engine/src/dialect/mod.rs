//! Orrery's SQL: DataFusion's expressions and queries, with the lakehouse statements of Databricks and Spark SQL around them.
//!
//! A file is read in three steps. `lexer` cuts the text into statements of positioned tokens; `variables` puts typed literals in the
//! place of `${name}`; `parser` makes a [`Statement`] of the tokens, and `check` refuses every construct that would parse and then be
//! ignored. All three know the position of what they complain about.

mod access_statements;
mod check;
mod depth;
pub(crate) mod durations;
pub(crate) mod growth;
pub(crate) mod hints;
mod lexer;
mod ml_calls;
pub(crate) mod model_names;
mod model_statements;
mod name_expressions;
mod parameters;
mod parser;
mod render;
mod row_ids;
mod secrets;
mod sql_dialect;
mod statement;
mod variables;
pub(crate) mod window_calls;
pub(crate) mod window_tables;
mod written_out;

#[cfg(test)]
mod tests;

pub(crate) use lexer::split_own;
pub use lexer::{StatementText, split};
pub use model_names::ModelName;
pub use parameters::parameters;
pub use parser::parse;
pub(crate) use parser::{normalize, to_name};
pub(crate) use render::render;
pub use sql_dialect::OrreryDialect;
pub use statement::*;
pub use variables::{Variable, Variables, parse_assignment};
