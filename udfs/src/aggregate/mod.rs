//! Aggregate functions, one file each, over the accumulators in `distinct_count`, `best_of_group` and `grouped_state`.

pub mod any_value;
mod best_of_group;
pub mod count;
mod distinct_count;
pub mod exact_moments;
pub mod exact_quantiles;
pub mod first_value;
pub mod funnel;
mod grouped_state;
pub mod kmeans;
pub mod max_by;
pub mod most_frequent;
mod one_group;
pub mod path;
pub mod retention;
pub mod sequence_match;
pub mod sessionize;
pub mod vocabulary;

use std::any::Any;
use std::sync::Arc;

use arrow::array::new_empty_array;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::{AggregateUDF, DocSection};

use crate::kernels::ragged::lists;

/// Where the functions over events are listed.
const SECTION: DocSection = DocSection { include: true, label: "Behavioural Functions", description: None };

/// Where the functions are listed that describe columns as a whole.
const STATISTICS: DocSection = DocSection { include: true, label: "Statistical Functions", description: None };

/// Every aggregate function of this crate.
pub(crate) fn all() -> Vec<Arc<AggregateUDF>> {
    vec![
        Arc::new(AggregateUDF::new_from_impl(count::Count::new())),
        first_value::first_value_udaf(),
        first_value::last_value_udaf(),
        Arc::new(AggregateUDF::new_from_impl(any_value::AnyValue::new())),
        Arc::new(AggregateUDF::new_from_impl(max_by::ByOrder::max_by())),
        Arc::new(AggregateUDF::new_from_impl(max_by::ByOrder::min_by())),
        Arc::new(AggregateUDF::new_from_impl(funnel::Funnel::new())),
        Arc::new(AggregateUDF::new_from_impl(path::Path::new())),
        Arc::new(AggregateUDF::new_from_impl(retention::Retention::new())),
        Arc::new(AggregateUDF::new_from_impl(sequence_match::Sequence::counting())),
        Arc::new(AggregateUDF::new_from_impl(sequence_match::Sequence::matching())),
        Arc::new(AggregateUDF::new_from_impl(sessionize::Sessionize::new())),
        Arc::new(AggregateUDF::new_from_impl(exact_moments::MomentsFunction::new())),
        Arc::new(AggregateUDF::new_from_impl(exact_quantiles::QuantilesFunction::new())),
        Arc::new(AggregateUDF::new_from_impl(most_frequent::MostFrequent::new())),
        Arc::new(AggregateUDF::new_from_impl(vocabulary::Vocabulary::new())),
        Arc::new(AggregateUDF::new_from_impl(kmeans::KMeansFunction::new())),
    ]
}

/// Whether a function's state is as good as all rows of its group: adding up parts of a group first saves nothing then.
pub fn keeps_every_row(function: &AggregateUDF) -> bool {
    let function: &dyn Any = function.inner().as_ref();
    function.is::<funnel::Funnel>() || function.is::<sequence_match::Sequence>() || function.is::<kmeans::KMeansFunction>()
}

/// Whether a function may compute for long when it gives a group's value: it looks at whether its statement was [stopped](crate::stop::Stop).
pub fn computes_for_long(function: &AggregateUDF) -> bool {
    let function: &dyn Any = function.inner().as_ref();
    function.is::<kmeans::KMeansFunction>()
}

/// The types of conditions `name1`, `name2`, …, the first of which is argument `position`.
fn coerce_conditions(function: &str, name: &str, position: usize, given: &[DataType], most: usize) -> Result<Vec<DataType>> {
    if given.is_empty() || given.len() > most {
        return plan_err!("{function} takes 1 to {most} conditions, not {}", given.len());
    }
    match given.iter().position(|condition| !matches!(condition, DataType::Boolean | DataType::Null)) {
        Some(at) => plan_err!("{function}: argument {}, {name}{}, must be BOOLEAN, not {}", at + position, at + 1, given[at]),
        None => Ok(vec![DataType::Boolean; given.len()]),
    }
}

/// A list without elements, what an aggregate gives for no rows.
fn empty_list(data_type: &DataType) -> Result<ScalarValue> {
    match data_type {
        DataType::List(item) => Ok(ScalarValue::List(Arc::new(lists(new_empty_array(item.data_type()), &[0, 0])?))),
        other => internal_err!("{other} is no list"),
    }
}

#[cfg(test)]
pub(crate) mod tests;
