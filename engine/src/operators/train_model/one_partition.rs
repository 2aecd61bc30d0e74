//! One partition of a scan as a plan of its own, and a name for the rows that it reads.
//!
//! Scans of several partitions share a queue of files: whichever partition is free takes the next one. What a block holds, and what another task rebuilds
//! after it is lost, must not depend on that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileGroupPartitioner, FileScanConfig, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};

/// Files from so many bytes on are read by several partitions.
const CUT_FROM_BYTES: usize = 4 << 20;

/// The files of a plan's only leaf, if that scans files.
pub(crate) fn files_of(plan: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    let mut node = plan;
    loop {
        match node.children().as_slice() {
            [] => return node.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>(),
            [child] => node = child,
            _ => return None,
        }
    }
}

/// A plan that gives the rows of another in the same partitions however often it is run; `None` if there is none. It scans Parquet files, and does no more
/// than to choose among their rows and to compute columns from them; that rows are dealt out to more partitions is left out.
pub(crate) fn read_again(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let files = files_of(plan)?;
    if files.file_source().downcast_ref::<ParquetSource>().is_none() || files.limit.is_some() {
        return None;
    }
    let mut is_plain = true;
    let undealt = Arc::clone(plan).transform_down(|node| {
        if let Some(deal) = node.downcast_ref::<RepartitionExec>()
            && matches!(deal.partitioning(), Partitioning::RoundRobinBatch(_))
        {
            return Ok(Transformed::yes(Arc::clone(deal.input())));
        }
        is_plain &= node.is::<DataSourceExec>()
            || node.is::<FilterExec>() && node.fetch().is_none()
            || node.is::<ProjectionExec>()
            || node.is::<CooperativeExec>();
        node.apply_expressions(&mut |expr| {
            is_plain &= !expr.exists(|part| Ok(part.is_volatile_node()))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(Transformed::no(node))
    });
    let undealt = undealt.data().ok()?;
    (is_plain && !undealt.exists(|node| Ok(node.is::<RepartitionExec>())).unwrap_or(true)).then_some(undealt)
}

/// The same in about so many partitions: each process then has the same ones in every pass, and no thread is without one.
pub(crate) fn in_partitions(plan: Arc<dyn ExecutionPlan>, count: usize) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(files) = files_of(&plan) else { return Ok(plan) };
    let groups = &files.file_groups;
    if groups.len() > count {
        return with_groups(&plan, merged(groups.clone(), count));
    }
    if groups.len() == count {
        return Ok(plan);
    }
    let cut = FileGroupPartitioner::new().with_target_partitions(count).with_repartition_file_min_size(CUT_FROM_BYTES);
    match cut.repartition_file_groups(groups) {
        Some(groups) => with_groups(&plan, groups),
        None => Ok(plan),
    }
}

/// One partition of a plan, in parts.
pub(super) struct OnePartition {
    /// Plans with the partition of each to run.
    pub parts: Vec<(Arc<dyn ExecutionPlan>, usize)>,
    /// The names and ranges of the files that they read.
    pub name: String,
}

/// The plan over one partition's files alone: in one part, or, where rows of equal keys lie in files of the same partition value, in a part for each value. A
/// plan without files is as it is.
pub(super) fn only(plan: &Arc<dyn ExecutionPlan>, partition: usize, is_keyed: bool) -> Result<OnePartition> {
    let Some(files) = files_of(plan) else {
        return Ok(OnePartition { parts: vec![(Arc::clone(plan), partition)], name: format!("partition {partition}") });
    };
    let group = files.file_groups.get(partition).ok_or_else(|| internal_datafusion_err!("a scan has no partition {partition}"))?;
    let mut name = String::new();
    for file in group.iter() {
        let _ = write!(name, "{}", file.object_meta.location);
        if let Some(range) = &file.range {
            let _ = write!(name, "[{}..{}]", range.start, range.end);
        }
        name.push('\n');
    }
    let groups = if is_keyed { by_value(group.iter()) } else { vec![group.clone()] };
    let parts = groups.into_iter().map(|group| Ok((with_groups(plan, vec![group])?, 0))).collect::<Result<_>>()?;
    Ok(OnePartition { parts, name })
}

/// Files of the same value of their table's partition column together.
pub(crate) fn by_value<'a>(files: impl Iterator<Item = &'a PartitionedFile>) -> Vec<FileGroup> {
    let mut groups: BTreeMap<Option<String>, Vec<PartitionedFile>> = BTreeMap::new();
    for file in files {
        groups.entry(file.partition_values.first().map(ScalarValue::to_string)).or_default().push(file.clone());
    }
    groups.into_values().map(FileGroup::new).collect()
}

/// Groups of files put together to so many at most.
pub(crate) fn merged(groups: Vec<FileGroup>, count: usize) -> Vec<FileGroup> {
    let mut merged: Vec<Vec<PartitionedFile>> = vec![Vec::new(); count.max(1)];
    for (at, group) in groups.into_iter().enumerate() {
        merged[at % count.max(1)].extend(group.into_inner());
    }
    merged.into_iter().filter(|files| !files.is_empty()).map(FileGroup::new).collect()
}

/// The plan with its files in other groups, a partition each.
pub(crate) fn with_groups(plan: &Arc<dyn ExecutionPlan>, groups: Vec<FileGroup>) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = Arc::clone(plan).transform_down(|node| {
        let config = node.downcast_ref::<DataSourceExec>().and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
        let Some(config) = config else { return Ok(Transformed::no(node)) };
        let config = FileScanConfigBuilder::from(config.clone()).with_file_groups(groups.clone()).build();
        Ok(Transformed::new(DataSourceExec::from_data_source(config), true, TreeNodeRecursion::Jump))
    });
    plan.data()
}
