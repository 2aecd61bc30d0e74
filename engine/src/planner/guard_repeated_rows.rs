//! Has rows with computed texts and lists ask for memory before an operator repeats them (`operators/room_for_rows.rs`), and refuses digests of any size.
//!
//! Columns of tables are views, which are repeated without what they point to; texts and lists that a query computes are copied.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};

use crate::operators::room_for_rows::RoomForRowsExec;
use crate::operators::row_bytes::is_copied_whole;

/// Aggregates that make long values of many short ones.
const COLLECTING: [&str; 2] = ["array_agg", "string_agg"];
/// Aggregates that take the number of a digest's centroids as their last argument, and with how many arguments they do.
const DIGESTS: [(&str, usize); 2] = [("approx_percentile_cont", 3), ("approx_percentile_cont_with_weight", 4)];
/// Centroids of a digest, of which memory is taken at once; a hundred is what it has if nothing is said.
const CENTROIDS_MAX: u64 = 10_000;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct GuardRepeatedRows {}

impl PhysicalOptimizerRule for GuardRepeatedRows {
    fn name(&self) -> &str {
        "guard_repeated_rows"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let (mut repeats, mut makes) = (false, false);
        plan.apply(|node| {
            check_digests(node)?;
            repeats |= repeats_rows(node);
            makes |= makes_long_values(node);
            Ok(TreeNodeRecursion::Continue)
        })?;
        if !(repeats && makes) {
            return Ok(plan);
        }
        plan.transform_up(|node| {
            if !repeats_rows(&node) {
                return Ok(Transformed::no(node));
            }
            let inputs = node.children().into_iter().map(guarded).collect::<Result<Vec<_>>>()?;
            replace_children_if_necessary(node, inputs).map(Transformed::yes)
        })
        .data()
    }
}

/// The input with a guard over what makes its rows, below what only moves them.
fn guarded(input: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if !input.schema().fields().iter().any(|field| is_copied_whole(field.data_type()))
        || !input.exists(|node| Ok(makes_long_values(node)))?
    {
        return Ok(Arc::clone(input));
    }
    let only_moves = input.is::<RepartitionExec>()
        || input.is::<CoalescePartitionsExec>()
        || input.is::<SortPreservingMergeExec>()
        || input.is::<SortExec>();
    match input.children()[..] {
        [below] if only_moves => replace_children_if_necessary(Arc::clone(input), vec![guarded(below)?]),
        _ => Ok(Arc::new(RoomForRowsExec::new(Arc::clone(input)))),
    }
}

fn repeats_rows(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.is::<CrossJoinExec>()
        || node.is::<NestedLoopJoinExec>()
        || node.is::<HashJoinExec>()
        || node.is::<SortMergeJoinExec>()
        || node.is::<UnnestExec>()
        || node.is::<WindowAggExec>()
        || node.is::<BoundedWindowAggExec>()
}

fn makes_long_values(node: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(aggregate) = node.downcast_ref::<AggregateExec>()
        && aggregate.aggr_expr().iter().any(|call| COLLECTING.contains(&call.fun().name()))
    {
        return true;
    }
    let mut makes = false;
    // The closure does not fail.
    let _ = node.apply_expressions(&mut |expr| {
        makes |= expr.exists(|expr| Ok(is_bounded_call(expr)))?;
        Ok(if makes { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    makes
}

fn is_bounded_call(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.downcast_ref::<ScalarFunctionExpr>().is_some_and(|call| orrery_udfs::is_bounded(call.fun()))
}

fn check_digests(node: &Arc<dyn ExecutionPlan>) -> Result<()> {
    let calls = node.downcast_ref::<AggregateExec>().map_or(&[][..], AggregateExec::aggr_expr).iter();
    let calls = calls.map(|call| (call.fun().name().to_string(), call.expressions()));
    let windows = match (node.downcast_ref::<WindowAggExec>(), node.downcast_ref::<BoundedWindowAggExec>()) {
        (Some(window), _) => window.window_expr(),
        (_, Some(window)) => window.window_expr(),
        _ => &[],
    };
    // A window's function is known by the name of its column only, which begins with it.
    let windows = windows.iter().map(|call| (call.name().split('(').next().unwrap_or_default().to_string(), call.expressions()));
    for (name, arguments) in calls.chain(windows) {
        let Some((_, count)) = DIGESTS.iter().find(|(digest, _)| *digest == name) else { continue };
        let Some(literal) = arguments.get(count - 1).and_then(|argument| argument.downcast_ref::<Literal>()) else { continue };
        let centroids = literal.value().cast_to(&datafusion::arrow::datatypes::DataType::UInt64);
        if !matches!(centroids, Ok(ScalarValue::UInt64(Some(centroids))) if centroids <= CENTROIDS_MAX) {
            return plan_err!("{name}: argument {count}, centroids, must be a number up to {CENTROIDS_MAX}, found {}", literal.value());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::displayable;

    use crate::planner::testing::{assert_same_rows, ours};

    const GUARD: &str = "RoomForRowsExec";

    async fn guards(sql: &str) -> usize {
        let plan = ours().await.unwrap().sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        displayable(plan.as_ref()).indent(false).to_string().matches(GUARD).count()
    }

    #[tokio::test]
    async fn rows_with_computed_texts_and_lists_are_guarded_where_they_are_repeated() {
        let texts = "(SELECT id, repeat(kind, id % 3) AS x FROM events)";
        let lists = "(SELECT user_id, array_agg(id) AS ids FROM events GROUP BY user_id)";
        for (sql, count) in [
            (format!("SELECT t.x, e.id FROM {texts} t JOIN events e ON e.id = t.id"), 1),
            (format!("SELECT t.x, e.id FROM {texts} t CROSS JOIN (SELECT id FROM events WHERE id < 3) e"), 1),
            (format!("SELECT t.x, l.ids FROM {texts} t JOIN {lists} l ON l.user_id = t.id"), 2),
            (format!("SELECT user_id, unnest(ids) AS id FROM {lists}"), 1),
            (format!("SELECT id, lag(x) OVER (ORDER BY id) AS y FROM {texts}"), 1),
            (format!("SELECT id, max(x) OVER (PARTITION BY id % 7) AS y FROM {texts}"), 1),
            ("SELECT a.id, b.brand FROM events a JOIN events b ON a.id = b.user_id".to_string(), 0),
            (format!("SELECT id, x FROM {texts} ORDER BY x, id"), 0),
        ] {
            assert_eq!(guards(&sql).await, count, "{sql}");
            assert_same_rows(&sql).await.unwrap();
        }
    }

    #[tokio::test]
    async fn rows_for_which_there_is_no_memory_are_refused() {
        let context = ours().await.unwrap();
        let long = "(SELECT repeat('x', value * 200000000) AS x FROM generate_series(1, 1))";
        for sql in [
            format!("SELECT a.x FROM {long} a CROSS JOIN events"),
            format!("SELECT x, unnest(range(10000)) FROM {long}"),
            format!("SELECT first_value(x) OVER () FROM (SELECT x FROM {long} UNION ALL SELECT brand FROM events)"),
        ] {
            let refused = context.sql(&sql).await.unwrap().collect().await.unwrap_err().to_string();
            assert!(refused.contains("a batch of 8192 rows as long as the longest"), "{sql}: {refused}");
        }
    }

    #[tokio::test]
    async fn digests_have_a_limit() {
        let context = ours().await.unwrap();
        for sql in [
            "SELECT approx_percentile_cont(id, 0.5, 9223372036854775807) FROM events",
            "SELECT approx_percentile_cont(0.5, 10001) WITHIN GROUP (ORDER BY id) FROM events GROUP BY kind",
            "SELECT approx_percentile_cont(id, 0.5, 1000 * 1000000) OVER (PARTITION BY kind) FROM events",
            "SELECT approx_percentile_cont_with_weight(id, 1, 0.5, 1000000000) FROM events",
        ] {
            let refused = match context.sql(sql).await {
                Ok(frame) => frame.collect().await.map(|_| ()),
                Err(error) => Err(error),
            };
            let refused = refused.expect_err(sql).to_string();
            assert!(refused.contains("centroids, must be a number up to 10000"), "{sql}: {refused}");
        }
        assert_same_rows("SELECT approx_percentile_cont(id, 0.5, 10000) AS p FROM events WHERE id < 50").await.unwrap();
    }
}
