//! Numberings of all rows, `row_number() OVER ()`, on backends that cut plans into stages: writes the rows to scratch storage, counts how many each task wrote,
//! and has the statement read them with their numbers. What the plans look like is the planner's [`number_rows`].

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use datafusion::arrow::array::{AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use futures::TryStreamExt as _;

use super::compute_once::{Kept, can_be_kept, stored_schema};
use super::scratch::ScratchTable;
use super::{Session, Tracker, bytes_read};
use crate::planner::compute_once;
use crate::planner::number_rows::{count_rows, find_numbering, read_numbered, rows_to_number, with_places};
use crate::{Blame, Error, Result};

/// How many numberings of a statement are spread over tasks at most.
const MOST_NUMBERINGS: usize = 8;

impl Session {
    /// Whether a plan numbers rows that its backend would gather in one task.
    pub(super) fn gathers_to_number(&self, plan: &LogicalPlan) -> bool {
        self.backend.partitions(None).is_some() && find_numbering(plan).is_some()
    }

    /// An optimized plan that reads the rows that it numbers from tables, which are added to `kept`; small ones are left to one task.
    pub(super) async fn number_rows(
        &self,
        state: &SessionState,
        mut plan: LogicalPlan,
        kept: &mut Kept,
        tracker: &Tracker,
    ) -> Result<LogicalPlan> {
        for number in 1..=MOST_NUMBERINGS {
            let Some(window) = find_numbering(&plan).cloned() else { break };
            let rows = rows_to_number(&window)?;
            if !self.is_worth_spreading(state, &rows).await? {
                break;
            }
            let name = name_of(number);
            let columns = with_places(&stored_schema(&rows)).into();
            let mut table = ScratchTable::new(self.begin_scratch_table(columns, &name).await?);
            let (source, ran) = Box::pin(self.keep_rows(state, &name, rows, &mut table, tracker)).await?;
            kept.ran.push(ran);
            kept.scratch.push(table);
            let counts = count_rows(&name, source.clone())?;
            let firsts = firsts(&self.small_answer(state, counts, tracker).await?)?;
            plan = compute_once::optimize(state, read_numbered(plan, &window, &name, &source, &firsts)?)?;
        }
        Ok(plan)
    }

    /// The same for a plan that is only shown, and the rows that would be written down first, by name.
    pub(super) async fn number_rows_to_show(
        &self,
        state: &SessionState,
        mut plan: LogicalPlan,
    ) -> Result<(LogicalPlan, Vec<(String, LogicalPlan)>)> {
        let mut common = Vec::new();
        for number in 1..=MOST_NUMBERINGS {
            let Some(window) = find_numbering(&plan).cloned() else { break };
            let rows = rows_to_number(&window)?;
            if !self.is_worth_spreading(state, &rows).await? {
                break;
            }
            let name = name_of(number);
            let source = compute_once::stand_in(&name, &with_places(&stored_schema(&rows)));
            common.push((name.clone(), compute_once::optimize(state, rows)?));
            plan = compute_once::optimize(state, read_numbered(plan, &window, &name, &source, &[])?)?;
        }
        Ok((plan, common))
    }

    async fn is_worth_spreading(&self, state: &SessionState, rows: &LogicalPlan) -> Result<bool> {
        let read = bytes_read(self.physical_of(state.clone(), rows).await?.as_ref());
        Ok(read >= self.least_common_bytes.load(Ordering::Relaxed) && can_be_kept(&stored_schema(rows)))
    }

    async fn small_answer(&self, state: &SessionState, plan: LogicalPlan, tracker: &Tracker) -> Result<Vec<RecordBatch>> {
        let optimized = compute_once::optimize(state, compute_once::analyze(state, &plan)?)?;
        let physical = self.physical_of(state.clone(), &optimized).await?;
        tracker.start(&physical);
        let batches = self.backend.stream(physical, &self.context, tracker).await?.try_collect().await?;
        // Nobody asks what it took to count.
        tracker.take_reports();
        Ok(batches)
    }
}

fn name_of(number: usize) -> String {
    format!("numbered_rows{number}")
}

/// For each task how many rows stand before its first one.
fn firsts(counts: &[RecordBatch]) -> Result<Vec<(i64, i64)>> {
    let mut rows_of = BTreeMap::new();
    for batch in counts {
        let [tasks, rows, last] = [0, 1, 2].map(|column| batch.column(column).as_primitive::<Int64Type>().values());
        for row in 0..batch.num_rows() {
            // Each task counts from zero: anything else means rows of an attempt that was given up.
            if rows_of.insert(tasks[row], rows[row]).is_some() || rows[row] != last[row] + 1 {
                return Err(Error::new(Blame::Bug, "rows that were written down to be numbered are not those of one attempt of each task"));
            }
        }
    }
    let mut before = 0;
    Ok(rows_of
        .into_iter()
        .map(|(task, rows)| {
            let first = before;
            before += rows;
            (task, first)
        })
        .collect())
}

#[cfg(test)]
mod tests;
