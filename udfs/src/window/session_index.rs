//! `session_index(ts, gap[, max_length])`: the number of the session within its partition.

use std::sync::LazyLock;

use datafusion::logical_expr::Documentation;

use super::session_function::{GAP_DESCRIPTION, MAX_LENGTH_DESCRIPTION, SECTION, SEMANTICS, TS_DESCRIPTION};

pub(super) static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    let description =
        format!("Returns the number of the session that the row belongs to, as BIGINT: 1 for the partition's first. {SEMANTICS}");
    Documentation::builder(SECTION, description, "session_index(ts, gap[, max_length]) OVER (PARTITION BY … ORDER BY ts)")
        .with_sql_example(
            "```sql\n> SELECT u, t, session_index(t, 30) OVER (PARTITION BY u ORDER BY t) AS session FROM (VALUES (1, 0), (1, 30), (1, 61), (2, 0)) AS e(u, t) ORDER BY u, t;\n\
             +---+----+---------+\n\
             | u | t  | session |\n\
             +---+----+---------+\n\
             | 1 | 0  | 1       |\n\
             | 1 | 30 | 1       |\n\
             | 1 | 61 | 2       |\n\
             | 2 | 0  | 1       |\n\
             +---+----+---------+\n\
             ```",
        )
        .with_argument("ts", TS_DESCRIPTION)
        .with_argument("gap", GAP_DESCRIPTION)
        .with_argument("max_length", MAX_LENGTH_DESCRIPTION)
        .with_related_udf("session_id")
        .with_related_udf("session_start")
        .build()
});
