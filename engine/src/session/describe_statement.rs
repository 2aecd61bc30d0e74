//! What is known of a statement before it runs: the columns of its rows and its parameters, for clients that prepare statements.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::access::Authorized;
use super::analyze::explained;
use super::{Mode, Outcome, Session, Tracker, parameters, planning};
use crate::Result;
use crate::dialect::{self, Statement, StatementText};

/// A statement that has not run.
#[derive(Debug, Clone)]
pub struct Described {
    /// The columns of its rows, as the stream will have them; `None` if it has no rows, or where only running it tells them.
    pub columns: Option<SchemaRef>,
    /// Its parameters in order, each a nullable field of its name; the type is `Null` where its place does not tell one.
    pub parameters: SchemaRef,
}

impl Session {
    /// Plans a statement without values for its parameters, and runs nothing. It is in the audit all the same, since it could be tried in order to find out
    /// what there is.
    ///
    /// # Errors
    /// What is wrong with the statement, with its place.
    pub async fn describe_statement(&self, text: &StatementText) -> Result<Described> {
        let statement = self.parse(text)?;
        let names = dialect::parameters(text)?;
        let begun = self.begin_record(&statement, text, Some("prepare"));
        let mut objects = Vec::new();
        let work = async {
            let columns = Box::pin(self.columns_of(&statement, text)).await;
            objects = self.names.guard().objects();
            columns
        };
        let planned = Box::pin(self.with_rights(work));
        let (columns, types) = parameters::with_types(planned).await;
        let columns = columns.map_err(|error| planning::locate(error, text));
        if let Some(begun) = begun {
            begun.end_without_rows(objects, columns.as_ref().err());
        }
        let columns = columns?;
        let is_open = |name: &String| !types.contains_key(name);
        let has_null = |schema: &Schema| schema.fields().iter().any(|field| *field.data_type() == DataType::Null);
        // What a parameter of unknown type makes of its column is seen when it has a value.
        let columns = columns.filter(|schema| !(names.iter().any(is_open) && has_null(schema)));
        let fields = names.iter().map(|name| Field::new(format!("${name}"), types.get(name).cloned().unwrap_or(DataType::Null), true));
        Ok(Described { columns, parameters: Arc::new(Schema::new(fields.collect::<Vec<_>>())) })
    }

    async fn columns_of(&self, statement: &Statement, text: &StatementText) -> Result<Option<SchemaRef>> {
        let tracker = Tracker::default();
        // Whoever may not run it is told so now, and nothing of what it is about.
        if let Authorized::Absent(_) = Box::pin(self.authorize(statement, Mode::Check)).await? {
            return Ok(None);
        }
        match statement {
            Statement::Query(query) => {
                let plan = planning::plan_query(&self.context.state(), &self.names, query.clone()).await?;
                Ok(Some(self.physical(&plan).await?.schema()))
            }
            Statement::DataFusion(statement) => {
                let plan = planning::plan_statement(&self.context.state(), &self.names, statement.as_ref().clone()).await?;
                Ok(Some(self.physical(&plan).await?.schema()))
            }
            Statement::Explain { statement, verbose, .. } => {
                // Its rows are about the plan that it would have: to see them, samples might be read.
                self.explain(statement, text, false, *verbose, Mode::Check, &tracker).await?;
                Ok(Some(explained::<&str>(Vec::new())?.schema()))
            }
            Statement::Show(_) | Statement::Describe(_) => match self.dispatch(statement, text, Mode::Check, &tracker).await? {
                Outcome::Rows(rows) => Ok(Some(rows.schema())),
                _ => Ok(None),
            },
            Statement::Insert(insert) => {
                let name = self.names.resolve(&insert.name);
                let (_, plan) = self.plan_insert(insert, &name, text, Mode::Check).await?;
                self.physical(&plan).await?;
                Ok(None)
            }
            Statement::CreateTable(create) => {
                if let Some(query) = &create.query {
                    planning::plan_query(&self.context.state(), &self.names, query.clone()).await?;
                }
                Ok(None)
            }
            Statement::Summarize(_) => Ok(Some(super::summarize::columns())),
            Statement::SetVariable { value, .. } => {
                let query = planning::select_of(vec![value.as_ref().clone()])?;
                planning::plan_query(&self.context.state(), &self.names, query).await?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }
}
