//! Logical plan → the physical plan that runs: in how many partitions, and with which joins salted.

use std::sync::Arc;

use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;

use super::{Mode, Session, bytes_read};
use crate::Result;
use crate::planner::salt_skewed_joins::{forget_candidates, note_candidates, with_samples};

impl Session {
    /// The plan that a state makes of a statement that is run, shown or only checked.
    pub(super) async fn physical_by(&self, state: &mut SessionState, mode: Mode, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        if mode == Mode::Check {
            return self.in_partitions(state, plan).await;
        }
        // As it runs: where joins may be skewed, samples of their sides are read first.
        note_candidates(state);
        let planned = self.in_partitions(state, plan).await?;
        Ok(with_samples(planned, state, plan).await?)
    }

    /// A plan that reads nothing while it is made.
    pub(super) async fn physical(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        Box::pin(self.physical_by(&mut self.context.state(), Mode::Check, plan)).await
    }

    /// The plan that a state makes of a statement that is run and has been optimized before.
    pub(super) async fn physical_again(
        &self,
        state: &mut SessionState,
        plan: &LogicalPlan,
        optimized: &LogicalPlan,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        note_candidates(state);
        let planned = self.in_partitions_of(state, optimized).await?;
        Ok(with_samples(planned, state, plan).await?)
    }

    /// The physical plan of an optimized one.
    pub(super) async fn physical_of(&self, mut state: SessionState, optimized: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        self.in_partitions_of(&mut state, optimized).await
    }

    /// An optimized plan with as many partitions as suit what it reads; the state has that setting then.
    async fn in_partitions_of(&self, state: &mut SessionState, optimized: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = Arc::clone(state.query_planner());
        let Some(partitions) = self.backend.partitions(None) else { return Ok(planner.create_physical_plan(optimized, state).await?) };
        state.config_mut().options_mut().execution.target_partitions = partitions;
        let physical = planner.create_physical_plan(optimized, state).await?;
        match self.backend.partitions(Some(bytes_read(physical.as_ref()))) {
            Some(better) if better != partitions => {
                forget_candidates(state);
                state.config_mut().options_mut().execution.target_partitions = better;
                Ok(planner.create_physical_plan(optimized, state).await?)
            }
            _ => Ok(physical),
        }
    }

    /// The plan with as many partitions as suit what it reads; the state has that setting then.
    async fn in_partitions(&self, state: &mut SessionState, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(partitions) = self.backend.partitions(None) else { return Ok(state.create_physical_plan(plan).await?) };
        // How much is read is known once files have been pruned, that is in the physical plan.
        state.config_mut().options_mut().execution.target_partitions = partitions;
        let physical = state.create_physical_plan(plan).await?;
        match self.backend.partitions(Some(bytes_read(physical.as_ref()))) {
            Some(better) if better != partitions => {
                forget_candidates(state);
                state.config_mut().options_mut().execution.target_partitions = better;
                Ok(state.create_physical_plan(plan).await?)
            }
            _ => Ok(physical),
        }
    }
}
