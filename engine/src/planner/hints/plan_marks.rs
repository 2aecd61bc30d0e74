//! Plans relations that the dialect has marked with a hint.

use std::sync::Arc;

use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Extension, LogicalPlan};
use datafusion::sql::sqlparser::ast::TableFactor;

use super::HintNode;
use crate::Error;
use crate::dialect::hints::{Hint, HintKind, unmark};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct PlanMarks {}

impl RelationPlanner for PlanMarks {
    fn plan_relation(&self, relation: TableFactor, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
        let Some((hint, hinted)) = unmark(&relation) else { return Ok(RelationPlanning::Original(Box::new(relation))) };
        let input = context.plan(hinted.clone())?;
        check_columns(&hint, input.schema())?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(HintNode::new(hint, input)) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, None))))
    }
}

/// # Errors
/// `SKEW` of a column that its table does not have.
fn check_columns(hint: &Hint, schema: &DFSchema) -> Result<()> {
    let [table, columns @ ..] = hint.args.as_slice() else { return Ok(()) };
    let missing = columns.iter().find(|name| !schema.fields().iter().any(|field| field.name() == *name));
    match missing.filter(|_| hint.kind == HintKind::Skew) {
        None => Ok(()),
        Some(name) => Err(Error::sql(format!("SKEW names '{name}', which is no column of '{table}'"))
            .at(hint.position)
            .hint(format!("its columns are: {}", schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")))
            .into()),
    }
}
