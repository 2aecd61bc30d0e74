//! `INSERT INTO` and `INSERT OVERWRITE`: by position, or by the column list; columns that are not given become NULL.

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, cast, col, lit};
use orrery_lakehouse::{Relation, TableName, WriteMode, WriteRequest};

use super::types::same_values;
use super::{Mode, Outcome, Session, Tracker, planning};
use crate::dialect::{Insert, StatementText, normalize};
use crate::{Error, Position, Result};

impl Session {
    pub(super) async fn insert(&self, insert: &Insert, text: &StatementText, mode: Mode, tracker: &Tracker) -> Result<Outcome> {
        let name = self.names.resolve(&insert.name);
        let (pending, plan) = self.plan_insert(insert, &name, text, mode).await?;
        let Some(pending) = pending else {
            self.physical(&plan).await?;
            return Ok(Outcome::Done(format!("would write to {name}")));
        };
        let outcome = self.write(pending, &plan, tracker).await?;
        self.names.drop_cached(&name);
        Ok(Outcome::Written { table: name.to_string(), outcome })
    }

    /// The write and the plan of its rows; no write in a dry run.
    pub(super) async fn plan_insert(
        &self,
        insert: &Insert,
        name: &TableName,
        text: &StatementText,
        mode: Mode,
    ) -> Result<(Option<orrery_lakehouse::PendingWrite>, LogicalPlan)> {
        let position = insert.name.position;
        let target = self.insert_target(name, mode).await.map_err(|e| e.at(position))?;
        let state = self.context.state();
        let columns: Vec<String> = insert.columns.iter().map(normalize).collect();
        let types = types_of(&columns, &target);
        let query = planning::plan_query_into(&state, &self.names, insert.query.clone(), &types).await?;
        if insert.overwrite {
            self.names.guard().refuse_to_lose_rows(name).map_err(|e| e.at(position))?;
        }
        let place = insert.columns.first().and_then(|c| Position::of_span(c.span)).or(position);
        let plan = arrange(query, &columns, &target, &name.to_string()).map_err(|e| e.at(place))?;
        if mode == Mode::Check {
            return Ok((None, plan));
        }
        let write_mode = if insert.overwrite { WriteMode::Overwrite } else { WriteMode::Append };
        let mut request = WriteRequest::new(name.clone(), write_mode, std::sync::Arc::new(plan.schema().as_arrow().clone()));
        request.statement.clone_from(&text.text);
        request.run_id = self.statement_key();
        let pending = self.warehouse.begin_write(request).await.map_err(|e| Error::from(e).at(position))?;
        Ok((Some(pending), plan))
    }

    async fn insert_target(&self, name: &TableName, mode: Mode) -> Result<std::sync::Arc<Schema>> {
        if mode == Mode::Check
            && let Some(planned) = self.names.planned(name)
        {
            return Ok(planned.schema());
        }
        match self.warehouse.relation(name).await? {
            Some(Relation::Table(table)) => Ok(table.schema()),
            Some(Relation::View(_)) => Err(Error::sql(format!("{name} is a view; rows can only be inserted into tables"))),
            None => Err(planning::missing_relation(&self.names, name).await),
        }
    }
}

/// The types of what the query's columns are written to; text where there is no such column, which is told later.
fn types_of(columns: &[String], target: &Schema) -> Vec<DataType> {
    if columns.is_empty() {
        return target.fields().iter().map(|field| field.data_type().clone()).collect();
    }
    columns.iter().map(|name| target.field_with_name(name).map_or(DataType::Utf8, |field| field.data_type().clone())).collect()
}

/// Puts the query's columns in the table's order, cast to the table's types.
fn arrange(query: LogicalPlan, columns: &[String], target: &Schema, table: &str) -> Result<LogicalPlan> {
    let given = query.schema().columns();
    let types: Vec<_> = query.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    let names: Vec<&str> = target.fields().iter().map(|f| f.name().as_str()).collect();
    let named: Vec<&str> = if columns.is_empty() { names.clone() } else { columns.iter().map(String::as_str).collect() };
    if given.len() != named.len() {
        let which = if columns.is_empty() { format!("{table} has {}", names.len()) } else { format!("{} are named", columns.len()) };
        return Err(Error::sql(format!("the query gives {} columns, {which}", given.len()))
            .hint(format!("columns of {table}: {}", names.join(", "))));
    }
    for (i, name) in named.iter().enumerate() {
        if !names.contains(name) {
            return Err(Error::sql(format!("{table} has no column '{name}'")).hint(format!("columns are: {}", names.join(", "))));
        }
        if named[..i].contains(name) {
            return Err(Error::sql(format!("the column '{name}' is named twice")));
        }
    }
    let mut projection = Vec::with_capacity(names.len());
    for field in target.fields() {
        let expr = match named.iter().position(|n| n == field.name()) {
            Some(i) if same_values(&types[i], field.data_type()) => col(given[i].clone()),
            Some(i) => cast(col(given[i].clone()), field.data_type().clone()),
            None => lit(ScalarValue::try_from(field.data_type())?),
        };
        projection.push(expr.alias(field.name()));
    }
    Ok(LogicalPlanBuilder::from(query).project(projection)?.build()?)
}
