//! Scalar functions, one file each.

pub mod pack_row;
pub mod salt;
pub mod try_to_timestamp;
pub mod unsalt;
pub mod xxhash64;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

/// Every scalar function of this crate.
pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        pack_row::pack_row_udf(),
        Arc::new(ScalarUDF::new_from_impl(salt::Salt::new())),
        Arc::new(ScalarUDF::new_from_impl(try_to_timestamp::TryToTimestamp::new())),
        Arc::new(ScalarUDF::new_from_impl(unsalt::Unsalt::new())),
        Arc::new(ScalarUDF::new_from_impl(xxhash64::XxHash64::new())),
    ]
}
