//! A place in a plan that a query's own expressions do not pass: below it are rows that its reader may not see, until a row filter or a view has taken them
//! out.
//!
//! Were the filter `10 / (salary - 5000) > 1` evaluated on a hidden row, its error would tell of it. So nothing goes down but what can neither fail nor call
//! anything: comparisons of columns with constants ([`push_safe_filters`]), by which scans leave out files and partitions.

pub mod push_safe_filters;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::{DFSchemaRef, Result, internal_err};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};

/// See the module documentation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Barrier {
    pub input: LogicalPlan,
}

/// A plan behind a barrier.
pub(crate) fn over(input: LogicalPlan) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(Barrier { input }) })
}

impl Barrier {
    /// The barrier that a plan begins with.
    pub(super) fn of(plan: &LogicalPlan) -> Option<&Barrier> {
        match plan {
            LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
            _ => None,
        }
    }
}

impl PartialOrd for Barrier {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for Barrier {
    fn name(&self) -> &str {
        "Barrier"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    /// Columns that nobody asks for need not be computed below either.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Barrier")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => Ok(Self { input }),
            _ => internal_err!("a barrier has one input"),
        }
    }
}
