//! `EXPLAIN`: the plans of any statement that has one, writing statements included.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use orrery_lakehouse::{PendingWrite, RuledOut, WriteMode, WriteRequest};

use super::analyze::{Planning, explained};
use super::compute_once::Shown;
use super::write::cast_to;
use super::{Mode, Outcome, Session, Tracker, planning};
use crate::dialect::{Statement, StatementText};
use crate::planner::hints;
use crate::planner::tell_rewrites::{Told, tell_logical, telling};
use crate::{Error, Result};

impl Session {
    pub(super) async fn explain(
        &self,
        statement: &Statement,
        text: &StatementText,
        analyze: bool,
        verbose: bool,
        mode: Mode,
        tracker: &Tracker,
    ) -> Result<Outcome> {
        let state = self.context.state();
        let told = Told::default();
        let (logical, shown) = match statement {
            Statement::Query(query) if analyze && mode == Mode::Run => {
                let logical = planning::plan_query(&state, &self.names, query.clone()).await?;
                tracker.analyze();
                let ruled_out = Arc::new(RuledOut::default());
                let mut telling = telling(&state, &told);
                telling.config_mut().set_extension(Arc::clone(&ruled_out));
                let prepared = Box::pin(self.prepare_by(&mut telling, &logical, tracker)).await?;
                tell_logical(&state, &logical, &told)?;
                let planning = Planning { hints: hints::outcomes(&logical)?, rewrites: told.names(), ruled_out: ruled_out.tables() };
                return self.analyze(prepared, planning, verbose, tracker).await;
            }
            Statement::Query(query) => {
                let logical = planning::plan_query(&state, &self.names, query.clone()).await?;
                let shown = Box::pin(self.plan_to_show_by(telling(&state, &told), &logical, mode)).await?;
                tell_logical(&state, &logical, &told)?;
                (logical, shown)
            }
            Statement::CreateModel(create) if !analyze => return Box::pin(self.explain_model(create, verbose, mode, tracker)).await,
            _ if analyze => {
                return Err(Error::unsupported(format!("EXPLAIN ANALYZE {}", statement.kind()), Some(text.position))
                    .hint("EXPLAIN ANALYZE runs what it explains; use it on the query alone"));
            }
            Statement::CreateTable(create) => {
                let Some(query) = &create.query else {
                    return Err(Error::unsupported("EXPLAIN of CREATE TABLE without a query", Some(text.position)));
                };
                let logical = planning::plan_query(&state, &self.names, query.clone()).await?;
                let mut request = WriteRequest::new(
                    self.names.resolve(&create.name),
                    WriteMode::CreateOrReplace,
                    Arc::new(logical.schema().as_arrow().clone()),
                );
                request.partition_by.clone_from(&create.partitioned_by);
                request.properties = create.properties.iter().cloned().collect();
                self.explain_write(request, logical, mode).await?
            }
            Statement::Insert(insert) => {
                let name = self.names.resolve(&insert.name);
                let (pending, logical) = self.plan_insert(insert, &name, text, Mode::Run).await?;
                let pending = pending.ok_or_else(|| Error::new(crate::Blame::Bug, "no write to explain"))?;
                let shown = self.write_to_show(&pending, &logical, mode).await;
                pending.abort().await;
                (logical, shown?)
            }
            Statement::CreateView(create) => {
                let logical = planning::plan_query(&state, &self.names, create.query.clone()).await?;
                let shown = self.plan_to_show(&logical, mode).await?;
                (logical, shown)
            }
            other => return Err(Error::unsupported(format!("EXPLAIN {}", other.kind()), Some(text.position))),
        };
        if mode == Mode::Check {
            return Ok(Outcome::Done("plans".to_string()));
        }
        let planning = Planning { hints: hints::outcomes(&logical)?, rewrites: told.names(), ..Planning::default() };
        self.show_plans(Vec::new(), &logical, &shown, planning, verbose)
    }

    async fn write_to_show(&self, pending: &PendingWrite, logical: &LogicalPlan, mode: Mode) -> Result<Shown> {
        let shown = self.plan_to_show(logical, mode).await?;
        Ok(Shown { physical: self.write_plan(pending, shown.physical)?, ..shown })
    }

    async fn explain_write(&self, request: WriteRequest, logical: LogicalPlan, mode: Mode) -> Result<(LogicalPlan, Shown)> {
        let pending = self.warehouse.begin_write(request).await?;
        let planned = match cast_to(logical, pending.target_schema().as_ref()) {
            Ok(logical) => self.write_to_show(&pending, &logical, mode).await.map(|shown| (logical, shown)),
            Err(error) => Err(error),
        };
        pending.abort().await;
        planned
    }

    /// Plans as rows, behind lines that say what is done with the rows of the plan.
    pub(super) fn show_plans(
        &self,
        mut lines: Vec<(&'static str, String)>,
        logical: &LogicalPlan,
        shown: &Shown,
        planning: Planning,
        verbose: bool,
    ) -> Result<Outcome> {
        let Shown { optimized, physical, common } = shown;
        if verbose {
            lines.push(("initial_logical_plan", logical.display_indent_schema().to_string()));
        }
        if !common.is_empty() {
            let plans = common.iter().map(|(name, plan)| format!("{name}:\n{}", indented(&plan.display_indent().to_string())));
            lines.push(("common_subplans", plans.collect::<Vec<_>>().join("\n")));
        }
        lines.push(("logical_plan", optimized.display_indent().to_string()));
        let physical_plan = DisplayableExecutionPlan::new(physical.as_ref())
            .set_show_statistics(verbose)
            .set_show_schema(verbose)
            .indent(verbose)
            .to_string();
        lines.push(("physical_plan", physical_plan));
        lines.extend(planning.rows());
        lines.extend(self.backend.describe(physical, &self.context)?.map(|stages| ("distribution", stages)));
        Self::batch(explained(lines)?)
    }
}

fn indented(plan: &str) -> String {
    plan.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
