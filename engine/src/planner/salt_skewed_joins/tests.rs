//! Salted joins give the rows of unsalted ones, spread what is frequent, and are left alone where they have to be.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::util::display::array_value_to_string;
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlanProperties as _, collect_partitioned, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as ParsedStatement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use proptest::prelude::*;

use super::*;
use crate::dialect::{Statement, parse, split};
use crate::planner::hints::outcomes;

/// A session whose joins are all shuffled and sampled.
fn context(partitions: usize, min_bytes: u64) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(64);
    config.options_mut().optimizer.hash_join_single_partition_threshold = 0;
    config.options_mut().optimizer.hash_join_single_partition_threshold_rows = 0;
    let builder = SessionStateBuilder::new().with_default_features().with_config(config);
    let mut state = crate::planner::register(builder).build();
    state.config_mut().options_mut().set("orrery.skewed_join_min_bytes", &min_bytes.to_string()).unwrap();
    SessionContext::new_with_state(state)
}

/// The keys of a row, `k` and `j`.
type Row = (Option<i64>, Option<i64>);

/// A table of `id`, and the keys `k` and `j`, in batches of a few rows.
fn table(rows: &[Row], batch_rows: usize, partitions: usize) -> Arc<MemTable> {
    let batch = |(number, rows): (usize, &[Row])| {
        let ids = Int64Array::from_iter_values((0..rows.len()).map(|at| (number * batch_rows + at) as i64));
        let k = Int64Array::from_iter(rows.iter().map(|(k, _)| *k));
        let j = StringArray::from_iter(rows.iter().map(|(_, j)| j.map(|j| format!("j{j}"))));
        let columns: [(&str, Arc<dyn arrow::array::Array>, bool); 3] =
            [("id", Arc::new(ids), false), ("k", Arc::new(k), true), ("j", Arc::new(j), true)];
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    };
    let batches: Vec<RecordBatch> = rows.chunks(batch_rows).enumerate().map(batch).collect();
    let schema = batch((0, &[])).schema();
    let dealt = (0..partitions).map(|at| batches.iter().skip(at).step_by(partitions).cloned().collect());
    Arc::new(MemTable::try_new(schema, dealt.collect()).unwrap())
}

/// 4,000 rows, half of them of the key 7, a fifth without one; and 300 rows with a few of the key 7.
fn skewed(partitions: usize, min_bytes: u64) -> SessionContext {
    let context = context(partitions, min_bytes);
    let key = |at: i64| match at % 10 {
        0..5 => Some(7),
        5 | 6 => None,
        _ => Some(at % 501),
    };
    let big: Vec<_> = (0..4000).map(|at| (key(at), Some(at % 3))).collect();
    let small: Vec<_> = (0..300).map(|at| (if at % 9 == 0 { None } else { Some(at % 100) }, Some(at % 2))).collect();
    context.register_table("big", table(&big, 500, 3)).unwrap();
    context.register_table("small", table(&small, 100, 1)).unwrap();
    context
}

struct Planned {
    plan: Arc<dyn ExecutionPlan>,
    outcomes: Vec<String>,
}

impl Planned {
    fn text(&self) -> String {
        displayable(self.plan.as_ref()).indent(false).to_string()
    }
}

async fn planned(context: &SessionContext, sql: &str) -> crate::Result<Planned> {
    let Statement::Query(query) = parse(&split(sql)?[0].tokens)? else { panic!("{sql} is no query") };
    let mut state = context.state();
    let logical = state.statement_to_plan(ParsedStatement::Statement(Box::new(SqlStatement::Query(query)))).await?;
    note_candidates(&mut state);
    let once = state.create_physical_plan(&logical).await?;
    let plan = with_samples(once, &mut state, &logical).await?;
    Ok(Planned { plan, outcomes: outcomes(&logical)? })
}

async fn rows_of(plan: Arc<dyn ExecutionPlan>, context: &SessionContext) -> Vec<String> {
    let batches = datafusion::physical_plan::collect(plan, context.task_ctx()).await.unwrap();
    let mut lines: Vec<String> = batches.iter().flat_map(lines_of).collect();
    lines.sort();
    lines
}

fn lines_of(batch: &RecordBatch) -> Vec<String> {
    let cell = |column: &Arc<dyn arrow::array::Array>, row| array_value_to_string(column, row).unwrap();
    (0..batch.num_rows()).map(|row| batch.columns().iter().map(|column| cell(column, row)).collect::<Vec<_>>().join("|")).collect()
}

/// Asserts that a query has the same rows as without samples, and returns its plan.
async fn same_rows(context: &SessionContext, sql: &str) -> Planned {
    let salted = planned(context, sql).await.unwrap();
    let plain = context.sql(&sql.replace("/*+", "/*")).await.unwrap().create_physical_plan().await.unwrap();
    assert!(!displayable(plain.as_ref()).indent(false).to_string().contains("HotKeys"));
    let (ours, theirs) = (rows_of(Arc::clone(&salted.plan), context).await, rows_of(plain, context).await);
    assert!(ours == theirs, "{sql}\n{} rows, not {}\n{}", ours.len(), theirs.len(), salted.text());
    salted
}

#[tokio::test]
async fn rows_of_a_frequent_key_are_spread_over_all_partitions() {
    let context = skewed(4, 0);
    let planned = same_rows(&context, "SELECT big.id, small.id AS other FROM big JOIN small ON big.k = small.k").await;
    let text = planned.text();
    assert!(text.contains("SaltHotKeysExec: keys=[k], hot_keys=2, salts=8"), "{text}");
    assert!(text.contains("ReplicateHotKeysExec: keys=[k], hot_keys=1, salts=4"), "{text}");
    assert!(text.contains("RepartitionExec: partitioning=Hash([k@1, __salt@2], 4)"), "{text}");
    assert!(text.contains("projection=[id@3, id@0]"), "only what is needed comes out of the join\n{text}");
    let parts = collect_partitioned(reset_plan_states(planned.plan).unwrap(), context.task_ctx()).await.unwrap();
    let rows: Vec<usize> = parts.iter().map(|part| part.iter().map(RecordBatch::num_rows).sum()).collect();
    assert!(rows.iter().max().unwrap() < &(rows.iter().sum::<usize>() / 3), "{rows:?}");
}

/// A stage takes as long as the task with most rows: here that one has at most half as many again as the task in the middle, without luck.
#[tokio::test]
async fn no_partition_has_half_again_as_many_rows_as_the_one_in_the_middle() {
    for (partitions, shares_in_percent) in [(4, &[50][..]), (16, &[50][..]), (16, &[30, 12, 5][..]), (12, &[9, 8, 7, 7, 6, 5][..])] {
        let context = context(partitions, 0);
        // Frequent keys are negative; all others occur twice.
        let key = |at: i64| {
            let (percent, mut below) = ((at * 37) % 100, 0);
            for (number, share) in shares_in_percent.iter().enumerate() {
                below += share;
                if percent < below {
                    return -1 - number as i64;
                }
            }
            at / 2
        };
        let big: Vec<Row> = (0..40_000).map(|at| (Some(key(at)), None)).collect();
        let small: Vec<Row> = (-(shares_in_percent.len() as i64)..20_000).map(|at| (Some(at), None)).collect();
        context.register_table("big", table(&big, 1000, 3)).unwrap();
        context.register_table("small", table(&small, 1000, 2)).unwrap();
        let planned = planned(&context, "SELECT big.id, small.id AS other FROM big JOIN small ON big.k = small.k").await.unwrap();
        assert!(planned.text().contains("SaltHotKeysExec"), "{}", planned.text());
        let parts = collect_partitioned(planned.plan, context.task_ctx()).await.unwrap();
        let mut rows: Vec<usize> = parts.iter().map(|part| part.iter().map(RecordBatch::num_rows).sum()).collect();
        rows.sort_unstable();
        assert_eq!((rows.len(), rows.iter().sum::<usize>()), (partitions, 40_000));
        let (most, median) = (rows[partitions - 1], rows[(partitions - 1) / 2]);
        assert!(most * 2 <= median * 3, "{shares_in_percent:?} in {partitions}: {rows:?}");
    }
}

#[tokio::test]
async fn what_needs_all_rows_of_a_key_above_the_join_gets_them() {
    let context = skewed(4, 0);
    for sql in [
        "SELECT big.k, count(*), count(DISTINCT small.id) FROM big JOIN small ON big.k = small.k GROUP BY big.k",
        "SELECT DISTINCT big.k FROM big JOIN small ON big.k = small.k",
        "SELECT big.id, row_number() OVER (PARTITION BY big.k ORDER BY big.id, small.id) FROM big JOIN small ON big.k = small.k",
        "SELECT big.id, other.id FROM big JOIN small ON big.k = small.k JOIN small AS other ON big.k = other.k WHERE big.id < 900",
        "SELECT count(*) FROM big JOIN small ON big.k = small.k",
        "SELECT big.id FROM big JOIN small ON big.k = small.k ORDER BY big.id, small.id LIMIT 7",
    ] {
        let planned = same_rows(&context, sql).await;
        assert!(planned.text().contains("SaltHotKeysExec"), "{sql}\n{}", planned.text());
    }
}

#[tokio::test]
async fn joins_that_put_out_unmatched_rows_of_the_other_side_only_spread_nulls() {
    let context = skewed(4, 0);
    for (join, salted, replicated) in [
        ("big JOIN small", 2, true),
        ("big LEFT JOIN small", 2, true),
        ("small RIGHT JOIN big", 2, true),
        ("big LEFT SEMI JOIN small", 2, true),
        ("big LEFT ANTI JOIN small", 2, true),
        ("small LEFT JOIN big", 1, false),
        ("big RIGHT JOIN small", 1, false),
        ("big FULL JOIN small", 1, false),
        ("small LEFT SEMI JOIN big", 1, false),
        ("small LEFT ANTI JOIN big", 1, false),
    ] {
        let sql = format!("SELECT * FROM {join} ON big.k = small.k AND big.id % 4 <> small.id % 4");
        let text = same_rows(&context, &sql).await.text();
        assert!(text.contains(&format!("SaltHotKeysExec: keys=[k], hot_keys={salted}, ")), "{join}\n{text}");
        assert_eq!(text.contains("ReplicateHotKeysExec: keys=[k], hot_keys=1"), replicated, "{join}\n{text}");
    }
    // Equal nulls have to meet.
    let sql = "SELECT * FROM big JOIN small ON big.k IS NOT DISTINCT FROM small.k";
    let text = same_rows(&context, sql).await.text();
    assert!(text.contains("ReplicateHotKeysExec: keys=[k], hot_keys=2"), "{text}");
}

#[tokio::test]
async fn only_large_joins_are_sampled_unasked() {
    let context = skewed(4, 1 << 30);
    let join = "big.id FROM big JOIN small ON big.k = small.k";
    assert!(!same_rows(&context, &format!("SELECT {join}")).await.text().contains("HotKeys"));
    let asked = same_rows(&context, &format!("SELECT /*+ SKEW('big', 'k') */ {join}")).await;
    assert!(asked.text().contains("SaltHotKeysExec"), "{}", asked.text());
    assert_eq!(asked.outcomes, ["SKEW(big, k) applied: hot_keys=2, 70 % of 4000 sampled rows"]);
    // Filters below the join hold for the sample too.
    let filtered = same_rows(&context, &format!("SELECT /*+ SKEW('big', 'k') */ {join} WHERE big.k <> 7 AND big.id > 3")).await;
    assert!(!filtered.text().contains("HotKeys"), "{}", filtered.text());
    assert!(filtered.outcomes[0].starts_with("SKEW(big, k) ignored: no key is frequent: of 1"), "{:?}", filtered.outcomes);
}

#[tokio::test]
async fn where_a_hint_cannot_be_followed_it_is_said() {
    let context = skewed(4, 1 << 30);
    for (sql, said) in [
        ("SELECT /*+ SKEW('big', 'j') */ 1 FROM big JOIN small ON big.k = small.k", "ignored: its join does not compare j"),
        ("SELECT /*+ SKEW('big', 'k') MERGE(big) */ 1 FROM big JOIN small ON big.k = small.k", "ignored: its join sorts and merges"),
        ("SELECT /*+ SKEW('big', 'k') BROADCAST(small) */ 1 FROM big JOIN small ON big.k = small.k", "ignored: its join is not shuffled"),
        (
            "SELECT /*+ SKEW('big', 'k') */ 1 FROM big JOIN small ON big.k > small.k WHERE small.id < 2",
            "ignored: its join has no equal keys",
        ),
        ("SELECT /*+ SKEW('big', 'k') */ 1 FROM big", "ignored: the plan has no join of it"),
        (
            "SELECT /*+ SKEW('b', 'k') */ 1 FROM (SELECT k FROM big WHERE k = 7) AS b FULL JOIN small ON b.k = small.k",
            "ignored: a Full join needs to know",
        ),
        (
            "SELECT /*+ SKEW('b', 'k') */ 1 FROM (SELECT k, count(*) AS n FROM big GROUP BY k) AS b JOIN small ON b.k = small.k",
            "ignored: its rows do not come straight from files",
        ),
    ] {
        let planned = same_rows(&context, sql).await;
        assert!(planned.outcomes.iter().any(|line| line.contains(said)), "{sql}\n{:?}", planned.outcomes);
        assert!(!planned.text().contains("Hint") && !planned.text().contains("SaltHotKeys"), "{sql}\n{}", planned.text());
    }
    let error = planned(&context, "SELECT /*+ SKEW('big', 'x') */ 1 FROM big JOIN small ON big.k = small.k").await.err().unwrap();
    assert_eq!(error.message, "SKEW names 'x', which is no column of 'big'");
    assert_eq!(error.position.map(|position| position.column), Some(12));
}

#[tokio::test]
async fn without_samples_a_hint_is_taken_out_all_the_same() {
    let context = skewed(4, 0);
    let Statement::Query(query) =
        parse(&split("SELECT /*+ SKEW('big', 'k') */ 1 FROM big JOIN small ON big.k = small.k").unwrap()[0].tokens).unwrap()
    else {
        panic!()
    };
    let state = context.state();
    let logical = state.statement_to_plan(ParsedStatement::Statement(Box::new(SqlStatement::Query(query)))).await.unwrap();
    let plan = state.create_physical_plan(&logical).await.unwrap();
    assert!(!displayable(plan.as_ref()).indent(false).to_string().contains("Hint"), "a mark is left");
    assert_eq!(plan.output_partitioning().partition_count(), 4);
    assert_eq!(outcomes(&logical).unwrap(), ["SKEW(big, k) ignored: samples are only taken of what is run or explained"]);
}

#[tokio::test]
async fn a_sample_of_files_is_bounded_and_reads_keys_only() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(4, 0);
    let path = dir.path().join("t").display().to_string();
    let rows = "SELECT value AS id, value % 5 AS k, 'text ' || value AS t FROM generate_series(1, 400000)";
    context.sql(rows).await.unwrap().write_parquet(&path, Default::default(), None).await.unwrap();
    context.register_parquet("t", &path, Default::default()).await.unwrap();
    let plan = context.sql("SELECT t, k AS key FROM t WHERE id % 2 = 0 AND t <> ''").await.unwrap().create_physical_plan().await.unwrap();
    let side = sample_sides::SampledSide::of(&plan, &[1]).unwrap().unwrap();
    assert!(side.bytes > 1 << 20, "{}", side.bytes);
    let batches = side.read(&context.task_ctx()).await.unwrap();
    assert!(batches.iter().all(|columns| columns.len() == 1));
    let counts = count_keys::KeyCounts::of(batches, true).unwrap();
    assert!((10_000..=16 * (16 << 10)).contains(&counts.rows), "{}", counts.rows);
    assert_eq!(counts.frequent(4).len(), 5);
    assert!(counts.frequent(2).is_empty() && (counts.largest_share() - 0.2).abs() < 0.01, "{}", counts.largest_share());
}

/// Keys of which a few have most of the rows.
fn keys() -> impl Strategy<Value = Vec<(Option<i64>, Option<i64>)>> {
    let key = prop_oneof![3 => Just(Some(1i64)), 1 => Just(None), 1 => Just(Some(2)), 2 => (0i64..40).prop_map(Some)];
    let second = prop_oneof![4 => Just(Some(1i64)), 1 => Just(None), 1 => (0i64..3).prop_map(Some)];
    prop::collection::vec((key, second), 0..250)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn salted_joins_give_the_rows_of_unsalted_ones(
        a in keys(),
        b in keys(),
        batch_rows in 1usize..90,
        partitions in 2usize..7,
        pieces in (1usize..4, 1usize..4),
        join in prop::sample::select(vec!["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "LEFT SEMI JOIN", "LEFT ANTI JOIN", "RIGHT SEMI JOIN", "RIGHT ANTI JOIN"]),
        on in prop::sample::select(vec!["a.k = b.k", "a.k = b.k AND a.j = b.j", "a.k IS NOT DISTINCT FROM b.k", "a.k = b.k AND (a.id + b.id) % 3 <> 0", "a.j = b.j AND a.id % 50 = b.id % 50"]),
        hint in prop::sample::select(vec!["", "/*+ SKEW('a') */", "/*+ SKEW('b') */"]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let context = context(partitions, 0);
            context.register_table("a", table(&a, batch_rows, pieces.0)).unwrap();
            context.register_table("b", table(&b, batch_rows, pieces.1)).unwrap();
            same_rows(&context, &format!("SELECT {hint} * FROM a {join} b ON {on}")).await;
        });
    }
}
