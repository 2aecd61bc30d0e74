//! Aggregate functions, one file each, over the accumulators in `distinct_count` and `best_of_group`.

pub mod any_value;
mod best_of_group;
pub mod count;
mod distinct_count;
pub mod first_value;
pub mod max_by;
mod one_group;

use std::sync::Arc;

use datafusion::logical_expr::AggregateUDF;

/// Every aggregate function of this crate.
pub(crate) fn all() -> Vec<Arc<AggregateUDF>> {
    vec![
        Arc::new(AggregateUDF::new_from_impl(count::Count::new())),
        first_value::first_value_udaf(),
        first_value::last_value_udaf(),
        Arc::new(AggregateUDF::new_from_impl(any_value::AnyValue::new())),
        Arc::new(AggregateUDF::new_from_impl(max_by::ByOrder::max_by())),
        Arc::new(AggregateUDF::new_from_impl(max_by::ByOrder::min_by())),
    ]
}

#[cfg(test)]
mod tests;
