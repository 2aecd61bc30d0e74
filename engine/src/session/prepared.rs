//! Statements that are run again and again: what one run has found out is kept for the next, as long as it would be found out the same once more.
//!
//! Kept are the parsed statement and, of a query, its logical plan, before and after its values are in it and it is optimized. That holds while the session's
//! own names, settings and variables, its user's rights, the version of every table and the text of every view are what they were. A plan that rests on
//! anything else, such as the time, files, a model or the program's own tables, or that is of other rights than the user's own, is not kept. The physical plan
//! is made anew each time, since it has state, and its partitions depend on what there is to run it; unless it reads nothing, as the queries by which pools of
//! connections find out whether these still work.

use std::sync::{Arc, OnceLock};

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::sql::sqlparser::ast::Query;
use orrery_lakehouse::snapshot_of;
use parking_lot::Mutex;

use super::compute_once::Prepared;
use super::reliance::{Epoch, Found, Reliance, are_unchanged};
use super::{Mode, Outcome, Parameters, Session, Tracker, parameters, planning};
use crate::Result;
use crate::access::Rights;
use crate::dialect::{Statement, StatementText};
use crate::planner::compute_once::find::{is_plain, volatility};

/// Longest text of which a plan is kept: one of a long list of values is many times as large as its text.
const TEXT_BYTES_MAX: usize = 64 << 10;

tokio::task_local! {
    /// What is being run.
    static PREPARED: Arc<PreparedStatement>;
}

/// The statement that is being run, if it may be run again.
pub(super) fn current() -> Option<Arc<PreparedStatement>> {
    PREPARED.try_with(Arc::clone).ok().filter(|prepared| prepared.is_run_again)
}

/// See the module documentation. It is for one session, and may be run several times at once.
#[derive(Debug)]
pub struct PreparedStatement {
    text: StatementText,
    is_run_again: bool,
    parsed: Mutex<Option<(Epoch, Arc<Statement>)>>,
    planned: Mutex<Option<Arc<Planned>>>,
}

/// A plan and what it rests on.
#[derive(Debug)]
struct Planned {
    epoch: Epoch,
    rights: Arc<Rights>,
    relations: Found,
    /// For the audit.
    objects: Vec<String>,
    /// With parameters in it.
    plan: LogicalPlan,
    bound: Mutex<Option<Arc<Bound>>>,
}

/// A plan with values in the place of its parameters.
#[derive(Debug)]
struct Bound {
    values: Arc<Parameters>,
    plan: LogicalPlan,
    optimized: LogicalPlan,
    /// One that is never run itself.
    physical: OnceLock<Arc<dyn ExecutionPlan>>,
}

impl PreparedStatement {
    /// A statement that may be run many times. Nothing is looked at before the first.
    pub fn new(text: StatementText) -> Self {
        Self { text, is_run_again: true, parsed: Mutex::default(), planned: Mutex::default() }
    }

    /// A statement that is run once, so that no plan is kept.
    pub fn once(text: StatementText) -> Self {
        Self { is_run_again: false, ..Self::new(text) }
    }

    /// The statement's text.
    pub fn text(&self) -> &StatementText {
        &self.text
    }

    fn statement(&self, session: &Session) -> Result<Arc<Statement>> {
        // Looked up before the text is read: what changes meanwhile begins another one.
        let epoch = session.names.epoch();
        if let Some((of, statement)) = &*self.parsed.lock()
            && *of == epoch
        {
            return Ok(Arc::clone(statement));
        }
        let statement = Arc::new(session.parse(&self.text)?);
        *self.parsed.lock() = Some((epoch, Arc::clone(&statement)));
        Ok(statement)
    }
}

impl Planned {
    /// The plan with values, as it was optimized before or is now.
    fn bound(&self, state: &SessionState) -> Result<Arc<Bound>> {
        let values = parameters::values();
        let known = self.bound.lock().clone();
        if let Some(known) = known.filter(|known| known.values == values) {
            return Ok(known);
        }
        let plan = parameters::bind(self.plan.clone(), &[])?;
        let optimized = state.optimize(&plan)?;
        let bound = Arc::new(Bound { values, plan, optimized, physical: OnceLock::new() });
        *self.bound.lock() = Some(Arc::clone(&bound));
        Ok(bound)
    }
}

impl Session {
    /// Carries out a prepared statement with values for its parameters.
    ///
    /// # Errors
    /// As [`Session::execute`]; a parameter without a value, or with one of another type.
    pub async fn execute_prepared(&self, prepared: &Arc<PreparedStatement>, values: Parameters, tracker: &Tracker) -> Result<Outcome> {
        let statement = prepared.statement(self)?;
        let work = self.execute_parsed(&statement, &prepared.text, Mode::Run, tracker);
        Box::pin(PREPARED.scope(Arc::clone(prepared), parameters::with_values(values, work))).await
    }

    /// Runs the query of a prepared statement by its last plan if that still holds, else by a new one.
    pub(super) async fn query_prepared(
        &self,
        state: &mut SessionState,
        prepared: &PreparedStatement,
        query: &Query,
        tracker: &Tracker,
    ) -> Result<Outcome> {
        let known = prepared.planned.lock().clone();
        if let Some(known) = known {
            if self.holds(&known).await? {
                known.objects.iter().for_each(|object| self.names.guard().note_object(object.clone()));
                let bound = known.bound(state)?;
                let physical = self.physical_of_bound(state, &bound).await?;
                return self.stream(Prepared::alone(physical), tracker).await;
            }
            *prepared.planned.lock() = None;
        }
        let plan = planning::plan_unbound(state, &self.names, Box::new(query.clone())).await?;
        let bound = parameters::bind(plan.clone(), &[])?;
        let ready = Box::pin(self.prepare_by(state, &bound, tracker)).await?;
        if prepared.text.text.len() <= TEXT_BYTES_MAX && ready.is_alone() && !self.gathers_to_number(&bound) {
            *prepared.planned.lock() = self.kept(plan)?.map(Arc::new);
        }
        self.stream(ready, tracker).await
    }

    async fn physical_of_bound(&self, state: &mut SessionState, bound: &Bound) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(kept) = bound.physical.get() {
            return Ok(reset_plan_states(Arc::clone(kept))?);
        }
        let physical = self.physical_again(state, &bound.plan, &bound.optimized).await?;
        if reads_nothing(&physical) {
            return Ok(reset_plan_states(Arc::clone(bound.physical.get_or_init(|| physical)))?);
        }
        Ok(physical)
    }

    /// Whether a plan would be made the same now.
    async fn holds(&self, planned: &Planned) -> Result<bool> {
        let is_same = planned.epoch == self.names.epoch() && Arc::ptr_eq(&planned.rights, &self.names.guard().rights());
        Ok(is_same && are_unchanged(&planned.relations, &self.warehouse).await?)
    }

    /// The plan that the present statement has made, with what it rests on; `None` if it may be another one next time.
    fn kept(&self, plan: LogicalPlan) -> Result<Option<Planned>> {
        let guard = self.names.guard();
        let relations = self.names.with_reliance(Reliance::found).flatten();
        let Some(relations) = relations.filter(|_| !guard.is_withheld()) else { return Ok(None) };
        if !is_repeatable(&plan)? {
            return Ok(None);
        }
        let (epoch, rights, objects) = (self.names.epoch(), guard.rights(), guard.objects());
        Ok(Some(Planned { epoch, rights, relations, objects, plan, bound: Mutex::default() }))
    }
}

/// Whether a plan computes values out of nothing, by operators that have no state but what they count.
fn reads_nothing(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let is_plain = plan.is::<ProjectionExec>() || plan.is::<PlaceholderRowExec>() || plan.is::<EmptyExec>();
    is_plain && plan.children().into_iter().all(reads_nothing)
}

/// Whether a plan reads nothing but tables of the warehouse and calls nothing whose value may be another one next time.
fn is_repeatable(plan: &LogicalPlan) -> Result<bool> {
    let mut repeatable = true;
    plan.apply_with_subqueries(|node| {
        repeatable &= is_plain(node).is_ok_and(|is_plain| is_plain);
        if let LogicalPlan::TableScan(scan) = node {
            repeatable &= source_as_provider(&scan.source).is_ok_and(|provider| snapshot_of(provider.as_ref()).is_some());
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                repeatable &= has_one_value(expr);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(repeatable)
}

/// Whether an expression without its operands has the same value whenever it is computed.
fn has_one_value(expr: &Expr) -> bool {
    if let Some(volatility) = volatility(expr) {
        return volatility == Volatility::Immutable;
    }
    matches!(
        expr,
        Expr::Alias(_)
            | Expr::Column(_)
            | Expr::Literal(..)
            | Expr::Placeholder(_)
            | Expr::BinaryExpr(_)
            | Expr::Like(_)
            | Expr::SimilarTo(_)
            | Expr::Not(_)
            | Expr::IsNotNull(_)
            | Expr::IsNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::IsNotUnknown(_)
            | Expr::Negative(_)
            | Expr::Between(_)
            | Expr::Case(_)
            | Expr::Cast(_)
            | Expr::TryCast(_)
            | Expr::InList(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::ScalarSubquery(_)
            | Expr::GroupingSet(_)
            | Expr::OuterReferenceColumn(..)
            | Expr::Unnest(_)
    )
}

#[cfg(test)]
mod tests;
