//! The SQL that users write first, on a session with our rewrites and functions and on one as DataFusion gives it, in one
//! run: `cargo bench -p orrery-engine`. What counts is the ratio within a run.
//!
//! The rows come from memory, so that the operators are compared and not the disk.

#![allow(clippy::expect_used, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use orrery_engine::planner;
use tokio::runtime::Runtime;

const ROWS: usize = 1_000_000;

/// What is asked, and of which table of [`tables`].
const QUERIES: [(&str, &str); 5] = [
    ("first row of a key", "SELECT * FROM events QUALIFY row_number() OVER (PARTITION BY at, user_id, product_id ORDER BY session) = 1"),
    ("first_value of texts", "SELECT session, first_value(brand ORDER BY at), first_value(kind ORDER BY at) FROM events GROUP BY session"),
    ("two distinct counts", "SELECT session, count(*), count(DISTINCT product_id), count(DISTINCT brand) FROM events GROUP BY session"),
    ("DISTINCT ON", "SELECT DISTINCT ON (user_id) user_id, at, brand FROM events ORDER BY user_id, at DESC"),
    ("date and hour", "SELECT CAST(at AS DATE) AS d, date_part('hour', at) AS h, count(*) FROM events GROUP BY 1, 2"),
];

fn tables() -> String {
    format!(
        "CREATE TABLE events AS SELECT
            arrow_cast(1570000000000000 + value * 977 % 2600000 * 1000000, 'Timestamp(Microsecond, Some(\"UTC\"))') AS at,
            value * 7919 % 130003 AS user_id,
            value * 31 % 60013 AS product_id,
            CONCAT('session-', CAST(value * 7919 % 230003 AS VARCHAR)) AS session,
            CONCAT('brand ', CAST(value % 4001 AS VARCHAR)) AS brand,
            CASE value % 20 WHEN 0 THEN 'purchase' WHEN 1 THEN 'cart' ELSE 'view' END AS kind
        FROM generate_series(1, {ROWS})"
    )
}

fn session(runtime: &Runtime, is_ours: bool) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(2);
    let builder = SessionStateBuilder::new().with_default_features().with_config(config);
    let builder = if is_ours { planner::register(builder) } else { builder };
    let context = SessionContext::new_with_state(builder.build());
    runtime.block_on(async { context.sql(&tables()).await?.collect().await }).expect("the table can be made");
    context
}

fn obvious_sql(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let sessions = [("orrery", session(&runtime, true)), ("datafusion", session(&runtime, false))];
    for (name, sql) in QUERIES {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10);
        for (engine, context) in &sessions {
            group.bench_function(*engine, |bencher| {
                bencher.iter(|| runtime.block_on(async { context.sql(sql).await?.collect().await }).expect("the query runs"));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, obvious_sql);
criterion_main!(benches);
