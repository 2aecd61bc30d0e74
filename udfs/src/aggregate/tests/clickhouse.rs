//! The functions that ClickHouse has too give what it gives (`windowFunnel`, `retention`, `sequenceMatch`, `sequenceCount` of
//! release 26.9), over rows that both make by the same formula.

use std::sync::Arc;

use arrow::array::*;

use super::{all_runs, lines, session};

/// Six hundred events of twenty groups: instants that differ, and ones that are often equal.
fn table() -> RecordBatch {
    let column = |of: fn(i64) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values((0..600).map(of))) };
    let columns = [
        ("g", column(|row| row * 31_337 % 10_007 / 7 % 20)),
        ("t", column(|row| row * 7_919 % 10_007)),
        ("tied", column(|row| row * 7_919 % 10_007 % 200)),
        ("e", column(|row| row * 104_729 % 10_007 % 4)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

const SQL: &str = "SELECT g, funnel(tied, 20, e = 0, e = 1, e = 2, e = 3), funnel(t, 400, e < 2, e > 0, e = 0, e = 3), \
     retention(e = 0 AND t < 2000, e = 1 AND t > 9900, e = 2 AND tied < 20), \
     sequence_match('(?1)(?t<=60)(?2)(?3)', t, e = 0, e = 1, e = 2), sequence_match('(?1)(?2)(?1)(?2)', t, e = 0, e = 1), \
     sequence_count('(?1)(?t<=300)(?2)', t, e = 0, e = 1), sequence_count('(?1).(?2).*(?3)', t, e < 2, e > 0, e = 3), \
     sequence_count('(?1)(?t>=500)(?2)', t, e = 0, e = 1), sequence_count('(?t<200)(?1)(?t<100).*(?2)', t, e = 0, e = 1), \
     sequence_count('(?1)(?2)(?t<900)', t, e = 0, e = 1), sequence_match('(?1)(?t==700)(?2)', t, e = 0, e < 2) FROM t GROUP BY g";

/// What ClickHouse answers to the same query.
const ANSWER: [&str; 20] = [
    "0|2|4|[true, false, false]|false|true|4|3|4|0|4|false",
    "1|2|3|[true, false, false]|false|false|2|3|3|1|2|false",
    "2|2|4|[true, false, false]|false|false|2|4|3|1|4|false",
    "3|2|4|[false, false, false]|false|false|2|3|2|1|2|false",
    "4|2|4|[false, false, false]|false|false|1|3|2|1|2|false",
    "5|2|4|[true, false, false]|false|true|2|2|3|1|3|false",
    "6|2|4|[true, false, false]|false|true|5|3|3|1|5|false",
    "7|2|4|[false, false, false]|false|false|4|3|3|1|5|false",
    "8|3|3|[true, false, false]|false|false|3|4|4|1|3|false",
    "9|2|4|[true, false, true]|false|false|4|2|3|1|2|false",
    "10|2|4|[false, false, false]|false|false|2|3|3|1|2|false",
    "11|3|4|[true, false, false]|true|true|2|4|3|1|3|false",
    "12|2|3|[true, false, true]|false|false|3|4|3|1|4|false",
    "13|3|3|[false, false, false]|false|false|2|3|1|1|2|false",
    "14|2|3|[true, false, false]|false|true|4|4|3|1|4|false",
    "15|2|3|[true, true, false]|false|true|4|4|4|1|4|false",
    "16|2|3|[true, false, false]|false|true|4|4|3|1|5|false",
    "17|2|4|[false, false, false]|false|true|4|3|4|1|6|false",
    "18|2|4|[true, false, false]|false|true|4|4|4|0|4|false",
    "19|2|3|[true, true, true]|false|false|2|3|2|0|2|false",
];

#[tokio::test]
async fn gives_what_clickhouse_gives() {
    let mut expected = ANSWER;
    expected.sort();
    for run in all_runs() {
        let context = session(&table(), &run, true).unwrap();
        assert_eq!(lines(&context, SQL).await.unwrap(), expected, "{} partitions", run.partitions);
    }
}
