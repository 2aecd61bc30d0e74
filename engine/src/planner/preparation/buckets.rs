//! `ML.QUANTILE_BUCKETIZE(x, n)`: buckets of about as many rows each.

use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{Expr, ScalarUDF, lit};
use orrery_udfs::scalar::bucketize::Bucketize;

use super::call::{Call, quantiles};

const BUCKETS_MAX: i64 = 100_000;

pub(super) fn aggregates(call: &Call) -> Result<Vec<Expr>> {
    let Some(buckets) = call.whole(1, "n", 2, BUCKETS_MAX)? else { return plan_err!("ML.QUANTILE_BUCKETIZE: argument 2, n, is missing") };
    let fractions: Vec<f64> = (1..buckets).map(|bucket| bucket as f64 / buckets as f64).collect();
    Ok(vec![quantiles(call.number()?, &fractions)])
}

pub(super) fn expression(call: &Call, learned: &Expr) -> Result<Expr> {
    let format = call.choice(2, "output_format", &["bucket_names", "bucket_ranges"])?.unwrap_or("bucket_names");
    Ok(ScalarUDF::new_from_impl(Bucketize::new()).call(vec![call.number()?, learned.clone(), lit(false), lit(format)]))
}
