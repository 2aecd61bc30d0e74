//! Which of our rewrites changed a plan, for `EXPLAIN`. Most leave no operator of their own that would tell.
//!
//! Rules among the logical ones are watched from outside, as the optimizer allows. Physical rules are wrapped, for one statement, in ones that look at the
//! plan before and after. Hints are told of apart.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{Analyzer, Optimizer};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use parking_lot::Mutex;

use super::{PhysicalRule, across_tasks, analyzer_rules, hints, logical_rules, physical_rules};

/// Rules that only keep a plan within bounds.
const NOT_TOLD: [&str; 4] = ["bind_bounded_functions", "divide_windows", "guard_repeated_rows", "shorten_batches"];

/// The names of the rewrites that changed something, in the order in which they first did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn tell(&self, rule: &str) {
        let mut names = self.0.lock();
        if !names.iter().any(|name| name == rule) {
            names.push(rule.to_string());
        }
    }

    /// What has been told so far.
    pub fn names(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

/// A session that plans like `state` and tells which of our physical rules change a plan.
pub(crate) fn telling(state: &SessionState, told: &Told) -> SessionState {
    let ours = our_physical_rules();
    let wrap = |rule: &PhysicalRule| -> PhysicalRule {
        match ours.iter().any(|name| name == rule.name()) {
            true => Arc::new(Telling { rule: Arc::clone(rule), told: told.clone() }),
            false => Arc::clone(rule),
        }
    };
    let rules = state.physical_optimizers().iter().map(wrap).collect();
    SessionStateBuilder::new_from_existing(state.clone()).with_physical_optimizer_rules(rules).build()
}

/// Tells which of our logical rules change a plan.
pub(crate) fn tell_logical(state: &SessionState, plan: &LogicalPlan, told: &Told) -> Result<()> {
    let ours = our_logical_rules();
    let mut before = plan.display_indent().to_string();
    let mut watch = |after: &LogicalPlan, rule: &str| {
        let after = after.display_indent().to_string();
        if after != before && ours.iter().any(|name| name == rule) {
            told.tell(rule);
        }
        before = after;
    };
    let analyzed = state.analyzer().execute_and_check(plan.clone(), state.config_options(), |plan, rule| watch(plan, rule.name()))?;
    state.optimizer().optimize(analyzed, state, |plan, rule| watch(plan, rule.name()))?;
    Ok(())
}

fn our_logical_rules() -> Vec<String> {
    let analysis = without(names(&analyzer_rules(), |rule| rule.name()), &names(&Analyzer::new().rules, |rule| rule.name()));
    let optimization = without(names(&logical_rules(), |rule| rule.name()), &names(&Optimizer::new().rules, |rule| rule.name()));
    [analysis, optimization].concat()
}

fn our_physical_rules() -> Vec<String> {
    let all = [physical_rules(), across_tasks(physical_rules())].concat();
    without(names(&all, |rule| rule.name()), &names(&PhysicalOptimizer::new().rules, |rule| rule.name()))
}

fn names<Rule>(rules: &[Rule], name: impl Fn(&Rule) -> &str) -> Vec<String> {
    rules.iter().map(|rule| name(rule).to_string()).collect()
}

/// Ours are those that are neither DataFusion's nor about hints, and change how a query is answered.
fn without(mut ours: Vec<String>, theirs: &[String]) -> Vec<String> {
    ours.retain(|name| !theirs.contains(name) && !hints::RULES.contains(&name.as_str()) && !NOT_TOLD.contains(&name.as_str()));
    ours
}

#[derive(Debug)]
struct Telling {
    rule: PhysicalRule,
    told: Told,
}

impl PhysicalOptimizerRule for Telling {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let before = text(&plan);
        let plan = self.rule.optimize(plan, config)?;
        if text(&plan) != before {
            self.told.tell(self.rule.name());
        }
        Ok(plan)
    }

    fn name(&self) -> &str {
        self.rule.name()
    }

    fn schema_check(&self) -> bool {
        self.rule.schema_check()
    }
}

/// With every detail, because some rewrites change no more than which files a task reads.
fn text(plan: &Arc<dyn ExecutionPlan>) -> String {
    DisplayableExecutionPlan::new(plan.as_ref()).indent(true).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::testing::ours;
    use super::*;

    async fn told_of(sql: &str) -> Vec<String> {
        let context = ours().await.unwrap();
        let state = context.state();
        let told = Told::default();
        let plan = state.create_logical_plan(sql).await.unwrap();
        tell_logical(&state, &plan, &told).unwrap();
        telling(&state, &told).create_physical_plan(&plan).await.unwrap();
        told.names()
    }

    #[tokio::test]
    async fn tells_what_changed_a_plan() {
        assert_eq!(told_of("SELECT count(*) FROM events").await, Vec::<String>::new());
        let told = told_of("SELECT DISTINCT ON (user_id) user_id, at FROM events ORDER BY user_id, at").await;
        assert!(told.contains(&"number_distinct_on_rows".to_string()), "{told:?}");
        assert!(told.contains(&"deduplicate_by_row_number".to_string()), "{told:?}");
    }

    #[test]
    fn knows_all_of_ours() {
        assert!(our_physical_rules().contains(&"cut_scans".to_string()));
        assert!(our_physical_rules().iter().all(|name| !hints::RULES.contains(&name.as_str())));
        assert!([our_logical_rules(), our_physical_rules()].concat().iter().all(|name| !NOT_TOLD.contains(&name.as_str())));
        assert!(our_logical_rules().contains(&"expand_time_windows".to_string()), "{:?}", our_logical_rules());
    }
}
