//! The aggregates as SQL runs them, compared with a naive computation and with DataFusion's own accumulators, over any
//! number of partitions, tiny batches, converted states and spilled ones.

mod against_datafusion;
mod by_hand;
mod clickhouse;
mod emitted;
mod events;
mod kmeans;
mod spilled;

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::util::display::array_value_to_string;
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

/// How a query is run.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) partitions: usize,
    pub(crate) batch_size: usize,
    /// Turn rows into states at once instead of aggregating them before the shuffle.
    pub(crate) converts_rows: bool,
    pub(crate) memory: Option<usize>,
}

impl Default for Run {
    fn default() -> Self {
        Self { partitions: 2, batch_size: 8192, converts_rows: false, memory: None }
    }
}

/// Every combination worth trying on small data.
pub(crate) fn all_runs() -> Vec<Run> {
    let mut runs = Vec::new();
    for partitions in [1, 2, 7] {
        for (batch_size, converts_rows) in [(8192, false), (3, false), (3, true)] {
            runs.push(Run { partitions, batch_size, converts_rows, memory: None });
        }
    }
    runs
}

/// A session with `rows` as table `t`, dealt out row by row; with our functions or DataFusion's.
pub(crate) fn session(rows: &RecordBatch, run: &Run, ours: bool) -> Result<SessionContext> {
    let mut config = SessionConfig::new().with_target_partitions(run.partitions).with_batch_size(run.batch_size);
    if run.converts_rows {
        config.options_mut().execution.skip_partial_aggregation_probe_rows_threshold = 1;
        config.options_mut().execution.skip_partial_aggregation_probe_ratio_threshold = 0.0;
    }
    let runtime: Arc<RuntimeEnv> = match run.memory {
        // Shared out fairly, as the engine does: who may spill is never refused for want of what others hold.
        Some(bytes) => RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(bytes))).build_arc()?,
        None => RuntimeEnvBuilder::new().build_arc()?,
    };
    let mut builder = SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features();
    if ours {
        builder.aggregate_functions().get_or_insert_default().extend(crate::aggregate_functions());
        builder.scalar_functions().get_or_insert_default().extend(crate::scalar_functions());
        builder.window_functions().get_or_insert_default().extend(crate::window_functions());
    }
    let context = SessionContext::new_with_state(builder.build());
    let mut partitions = Vec::new();
    for partition in 0..run.partitions {
        let own = UInt32Array::from_iter_values((0..rows.num_rows() as u32).skip(partition).step_by(run.partitions));
        let own = take_record_batch(rows, &own)?;
        partitions
            .push((0..own.num_rows()).step_by(run.batch_size).map(|at| own.slice(at, run.batch_size.min(own.num_rows() - at))).collect());
    }
    context.register_table("t", Arc::new(MemTable::try_new(rows.schema(), partitions)?))?;
    Ok(context)
}

/// The result as sorted lines of text.
pub(crate) async fn lines(context: &SessionContext, sql: &str) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for batch in context.sql(sql).await?.collect().await? {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| Ok(array_value_to_string(column, row)?));
            lines.push(cells.collect::<Result<Vec<_>>>()?.join("|"));
        }
    }
    lines.sort();
    Ok(lines)
}
