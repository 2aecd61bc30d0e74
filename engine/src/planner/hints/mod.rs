//! Hints on their way through planning.
//!
//! ```text
//! SELECT /*+ BROADCAST(d), REPARTITION(8) */ …     dialect: marks around relations, with their places
//! Hint: BROADCAST(d) over the scan of d            plan_marks: nodes in the logical plan
//! Hint: REPARTITION(8) over the block's projection raise_block_hints: the block's hint rises to the block's top
//! HintedRelationExec, PartitionsExec               plan_nodes: operators that hold their place among the physical plan
//! HashJoinExec: mode=CollectLeft over d            apply_join_hints, after DataFusion has selected joins
//! SaltHotKeysExec over f, for SKEW                 salt_skewed_joins, once joins are settled and samples taken
//! RepartitionExec: RoundRobinBatch(8)              apply_partition_hints, after DataFusion has dealt out partitions
//! ```
//!
//! DataFusion's own node for new partitions does not serve: its physical planner takes out every repartition that no operator requires.

pub mod apply_join_hints;
pub mod apply_partition_hints;
pub(super) mod hinted_relation;
pub mod plan_marks;
pub mod plan_nodes;
pub mod raise_block_hints;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchemaRef, Result, internal_err};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use parking_lot::Mutex;

use crate::dialect::hints::{Hint, HintKind};

/// The rules that carry hints through planning.
pub(crate) const RULES: [&str; 3] = ["raise_block_hints", "apply_join_hints", "apply_partition_hints"];

/// A hint and what became of it, which everybody sees who has a copy.
#[derive(Debug, Clone)]
pub(crate) struct Tracked {
    pub hint: Hint,
    /// `None` as long as nothing has been done about it, what was done where that varies, or why it was ignored.
    outcome: Arc<Mutex<Option<Result<String, String>>>>,
}

impl Tracked {
    pub fn new(hint: Hint) -> Self {
        Self { hint, outcome: Arc::default() }
    }

    pub fn applied(&self) {
        self.applied_as("");
    }

    pub fn applied_as(&self, what: &str) {
        *self.outcome.lock() = Some(Ok(what.to_string()));
    }

    /// A plan may hold the hinted rows several times; applied once is applied.
    pub fn ignored(&self, why: impl Into<String>) {
        let mut outcome = self.outcome.lock();
        if !matches!(*outcome, Some(Ok(_))) {
            *outcome = Some(Err(why.into()));
        }
    }
}

impl fmt::Display for Tracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.outcome.lock() {
            Some(Ok(what)) if what.is_empty() => write!(f, "{} applied", self.hint),
            Some(Ok(what)) => write!(f, "{} applied: {what}", self.hint),
            Some(Err(why)) => write!(f, "{} ignored: {why}", self.hint),
            None => write!(f, "{} ignored: the plan has no join of it", self.hint),
        }
    }
}

impl PartialEq for Tracked {
    fn eq(&self, other: &Self) -> bool {
        self.hint == other.hint
    }
}

impl Eq for Tracked {}

impl Hash for Tracked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hint.to_string().hash(state);
    }
}

/// A hint over the rows that it is for. It changes nothing about them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HintNode {
    pub tracked: Tracked,
    /// Whether it has risen past the projection of its query block.
    pub is_above_projection: bool,
    /// The columns of `REPARTITION`, once they are known.
    pub keys: Vec<Expr>,
    pub input: LogicalPlan,
}

impl PartialOrd for HintNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl HintNode {
    pub fn new(hint: Hint, input: LogicalPlan) -> Self {
        Self { tracked: Tracked::new(hint), is_above_projection: false, keys: Vec::new(), input }
    }

    pub fn kind(&self) -> HintKind {
        self.tracked.hint.kind
    }

    /// Whether it says that keys are frequent.
    pub fn is_about_skew(&self) -> bool {
        self.kind() == HintKind::Skew
    }

    /// The hint that a plan begins with.
    pub fn of(plan: &LogicalPlan) -> Option<&HintNode> {
        match plan {
            LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
            _ => None,
        }
    }
}

impl UserDefinedLogicalNodeCore for HintNode {
    fn name(&self) -> &str {
        "Hint"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.keys.clone()
    }

    /// Filters and limits concern the same rows below it.
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        std::collections::HashSet::new()
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let keys = self.keys.iter().filter_map(|key| self.input.schema().maybe_index_of_column(key.try_as_col()?));
        let mut needed: Vec<usize> = output_columns.iter().copied().chain(keys).collect();
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hint: {}", self.tracked.hint)
    }

    fn with_exprs_and_inputs(&self, keys: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => Ok(Self { keys, input, ..self.clone() }),
            _ => internal_err!("a hint has one input"),
        }
    }
}

/// The hint of the table that the rows of a plan come straight from, filtered and computed at most, that says that some of these keys are frequent.
pub(super) fn skew_hint_of<'a>(plan: &'a LogicalPlan, keys: &[Expr]) -> Option<&'a Tracked> {
    if let Some(hint) = HintNode::of(plan)
        && hint.is_about_skew()
    {
        // The first one is the table.
        let [_, columns @ ..] = hint.tracked.hint.args.as_slice() else { return None };
        let is_key = |name: &String| keys.iter().any(|key| key.try_as_col().is_some_and(|column| column.name == *name));
        return columns.iter().all(is_key).then_some(&hint.tracked);
    }
    match plan {
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Extension(_) => {
            match plan.inputs()[..] {
                [input] => skew_hint_of(input, keys),
                _ => None,
            }
        }
        _ => None,
    }
}

/// What became of the hints of a plan, for `EXPLAIN`, after it has been planned; one line each.
pub(crate) fn outcomes(plan: &LogicalPlan) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let Some(hint) = HintNode::of(node).filter(|hint| hint.kind() != HintKind::BlockEnd) {
            let line = hint.tracked.to_string();
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(lines)
}
