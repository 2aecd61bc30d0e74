//! A sample of the keys of one side of a join: the first rows of pieces that lie evenly over its scan, filtered as the join's input is.
//!
//! A side is followed down to the scan that its keys come from. Filters and projections on the way apply to the sample; joins on the way are left out, as
//! those that remove the rows of some keys rather than others are rare. Only the columns of the keys and of the filters are read.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::{DataSource as _, DataSourceExec};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::step_down::{passes_on, step_down};
use crate::planner::narrow_columns::project_narrowly;

/// Pieces of a scan of which the first rows are read.
const PIECES: usize = 16;
/// Rows that are read of each piece, at most, before filters.
const ROWS_PER_PIECE: usize = 16 << 10;
/// Scans of fewer bytes are not cut for more pieces than they have files.
const CUT_FROM_BYTES: usize = 1 << 20;
/// Pieces whose reading is under way at a time, so that a distant store's answers are not waited for one after the other.
const PIECES_AT_ONCE: usize = 8;

/// A side of a join whose keys come from one scan.
#[derive(Debug, Clone)]
pub(super) struct SampledSide {
    /// Gives the keys, and nothing else.
    plan: Arc<dyn ExecutionPlan>,
    /// How much the scan would read in all.
    pub bytes: u64,
}

impl SampledSide {
    /// The side of a join with its keys at `keys`; `None` if they do not come from one scan.
    ///
    /// # Errors
    /// None but those of building the operators.
    pub fn of(side: &Arc<dyn ExecutionPlan>, keys: &[usize]) -> Result<Option<Self>> {
        let Some((plan, keys)) = over_one_scan(side, keys)? else { return Ok(None) };
        let Some(bytes) = scan_of(&plan).and_then(|scan| scan_bytes(&scan)) else { return Ok(None) };
        let schema = plan.schema();
        let columns = keys.iter().enumerate().map(|(number, at)| {
            let key: Arc<dyn PhysicalExpr> = Arc::new(Column::new(schema.field(*at).name(), *at));
            (key, format!("key_{number}"))
        });
        Ok(Some(Self { plan: project_narrowly(columns.collect::<Vec<_>>(), plan)?, bytes }))
    }

    /// The keys of the sampled rows, in batches.
    ///
    /// # Errors
    /// The scan cannot be read.
    pub async fn read(&self, context: &Arc<TaskContext>) -> Result<Vec<Vec<ArrayRef>>> {
        let pieces: Vec<_> = self.pieces()?.into_iter().map(|(plan, partition)| read_piece(plan, partition, Arc::clone(context))).collect();
        let pieces: Vec<Vec<RecordBatch>> = stream::iter(pieces).buffer_unordered(PIECES_AT_ONCE).try_collect().await?;
        Ok(pieces.into_iter().flatten().map(|batch| batch.columns().to_vec()).collect())
    }

    /// Plans with the partition of each that is to be read. Every piece of a scan of files is a plan of its own: the partitions of one take files over from
    /// each other.
    fn pieces(&self) -> Result<Vec<(Arc<dyn ExecutionPlan>, usize)>> {
        let Some(scan) = scan_of(&self.plan) else { return Ok(Vec::new()) };
        let source = scan.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
        let Some(files) = source.and_then(|source| source.downcast_ref::<FileScanConfig>()) else {
            let partitions = self.plan.output_partitioning().partition_count();
            return Ok(evenly(partitions).map(|partition| (Arc::clone(&self.plan), partition)).collect());
        };
        let cut = files.repartitioned(PIECES, CUT_FROM_BYTES, None)?;
        let files = cut.as_ref().and_then(|cut| cut.downcast_ref::<FileScanConfig>()).unwrap_or(files);
        let groups: Vec<&FileGroup> = files.file_groups.iter().filter(|group| !group.is_empty()).collect();
        evenly(groups.len())
            .map(|at| {
                let alone = FileScanConfigBuilder::from(files.clone())
                    .with_file_groups(vec![groups[at].clone()])
                    .with_output_partitioning(None)
                    .with_limit(Some(ROWS_PER_PIECE))
                    .build();
                Ok((with_scan(&self.plan, &(DataSourceExec::from_data_source(alone) as Arc<dyn ExecutionPlan>))?, 0))
            })
            .collect()
    }
}

/// At most [`PIECES`] numbers below `count`, spread evenly.
fn evenly(count: usize) -> impl Iterator<Item = usize> {
    let chosen = count.min(PIECES);
    (0..chosen).map(move |number| number * count / chosen)
}

async fn read_piece(plan: Arc<dyn ExecutionPlan>, partition: usize, context: Arc<TaskContext>) -> Result<Vec<RecordBatch>> {
    let mut rows = plan.execute(partition, context)?;
    let (mut batches, mut left) = (Vec::new(), ROWS_PER_PIECE);
    while left > 0
        && let Some(batch) = rows.try_next().await?
    {
        let taken = batch.slice(0, left.min(batch.num_rows()));
        left -= taken.num_rows();
        batches.push(taken);
    }
    Ok(batches)
}

/// A plan, and the places of columns in it.
type OverOneScan = (Arc<dyn ExecutionPlan>, Vec<usize>);

/// A plan of filters and projections over one scan that has the columns, and their places in it.
fn over_one_scan(plan: &Arc<dyn ExecutionPlan>, columns: &[usize]) -> Result<Option<OverOneScan>> {
    if plan.is::<DataSourceExec>() {
        return Ok(Some((Arc::clone(plan), columns.to_vec())));
    }
    if (plan.is::<FilterExec>() || plan.is::<ProjectionExec>()) && is_over_one_scan(plan) {
        let whole = Arc::clone(plan).transform_up(|node| Ok(passes_on(&node).map_or(Transformed::no(node), Transformed::yes))).data()?;
        return Ok(Some((whole, columns.to_vec())));
    }
    match step_down(plan, columns) {
        Some((input, columns)) => over_one_scan(&input, &columns),
        None => Ok(None),
    }
}

/// Whether there are only filters and projections, and what hands on rows as they are, between a plan and its scan.
fn is_over_one_scan(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if plan.is::<DataSourceExec>() {
        return true;
    }
    let [input] = plan.children()[..] else { return false };
    (plan.is::<FilterExec>() || plan.is::<ProjectionExec>() || passes_on(plan).is_some()) && is_over_one_scan(input)
}

/// The scan below a plan whose operators have one input each.
fn scan_of(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    match plan.children()[..] {
        [] => plan.is::<DataSourceExec>().then(|| Arc::clone(plan)),
        [input] => scan_of(input),
        _ => None,
    }
}

/// The plan over another scan.
fn with_scan(plan: &Arc<dyn ExecutionPlan>, scan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    match plan.children()[..] {
        [input] => replace_children_if_necessary(Arc::clone(plan), vec![with_scan(input, scan)?]),
        _ => Ok(Arc::clone(scan)),
    }
}

/// Bytes of the files or rows that a scan reads; `None` for sources of other kinds, which may not be read twice.
fn scan_bytes(scan: &Arc<dyn ExecutionPlan>) -> Option<u64> {
    let source = scan.downcast_ref::<DataSourceExec>()?.data_source();
    if let Some(memory) = source.downcast_ref::<MemorySourceConfig>() {
        return Some(memory.partitions().iter().flatten().map(|batch| batch.get_array_memory_size() as u64).sum());
    }
    let files = source.downcast_ref::<FileScanConfig>()?;
    Some(files.file_groups.iter().flat_map(FileGroup::iter).map(PartitionedFile::effective_size).sum())
}
