//! Physical plans with the operators that hold the places of hints and barriers.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use super::HintNode;
use super::apply_partition_hints::PartitionsExec;
use super::hinted_relation::HintedRelationExec;
use crate::dialect::hints::HintKind;
use crate::operators::barrier::BarrierExec;
use crate::planner::barrier::Barrier;

/// DataFusion's planner, which also knows the nodes of hints and barriers.
#[derive(Debug, Default)]
pub struct HintedQueryPlanner {}

#[async_trait]
impl QueryPlanner for HintedQueryPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(PlanNodes {})]).create_physical_plan(plan, session).await
    }
}

#[derive(Debug)]
struct PlanNodes {}

#[async_trait]
impl ExtensionPlanner for PlanNodes {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if let (Some(_), [input]) = (node.as_any().downcast_ref::<Barrier>(), inputs) {
            return Ok(Some(Arc::new(BarrierExec::new(Arc::clone(input)))));
        }
        let (Some(hint), [input]) = (node.as_any().downcast_ref::<HintNode>(), inputs) else { return Ok(None) };
        let input = Arc::clone(input);
        let number = hint.tracked.hint.args.first().and_then(|arg| arg.parse::<usize>().ok());
        let partitions = number.unwrap_or_else(|| session.config_options().execution.target_partitions);
        let planned: Arc<dyn ExecutionPlan> = match hint.kind() {
            HintKind::Broadcast | HintKind::Merge | HintKind::ShuffleHash | HintKind::Skew => {
                Arc::new(HintedRelationExec { tracked: hint.tracked.clone(), input })
            }
            HintKind::BlockEnd => input,
            HintKind::Coalesce => {
                hint.tracked.applied();
                Arc::new(PartitionsExec::at_most(input, partitions))
            }
            HintKind::Repartition => {
                hint.tracked.applied();
                let schema = hint.input.schema();
                let keys = hint.keys.iter().map(|key| planner.create_physical_expr(key, schema, session, context));
                let keys = keys.collect::<Result<Vec<_>>>()?;
                let partitioning = match keys.is_empty() {
                    true => Partitioning::RoundRobinBatch(partitions),
                    false => Partitioning::Hash(keys, partitions),
                };
                Arc::new(PartitionsExec::exactly(input, partitioning))
            }
        };
        Ok(Some(planned))
    }
}
