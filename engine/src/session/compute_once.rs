//! Common subplans of a statement: decides which are computed once, runs them into scratch storage before the statement's own plan, and keeps their rows
//! until nobody reads them any more. What a common subplan is, and how it is taken out, is the planner's [`compute_once`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt as _;
use orrery_lakehouse::{Relation, delta_schema};

use super::analyze::Report;
use super::scratch::ScratchTable;
use super::types::same_values;
use super::write::cast_to;
use super::{Mode, Session, Tracker, bytes_read};
use crate::operators::number_rows::NumberRowsExec;
use crate::planner::compute_once::{self, Sources, TakenOut};
use crate::{Blame, Error, Result};

/// Unless told otherwise, a subplan has to read so much, and sharing has to save so much, to be worth a round of planning and files.
pub(super) const LEAST_BYTES: u64 = 32 << 20;

/// A statement's plan, ready to run, and the tables it reads that go when it has run.
pub(super) struct Prepared {
    pub(super) physical: Arc<dyn ExecutionPlan>,
    /// What was run for it already.
    pub(super) ran: Vec<Ran>,
    scratch: Vec<ScratchTable>,
}

/// What has been run for a statement, and the tables that hold the rows.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) ran: Vec<Ran>,
    pub(super) scratch: Vec<ScratchTable>,
}

impl Kept {
    fn beside(self, physical: Arc<dyn ExecutionPlan>) -> Prepared {
        Prepared { physical, ran: self.ran, scratch: self.scratch }
    }
}

/// A subplan that has run.
pub(super) struct Ran {
    pub(super) name: String,
    pub(super) physical: Arc<dyn ExecutionPlan>,
    /// What a backend that ran it elsewhere measured.
    pub(super) reports: Vec<Report>,
    pub(super) elapsed: Duration,
}

impl Prepared {
    /// A plan for which nothing else was run.
    pub(super) fn alone(physical: Arc<dyn ExecutionPlan>) -> Self {
        Kept::default().beside(physical)
    }

    /// Whether it is one.
    pub(super) fn is_alone(&self) -> bool {
        self.ran.is_empty() && self.scratch.is_empty()
    }

    /// Removes what only this statement needed.
    pub(super) async fn finish(self) {
        for table in self.scratch {
            table.remove().await;
        }
    }

    /// The rows of the plan, which take what only they needed with them when they end, fail or are dropped.
    pub(super) fn rows(self, stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
        if self.scratch.is_empty() {
            return stream;
        }
        let schema = stream.schema();
        let rows = futures::stream::unfold(Some((stream, self)), |state| async move {
            let (mut stream, prepared) = state?;
            match stream.next().await {
                Some(Ok(batch)) => Some((Ok(batch), Some((stream, prepared)))),
                end => {
                    drop(stream);
                    prepared.finish().await;
                    end.map(|error| (error, None))
                }
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}

/// A statement's plan as `EXPLAIN` shows it.
pub(super) struct Shown {
    pub(super) optimized: LogicalPlan,
    pub(super) physical: Arc<dyn ExecutionPlan>,
    /// Names and optimized plans of the subplans that would run first.
    pub(super) common: Vec<(String, LogicalPlan)>,
}

impl Session {
    /// Plans a statement that is about to run, and runs its common subplans.
    pub(super) async fn prepare(&self, plan: &LogicalPlan, tracker: &Tracker) -> Result<Prepared> {
        let mut state = self.spare_state.take(&self.context);
        let prepared = Box::pin(self.prepare_by(&mut state, plan, tracker)).await;
        self.spare_state.give_back(state, &self.context);
        prepared
    }

    /// The same by a state of its own.
    pub(super) async fn prepare_by(&self, state: &mut SessionState, plan: &LogicalPlan, tracker: &Tracker) -> Result<Prepared> {
        if self.names.guard().is_withheld() {
            tracker.conceal();
        }
        let Some(taken_out) = Box::pin(self.common_subplans(state, plan)).await else {
            return Box::pin(self.prepare_without_common_subplans(state, plan, tracker)).await;
        };
        let state: &SessionState = state;
        let (mut sources, mut kept) = (Sources::new(), Kept::default());
        for subplan in &taken_out.subplans {
            let rows = compute_once::read_from(&subplan.plan, &sources)?;
            let mut table = ScratchTable::new(self.begin_scratch_table(stored_schema(&rows), &subplan.name).await?);
            match Box::pin(self.keep_rows(state, &subplan.name, rows, &mut table, tracker)).await {
                Ok((source, run)) => {
                    sources.insert(subplan.name.clone(), source);
                    kept.ran.push(run);
                    kept.scratch.push(table);
                }
                Err(error) => {
                    table.remove().await;
                    return Err(error);
                }
            }
        }
        let mut main = compute_once::optimize(state, compute_once::read_from(&taken_out.main, &sources)?)?;
        if self.gathers_to_number(&main) {
            main = Box::pin(self.number_rows(state, main, &mut kept, tracker)).await?;
        }
        Ok(kept.beside(self.physical_of(state.clone(), &main).await?))
    }

    async fn prepare_without_common_subplans(&self, state: &mut SessionState, plan: &LogicalPlan, tracker: &Tracker) -> Result<Prepared> {
        let mut kept = Kept::default();
        if self.gathers_to_number(plan) {
            let main = self.number_rows(state, state.optimize(plan)?, &mut kept, tracker).await?;
            if !kept.scratch.is_empty() {
                return Ok(kept.beside(self.physical_of(state.clone(), &main).await?));
            }
        }
        Ok(kept.beside(self.physical_by(state, Mode::Run, plan).await?))
    }

    /// Plans a statement that is only shown.
    pub(super) async fn plan_to_show(&self, plan: &LogicalPlan, mode: Mode) -> Result<Shown> {
        Box::pin(self.plan_to_show_by(self.context.state(), plan, mode)).await
    }

    /// The same by a state of its own.
    pub(super) async fn plan_to_show_by(&self, mut state: SessionState, plan: &LogicalPlan, mode: Mode) -> Result<Shown> {
        let Some(taken_out) = Box::pin(self.common_subplans(&state, plan)).await else {
            let optimized = state.optimize(plan)?;
            if self.gathers_to_number(&optimized) {
                let (numbered, common) = Box::pin(self.number_rows_to_show(&state, optimized.clone())).await?;
                if !common.is_empty() {
                    return Ok(Shown { physical: self.physical_of(state, &numbered).await?, optimized: numbered, common });
                }
            }
            return Ok(Shown { physical: self.physical_by(&mut state, mode, plan).await?, optimized, common: Vec::new() });
        };
        let stand_ins = stand_ins(&taken_out);
        let mut common = Vec::with_capacity(taken_out.subplans.len());
        for subplan in &taken_out.subplans {
            let rows = compute_once::read_from(&subplan.plan, &stand_ins)?;
            common.push((subplan.name.clone(), compute_once::optimize(&state, rows)?));
        }
        let mut optimized = compute_once::optimize(&state, compute_once::read_from(&taken_out.main, &stand_ins)?)?;
        if self.gathers_to_number(&optimized) {
            let (numbered, rows) = Box::pin(self.number_rows_to_show(&state, optimized)).await?;
            optimized = numbered;
            common.extend(rows);
        }
        Ok(Shown { physical: self.physical_of(state, &optimized).await?, optimized, common })
    }

    /// What is to be computed once; nothing where it would not pay. A plan that cannot be taken apart runs as it is.
    async fn common_subplans(&self, state: &SessionState, plan: &LogicalPlan) -> Option<TakenOut> {
        match self.take_out_common_subplans(state, plan).await {
            Ok(taken_out) => taken_out,
            Err(error) => {
                tracing::debug!(%error, "common subplans are computed at each mention");
                None
            }
        }
    }

    async fn take_out_common_subplans(&self, state: &SessionState, plan: &LogicalPlan) -> Result<Option<TakenOut>> {
        if !reads_several(plan)? {
            return Ok(None);
        }
        let analyzed = compute_once::analyze(state, plan)?;
        let mut common = compute_once::find::find_common_subplans(&analyzed)?;
        if common.is_empty() {
            return Ok(None);
        }
        let least_bytes = self.least_common_bytes.load(Ordering::Relaxed);
        let whole = self.physical_of(state.clone(), &compute_once::optimize(state, analyzed.clone())?).await?;
        let whole_bytes = bytes_read(whole.as_ref());
        while !common.is_empty() && whole_bytes >= least_bytes {
            let taken_out = compute_once::take_out(state, &analyzed, &common)?;
            let stand_ins = stand_ins(&taken_out);
            let mut bytes = 0;
            let mut pays = Vec::with_capacity(common.len());
            for subplan in &taken_out.subplans {
                let rows = compute_once::optimize(state, compute_once::read_from(&subplan.plan, &stand_ins)?)?;
                let read = bytes_read(self.physical_of(state.clone(), &rows).await?.as_ref());
                bytes += read;
                pays.push(read >= least_bytes && can_be_kept(&stored_schema(&subplan.plan)));
            }
            if pays.iter().all(|pays| *pays) {
                let main = compute_once::optimize(state, compute_once::read_from(&taken_out.main, &stand_ins)?)?;
                bytes += bytes_read(self.physical_of(state.clone(), &main).await?.as_ref());
                return Ok((whole_bytes >= bytes.saturating_add(least_bytes)).then_some(taken_out));
            }
            // They run in the reverse of the order in which they were found.
            let mut pays = pays.into_iter().rev();
            common.retain(|_| pays.next().unwrap_or(false));
        }
        Ok(None)
    }

    /// Runs a subplan into a table, and gives what its rows are read from. A table with two more columns than the rows keeps their places, too.
    pub(super) async fn keep_rows(
        &self,
        state: &SessionState,
        name: &str,
        rows: LogicalPlan,
        table: &mut ScratchTable,
        tracker: &Tracker,
    ) -> Result<(Arc<dyn TableProvider>, Ran)> {
        let bug = || Error::new(Blame::Bug, format!("the rows of {name} are not where they were written"));
        let physical = {
            let pending = table.pending()?.as_ref().ok_or_else(bug)?;
            let (target, columns) = (pending.target_schema(), rows.schema().fields().len());
            let of_rows = Schema::new(target.fields().iter().take(columns).cloned().collect::<Vec<_>>());
            let rows = compute_once::optimize(state, cast_to(rows, &of_rows)?)?;
            let rows = self.physical_of(state.clone(), &rows).await?;
            pending.write_plan(if target.fields().len() > columns { Arc::new(NumberRowsExec::new(rows)) } else { rows })?
        };
        let started = Instant::now();
        tracker.start(&physical);
        let files = self.backend.run(Arc::clone(&physical), &self.context, tracker).await?;
        let (warehouse, table_name) = table.place().ok_or_else(bug)?;
        table.pending()?.take().ok_or_else(bug)?.commit(files).await?;
        let Some(Relation::Table(stored)) = warehouse.relation(&table_name).await? else { return Err(bug()) };
        let ran = Ran { name: name.to_string(), physical, reports: tracker.take_reports(), elapsed: started.elapsed() };
        Ok((self.names.scan(&stored), ran))
    }
}

/// Whether anything could be mentioned twice: each mention reads something.
fn reads_several(plan: &LogicalPlan) -> Result<bool> {
    let mut reads = 0;
    plan.apply_with_subqueries(|node| {
        reads += usize::from(node.inputs().is_empty());
        Ok(if reads > 1 { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(reads > 1)
}

fn stand_ins(taken_out: &TakenOut) -> Sources {
    taken_out.subplans.iter().map(|subplan| (subplan.name.clone(), subplan.stand_in())).collect()
}

/// The columns to write: marks on the fields of some table mean nothing for rows computed from it.
pub(super) fn stored_schema(plan: &LogicalPlan) -> SchemaRef {
    let fields = plan.schema().fields().iter().map(|field| Field::new(field.name(), field.data_type().clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Whether a table gives back the very values that were written.
pub(super) fn can_be_kept(schema: &Schema) -> bool {
    let Ok(stored) = delta_schema(schema) else { return false };
    schema.fields().iter().zip(stored.fields()).all(|(given, stored)| keeps_values(given.data_type(), stored.data_type()))
}

fn keeps_values(given: &DataType, stored: &DataType) -> bool {
    match (given, stored) {
        (given, stored) if same_values(given, stored) => true,
        (DataType::Timestamp(TimeUnit::Microsecond, given), DataType::Timestamp(TimeUnit::Microsecond, stored)) => {
            given.is_some() == stored.is_some()
        }
        (DataType::List(given), DataType::List(stored)) => keeps_values(given.data_type(), stored.data_type()),
        (DataType::Struct(given), DataType::Struct(stored)) => {
            given.iter().zip(stored).all(|(given, stored)| keeps_values(given.data_type(), stored.data_type()))
        }
        (given, _) => given.is_unsigned_integer(),
    }
}

#[cfg(test)]
mod tests;
