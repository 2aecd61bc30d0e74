//! `EXPLAIN`: the plans of any statement that has one, writing statements included.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use futures::TryStreamExt as _;
use orrery_lakehouse::{WriteMode, WriteRequest};

use super::rows::{Cells, table};
use super::write::cast_to;
use super::{Mode, Outcome, Session, Tracker, planning};
use crate::dialect::{Statement, StatementText};
use crate::{Error, Result, planner};

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
        let (logical, physical) = match statement {
            Statement::Query(query) => {
                let logical = planning::plan_query(&state, &self.names, query.clone()).await?;
                let physical = self.physical_for(mode, &logical).await?;
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
        if analyze {
            return self.analyze(physical, verbose, tracker).await;
        }
        self.show_plans(&logical, &physical, verbose)
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

    fn show_plans(&self, logical: &LogicalPlan, physical: &Arc<dyn ExecutionPlan>, verbose: bool) -> Result<Outcome> {
        let mut kinds = Vec::new();
        let mut plans = Vec::new();
        let optimized = self.context.state().optimize(logical)?;
        if verbose {
            kinds.push("initial_logical_plan");
            plans.push(logical.display_indent_schema().to_string());
        }
        kinds.push("logical_plan");
        plans.push(optimized.display_indent().to_string());
        kinds.push("physical_plan");
        plans.push(
            DisplayableExecutionPlan::new(physical.as_ref())
                .set_show_statistics(verbose)
                .set_show_schema(verbose)
                .indent(verbose)
                .to_string(),
        );
        let hints = planner::hints::outcomes(logical)?;
        if !hints.is_empty() {
            kinds.push("hints");
            plans.push(hints.join("\n"));
        }
        if let Some(stages) = self.backend.describe(physical, &self.context)? {
            kinds.push("distribution");
            plans.push(stages);
        }
        Self::batch(table(vec![("plan_type", Cells::text(kinds)), ("plan", Cells::text(plans))])?)
    }

    /// Runs the plan to its end, drops the rows and shows what each operator measured.
    async fn analyze(&self, physical: Arc<dyn ExecutionPlan>, verbose: bool, tracker: &Tracker) -> Result<Outcome> {
        tracker.start(&physical);
        tracker.analyze();
        let started = std::time::Instant::now();
        let mut stream = self.backend.stream(Arc::clone(&physical), &self.context, tracker).await?;
        let mut rows = 0usize;
        while let Some(batch) = stream.try_next().await? {
            rows += batch.num_rows();
        }
        let elapsed = started.elapsed();
        let plan = if let Some(report) = tracker.report() {
            report
        } else if verbose {
            DisplayableExecutionPlan::with_full_metrics(physical.as_ref()).indent(true).to_string()
        } else {
            DisplayableExecutionPlan::with_metrics(physical.as_ref()).indent(false).to_string()
        };
        let summary = format!("{rows} rows in {:.3} s", elapsed.as_secs_f64());
        Self::batch(table(vec![("plan_type", Cells::text(["plan_with_metrics", "result"])), ("plan", Cells::text([plan, summary]))])?)
    }
}
