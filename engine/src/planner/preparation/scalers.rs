//! `ML.STANDARD_SCALER`, `ML.MIN_MAX_SCALER`, `ML.MAX_ABS_SCALER` and `ML.ROBUST_SCALER`.

use datafusion::common::{Result, ScalarValue};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::functions_nested::expr_fn::array_element;
use datafusion::logical_expr::{Expr, lit, when};

use super::call::{Call, quantiles};

/// Percentiles between which most numbers lie.
const QUARTILES: [f64; 2] = [25.0, 75.0];

/// NULL for NULL, `scaled` where `has_range`, else `otherwise`.
fn where_it_varies(number: &Expr, has_range: Expr, scaled: Expr, otherwise: Expr) -> Result<Expr> {
    when(number.clone().is_null(), lit(ScalarValue::Float64(None))).when(has_range, scaled).otherwise(otherwise)
}

pub(super) fn standard(number: Expr, moments: &Expr) -> Result<Expr> {
    let (mean, deviation) = (get_field(moments.clone(), "mean"), get_field(moments.clone(), "stddev"));
    let scaled = (number.clone() - mean) / deviation.clone();
    where_it_varies(&number, deviation.gt(lit(0.0)), scaled, lit(0.0))
}

pub(super) fn min_max(number: Expr, moments: &Expr) -> Result<Expr> {
    let (least, most) = (get_field(moments.clone(), "min"), get_field(moments.clone(), "max"));
    let scaled = when(number.clone().lt_eq(least.clone()), lit(0.0))
        .when(number.clone().gt_eq(most.clone()), lit(1.0))
        .otherwise((number.clone() - least.clone()) / (most.clone() - least.clone()))?;
    where_it_varies(&number, most.gt(least), scaled, lit(0.0))
}

pub(super) fn max_abs(number: Expr, moments: &Expr) -> Result<Expr> {
    let most = get_field(moments.clone(), "max_abs");
    let scaled = number.clone() / most.clone();
    where_it_varies(&number, most.gt(lit(0.0)), scaled, lit(0.0))
}

/// Lower percentile, median, upper percentile.
pub(super) fn robust_aggregates(call: &Call) -> Result<Vec<Expr>> {
    let range = call.numbers(1, "quantile_range")?.unwrap_or(QUARTILES.to_vec());
    match range.as_slice() {
        [low, high] if *low >= 0.0 && low < high && *high <= 100.0 => {
            Ok(vec![quantiles(call.number()?, &[low / 100.0, 0.5, high / 100.0])])
        }
        _ => call.refuse(1, "quantile_range", "must be two percentiles in ascending order, such as [25, 75]"),
    }
}

pub(super) fn robust(call: &Call, learned: &Expr) -> Result<Expr> {
    let number = call.number()?;
    let quantile = |place: i64| array_element(learned.clone(), lit(place));
    let centred = if call.truth(2, "with_median")?.unwrap_or(true) { number.clone() - quantile(2) } else { number.clone() };
    if !call.truth(3, "with_quantile_range")?.unwrap_or(true) {
        return Ok(centred);
    }
    let range = quantile(3) - quantile(1);
    where_it_varies(&number, range.clone().gt(lit(0.0)), centred.clone() / range, centred)
}
