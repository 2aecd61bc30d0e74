//! The SQL functions that Orrery adds to DataFusion, or puts in place of DataFusion's where those are too slow for
//! millions of groups.
//!
//! [`kernels`] is the mathematics over slices and Arrow arrays and knows nothing of DataFusion; [`scalar`], [`aggregate`]
//! and [`window`] wrap it into functions, a file each. Sessions register everything from the lists below, so that a
//! coordinator and an executor can never know different functions.

pub mod aggregate;
pub mod kernels;
pub mod memory;
pub mod scalar;
pub mod stop;
mod time_arguments;
pub mod window;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{AggregateUDF, Expr, ScalarUDF, WindowUDF};

/// Every scalar function of this crate.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    scalar::all()
}

/// DataFusion's scalar functions that make much of little, which are replaced by the same with a bound on what a call may make.
pub fn bounded_functions() -> Vec<Arc<ScalarUDF>> {
    scalar::bounded::all()
}

/// Puts those functions in the place of DataFusion's, and of the operator `||`, in an expression whose types have been coerced.
///
/// # Errors
/// None of its own.
pub fn bind_bounded_functions(expr: Expr) -> Result<Transformed<Expr>> {
    scalar::bounded::bind(expr)
}

/// Whether a function is one of those.
pub fn is_bounded(function: &ScalarUDF) -> bool {
    scalar::bounded::is_bounded(function)
}

/// The function of a name, if it is one of those.
pub fn bounded_function(name: &str) -> Option<Arc<ScalarUDF>> {
    scalar::bounded::named(name)
}

pub use scalar::bounded::MOST_FIELDS;

/// Whether a type has more fields than [`MOST_FIELDS`], those of its fields included; it is not looked at further than to tell.
pub fn has_too_many_fields(data_type: &DataType) -> bool {
    scalar::bounded::fields_left(data_type, MOST_FIELDS).is_none()
}

/// Every aggregate function of this crate. `count`, `first_value`, `last_value` and `any_value` carry the names of
/// DataFusion's own and are meant to replace them.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    aggregate::all()
}

/// Every window function of this crate. The aggregates above also work with `OVER`.
pub fn window_functions() -> Vec<Arc<WindowUDF>> {
    window::all()
}

#[cfg(test)]
mod examples;
