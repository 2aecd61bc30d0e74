//! `CREATE TABLE … [AS]`: the query's rows go through the lakehouse's write operator; the commit is the coordinator's.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, cast, col};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _};
use orrery_lakehouse::{PendingWrite, TableName, WriteMode, WriteOutcome, WriteRequest, delta_schema};

use super::types::{columns_to_schema, same_values};
use super::{Mode, Outcome, Session, Tracker, planning};
use crate::dialect::{CreateTable, StatementText};
use crate::planner::spread_partitions::spread_partitions;
use crate::{Error, Result};

impl Session {
    pub(super) async fn create_table(&self, create: &CreateTable, text: &StatementText, mode: Mode, tracker: &Tracker) -> Result<Outcome> {
        let name = self.names.resolve(&create.name);
        self.require_schema(&name).await.map_err(|e| e.at(create.name.position))?;
        self.refuse_model_name(&name).await.map_err(|e| e.at(create.name.position))?;
        let write_mode = match (create.or_replace, create.if_not_exists) {
            (true, _) => WriteMode::CreateOrReplace,
            (_, true) => WriteMode::CreateIfNotExists,
            _ => WriteMode::Create,
        };
        let state = self.context.state();
        let plan = match &create.query {
            Some(query) => planning::plan_query(&state, &self.names, query.clone()).await?,
            None => {
                let schema = columns_to_schema(&state, &create.columns).await?;
                LogicalPlan::EmptyRelation(datafusion::logical_expr::EmptyRelation {
                    produce_one_row: false,
                    schema: Arc::new(datafusion::common::DFSchema::try_from(schema)?),
                })
            }
        };
        if create.or_replace {
            self.names.guard().refuse_to_lose_rows(&name).map_err(|e| e.at(create.name.position))?;
        }
        let query_schema = Arc::new(plan.schema().as_arrow().clone());
        check_partition_columns(create, &query_schema)?;
        if mode == Mode::Check {
            let target = delta_schema(&query_schema)?;
            self.physical(&cast_to(plan.clone(), &target)?).await?;
            self.names.put_planned(name.clone(), planning::stand_in(&plan));
            return Ok(Outcome::Done(format!("would create {name}")));
        }
        let mut request = WriteRequest::new(name.clone(), write_mode, query_schema);
        request.partition_by.clone_from(&create.partitioned_by);
        request.comment.clone_from(&create.comment);
        request.column_comments = create.columns.iter().filter_map(|c| Some((c.name.clone(), c.comment.clone()?))).collect();
        request.properties = create.properties.iter().cloned().collect::<HashMap<_, _>>();
        request.statement.clone_from(&text.text);
        request.has_query = create.query.is_some();
        request.run_id = self.statement_key();
        let pending = self.warehouse.begin_write(request).await.map_err(|e| Error::from(e).at(create.name.position))?;
        if pending.already_exists() {
            return Ok(Outcome::Done(format!("{name} exists already")));
        }
        let plan = cast_to(plan, pending.target_schema().as_ref())?;
        let outcome = self.write(pending, &plan, tracker).await?;
        self.names.drop_cached(&name);
        Ok(Outcome::Written { table: name.to_string(), outcome })
    }

    /// Runs a plan into a pending write and commits it. Whatever goes wrong, or is cancelled, before the commit leaves the table as it was
    /// and its files are removed.
    pub(super) async fn write(&self, pending: PendingWrite, plan: &LogicalPlan, tracker: &Tracker) -> Result<WriteOutcome> {
        let token = tracker.cancellation();
        let run = async {
            let prepared = self.prepare(plan, tracker).await?;
            let physical = self.write_plan(&pending, Arc::clone(&prepared.physical))?;
            tracker.start(&physical);
            let files = self.backend.run(physical, &self.context, tracker).await?;
            Ok::<_, Error>((files, prepared))
        };
        let result = tokio::select! {
            biased;
            () = token.cancelled() => Err(Error::interrupted()),
            result = run => result,
        };
        match result {
            Ok((files, prepared)) => {
                let outcome = pending.commit(files).await;
                prepared.finish().await;
                Ok(outcome?)
            }
            Err(error) => {
                pending.abort().await;
                Err(error)
            }
        }
    }

    /// A plan whose rows are written.
    pub(super) fn write_plan(&self, pending: &PendingWrite, mut physical: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let partition_columns = pending.partition_columns();
        let tasks = physical.output_partitioning().partition_count();
        let wanted = pending.gathers_partitions().unwrap_or_else(|| self.backend.spreads_partitions(tasks));
        if wanted && tasks > 1 && !partition_columns.is_empty() {
            physical = spread_partitions(physical, &partition_columns)?;
        }
        Ok(pending.write_plan(physical)?)
    }

    /// A table can only be made in a schema that exists; in a dry run, one that an earlier statement would make counts.
    pub(super) async fn require_schema(&self, name: &TableName) -> Result<()> {
        if self.names.schema_planned(&name.catalog, &name.schema) || self.warehouse.schema_exists(&name.catalog, &name.schema).await? {
            return Ok(());
        }
        let error = planning::missing_relation(&self.names, name).await;
        Err(if error.message.contains("schema") { error.hint(format!("CREATE SCHEMA {}", name.schema)) } else { error })
    }
}

fn check_partition_columns(create: &CreateTable, schema: &Schema) -> Result<()> {
    for column in &create.partitioned_by {
        if schema.column_with_name(column).is_none() {
            let known: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            return Err(Error::sql(format!("PARTITIONED BY names '{column}', which is not a column of the query"))
                .hint(format!("columns are: {}", known.join(", "))));
        }
    }
    Ok(())
}

/// Casts the columns of a plan, by position, to the types of `target` where they hold other values.
pub(super) fn cast_to(plan: LogicalPlan, target: &Schema) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    let unchanged = plan
        .schema()
        .fields()
        .iter()
        .zip(target.fields())
        .all(|(from, to)| same_values(from.data_type(), to.data_type()) && from.name() == to.name());
    if unchanged && columns.len() == target.fields().len() {
        return Ok(plan);
    }
    let types: Vec<_> = plan.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    let projection: Vec<_> = columns
        .into_iter()
        .zip(types)
        .zip(target.fields())
        .map(|((column, from), to)| {
            let expr = if same_values(&from, to.data_type()) { col(column) } else { cast(col(column), to.data_type().clone()) };
            expr.alias(to.name())
        })
        .collect();
    Ok(LogicalPlanBuilder::from(plan).project(projection)?.build()?)
}
