//! Finds the file behind an error that does not name one.
//!
//! Scans report a line within the byte range that a task read, or a Parquet failure without its file. When a statement has failed anyway
//! there is time to look again: each file of the plan's scans is opened by itself until one fails the same way.

use std::sync::Arc;

use datafusion::datasource::physical_plan::{CsvSource, FileScanConfig, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};
use futures::TryStreamExt as _;
use object_store::path::Path;

use crate::{Blame, Error, Result};

/// Names the file, and for CSV the line, if the error comes from reading one. Files of which `is_own` is true are the session's: they may be gone with the
/// statement, and mean nothing to a user.
pub(super) async fn name_file(
    error: Error,
    plan: &Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
    is_own: &(dyn Fn(&Path) -> bool + Sync),
) -> Error {
    if !matches!(error.blame, Blame::Data | Blame::Storage) {
        return error;
    }
    let mut scans = Vec::new();
    file_scans(plan, &mut scans);
    for (scan, is_text) in scans {
        // A scan may also compute, and what fails then is not the file; damaged Parquet is the storage's fault, never the data's.
        let is_file = |found: &Error| is_text || found.blame == Blame::Storage;
        if let Some((path, found)) = culprit(&scan, context, is_own).await.filter(|(_, found)| is_file(found)) {
            if error.message.contains(&path) {
                return error;
            }
            return Error { message: format!("{path}: {}", found.message), blame: found.blame, ..error };
        }
    }
    error
}

fn file_scans(plan: &Arc<dyn ExecutionPlan>, scans: &mut Vec<(FileScanConfig, bool)>) {
    if let Some(source) = plan.downcast_ref::<DataSourceExec>()
        && let Some(config) = source.data_source().downcast_ref::<FileScanConfig>()
    {
        let textual = config.file_source().downcast_ref::<CsvSource>().is_some();
        let parquet = config.file_source().downcast_ref::<ParquetSource>().is_some();
        if textual || parquet {
            scans.push((config.clone(), textual));
        }
    }
    for child in plan.children() {
        file_scans(child, scans);
    }
}

/// The first file of the scan that cannot be read, with the error of reading it whole and alone.
async fn culprit(scan: &FileScanConfig, context: &Arc<TaskContext>, is_own: &(dyn Fn(&Path) -> bool + Sync)) -> Option<(String, Error)> {
    let mut seen = std::collections::HashSet::new();
    for file in scan.file_groups.iter().flat_map(|group| group.iter()) {
        if is_own(&file.object_meta.location) || !seen.insert(file.object_meta.location.clone()) {
            continue;
        }
        let mut whole = file.clone();
        whole.range = None;
        let mut alone = scan.clone();
        alone.file_groups = vec![vec![whole].into()];
        if let Err(error) = read_all(alone, context).await {
            return Some((format!("/{}", file.object_meta.location), error));
        }
    }
    None
}

async fn read_all(scan: FileScanConfig, context: &Arc<TaskContext>) -> Result<()> {
    let plan: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(scan);
    for partition in 0..plan.output_partitioning().partition_count() {
        let mut stream = plan.execute(partition, Arc::clone(context))?;
        while stream.try_next().await?.is_some() {}
    }
    Ok(())
}
