//! Window functions: those of sessions, a file each over the evaluator in `session_function`, and those that learn of a column.

pub mod preparation;
pub mod session_function;
mod session_id;
mod session_index;
mod session_start;

use std::sync::Arc;

use datafusion::logical_expr::WindowUDF;

use preparation::{Learned, LearnedFunction};
use session_function::{SessionFunction, SessionOutput};

/// Every window function of this crate.
pub(crate) fn all() -> Vec<Arc<WindowUDF>> {
    let outputs = [SessionOutput::Id, SessionOutput::Index, SessionOutput::Start];
    let sessions = outputs.into_iter().map(|output| Arc::new(WindowUDF::new_from_impl(SessionFunction::new(output))));
    let learned = Learned::ALL.into_iter().map(|function| Arc::new(WindowUDF::new_from_impl(LearnedFunction::new(function))));
    sessions.chain(learned).collect()
}

#[cfg(test)]
mod tests;
