//! What hints make of plans, that rows stay the same, and what is said of hints that cannot be followed.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule as _;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::{HashJoinExec, HashJoinExecBuilder, PartitionMode, SortMergeJoinExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _, displayable};
use datafusion::prelude::SessionContext;
use futures::TryStreamExt as _;

use super::apply_join_hints::ApplyJoinHints;
use super::hinted_relation::HintedRelationExec;
use super::{Tracked, outcomes};
use crate::dialect::hints::{Hint, HintKind};
use crate::dialect::{Statement, parse, split};
use crate::operators::claimed_size::ClaimedSizeExec;
use crate::planner::testing::ours;
use crate::session::{Mode, Outcome, Session, SessionOptions, Tracker};
use crate::{Error, Position, Result};

async fn context() -> SessionContext {
    let context = ours().await.unwrap();
    context
        .sql("CREATE TABLE users AS SELECT DISTINCT user_id, 'user ' || user_id AS name FROM events")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    context
}

struct Planned {
    plan: Arc<dyn ExecutionPlan>,
    outcomes: Vec<String>,
    rows: usize,
}

async fn planned_on(context: &SessionContext, sql: &str) -> Result<Planned> {
    let Statement::Query(query) = parse(&split(sql)?[0].tokens)? else { panic!("{sql} is no query") };
    let statement = datafusion::sql::sqlparser::ast::Statement::Query(query);
    let state = context.state();
    let logical = state.statement_to_plan(datafusion::sql::parser::Statement::Statement(Box::new(statement))).await?;
    let plan = state.create_physical_plan(&logical).await?;
    let batches = datafusion::physical_plan::collect(Arc::clone(&plan), context.task_ctx()).await?;
    Ok(Planned { plan, outcomes: outcomes(&logical)?, rows: batches.iter().map(|batch| batch.num_rows()).sum() })
}

async fn planned_of(sql: &str) -> Planned {
    planned_on(&context().await, sql).await.unwrap()
}

impl Planned {
    fn text(&self) -> String {
        displayable(self.plan.as_ref()).indent(false).to_string()
    }

    /// The mode of the only hash join, and the columns of the side that it builds from.
    fn hash_join(&self) -> (PartitionMode, Vec<String>) {
        let mut found = Vec::new();
        let visited = self.plan.apply(|node| {
            if let Some(join) = node.downcast_ref::<HashJoinExec>() {
                let columns = join.left().schema().fields().iter().map(|field| field.name().clone()).collect();
                found.push((*join.partition_mode(), columns));
            }
            Ok(TreeNodeRecursion::Continue)
        });
        assert!(visited.is_ok() && found.len() == 1, "{}", self.text());
        found.remove(0)
    }
}

const JOIN: &str = "count(*) AS n FROM events JOIN users AS u ON events.user_id = u.user_id WHERE name <> '' AND brand IS NOT NULL";

#[tokio::test]
async fn a_broadcast_relation_is_collected_on_whichever_side_it_stands() {
    for (hint, join) in [
        ("u", "events JOIN users AS u"),
        ("u", "users AS u JOIN events"),
        ("u", "events LEFT JOIN users AS u"),
        ("u", "users AS u RIGHT JOIN events"),
    ] {
        let sql = format!("SELECT /*+ BROADCAST({hint}) */ id, name FROM {join} ON events.user_id = u.user_id");
        let planned = planned_of(&sql).await;
        let (mode, columns) = planned.hash_join();
        assert_eq!(mode, PartitionMode::CollectLeft, "{join}");
        assert!(columns.contains(&"name".to_string()), "{join}: {columns:?}");
        assert_eq!(planned.outcomes, ["BROADCAST(u) applied"]);
        assert_eq!(planned.rows, 60_000);
    }
    // The larger side too, if it is asked for.
    let planned = planned_of("SELECT /*+ MAPJOIN(events) */ id, name FROM events JOIN users AS u ON events.user_id = u.user_id").await;
    let (mode, columns) = planned.hash_join();
    assert!(mode == PartitionMode::CollectLeft && columns.contains(&"id".to_string()), "{}", planned.text());
}

#[tokio::test]
async fn where_a_side_cannot_be_broadcast_it_is_said() {
    for (join, kind) in
        [("events RIGHT JOIN users AS u", "Right"), ("users AS u LEFT JOIN events", "Left"), ("events FULL JOIN users AS u", "Full")]
    {
        let sql = format!("SELECT /*+ BROADCAST(u) */ id, name FROM {join} ON events.user_id = u.user_id");
        let planned = planned_of(&sql).await;
        assert_eq!(planned.outcomes.len(), 1);
        assert!(planned.outcomes[0].starts_with("BROADCAST(u) ignored: a "), "{kind}: {:?}", planned.outcomes);
        assert_eq!(planned.rows, 60_000);
    }
    let alone = planned_of("SELECT /*+ BROADCAST(events) */ id FROM events").await;
    assert_eq!(alone.outcomes, ["BROADCAST(events) ignored: the plan has no join of it"]);
    assert!(!alone.text().contains("Hint"), "{}", alone.text());
}

#[tokio::test]
async fn merge_and_shuffle_hash_choose_the_operator() {
    let merge = planned_of(&format!("SELECT /*+ MERGE(u) */ {JOIN}")).await;
    assert!(merge.text().contains("SortMergeJoinExec") && !merge.text().contains("HashJoinExec"), "{}", merge.text());
    assert_eq!(merge.outcomes, ["MERGE(u) applied"]);
    let hash = planned_of("SELECT /*+ SHUFFLE_HASH(u) */ id, name FROM events JOIN users AS u ON events.user_id = u.user_id").await;
    let (mode, columns) = hash.hash_join();
    assert!(mode == PartitionMode::Partitioned && columns.contains(&"name".to_string()), "{}", hash.text());
    let cross = planned_of("SELECT /*+ MERGE(u) */ name, x FROM users AS u CROSS JOIN (VALUES (1), (2)) AS v (x)").await;
    assert!(cross.outcomes[0].contains("ignored: the join has no equal keys"), "{:?}", cross.outcomes);
}

#[tokio::test]
async fn hints_hold_for_their_own_query_block() {
    let sql = "SELECT count(*) AS n FROM events JOIN (
        SELECT /*+ MERGE(a) */ a.user_id FROM users AS a JOIN users AS b ON a.user_id = b.user_id AND a.name = b.name
    ) AS pairs ON events.user_id = pairs.user_id";
    let planned = planned_of(sql).await;
    assert_eq!(planned.text().matches("SortMergeJoinExec").count(), 1, "{}", planned.text());
    assert_eq!(planned.text().matches("HashJoinExec").count(), 1, "{}", planned.text());
    let sub =
        planned_of("SELECT id FROM events WHERE user_id IN (SELECT /*+ BROADCAST(users) */ user_id FROM users WHERE name > 'user 5')")
            .await;
    assert_eq!(sub.outcomes, ["BROADCAST(users) applied"]);
    assert_eq!(sub.hash_join().0, PartitionMode::CollectLeft);
}

#[tokio::test]
async fn rows_are_dealt_out_as_asked() {
    for (sql, partitions, operator) in [
        ("SELECT /*+ REPARTITION(5) */ id FROM events", 5, "RepartitionExec: partitioning=RoundRobinBatch(5)"),
        ("SELECT /*+ REPARTITION(5, kind) */ id, kind FROM events", 5, "RepartitionExec: partitioning=Hash([kind@1], 5)"),
        ("SELECT /*+ REPARTITION(kind) */ id, kind FROM events", 3, "RepartitionExec: partitioning=Hash([kind@1], 3)"),
        ("SELECT /*+ COALESCE(2) */ DISTINCT kind FROM events", 2, "RepartitionExec: partitioning=RoundRobinBatch(2)"),
        ("SELECT /*+ COALESCE(1) */ DISTINCT kind FROM events", 1, "CoalescePartitionsExec"),
        ("SELECT /*+ COALESCE(9) */ DISTINCT kind FROM events", 3, "AggregateExec"),
        ("SELECT * FROM (SELECT /*+ REPARTITION(4) */ id FROM events) WHERE id >= 0", 4, "RoundRobinBatch(4)"),
    ] {
        let planned = planned_of(sql).await;
        assert_eq!(planned.plan.output_partitioning().partition_count(), partitions, "{sql}\n{}", planned.text());
        assert!(planned.text().contains(operator), "{sql}\n{}", planned.text());
        assert!(planned.outcomes[0].ends_with("applied"), "{:?}", planned.outcomes);
    }
    let sorted = planned_of("SELECT /*+ REPARTITION(4) */ id FROM events ORDER BY brand, id LIMIT 5").await;
    assert!(sorted.text().contains("RoundRobinBatch(4)"), "{}", sorted.text());
    assert_eq!(sorted.rows, 5);
}

/// A join of two empty relations, of which the right one says that it has `bytes` bytes and is to be broadcast.
fn join_of_claimed(bytes: usize) -> Arc<dyn ExecutionPlan> {
    let schema = Arc::new(arrow::datatypes::Schema::new(vec![arrow::datatypes::Field::new("k", arrow::datatypes::DataType::Int64, true)]));
    let rows: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(schema));
    let hint = Hint { kind: HintKind::Broadcast, args: vec!["d".to_string()], position: Some(Position { line: 2, column: 7 }) };
    let claimed = Arc::new(ClaimedSizeExec::new(Arc::clone(&rows), bytes));
    let hinted = Arc::new(HintedRelationExec { tracked: Tracked::new(hint), input: claimed });
    let key = || Arc::new(Column::new("k", 0)) as Arc<dyn PhysicalExpr>;
    Arc::new(HashJoinExecBuilder::new(rows, hinted, vec![(key(), key())], JoinType::Inner).build().unwrap())
}

#[test]
fn a_large_build_side_is_refused_with_its_size() {
    let options = ConfigOptions::new();
    let planned = ApplyJoinHints::default().optimize(join_of_claimed(1 << 30), &options).unwrap();
    assert!(displayable(planned.as_ref()).indent(false).to_string().contains("mode=CollectLeft"));
    let error = Error::from(ApplyJoinHints::default().optimize(join_of_claimed(7 << 29), &options).unwrap_err());
    assert_eq!(error.message, "BROADCAST(d) would send 3.5 GiB to every task");
    assert_eq!(error.position, Some(Position { line: 2, column: 7 }));
}

#[tokio::test]
async fn explain_says_what_became_of_hints() {
    let dir = tempfile::tempdir().unwrap();
    let options = SessionOptions { warehouse: dir.path().join("warehouse").display().to_string(), ..SessionOptions::default() };
    let session = Session::open(options).await.unwrap();
    let sql = "EXPLAIN SELECT /*+ BROADCAST(d), MERGE(f), COALESCE(1) */ f.k FROM (VALUES (1), (2)) AS f (k) JOIN (VALUES (2)) AS d (k) ON f.k = d.k";
    let outcome = session.execute(&split(sql).unwrap()[0], Mode::Run, &Tracker::default()).await.unwrap();
    let Outcome::Rows(rows) = outcome else { panic!("EXPLAIN gives rows") };
    let batches: Vec<_> = rows.try_collect().await.unwrap();
    let text = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    for line in ["BROADCAST(d) applied", "MERGE(f) ignored: BROADCAST(d) holds for the join", "COALESCE(1) applied"] {
        assert!(text.contains(line), "{text}");
    }
}

#[tokio::test]
async fn names_and_columns_that_are_not_there_are_refused() {
    for (sql, said) in [
        (
            "SELECT /*+ BROADCAST(users) */ 1 FROM events JOIN users AS u ON events.user_id = u.user_id",
            "names 'users', which is no table of its query block",
        ),
        ("SELECT /*+ BROADCAST(u) */ 1 FROM (SELECT u.user_id FROM users AS u) AS v", "names 'u'"),
        ("SELECT /*+ REPARTITION(2, brand) */ id FROM events", "names 'brand', which its query block does not select"),
        ("SELECT /*+ COALESCE(2) */ 1", "without FROM"),
    ] {
        let error = planned_on(&context().await, sql).await.err().unwrap();
        assert!(error.message.contains(said), "{sql}: {error}");
        assert_eq!(error.position.map(|p| p.column), Some(12), "{sql}: {error}");
    }
    let skew = planned_of("SELECT /*+ SKEW('u', 'user_id') */ count(*) FROM events JOIN users AS u ON events.user_id = u.user_id").await;
    assert_eq!(skew.outcomes.len(), 1);
    assert!(skew.outcomes[0].starts_with("SKEW(u, user_id) ignored: its join is not shuffled"), "{:?}", skew.outcomes);
    assert!(!skew.plan.is::<SortMergeJoinExec>());
}
