//! `winsorize(x, low, high)`: caps numbers at percentiles.

use datafusion::common::{Result, ScalarValue};
use datafusion::functions_nested::expr_fn::array_element;
use datafusion::logical_expr::{Expr, lit, when};

use super::call::{Call, quantiles};

pub(super) fn aggregates(call: &Call) -> Result<Vec<Expr>> {
    let (low, high) = (call.fraction(1, "low")?, call.fraction(2, "high")?);
    if low >= high {
        return call.refuse(2, "high", &format!("is {high:?}, which is not more than low, {low:?}"));
    }
    Ok(vec![quantiles(call.number()?, &[low, high])])
}

pub(super) fn expression(call: &Call, learned: &Expr) -> Result<Expr> {
    let number = call.number()?;
    let (least, most) = (array_element(learned.clone(), lit(1i64)), array_element(learned.clone(), lit(2i64)));
    // 0 and 1 cap nothing, also where a model meets numbers beyond those of its training.
    let mut capped = when(number.clone().is_null(), lit(ScalarValue::Float64(None)));
    if call.fraction(1, "low")? > 0.0 {
        capped = capped.when(number.clone().lt(least.clone()), least);
    }
    if call.fraction(2, "high")? < 1.0 {
        capped = capped.when(number.clone().gt(most.clone()), most);
    }
    capped.otherwise(number)
}
