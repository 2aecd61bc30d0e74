//! Sorts by all keys of a window function, those included of which the plan knows that they need none.
//!
//! `… OVER (PARTITION BY user_id, kind) … WHERE user_id = 7` is sorted by `kind` alone, because all rows have the same `user_id`. A task that reads the rows
//! from a shuffle does not know that any more, and refuses to tell where a partition of the window ends. So a plan that is about to be cut into stages has
//! the other keys put before those it sorts by, which changes no order.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlanProperties as _;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};

use crate::operators::room_for_rows::RoomForRowsExec;
use crate::operators::short_batches::ShortBatchesExec;
use crate::operators::window_partitions::WindowPartitionsExec;

type Keys = [Arc<dyn PhysicalExpr>];
/// An input, and keys as expressions over it.
type Below<'a> = (&'a Arc<dyn ExecutionPlan>, Vec<Arc<dyn PhysicalExpr>>);

/// The plan with its windows' inputs sorted by all their keys.
///
/// # Errors
/// None but those of building the operators.
pub fn sort_by_window_keys(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let keys = keys_of(&node).to_vec();
        let [input] = node.children()[..] else { return Ok(Transformed::no(node)) };
        if is_sorted_by(input, &keys) {
            return Ok(Transformed::no(node));
        }
        let input = sorted_by(input, &keys)?;
        replace_children_if_necessary(node, vec![input]).map(Transformed::yes)
    })
    .data()
}

/// What a window's input is to be sorted by first; nothing for any other operator.
fn keys_of(node: &Arc<dyn ExecutionPlan>) -> &Keys {
    let windows = match (node.downcast_ref::<WindowAggExec>(), node.downcast_ref::<BoundedWindowAggExec>()) {
        (Some(window), _) => window.window_expr(),
        (_, Some(window)) if window.input_order_mode == InputOrderMode::Sorted => window.window_expr(),
        _ => &[],
    };
    windows.first().map_or(&[], |window| window.partition_by())
}

/// Whether the keys come first in what the rows are sorted by, in any order, whatever the plan knows of their values.
fn is_sorted_by(plan: &Arc<dyn ExecutionPlan>, keys: &Keys) -> bool {
    match below(plan, keys) {
        Some((input, keys)) => is_sorted_by(input, &keys),
        None => missing(plan, keys).is_empty(),
    }
}

/// The input of an operator that passes the order of its rows on, and what the keys are there.
fn below<'a>(plan: &'a Arc<dyn ExecutionPlan>, keys: &Keys) -> Option<Below<'a>> {
    let [input] = plan.children()[..] else { return None };
    if plan.is::<ShortBatchesExec>() || plan.is::<WindowPartitionsExec>() || plan.is::<RoomForRowsExec>() {
        return Some((input, keys.to_vec()));
    }
    if plan.is::<WindowAggExec>() || plan.is::<BoundedWindowAggExec>() {
        let columns = input.schema().fields().len();
        let is_in_input = |key: &Arc<dyn PhysicalExpr>| collect_columns(key).iter().all(|column| column.index() < columns);
        return keys.iter().all(is_in_input).then(|| (input, keys.to_vec()));
    }
    let columns = plan.downcast_ref::<ProjectionExec>()?.expr();
    let in_input = |key: &Arc<dyn PhysicalExpr>| Some(Arc::clone(&columns.get(key.downcast_ref::<Column>()?.index())?.expr));
    Some((input, keys.iter().map(in_input).collect::<Option<_>>()?))
}

/// The keys that are not among as many first expressions of the order.
fn missing(plan: &Arc<dyn ExecutionPlan>, keys: &Keys) -> Vec<Arc<dyn PhysicalExpr>> {
    let order: &[PhysicalSortExpr] = order_of(plan).map_or(&[], |order| &order[..]);
    let first = &order[..order.len().min(keys.len())];
    keys.iter().filter(|key| first.iter().all(|sort| !sort.expr.eq(*key))).cloned().collect()
}

/// As the operator says it, where it does: its properties leave out what needs no sorting.
fn order_of(plan: &Arc<dyn ExecutionPlan>) -> Option<&LexOrdering> {
    match (plan.downcast_ref::<SortExec>(), plan.downcast_ref::<SortPreservingMergeExec>()) {
        (Some(sort), _) => Some(sort.expr()),
        (_, Some(merge)) => Some(merge.expr()),
        _ => plan.output_ordering(),
    }
}

/// The rows in the same order, and the keys before it.
fn sorted_by(plan: &Arc<dyn ExecutionPlan>, keys: &Keys) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some((input, keys)) = below(plan, keys) {
        return replace_children_if_necessary(Arc::clone(plan), vec![sorted_by(input, &keys)?]);
    }
    let order: &[PhysicalSortExpr] = order_of(plan).map_or(&[], |order| &order[..]);
    let added = missing(plan, keys).into_iter().map(|key| PhysicalSortExpr::new(key, Default::default()));
    let Some(full) = LexOrdering::new(added.chain(order.iter().cloned())) else { return Ok(Arc::clone(plan)) };
    Ok(match (plan.downcast_ref::<SortExec>(), plan.downcast_ref::<SortPreservingMergeExec>()) {
        (Some(sort), _) if sort.fetch().is_none() => {
            Arc::new(SortExec::new(full, Arc::clone(sort.input())).with_preserve_partitioning(sort.preserve_partitioning()))
        }
        (_, Some(merge)) if merge.fetch().is_none() => Arc::new(SortPreservingMergeExec::new(full, sorted_by(merge.input(), keys)?)),
        _ => Arc::new(SortExec::new(full, Arc::clone(plan)).with_preserve_partitioning(true)),
    })
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::displayable;

    use super::*;
    use crate::planner::testing::ours;

    async fn prepared(sql: &str) -> (String, String) {
        let plan = ours().await.unwrap().sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let text = |plan: &Arc<dyn ExecutionPlan>| displayable(plan.as_ref()).indent(false).to_string();
        let before = text(&plan);
        (before, text(&sort_by_window_keys(plan).unwrap()))
    }

    #[tokio::test]
    async fn constant_keys_come_before_the_others() {
        let (before, after) =
            prepared("SELECT sum(price) OVER (PARTITION BY user_id, kind ORDER BY at) FROM events WHERE user_id = 7").await;
        assert!(before.contains("SortExec: expr=[kind@"), "{before}");
        assert!(after.contains("SortExec: expr=[user_id@"), "{after}");
    }

    #[tokio::test]
    async fn windows_over_windows_share_the_sort() {
        let sql = "SELECT sum(price) OVER (PARTITION BY user_id), max(price) OVER (PARTITION BY user_id ORDER BY at) FROM events WHERE user_id = 7";
        let (_, after) = prepared(sql).await;
        assert_eq!(after.matches("SortExec").count(), 1, "{after}");
        assert!(after.contains("SortExec: expr=[user_id@"), "{after}");
    }

    #[tokio::test]
    async fn other_windows_stay_as_they_are() {
        let (before, after) = prepared("SELECT sum(price) OVER (PARTITION BY user_id, kind ORDER BY at) FROM events").await;
        assert_eq!(before, after);
    }
}
