//! `VACUUM`: files that no version within the retention needs go away, or are listed.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use orrery_lakehouse::{Vacuum as Request, VacuumedFile};

use super::{Mode, Outcome, Session, planning};
use crate::dialect::Vacuum;
use crate::{Error, Result};

const SECONDS_PER_HOUR: u64 = 3600;

impl Session {
    pub(super) async fn vacuum(&self, vacuum: &Vacuum, mode: Mode) -> Result<Outcome> {
        let at = |error: Error| error.at(vacuum.name.position);
        let name = self.names.resolve(&vacuum.name);
        if mode == Mode::Check {
            return match self.names.relation(&name).await.map_err(at)? {
                Some(_) => Ok(Outcome::Done(format!("would vacuum {name}"))),
                None => Err(at(planning::missing_relation(&self.names, &name).await)),
            };
        }
        self.stored_table(&vacuum.name).await?;
        let request = Request {
            retain: vacuum.retain_hours.map(|hours| Duration::from_secs(hours.saturating_mul(SECONDS_PER_HOUR))),
            force: vacuum.force,
            dry_run: vacuum.dry_run,
        };
        let files = self.warehouse.vacuum(&name, request).await.map_err(|e| at(e.into()))?;
        if vacuum.dry_run { Self::batch(listed(&files)?) } else { Ok(Outcome::Done(summary(&files))) }
    }
}

fn summary(files: &[VacuumedFile]) -> String {
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let noun = if files.len() == 1 { "file" } else { "files" };
    format!("{} {noun} removed, {bytes} bytes", files.len())
}

/// One row per file: `path` (text, below the table's folder), `size_bytes` (bigint).
fn listed(files: &[VacuumedFile]) -> Result<RecordBatch> {
    let paths: StringArray = files.iter().map(|file| Some(file.path.as_str())).collect();
    let sizes: Int64Array = files.iter().map(|file| i64::try_from(file.bytes).ok()).collect();
    let columns: [(&str, ArrayRef); 2] = [("path", Arc::new(paths)), ("size_bytes", Arc::new(sizes))];
    Ok(RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))?)
}
