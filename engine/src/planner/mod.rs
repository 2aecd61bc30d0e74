//! Plan rewrites, one file each and named by what they do, and how a session gets them.

pub mod aggregate_after_shuffle;
pub mod aggregate_below_joins;
pub mod barrier;
pub mod bind_bounded_functions;
pub mod collect_small_sides;
pub mod combine_first_values;
pub mod compute_once;
pub mod count_distinct_roughly;
pub mod count_nulls_of_not_in;
pub mod cut_scans;
pub mod deduplicate_by_row_number;
pub mod divide_windows;
pub mod expand_time_windows;
pub mod fence_growing_columns;
pub mod guard_not_in;
pub mod guard_repeated_rows;
pub mod hints;
pub mod join_across_tasks;
pub mod keep_constant_rows_in_memory;
mod keep_first_row;
pub mod key_session_ids;
pub mod merge_predictions;
mod narrow_columns;
pub mod number_distinct_on_rows;
pub(crate) mod number_rows;
pub mod options;
pub mod plan_model_functions;
pub(crate) mod plan_size;
pub mod plan_window_tables;
pub mod preparation;
pub mod read_group_totals_first;
pub mod read_totals_first;
mod read_twice;
pub mod read_utc_without_zone;
pub mod salt_skewed_joins;
mod same_rows_again;
pub mod sessionize_unsorted;
pub mod shorten_batches;
pub mod sort_by_window_keys;
pub mod spread_distinct_counts;
pub mod spread_partitions;
mod stop_within_aggregates;
pub mod tell_projections_apart;
pub(crate) mod tell_rewrites;
#[cfg(test)]
pub(crate) mod testing;
pub mod time_windows;
mod tune;
mod yield_within_joins;

use std::sync::Arc;

use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

pub use tune::tune;

use crate::models::scoring;

/// The type of analyzer rules as a session holds them.
type AnalysisRule = Arc<dyn AnalyzerRule + Send + Sync>;
/// The type of logical rules as a session holds them.
type LogicalRule = Arc<dyn OptimizerRule + Send + Sync>;
/// The type of physical rules as a session holds them.
type PhysicalRule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// Installs functions, rewrites and settings into a session.
///
/// Call it after the builder has its default features and its configuration: the functions replace DataFusion's of the
/// same names, the rewrites are put among DataFusion's, and the settings are added to those that are there.
pub fn register(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    builder.scalar_functions().get_or_insert_default().extend(orrery_udfs::scalar_functions());
    builder.scalar_functions().get_or_insert_default().extend(orrery_udfs::bounded_functions());
    builder.scalar_functions().get_or_insert_default().extend(time_windows::markers::functions());
    builder.scalar_functions().get_or_insert_default().push(scoring::predict_call::function());
    builder.aggregate_functions().get_or_insert_default().extend(orrery_udfs::aggregate_functions());
    builder.aggregate_functions().get_or_insert_default().push(count_distinct_roughly::approx_distinct());
    builder.window_functions().get_or_insert_default().extend(orrery_udfs::window_functions());
    builder.expr_planners().get_or_insert_default().insert(0, Arc::new(bind_bounded_functions::PlanBoundedLiterals::default()));
    let config = builder.config().take().unwrap_or_default().with_option_extension(options::OrreryOptions::default());
    builder
        .with_config(tune(config))
        .with_relation_planners(vec![
            Arc::new(plan_window_tables::PlanWindowTables::default()),
            Arc::new(plan_model_functions::PlanModelFunctions::default()),
            Arc::new(hints::plan_marks::PlanMarks::default()),
        ])
        .with_query_planner(Arc::new(hints::plan_nodes::HintedQueryPlanner::default()))
        .with_analyzer_rules(analyzer_rules())
        .with_optimizer_rules(logical_rules())
        .with_physical_optimizer_rules(physical_rules())
}

/// Every function that a session knows, by name, for processes that run plans and never plan: DataFusion's own, nested ones included, and ours.
pub fn functions() -> SessionState {
    register(SessionStateBuilder::new().with_default_features()).build()
}

/// DataFusion's analysis with ours before it: what a query means that DataFusion's planner cannot say.
pub fn analyzer_rules() -> Vec<AnalysisRule> {
    let mut rules = Analyzer::new().rules;
    // Before types are coerced, so that what is written here is coerced too.
    let ours: [AnalysisRule; 5] = [
        Arc::new(hints::raise_block_hints::RaiseBlockHints::default()),
        Arc::new(expand_time_windows::ExpandTimeWindows::default()),
        Arc::new(key_session_ids::KeySessionIds::default()),
        Arc::new(count_distinct_roughly::CountDistinctRoughly::default()),
        Arc::new(preparation::ExpandLearnedFunctions::default()),
    ];
    rules.splice(0..0, ours);
    // Where everything is written as it stays, and types are coerced.
    rules.push(Arc::new(bind_bounded_functions::BindBoundedFunctions::default()));
    rules.push(Arc::new(fence_growing_columns::FenceGrowingColumns::default()));
    rules
}

/// DataFusion's logical rules with ours among them.
pub fn logical_rules() -> Vec<LogicalRule> {
    let mut rules = Optimizer::new().rules;
    // First, before DataFusion's own plan for `DISTINCT ON`.
    rules.insert(0, Arc::new(number_distinct_on_rows::NumberDistinctOnRows::default()));
    // Before subqueries become joins.
    let subqueries = rules.iter().position(|rule| rule.name() == "decorrelate_predicate_subquery").unwrap_or(0);
    rules.insert(subqueries, Arc::new(guard_not_in::GuardNotIn::default()));
    // Where subqueries have become joins, and before filters and columns are pushed down, so that they go down what is written here too.
    let decorrelated = rules.iter().position(|rule| rule.name() == "decorrelate_predicate_subquery").map_or(0, |at| at + 1);
    let ours: [LogicalRule; 4] = [
        Arc::new(count_nulls_of_not_in::CountNullsOfNotIn::default()),
        Arc::new(read_totals_first::ReadTotalsFirst::default()),
        Arc::new(read_group_totals_first::ReadGroupTotalsFirst::default()),
        Arc::new(spread_distinct_counts::SpreadDistinctCounts::default()),
    ];
    rules.splice(decorrelated..decorrelated, ours);
    // Before filters are pushed down, so that they go on from there.
    let pushed = rules.iter().position(|rule| rule.name() == "push_down_filter").unwrap_or(0);
    rules.insert(pushed, Arc::new(barrier::push_safe_filters::PushSafeFilters::default()));
    // Where projections are merged.
    let merged = rules.iter().position(|rule| rule.name() == "optimize_projections").unwrap_or(0);
    rules.insert(merged, Arc::new(tell_projections_apart::TellProjectionsApart::default()));
    // Where columns that nobody reads are gone.
    rules.push(Arc::new(merge_predictions::MergePredictions::default()));
    // Last: what it writes is not meant to be simplified any more.
    rules.push(Arc::new(read_utc_without_zone::ReadUtcWithoutZone::default()));
    rules
}

/// Physical rules with those that plans need whose tasks know nothing of each other.
pub fn across_tasks(mut rules: Vec<PhysicalRule>) -> Vec<PhysicalRule> {
    rules.retain(|rule| rule.name() != collect_small_sides::NAME);
    // Where joins have been selected and hinted, and before it is looked at which are shuffled.
    let at = rules.iter().position(|rule| rule.name() == "salt_skewed_joins").unwrap_or(0);
    rules.insert(at, Arc::new(join_across_tasks::JoinAcrossTasks::default()));
    rules
}

/// DataFusion's physical rules with ours among them.
pub fn physical_rules() -> Vec<PhysicalRule> {
    let mut rules = PhysicalOptimizer::new().rules;
    // Before shuffles and sorts are added, so that the rewritten plan gets the ones it needs and no others.
    let at = rules.iter().position(|rule| rule.name() == "EnsureRequirements").unwrap_or(0);
    let ours: [PhysicalRule; 5] = [
        Arc::new(sessionize_unsorted::SessionizeUnsorted::default()),
        Arc::new(deduplicate_by_row_number::DeduplicateByRowNumber::default()),
        Arc::new(combine_first_values::CombineFirstValues::default()),
        Arc::new(aggregate_after_shuffle::AggregateAfterShuffle::default()),
        Arc::new(aggregate_below_joins::AggregateBelowJoins::default()),
    ];
    rules.splice(at..at, ours);
    let after = |name: &str, rules: &[PhysicalRule]| rules.iter().position(|rule| rule.name() == name).map_or(0, |at| at + 1);
    // Where joins have been selected by size, and before their sides are shuffled and sorted.
    rules.insert(after("join_selection", &rules), Arc::new(collect_small_sides::CollectSmallSides::default()));
    rules.insert(after(collect_small_sides::NAME, &rules), Arc::new(hints::apply_join_hints::ApplyJoinHints::default()));
    // Where it is settled which joins are to be shuffled, and before they are.
    rules.insert(after("apply_join_hints", &rules), Arc::new(salt_skewed_joins::SaltSkewedJoins::default()));
    // It takes out repartitions, so that hinted ones can only be put in behind it.
    rules.insert(after("EnsureRequirements", &rules), Arc::new(hints::apply_partition_hints::ApplyPartitionHints::default()));
    // Last, when it is settled which task reads what.
    rules.push(Arc::new(cut_scans::CutScans::default()));
    rules.push(Arc::new(yield_within_joins::YieldWithinJoins::default()));
    rules.push(Arc::new(guard_repeated_rows::GuardRepeatedRows::default()));
    rules.push(Arc::new(divide_windows::DivideWindows::default()));
    rules.push(Arc::new(shorten_batches::ShortenBatches::default()));
    rules.push(Arc::new(stop_within_aggregates::StopWithinAggregates::default()));
    rules
}
