//! Rows that every task of a stage needs whole, read once per executor: the sides of joins that are broadcast.
//!
//! A stage with more partitions than an executor has vcores comes to it as several tasks, and each would fetch the same rows from the other executors. So the
//! first of them keeps what it fetches, the others that run meanwhile wait for it, and those that come soon after find it. Rows that nobody has asked for in a
//! while are dropped.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ballista_core::execution_plans::ShuffleReaderExec;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties as _, PlanProperties};
use futures::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use prometheus::IntCounterVec;
use tokio::sync::OnceCell;

/// How long rows are kept after they were asked for.
const KEEP: Duration = Duration::from_secs(10);

/// Rows that tasks of this executor share, by what they are.
#[derive(Debug, Clone)]
pub(crate) struct SharedRows {
    entries: Arc<Mutex<HashMap<Arc<str>, Entry>>>,
    reads: IntCounterVec,
    keep: Duration,
}

#[derive(Debug, Clone)]
struct Entry {
    rows: Arc<OnceCell<Kept>>,
    asked: Instant,
}

/// Rows with the memory that they were given.
#[derive(Debug)]
struct Kept {
    batches: Vec<RecordBatch>,
    _reservation: MemoryReservation,
}

impl SharedRows {
    /// Nothing shared yet; `reads` counts by outcome, `fetched` or `shared`.
    pub fn new(reads: IntCounterVec) -> Self {
        Self { entries: Arc::default(), reads, keep: KEEP }
    }

    /// A stage whose broadcast inputs are shared with the other tasks of the job.
    ///
    /// # Errors
    /// None but those of building the operators.
    pub fn within(&self, stage: Arc<dyn ExecutionPlan>, job: &str) -> Result<Arc<dyn ExecutionPlan>> {
        stage
            .transform_up(|node| {
                let Some(reader) = node.downcast_ref::<ShuffleReaderExec>().filter(|reader| reader.broadcast) else {
                    return Ok(Transformed::no(node));
                };
                // Where the rows lie tells one attempt of the stage that made them from another.
                let what = format!("{job} {} {:?}", reader.stage_id, reader.partition).into();
                Ok(Transformed::yes(Arc::new(SharedRowsExec { input: node, what, shared: self.clone() })))
            })
            .data()
    }

    fn entry(&self, what: &Arc<str>) -> Arc<OnceCell<Kept>> {
        let mut entries = self.entries.lock();
        let entry = entries.entry(Arc::clone(what)).or_insert_with(|| Entry { rows: Arc::default(), asked: Instant::now() });
        entry.asked = Instant::now();
        Arc::clone(&entry.rows)
    }

    fn forget_later(&self) {
        let (entries, keep) = (Arc::downgrade(&self.entries), self.keep);
        tokio::spawn(async move {
            tokio::time::sleep(keep).await;
            if let Some(entries) = entries.upgrade() {
                entries.lock().retain(|_, entry| entry.asked.elapsed() < keep);
            }
        });
    }
}

/// See the module documentation. Lives on one executor only, so it has no codec.
#[derive(Debug)]
struct SharedRowsExec {
    input: Arc<dyn ExecutionPlan>,
    what: Arc<str>,
    shared: SharedRows,
}

impl DisplayAs for SharedRowsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedRowsExec")
    }
}

impl ExecutionPlan for SharedRowsExec {
    fn name(&self) -> &'static str {
        "SharedRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self { input, what: Arc::clone(&self.what), shared: self.shared.clone() })),
            _ => internal_err!("SharedRowsExec has one child"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if self.input.output_partitioning().partition_count() != 1 {
            return internal_err!("rows of several partitions cannot be shared");
        }
        let (input, shared, what) = (Arc::clone(&self.input), self.shared.clone(), Arc::clone(&self.what));
        let schema = input.schema();
        let given = Arc::clone(&schema);
        let rows = async move {
            let cell = shared.entry(&what);
            let mut outcome = "shared";
            let kept = cell
                .get_or_try_init(|| {
                    outcome = "fetched";
                    fetch(&input, partition, &context)
                })
                .await?;
            shared.reads.with_label_values(&[outcome]).inc();
            shared.forget_later();
            MemoryStream::try_new(kept.batches.clone(), given, None)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(rows).try_flatten())))
    }
}

async fn fetch(input: &Arc<dyn ExecutionPlan>, partition: usize, context: &Arc<TaskContext>) -> Result<Kept> {
    let reservation = MemoryConsumer::new("SharedRows").register(context.memory_pool());
    let mut rows = input.execute(partition, Arc::clone(context))?;
    let mut batches = Vec::new();
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        reservation.try_grow(batch.get_array_memory_size())?;
        batches.push(batch);
    }
    Ok(Kept { batches, _reservation: reservation })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use datafusion::arrow::array::Int64Array;
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::datasource::source::DataSourceExec;

    fn rows() -> Arc<dyn ExecutionPlan> {
        let ids = Arc::new(Int64Array::from_iter_values(0..10)) as _;
        let batch = RecordBatch::try_from_iter([("id", ids)]).unwrap();
        let schema = batch.schema();
        Arc::new(DataSourceExec::new(Arc::new(MemorySourceConfig::try_new(&[vec![batch]], schema, None).unwrap())))
    }

    fn task(shared: &SharedRows, what: &str) -> SharedRowsExec {
        SharedRowsExec { input: rows(), what: what.into(), shared: shared.clone() }
    }

    async fn read(task: &SharedRowsExec) -> usize {
        let batches: Vec<RecordBatch> = task.execute(0, Arc::default()).unwrap().try_collect().await.unwrap();
        batches.iter().map(RecordBatch::num_rows).sum()
    }

    #[tokio::test]
    async fn tasks_of_one_job_read_once() {
        let shared = SharedRows::new(Metrics::new(1).unwrap().broadcasts);
        let tasks = [task(&shared, "a"), task(&shared, "a"), task(&shared, "a"), task(&shared, "b")];
        let (one, two) = futures::join!(read(&tasks[0]), read(&tasks[1]));
        assert_eq!([one, two, read(&tasks[2]).await, read(&tasks[3]).await], [10; 4]);
        assert_eq!(shared.reads.with_label_values(&["fetched"]).get(), 2);
        assert_eq!(shared.reads.with_label_values(&["shared"]).get(), 2);
    }

    #[tokio::test]
    async fn what_fails_is_read_again() {
        let shared = SharedRows::new(Metrics::new(1).unwrap().broadcasts);
        let cell = shared.entry(&"a".into());
        let failed = cell.get_or_try_init(|| async { internal_err!("lost") }).await;
        assert!(failed.is_err());
        assert_eq!(read(&task(&shared, "a")).await, 10);
    }

    #[tokio::test]
    async fn what_nobody_asks_for_is_dropped() {
        let shared = SharedRows { keep: Duration::from_millis(1), ..SharedRows::new(Metrics::new(1).unwrap().broadcasts) };
        read(&task(&shared, "a")).await;
        for _ in 0..1000 {
            if shared.entries.lock().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it is kept");
    }
}
