//! Window functions, one file each, over the evaluator in `session_function`.

pub mod session_function;
mod session_id;
mod session_index;
mod session_start;

use std::sync::Arc;

use datafusion::logical_expr::WindowUDF;

use session_function::{SessionFunction, SessionOutput};

/// Every window function of this crate.
pub(crate) fn all() -> Vec<Arc<WindowUDF>> {
    let outputs = [SessionOutput::Id, SessionOutput::Index, SessionOutput::Start];
    outputs.map(|output| Arc::new(WindowUDF::new_from_impl(SessionFunction::new(output)))).into()
}

#[cfg(test)]
mod tests;
