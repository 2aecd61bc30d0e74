//! Plans relations that the dialect has marked with a hint.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Extension, LogicalPlan};
use datafusion::sql::sqlparser::ast::TableFactor;

use super::HintNode;
use crate::dialect::hints::unmark;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct PlanMarks {}

impl RelationPlanner for PlanMarks {
    fn plan_relation(&self, relation: TableFactor, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
        let Some((hint, hinted)) = unmark(&relation) else { return Ok(RelationPlanning::Original(Box::new(relation))) };
        let input = context.plan(hinted.clone())?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(HintNode::new(hint, input)) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, None))))
    }
}
