//! Deduplications run as two jobs: the first finds the keys that are repeated, and the second is planned from what it found.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use orrery_engine::Result;
use orrery_engine::operators::deduplicate::in_stages;
use orrery_engine::session::Tracker;

use super::Cluster;

impl Cluster {
    /// A plan without deduplications: their first passes are run, and second ones stand in their places.
    pub(super) async fn deduplicated(
        &self,
        mut plan: Arc<dyn ExecutionPlan>,
        session: &SessionContext,
        tracker: &Tracker,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        while let Some(deduplicate) = in_stages::find_in(&plan) {
            let found = match deduplicate.first_stage(ExecutionPlan::properties(&deduplicate).partitioning.partition_count())? {
                Some(first) => Some(self.collect_job(&first, session, tracker).await?),
                None => None,
            };
            let second = deduplicate.second_stage(found.as_deref())?;
            plan = deduplicate.replace_in(plan, &second)?;
        }
        Ok(plan)
    }
}

/// The plan with its deduplications as they will be if no key is repeated, for showing.
pub(super) fn as_if_few_repeat(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let mut plan = Arc::clone(plan);
    while let Some(deduplicate) = in_stages::find_in(&plan) {
        let second = deduplicate.second_stage(deduplicate.first_stage(1)?.map(|_| Vec::new()).as_deref())?;
        plan = deduplicate.replace_in(plan, &second)?;
    }
    Ok(plan)
}
