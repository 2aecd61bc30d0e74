//! `session_id(ts, gap[, max_length[, key…]])`: a number that tells sessions apart, the same on any partitioning.

use std::sync::LazyLock;

use arrow::array::{Array, ArrayRef, Int64Array};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::Documentation;

use super::session_function::{GAP_DESCRIPTION, MAX_LENGTH_DESCRIPTION, SECTION, SEMANTICS, TS_DESCRIPTION};
use crate::kernels::spark_hash::hash_column;
use crate::kernels::xxhash64::SPARK_SEED;

pub(super) static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    let description = format!(
        "Returns a 64-bit number for the session that the row belongs to, as BIGINT. It is a hash of the keys and the instant \
         at which the session began, `xxhash64(key…, session_start(…))`, so it is the same however the data is partitioned and \
         when only part of it is computed anew. The keys have to tell partitions apart. {SEMANTICS}"
    );
    Documentation::builder(SECTION, description, "session_id(ts, gap[, max_length[, key…]]) OVER (PARTITION BY … ORDER BY ts)")
        .with_sql_example(
            "```sql\n> SELECT u, t, session_id(t, 30, NULL, u) OVER (PARTITION BY u ORDER BY t) AS session FROM (VALUES (1, 0), (1, 30), (1, 61), (2, 0)) AS e(u, t) ORDER BY u, t;\n\
             +---+----+----------------------+\n\
             | u | t  | session              |\n\
             +---+----+----------------------+\n\
             | 1 | 0  | -2220782197575308967 |\n\
             | 1 | 30 | -2220782197575308967 |\n\
             | 1 | 61 | -6810179762549929757 |\n\
             | 2 | 0  | -4175744763495980767 |\n\
             +---+----+----------------------+\n\
             ```",
        )
        .with_argument("ts", TS_DESCRIPTION)
        .with_argument("gap", GAP_DESCRIPTION)
        .with_argument("max_length", MAX_LENGTH_DESCRIPTION)
        .with_argument("key…", "What tells partitions apart, usually the expressions of PARTITION BY; any types that xxhash64 takes.")
        .with_related_udf("session_index")
        .with_related_udf("session_start")
        .build()
});

/// The numbers of the sessions that began at `starts`; null where that is null.
pub(super) fn ids(keys: &[ArrayRef], starts: &ArrayRef) -> Result<ArrayRef> {
    let mut hashes = vec![SPARK_SEED; starts.len()];
    for column in keys.iter().chain([starts]) {
        hash_column(column, &mut hashes).map_err(|e| exec_datafusion_err!("session_id: {e}"))?;
    }
    let ids: Vec<i64> = hashes.into_iter().map(|hash| hash as i64).collect();
    Ok(std::sync::Arc::new(Int64Array::new(ids.into(), starts.nulls().cloned())))
}
