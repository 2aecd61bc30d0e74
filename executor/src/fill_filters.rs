//! Filters that a task makes for itself while it runs: a hash join's build side, the rows that a `LIMIT` has so far, or a minimum tell the scans beneath them
//! which files and row groups cannot matter any more.
//!
//! Ballista plans without them, because whoever fills such a filter and whoever reads it may end up in different stages, and a scan would then wait for
//! nothing. Within one task both are there. So they are put in here, when a task's plan has been read and nothing about it will be cut any more. What is
//! joined in the task that scans is a broadcast side, or both sides of a plan that runs whole.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::execution::TaskContext;
use datafusion::physical_optimizer::PhysicalOptimizerRule as _;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_plan::ExecutionPlan;
use orrery_engine::TaskPool;

/// The plan of a task with such filters. It has the same operators as before.
///
/// # Errors
/// The plan cannot be built anew.
pub(crate) fn fill_filters(plan: Arc<dyn ExecutionPlan>, options: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
    let mut options = options.clone();
    switch_on(&mut options);
    FilterPushdown::new_post_optimization().optimize(plan, &options)
}

/// The context of a task whose operators fill their filters.
pub(crate) fn filling(context: Arc<TaskContext>) -> Arc<TaskContext> {
    let mut config = context.session_config().clone();
    switch_on(config.options_mut());
    Arc::new(TaskPool::own(context).with_session_config(config))
}

fn switch_on(options: &mut ConfigOptions) {
    let optimizer = &mut options.optimizer;
    optimizer.enable_dynamic_filter_pushdown = true;
    optimizer.enable_join_dynamic_filter_pushdown = true;
    optimizer.enable_topk_dynamic_filter_pushdown = true;
    optimizer.enable_aggregate_dynamic_filter_pushdown = true;
}
