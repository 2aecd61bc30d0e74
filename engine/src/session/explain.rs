//! `EXPLAIN`: the plans of any statement that has one, writing statements included.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use orrery_lakehouse::{WriteMode, WriteRequest};

use super::analyze::{Planning, explained};
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
        let (logical, physical) = match statement {
            Statement::Query(query) => {
                let logical = planning::plan_query(&state, &self.names, query.clone()).await?;
                let physical = self.physical_by(telling(&state, &told), mode, &logical).await?;
                tell_logical(&state, &logical, &told)?;
                (logical, physical)
            }
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
                self.explain_write(request, logical).await?
            }
            Statement::Insert(insert) => {
                let name = self.names.resolve(&insert.name);
                let (pending, logical) = self.plan_insert(insert, &name, text, Mode::Run).await?;
                let pending = pending.ok_or_else(|| Error::new(crate::Blame::Bug, "no write to explain"))?;
                let physical = self.write_plan(&pending, &logical).await;
                pending.abort().await;
                (logical, physical?)
            }
            Statement::CreateView(create) => {
                let logical = planning::plan_query(&state, &self.names, create.query.clone()).await?;
                let physical = self.physical_for(mode, &logical).await?;
                (logical, physical)
            }
            other => return Err(Error::unsupported(format!("EXPLAIN {}", other.kind()), Some(text.position))),
        };
        if mode == Mode::Check {
            return Ok(Outcome::Done("plans".to_string()));
        }
        let planning = Planning { hints: hints::outcomes(&logical)?, rewrites: told.names() };
        if analyze {
            return self.analyze(physical, planning, verbose, tracker).await;
        }
        self.show_plans(&logical, &physical, planning, verbose)
    }

    async fn explain_write(&self, request: WriteRequest, logical: LogicalPlan) -> Result<(LogicalPlan, Arc<dyn ExecutionPlan>)> {
        let pending = self.warehouse.begin_write(request).await?;
        let planned = match cast_to(logical, pending.target_schema().as_ref()) {
            Ok(logical) => self.write_plan(&pending, &logical).await.map(|physical| (logical, physical)),
            Err(error) => Err(error),
        };
        pending.abort().await;
        planned
    }

    fn show_plans(&self, logical: &LogicalPlan, physical: &Arc<dyn ExecutionPlan>, planning: Planning, verbose: bool) -> Result<Outcome> {
        let mut lines = Vec::new();
        let optimized = self.context.state().optimize(logical)?;
        if verbose {
            lines.push(("initial_logical_plan", logical.display_indent_schema().to_string()));
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
