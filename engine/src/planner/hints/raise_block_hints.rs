//! Raises the hints of query blocks from the block's first relation, where they were read, to its top: above the projection and `DISTINCT`, below
//! `ORDER BY` and `LIMIT`.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::HintNode;
use crate::Error;
use crate::dialect::hints::{Hint, HintKind};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct RaiseBlockHints {}

impl AnalyzerRule for RaiseBlockHints {
    fn name(&self) -> &str {
        "raise_block_hints"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let raised = plan.transform_up_with_subqueries(raise)?.data;
        Ok(raised.transform_up_with_subqueries(settle)?.data)
    }
}

/// Lets a hint directly below a node rise past it, if the node is of the hint's query block.
fn raise(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if HintNode::of(&plan).is_some() {
        return Ok(Transformed::no(plan));
    }
    let inputs = plan.inputs();
    let Some((at, hint)) =
        inputs.iter().enumerate().find_map(|(at, input)| Some((at, HintNode::of(input).filter(|hint| rises(hint, &plan))?)))
    else {
        return Ok(Transformed::no(plan));
    };
    let hint = hint.clone();
    let inputs = inputs.into_iter().enumerate().map(|(index, input)| if index == at { hint.input.clone() } else { input.clone() });
    let inputs = inputs.collect();
    let is_above_projection = hint.is_above_projection || matches!(plan, LogicalPlan::Projection(_) | LogicalPlan::Distinct(_));
    let input = plan.with_new_exprs(plan.expressions(), inputs)?;
    Ok(Transformed::yes(node(HintNode { is_above_projection, input, ..hint })))
}

fn rises(hint: &HintNode, above: &LogicalPlan) -> bool {
    if !hint.kind().is_for_block() {
        return false;
    }
    match above {
        LogicalPlan::Projection(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Unnest(_) => true,
        LogicalPlan::Join(_) | LogicalPlan::Aggregate(_) | LogicalPlan::SubqueryAlias(_) => !hint.is_above_projection,
        _ => false,
    }
}

/// Looks the columns of a hint up in the rows that it now stands over, and takes out what only showed where blocks end.
fn settle(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let Some(hint) = HintNode::of(&plan) else { return Ok(Transformed::no(plan)) };
    match hint.kind() {
        HintKind::BlockEnd => Ok(Transformed::yes(hint.input.clone())),
        HintKind::Repartition if hint.keys.is_empty() => {
            let keys = keys(&hint.tracked.hint, hint.input.schema())?;
            Ok(Transformed::yes(node(HintNode { keys, ..hint.clone() })))
        }
        _ => Ok(Transformed::no(plan)),
    }
}

fn keys(hint: &Hint, schema: &DFSchema) -> Result<Vec<Expr>> {
    let columns = hint.args.iter().filter(|arg| arg.parse::<u64>().is_err());
    let find =
        |name: &String| {
            let unqualified = name.rsplit('.').next().unwrap_or(name);
            let found: Vec<_> = schema.iter().filter(|(_, field)| field.name() == unqualified).collect();
            match found.as_slice() {
                [(qualifier, field)] => Ok(Expr::Column(Column::new(qualifier.cloned(), field.name()))),
                [] => Err(Error::sql(format!("REPARTITION names '{name}', which its query block does not select"))
                    .at(hint.position)
                    .hint(format!("the block selects: {}", schema.field_names().join(", ")))
                    .into()),
                _ => Err(Error::sql(format!("REPARTITION names '{name}', which its query block selects {} times", found.len()))
                    .at(hint.position))?,
            }
        };
    columns.map(find).collect()
}

fn node(hint: HintNode) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(hint) })
}
