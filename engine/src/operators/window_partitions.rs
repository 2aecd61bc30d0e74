//! Computes window functions one partition of the window after the other, as far as the rows have come.
//!
//! DataFusion's operator for windows over whole partitions reads all of its input first, in no memory pool, and puts out a single batch. Its input is sorted
//! by partition, so all that has to be held are the rows of one, with those before it that make up a batch.
//!
//! ```text
//! WindowPartitionsExec            takes the functions and the input of the operator beneath it, and does its work
//!   WindowAggExec
//! ```

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::compute::{concat, concat_batches, partition as partitions_of};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{Result, exec_err, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput as _};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, WindowExpr};
use futures::StreamExt as _;

use crate::operators::one_child::{hands_rows_on, has_statistics_of_child, one_child};
use crate::operators::row_bytes::{Views, buffers_of_views, bytes_between, is_of_any_length, literal_bytes, repeated_bytes};

/// Bytes that constants among the arguments may take when they are written out for each row of a partition.
const CONSTANTS_BYTES_MAX: usize = 256 << 20;
/// Bytes from which on a constant is counted: `1` and `'month'` are not.
const LONG_CONSTANT_BYTES: usize = 1024;
/// Aggregates that make long values of many short ones; over a window each row gets what its frame's rows have together.
pub(crate) const COLLECTING: [&str; 2] = ["array_agg", "string_agg"];
/// How often the rows are there while functions are computed: as they came, and as one batch.
const COPIES: usize = 2;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct WindowPartitionsExec {
    input: Arc<dyn ExecutionPlan>,
    metrics: ExecutionPlanMetricsSet,
}

impl WindowPartitionsExec {
    /// Over a [`WindowAggExec`].
    pub fn new(window: Arc<dyn ExecutionPlan>) -> Self {
        Self { input: window, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for WindowPartitionsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WindowPartitionsExec")
    }
}

impl ExecutionPlan for WindowPartitionsExec {
    fn name(&self) -> &'static str {
        "WindowPartitionsExec"
    }

    hands_rows_on!();

    one_child!(self, input => Self::new(input));

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(window) = self.input.downcast_ref::<WindowAggExec>() else { return internal_err!("no window") };
        let computing = Computing {
            functions: window.window_expr().to_vec(),
            keys: window.window_expr().first().map(|function| function.partition_by().to_vec()).unwrap_or_default(),
            constants_bytes: constants_bytes(window.window_expr()),
            schema: self.schema(),
            held: Held::new(window.input().schema(), partition, &context),
            batch_rows: context.session_config().batch_size().max(1),
            out: None,
            baseline: BaselineMetrics::new(&self.metrics, partition),
        };
        let rows = window.input().execute(partition, context)?;
        let computed = futures::stream::try_unfold((computing, Some(rows)), |(mut computing, mut rows)| async move {
            loop {
                if let Some(batch) = computing.next() {
                    return Ok(Some((batch, (computing, rows))));
                }
                let Some(input) = &mut rows else { return Ok(None) };
                match input.next().await.transpose()? {
                    Some(batch) => computing.push(batch)?,
                    None => {
                        rows = None;
                        computing.finish()?;
                    }
                }
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), computed)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    has_statistics_of_child!();
}

/// One partition of the plan at work.
struct Computing {
    functions: Vec<Arc<dyn WindowExpr>>,
    /// What the window is partitioned by; nothing if all rows are one partition.
    keys: Vec<Arc<dyn PhysicalExpr>>,
    constants_bytes: usize,
    schema: SchemaRef,
    held: Held,
    batch_rows: usize,
    /// Rows that go out next.
    out: Option<RecordBatch>,
    baseline: BaselineMetrics,
}

impl Computing {
    fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let elapsed = self.baseline.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let keys = self.keys.iter().map(|key| key.evaluate(&batch)?.into_array(rows)).collect::<Result<Vec<_>>>()?;
        self.held.push(batch, &keys)?;
        // As many rows as make up a batch, so that small partitions are not computed by themselves.
        if self.held.complete_rows() >= self.batch_rows { self.compute(self.held.complete_rows()) } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<()> {
        let elapsed = self.baseline.elapsed_compute().clone();
        let _timer = elapsed.timer();
        if self.held.rows > 0 { self.compute(self.held.rows) } else { Ok(()) }
    }

    /// Computes the functions over the first `rows`, which are whole partitions.
    fn compute(&mut self, rows: usize) -> Result<()> {
        let (chunk, partitions) = self.held.take(rows)?;
        let longest = partitions.iter().map(Range::len).max().unwrap_or(0);
        if self.constants_bytes.saturating_mul(longest) > CONSTANTS_BYTES_MAX {
            return exec_err!(
                "constants of {} KB are arguments of a window function over {longest} rows; they may take {} MB in all",
                self.constants_bytes >> 10,
                CONSTANTS_BYTES_MAX >> 20
            );
        }
        self.ask_for_results(&chunk, &partitions)?;
        let mut results: Vec<Vec<ArrayRef>> = vec![Vec::with_capacity(partitions.len()); self.functions.len()];
        for rows in partitions {
            let partition = chunk.slice(rows.start, rows.len());
            for (function, results) in self.functions.iter().zip(&mut results) {
                results.push(function.evaluate(&partition)?);
            }
        }
        let mut columns = chunk.columns().to_vec();
        for of_partitions in results {
            columns.push(match of_partitions.as_slice() {
                [only] => Arc::clone(only),
                several => concat(&several.iter().map(AsRef::as_ref).collect::<Vec<_>>())?,
            });
        }
        self.out = Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?);
        Ok(())
    }

    /// Asks for the memory of results that may be of any length: each row may get the longest value, or all that a partition has.
    fn ask_for_results(&self, chunk: &RecordBatch, partitions: &[Range<usize>]) -> Result<()> {
        let mut bytes = 0_usize;
        for function in &self.functions {
            if !is_of_any_length(function.field()?.data_type()) {
                continue;
            }
            let is_collecting = is_collecting(function);
            for column in function.expressions().iter().flat_map(collect_columns) {
                let column = chunk.column(column.index());
                let of_partition =
                    |rows: &Range<usize>| bytes_between(column, rows.start, rows.end, Views::Copied).saturating_mul(rows.len());
                let of_column = match is_collecting {
                    true => partitions.iter().map(of_partition).fold(0, usize::saturating_add),
                    false => repeated_bytes(column, chunk.num_rows(), Views::Copied),
                };
                bytes = bytes.saturating_add(of_column);
            }
        }
        orrery_udfs::memory::ask(bytes as u64, || format!("a window function over {} rows", chunk.num_rows()))
    }

    /// The next rows that are computed, as many as a batch has at most, and of all that there are equal parts.
    fn next(&mut self) -> Option<RecordBatch> {
        let out = self.out.take()?;
        let parts = out.num_rows().div_ceil(self.batch_rows);
        let rows = out.num_rows().div_ceil(parts.max(1));
        if parts > 1 {
            self.out = Some(out.slice(rows, out.num_rows() - rows));
        }
        Some(out.slice(0, rows).record_output(&self.baseline))
    }
}

/// The name of a window's function, which is told by the name of its column only.
pub(crate) fn function_name(function: &Arc<dyn WindowExpr>) -> &str {
    function.name().split('(').next().unwrap_or_default()
}

/// Whether a function gives each row what a frame's rows have together.
pub(crate) fn is_collecting(function: &Arc<dyn WindowExpr>) -> bool {
    COLLECTING.contains(&function_name(function))
}

/// Bytes of the long constants among arguments, which are written out for each row.
fn constants_bytes(functions: &[Arc<dyn WindowExpr>]) -> usize {
    let arguments = functions.iter().flat_map(|function| function.expressions());
    arguments.map(|argument| literal_bytes(&argument)).filter(|bytes| *bytes >= LONG_CONSTANT_BYTES).sum()
}

/// Rows that wait for the end of their partition.
struct Held {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rows: usize,
    /// Where partitions begin among the rows.
    starts: Vec<usize>,
    /// The keys of the last row.
    last_keys: Vec<ArrayRef>,
    bytes: usize,
    /// What views point to, which is there once however often the rows are.
    view_buffers: HashSet<usize>,
    view_bytes: usize,
    reservation: MemoryReservation,
}

impl Held {
    fn new(schema: SchemaRef, partition: usize, context: &TaskContext) -> Self {
        let reservation = MemoryConsumer::new(format!("WindowPartitionsExec[{partition}]")).register(context.memory_pool());
        Self {
            schema,
            batches: Vec::new(),
            rows: 0,
            starts: Vec::new(),
            last_keys: Vec::new(),
            bytes: 0,
            view_buffers: HashSet::new(),
            view_bytes: 0,
            reservation,
        }
    }

    /// Rows of partitions that are known to have ended.
    fn complete_rows(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    fn push(&mut self, batch: RecordBatch, keys: &[ArrayRef]) -> Result<()> {
        for partition in self.partitions_within(batch.num_rows(), keys)? {
            self.starts.push(self.rows + partition);
        }
        self.last_keys = keys.iter().map(|key| key.slice(key.len() - 1, 1)).collect();
        self.count(&batch);
        self.reservation.try_resize(self.bytes.saturating_mul(COPIES).saturating_add(self.view_bytes))?;
        self.rows += batch.num_rows();
        self.batches.push(batch);
        Ok(())
    }

    fn count(&mut self, batch: &RecordBatch) {
        for column in batch.columns() {
            self.bytes += bytes_between(column, 0, column.len(), Views::Shared);
            self.view_bytes += buffers_of_views(column, &mut self.view_buffers);
        }
    }

    /// Where partitions begin in a batch, which may go on with the one before it.
    fn partitions_within(&self, rows: usize, keys: &[ArrayRef]) -> Result<Vec<usize>> {
        let goes_on = self.rows > 0 && self.goes_on_with(keys)?;
        let ranges = if keys.is_empty() { std::iter::once(0..rows).collect() } else { partitions_of(keys)?.ranges() };
        Ok(ranges.into_iter().map(|range| range.start).skip(usize::from(goes_on)).collect())
    }

    fn goes_on_with(&self, keys: &[ArrayRef]) -> Result<bool> {
        if keys.is_empty() {
            return Ok(true);
        }
        let pairs = self.last_keys.iter().zip(keys);
        let pairs = pairs.map(|(last, next)| concat(&[last, &next.slice(0, 1)])).collect::<Result<Vec<_>, _>>()?;
        Ok(partitions_of(&pairs)?.len() == 1)
    }

    /// Takes out the first `rows` as one batch, with the partitions that it consists of. The last of them lies in the last batch, or ends with it.
    fn take(&mut self, rows: usize) -> Result<(RecordBatch, Vec<Range<usize>>)> {
        let rest = self.rows - rows;
        let mut batches = std::mem::take(&mut self.batches);
        if let Some(last) = batches.pop() {
            let done = last.num_rows() - rest.min(last.num_rows());
            batches.push(last.slice(0, done));
            if rest > 0 {
                self.batches.push(last.slice(done, rest));
            }
        }
        let chunk = concat_batches(&self.schema, &batches)?;
        let starts = std::mem::take(&mut self.starts);
        let ends = starts.iter().skip(1).copied().chain([rows]);
        let partitions = starts.iter().copied().zip(ends).filter(|(start, _)| *start < rows).map(|(start, end)| start..end).collect();
        (self.rows, self.bytes, self.view_bytes) = (rest, 0, 0);
        self.view_buffers.clear();
        for batch in self.batches.clone() {
            self.count(&batch);
        }
        if rest > 0 {
            self.starts.push(0);
        }
        Ok((chunk, partitions))
    }
}

pub(crate) mod codec {
    //! Nothing but its name.

    use datafusion::common::{Result, internal_err};

    use super::{Arc, ExecutionPlan, WindowPartitionsExec};

    /// The operator's payload; `None` for any other operator.
    pub(crate) fn encode(plan: &Arc<dyn ExecutionPlan>) -> Option<Vec<u8>> {
        plan.is::<WindowPartitionsExec>().then(Vec::new)
    }

    /// The operator over its input.
    pub(crate) fn decode(inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        let [window] = inputs else { return internal_err!("a WindowPartitionsExec cannot be read") };
        Ok(Arc::new(WindowPartitionsExec::new(Arc::clone(window))))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{AsArray as _, Int64Array, StringArray};
    use datafusion::arrow::datatypes::Int64Type;
    use datafusion::execution::memory_pool::GreedyMemoryPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::{collect, displayable};
    use datafusion::prelude::{SessionConfig, SessionContext};
    use proptest::prelude::*;

    use super::*;

    /// A session whose table `t` has the rows in batches of `batch_rows`, as they are.
    fn session(keys: &[(i64, Option<u8>)], batch_rows: usize, out_rows: usize, memory_bytes: usize) -> SessionContext {
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(memory_bytes))).build_arc().unwrap();
        let config = SessionConfig::new().with_target_partitions(1).with_batch_size(out_rows);
        let session = SessionContext::new_with_config_rt(config, runtime);
        let batches: Vec<RecordBatch> = keys
            .chunks(batch_rows)
            .map(|rows| {
                let k: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(k, _)| *k)));
                let s: ArrayRef = Arc::new(rows.iter().map(|(_, s)| s.map(|s| "x".repeat(usize::from(s)))).collect::<StringArray>());
                RecordBatch::try_from_iter_with_nullable([("k", k, false), ("s", s, true)]).unwrap()
            })
            .collect();
        let table = datafusion::datasource::MemTable::try_new(batches[0].schema(), vec![batches]).unwrap();
        session.register_table("t", Arc::new(table)).unwrap();
        session
    }

    async fn plan(session: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
        session.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
    }

    /// The plan with our operator over each of DataFusion's.
    fn divided(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        use datafusion::common::tree_node::{Transformed, TreeNode as _};
        plan.transform_up(|node| {
            let is_window = node.is::<WindowAggExec>();
            Ok(if is_window { Transformed::yes(Arc::new(WindowPartitionsExec::new(node)) as _) } else { Transformed::no(node) })
        })
        .unwrap()
        .data
    }

    const WINDOWS: [&str; 5] = [
        "SELECT k, s, count(*) OVER (PARTITION BY k) AS n, max(s) OVER (PARTITION BY k) AS m FROM t",
        "SELECT s, sum(k) OVER (PARTITION BY k, s ORDER BY k ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS n FROM t",
        "SELECT k, sum(k) OVER () AS n, min(s) OVER (ORDER BY k ROWS BETWEEN 1 PRECEDING AND UNBOUNDED FOLLOWING) AS m FROM t",
        "SELECT count(*) OVER () AS n FROM t",
        "SELECT k, ntile(3) OVER (PARTITION BY s ORDER BY k) AS n, percent_rank() OVER (PARTITION BY s ORDER BY k) AS p FROM t",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn rows_are_those_of_datafusion(
            keys in prop::collection::vec((0_i64..6, prop::option::of(0_u8..3)), 1..200),
            batch_rows in 1_usize..40,
            out_rows in 1_usize..40,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let session = session(&keys, batch_rows, out_rows, usize::MAX);
                for sql in WINDOWS {
                    let theirs = plan(&session, sql).await;
                    let ours = divided(Arc::clone(&theirs));
                    prop_assert!(displayable(ours.as_ref()).indent(false).to_string().contains("WindowPartitionsExec"), "{}", sql);
                    let theirs = collect(theirs, session.task_ctx()).await.unwrap();
                    let ours = collect(ours, session.task_ctx()).await.unwrap();
                    prop_assert!(ours.iter().all(|batch| batch.num_rows() <= out_rows));
                    let whole = |batches: &[RecordBatch]| concat_batches(&batches[0].schema(), batches).unwrap();
                    prop_assert_eq!(whole(&ours), whole(&theirs), "{}", sql);
                }
                Ok(())
            })?;
        }
    }

    #[tokio::test]
    async fn results_for_which_there_is_no_memory_are_refused() {
        let keys: Vec<(i64, Option<u8>)> = (0..300_000).map(|i| (i % 3, Some(9))).collect();
        let session = session(&keys, 8192, 8192, usize::MAX);
        for (sql, is_refused) in [
            ("SELECT k, array_agg(s) OVER (PARTITION BY k) AS a FROM t", true),
            (
                "SELECT k, array_agg(k) OVER (PARTITION BY k ORDER BY s ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS a FROM t",
                true,
            ),
            ("SELECT k, array_agg(s) OVER (PARTITION BY k, s) AS a FROM (SELECT k, s FROM t LIMIT 300)", false),
            ("SELECT k, first_value(s) OVER (PARTITION BY k) AS a FROM t", false),
        ] {
            let ran = collect(divided(plan(&session, sql).await), session.task_ctx()).await;
            match (ran, is_refused) {
                (Ok(_), false) => {}
                (Err(error), true) => assert!(error.to_string().contains("a window function over"), "{sql}: {error}"),
                (ran, _) => panic!("{sql}: {:?}", ran.map(|_| ())),
            }
        }
    }

    #[tokio::test]
    async fn only_the_rows_of_a_partition_are_held() {
        let keys: Vec<(i64, Option<u8>)> = (0..200_000).map(|i| (i / 1000, Some(9))).collect();
        let session = session(&keys, 8192, 8192, 4 << 20);
        // Rows that are known to be sorted, so that nothing but the window needs memory.
        let (by_key, all) = ("SELECT k, max(s) OVER (PARTITION BY k) AS m FROM t", "SELECT k, max(s) OVER () AS m FROM t");
        let window = |plan: &Arc<dyn ExecutionPlan>| {
            let mut node = Arc::clone(plan);
            while !node.is::<WindowAggExec>() {
                node = Arc::clone(node.children()[0]);
            }
            node
        };
        let scan = |plan: Arc<dyn ExecutionPlan>| {
            let mut node = plan;
            while !node.children().is_empty() {
                node = Arc::clone(node.children()[0]);
            }
            node
        };
        let over_rows = |found: Arc<dyn ExecutionPlan>| -> Arc<dyn ExecutionPlan> {
            let rows = scan(Arc::clone(&found));
            let window = datafusion::physical_plan::execution_plan::replace_children_if_necessary(window(&found), vec![rows]).unwrap();
            Arc::new(WindowPartitionsExec::new(window))
        };
        let rows = collect(over_rows(plan(&session, by_key).await), session.task_ctx()).await.unwrap();
        let rows = concat_batches(&rows[0].schema(), &rows).unwrap();
        assert_eq!(rows.num_rows(), 200_000);
        assert_eq!(rows.column(0).as_primitive::<Int64Type>().value(123_456), 123);
        let refused = collect(over_rows(plan(&session, all).await), session.task_ctx()).await.unwrap_err().to_string();
        assert!(refused.contains("WindowPartitionsExec[0]"), "{refused}");
    }
}
