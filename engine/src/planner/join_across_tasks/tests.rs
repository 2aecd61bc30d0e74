//! Which joins are shuffled, swapped or left alone, and that a plan about to be cut keeps what was decided.

use datafusion::physical_plan::displayable;
use datafusion::prelude::SessionContext;

use super::*;
use crate::planner::testing::across_tasks;

async fn context() -> SessionContext {
    let context = across_tasks().await.unwrap();
    context.sql("CREATE TABLE brands AS SELECT DISTINCT brand FROM events").await.unwrap().collect().await.unwrap();
    context
}

async fn plan_of(sql: &str) -> Arc<dyn ExecutionPlan> {
    context().await.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
}

fn text(plan: &Arc<dyn ExecutionPlan>) -> String {
    displayable(plan.as_ref()).indent(false).to_string()
}

#[tokio::test]
async fn a_join_that_puts_out_unmatched_rows_of_the_small_side_is_shuffled() {
    for join in ["brands AS b LEFT JOIN events AS e", "events AS e RIGHT JOIN brands AS b", "events AS e FULL JOIN brands AS b"] {
        let plan = text(&plan_of(&format!("SELECT count(*) FROM {join} ON e.brand = b.brand")).await);
        assert!(plan.contains("mode=Partitioned"), "{join}\n{plan}");
        // The aggregate is planned for the partitions that the shuffled join has.
        assert!(plan.contains("CoalescePartitionsExec") && plan.contains("mode=Partial"), "{join}\n{plan}");
    }
}

#[tokio::test]
async fn a_join_that_follows_the_rows_of_the_large_side_stays_collected() {
    for join in ["brands AS b JOIN events AS e", "brands AS b RIGHT JOIN events AS e", "events AS e LEFT JOIN brands AS b"] {
        let plan = plan_of(&format!("SELECT count(*) FROM {join} ON e.brand = b.brand")).await;
        assert!(text(&plan).contains("mode=CollectLeft"), "{join}\n{}", text(&plan));
        let settled = text(&settle_collected_sides(plan).unwrap());
        assert!(settled.contains("ClaimedSizeExec: bytes=1"), "{settled}");
    }
}

#[tokio::test]
async fn a_join_without_keys_is_swapped_or_probed_by_one_task() {
    let swapped = text(&plan_of("SELECT count(*) FROM events AS e LEFT JOIN brands AS b ON e.brand > b.brand").await);
    assert!(swapped.contains("NestedLoopJoinExec: join_type=Right"), "{swapped}");
    let full =
        plan_of("SELECT count(*) FROM brands AS b FULL JOIN (SELECT * FROM events WHERE id % 2 = 0) AS e ON e.brand > b.brand").await;
    let settled = settle_collected_sides(full).unwrap();
    let mut probes = Vec::new();
    settled
        .apply(|node| {
            if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
                probes.push(join.right().output_partitioning().partition_count());
            }
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        })
        .unwrap();
    assert_eq!(probes, [1], "{}", text(&settled));
}
