//! Takes the subplans out of a statement's plan that it mentions more than once, so that each is computed once.
//!
//! DataFusion plans a `WITH` name and a view anew at every mention. The copies are equal in the analyzed plan, before optimization makes them differ by
//! what each mention needs of them:
//!
//! ```text
//! Union                                  common_subplan1:           Union
//!   Filter: s.n > 1                        Projection: k, n           Filter: s.n > 1
//!     SubqueryAlias: s                       Filter: n > 1 OR n < 0     Projection: …
//!       Aggregate: [k] [count(*), max(x)]      Aggregate: [k] […]         TableScan: common_subplan1
//!         TableScan: t                           TableScan: t         Filter: s.n < 0
//!   Filter: s.n < 0                                                     Projection: …
//!     SubqueryAlias: s (the same again)                                   TableScan: common_subplan1
//! ```
//!
//! [`find`] tells which subplans are worth it, [`replace`] puts scans in their places, and [`narrow`] learns from the optimized rest which columns and rows
//! those scans need. Running the subplans and keeping their rows is the session's business.

pub mod find;
mod narrow;
mod replace;
mod stand_in;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;

use narrow::Usage;
use replace::{mention, replace_subplans};
pub(super) use replace::{replace, stored_names};
use stand_in::StandIn;

/// What the rows of a subplan are read from, by the subplan's name.
pub type Sources = HashMap<String, Arc<dyn TableProvider>>;

/// A statement's plan without its common subplans. Plans are analyzed and not optimized.
#[derive(Debug)]
pub struct TakenOut {
    /// The statement's plan, with scans of stand-ins where the subplans were.
    pub main: LogicalPlan,
    /// The subplans in an order in which each is computed before it is read.
    pub subplans: Vec<Subplan>,
}

/// A subplan that is computed once.
#[derive(Debug)]
pub struct Subplan {
    /// The name that its scans have in plans.
    pub name: String,
    /// The columns and rows that are needed of it, the columns under names that a table can have. It may itself read other subplans.
    pub plan: LogicalPlan,
}

impl Subplan {
    /// What its rows are read from in plans that are only shown.
    pub fn stand_in(&self) -> Arc<dyn TableProvider> {
        stand_in(&self.name, self.plan.schema().as_arrow())
    }
}

/// What rows of that name and those columns are read from in plans that are only shown.
pub fn stand_in(name: &str, columns: &Schema) -> Arc<dyn TableProvider> {
    Arc::new(StandIn::new(name, columns.clone()))
}

/// A plan after DataFusion's analysis and ours.
///
/// # Errors
/// The plan does not pass the analysis.
pub fn analyze(state: &SessionState, plan: &LogicalPlan) -> Result<LogicalPlan> {
    state.analyzer().execute_and_check(plan.clone(), state.config_options(), |_, _| {})
}

/// An analyzed plan, optimized.
///
/// # Errors
/// A rule failed.
pub fn optimize(state: &SessionState, analyzed: LogicalPlan) -> Result<LogicalPlan> {
    state.optimizer().optimize(analyzed, state, |_, _| {})
}

/// Takes `common`, which [`find::find_common_subplans`] found in it, out of an analyzed plan.
///
/// # Errors
/// What is left cannot be optimized.
pub fn take_out(state: &SessionState, analyzed: &LogicalPlan, common: &[LogicalPlan]) -> Result<TakenOut> {
    let mut mentions = Vec::with_capacity(common.len());
    for (at, subplan) in common.iter().enumerate() {
        mentions.push((subplan.clone(), mention(&name_of(at), subplan.schema())?));
    }
    let main = replace_subplans(analyzed.clone(), &mentions)?;
    // Every reader of a subplan comes before it: larger subplans were found before those in them.
    let mut readers = vec![optimize(state, main.clone())?];
    let mut subplans = Vec::with_capacity(common.len());
    for (at, subplan) in common.iter().enumerate() {
        let whole = replace_subplans(subplan.clone(), &mentions[at + 1..])?;
        let name = name_of(at);
        let plan = Usage::of(&name, &readers)?.narrow(whole)?;
        readers.push(optimize(state, plan.clone())?);
        subplans.push(Subplan { name, plan });
    }
    subplans.reverse();
    Ok(TakenOut { main, subplans })
}

/// An analyzed plan that reads its subplans from `sources`.
///
/// # Errors
/// A column that is read is not in the source.
pub fn read_from(plan: &LogicalPlan, sources: &Sources) -> Result<LogicalPlan> {
    replace::replace_sources(plan.clone(), sources)
}

fn name_of(at: usize) -> String {
    format!("common_subplan{}", at + 1)
}
