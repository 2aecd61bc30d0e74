//! `ML.IMPUTER(x, strategy)`: fills gaps.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::functions::core::expr_fn::{coalesce, get_field};
use datafusion::functions_nested::expr_fn::array_element;
use datafusion::logical_expr::{Expr, lit};
use orrery_udfs::aggregate::most_frequent::MostFrequent;

use super::call::{Call, aggregate, moments, quantiles};

/// Refuses the mean and median of what are no numbers.
pub(super) fn check(call: &Call, given: &DataType) -> Result<()> {
    let strategy = strategy(call)?;
    if strategy != "most_frequent" && !given.is_numeric() && !given.is_null() {
        return call.refuse(0, "x", &format!("must be a number for '{strategy}', not {given}"));
    }
    Ok(())
}

fn strategy(call: &Call) -> Result<&'static str> {
    match call.choice(1, "strategy", &["mean", "median", "most_frequent"])? {
        Some(strategy) => Ok(strategy),
        None => call.refuse(1, "strategy", "is missing"),
    }
}

pub(super) fn aggregates(call: &Call) -> Result<Vec<Expr>> {
    Ok(vec![match strategy(call)? {
        "mean" => moments(call.number()?),
        "median" => quantiles(call.number()?, &[0.5]),
        _ => aggregate(MostFrequent::new(), vec![call.value()?]),
    }])
}

pub(super) fn expression(call: &Call, learned: &Expr) -> Result<Expr> {
    Ok(match strategy(call)? {
        "mean" => coalesce(vec![call.number()?, get_field(learned.clone(), "mean")]),
        "median" => coalesce(vec![call.number()?, array_element(learned.clone(), lit(1i64))]),
        _ => coalesce(vec![call.value()?, learned.clone()]),
    })
}
