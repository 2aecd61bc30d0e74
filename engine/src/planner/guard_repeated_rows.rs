//! Has rows with long values ask for memory before an operator repeats them (`operators/room_for_rows.rs`), and refuses digests of any size.
//!
//! ```text
//! CrossJoinExec
//!   RoomForRowsExec: repeated=[x]            x is a text that the query computes; columns of tables are views, whose texts a join does not copy
//!     ProjectionExec: expr=[repeat(…) as x]
//!   DataSourceExec
//! ```

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{JoinType, Result, ScalarValue, plan_err};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, WindowExpr};

use crate::operators::room_for_rows::{Repeated, RoomForRowsExec};
use crate::operators::row_bytes::{Views, is_copied_whole, is_of_any_length};
use crate::operators::window_partitions::{COLLECTING, function_name};

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
        let mut is_needed = false;
        plan.apply(|node| {
            check_digests(node)?;
            is_needed = is_needed || repeated(node).iter().any(Option::is_some);
            Ok(TreeNodeRecursion::Continue)
        })?;
        if !is_needed {
            return Ok(plan);
        }
        // Of the nodes that have been visited and whose parents have not: whether long values are made in them or below.
        let mut make: Vec<bool> = Vec::new();
        plan.transform_up(|node| {
            let inputs = make.split_off(make.len().saturating_sub(node.children().len()));
            make.push(inputs.contains(&true) || makes_long_values(&node));
            let of_inputs = repeated(&node);
            // Columns of tables are views, which only windows copy.
            let is_asked = |(of_input, makes): (Option<Repeated>, bool)| of_input.filter(|it| makes || it.views == Views::Copied);
            let of_inputs: Vec<Option<Repeated>> = of_inputs.into_iter().zip(inputs).map(is_asked).collect();
            if of_inputs.iter().all(Option::is_none) {
                return Ok(Transformed::no(node));
            }
            let inputs = node.children().into_iter().zip(of_inputs).map(|(input, of_input)| guarded(input, of_input.map(Arc::new)));
            let inputs = inputs.collect::<Result<Vec<_>>>()?;
            replace_children_if_necessary(node, inputs).map(Transformed::yes)
        })
        .data()
    }
}

/// The input with a guard over what makes its rows, below what only moves them.
fn guarded(input: &Arc<dyn ExecutionPlan>, repeated: Option<Arc<Repeated>>) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(repeated) = repeated else { return Ok(Arc::clone(input)) };
    let only_moves = input.is::<RepartitionExec>()
        || input.is::<CoalescePartitionsExec>()
        || input.is::<SortPreservingMergeExec>()
        || input.is::<SortExec>();
    match input.children()[..] {
        // What keeps the first rows only leaves out those that may be long.
        [below] if only_moves && input.fetch().is_none() => {
            replace_children_if_necessary(Arc::clone(input), vec![guarded(below, Some(repeated))?])
        }
        _ => Ok(Arc::new(RoomForRowsExec::new(Arc::clone(input), repeated))),
    }
}

/// What a node repeats of each of its inputs; nothing where no value is longer than others.
fn repeated(node: &Arc<dyn ExecutionPlan>) -> Vec<Option<Repeated>> {
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        return of_join(node, *join.join_type(), join.projection.as_ref().map(AsRef::as_ref));
    }
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        return of_join(node, *join.join_type(), join.projection().as_ref().map(AsRef::as_ref));
    }
    if let Some(join) = node.downcast_ref::<SortMergeJoinExec>() {
        return of_join(node, join.join_type(), None);
    }
    if node.is::<CrossJoinExec>() {
        return of_join(node, JoinType::Inner, None);
    }
    if let Some(unnest) = node.downcast_ref::<UnnestExec>() {
        let lists: Vec<usize> = unnest.list_column_indices().iter().map(|list| list.index_in_input_schema).collect();
        let schema = unnest.input().schema();
        let columns = copied_columns(&schema).filter(|at| !lists.contains(at)).collect();
        return vec![some(columns, lists, Views::Shared)];
    }
    // Windows over whole partitions ask themselves, when they have the partition.
    let Some(window) = node.downcast_ref::<BoundedWindowAggExec>() else { return vec![None; node.children().len()] };
    vec![some(columns_of_results(window.window_expr(), &window.input().schema()), Vec::new(), Views::Copied)]
}

fn some(columns: Vec<usize>, lists: Vec<usize>, views: Views) -> Option<Repeated> {
    (!columns.is_empty()).then_some(Repeated { columns, lists, views })
}

/// Of a join's sides, the columns that it puts out.
fn of_join(node: &Arc<dyn ExecutionPlan>, join_type: JoinType, projection: Option<&[usize]>) -> Vec<Option<Repeated>> {
    let repeats = matches!(join_type, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full);
    let mut before = 0;
    let of_side = |side: &Arc<dyn ExecutionPlan>| {
        let schema = side.schema();
        let is_put_out = |at: &usize| repeats && projection.is_none_or(|projection| projection.contains(&(before + at)));
        let columns = copied_columns(&schema).filter(is_put_out).collect();
        before += schema.fields().len();
        some(columns, Vec::new(), Views::Shared)
    };
    node.children().into_iter().map(of_side).collect()
}

fn copied_columns(schema: &SchemaRef) -> impl Iterator<Item = usize> {
    schema.fields().iter().enumerate().filter(|(_, field)| is_copied_whole(field.data_type())).map(|(at, _)| at)
}

/// The columns that functions whose results may be of any length are computed from.
fn columns_of_results(functions: &[Arc<dyn WindowExpr>], schema: &SchemaRef) -> Vec<usize> {
    let is_long = |function: &&Arc<dyn WindowExpr>| function.field().is_ok_and(|field| is_of_any_length(field.data_type()));
    let arguments = functions.iter().filter(is_long).flat_map(|function| function.expressions());
    let columns = arguments.flat_map(|argument| collect_columns(&argument)).map(|column| column.index());
    let mut columns: Vec<usize> = columns.filter(|at| is_of_any_length(schema.field(*at).data_type())).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
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
    let windows = windows.iter().map(|call| (function_name(call).to_string(), call.expressions()));
    for (name, arguments) in calls.chain(windows) {
        let Some((_, count)) = DIGESTS.iter().find(|(digest, _)| *digest == name) else { continue };
        let Some(literal) = arguments.get(count - 1).and_then(|argument| argument.downcast_ref::<Literal>()) else { continue };
        let centroids = literal.value().cast_to(&DataType::UInt64);
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
    use crate::{Blame, Error};

    const GUARD: &str = "RoomForRowsExec";

    async fn guards(sql: &str) -> usize {
        let plan = ours().await.unwrap().sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        displayable(plan.as_ref()).indent(false).to_string().matches(GUARD).count()
    }

    #[tokio::test]
    async fn rows_with_computed_texts_and_lists_are_guarded_where_they_are_repeated() {
        let texts = "(SELECT id, repeat(kind, id % 3) AS x FROM events)";
        let lists = "(SELECT user_id, array_agg(id ORDER BY id) AS ids, max(kind || 'x') AS x FROM events GROUP BY user_id)";
        for (sql, count) in [
            (format!("SELECT t.x, e.id FROM {texts} t JOIN events e ON e.id = t.id"), 1),
            (format!("SELECT t.x, e.id FROM {texts} t CROSS JOIN (SELECT id FROM events WHERE id < 3) e WHERE t.id < 100"), 1),
            (format!("SELECT t.x, l.ids FROM {texts} t JOIN {lists} l ON l.user_id = t.id"), 2),
            (format!("SELECT user_id, unnest(ids) AS id FROM {lists}"), 0),
            (format!("SELECT user_id, x, unnest(ids) AS id FROM {lists}"), 1),
            (format!("SELECT id, lag(x) OVER (ORDER BY id) AS y FROM {texts}"), 1),
            (format!("SELECT id, x, row_number() OVER (ORDER BY id) AS y FROM {texts}"), 0),
            ("SELECT id, lag(brand) OVER (ORDER BY id) AS y FROM events".to_string(), 1),
            (format!("SELECT e.id FROM events e WHERE e.kind IN (SELECT x FROM {texts} t WHERE t.id < 10)"), 0),
            (format!("SELECT e.id, t.id AS other FROM {texts} t JOIN events e ON e.id = t.id"), 0),
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
            format!(
                "SELECT arrow_cast(a.x, 'LargeUtf8') AS x FROM (SELECT arrow_cast(x, 'LargeUtf8') AS x FROM {long}) a CROSS JOIN events"
            ),
            format!("SELECT x, unnest(range(10000)) FROM (SELECT arrow_cast(x, 'LargeUtf8') AS x FROM {long})"),
            format!("SELECT lag(x, 1, arrow_cast('', 'LargeUtf8')) OVER () FROM (SELECT arrow_cast(x, 'LargeUtf8') AS x FROM {long})"),
            format!("SELECT [a.x] AS x FROM (SELECT [x] AS x FROM {long}) a CROSS JOIN events"),
        ] {
            let refused = Error::from(context.sql(&sql).await.unwrap().collect().await.unwrap_err());
            assert!(refused.message.contains("rows as long as the longest of those that are joined"), "{sql}: {refused}");
            assert_eq!(refused.blame, Blame::Resources);
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
