//! One statement, carried out: the table of which module does what.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use datafusion::arrow::array::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{Expr, Query};
use orrery_lakehouse::WriteOutcome;
use tokio_util::sync::CancellationToken;

use super::access::Authorized;
use super::compute_once::Prepared;
use super::rows::stream;
use super::{Session, Tracker, diagnose, options, planning, prepared};
use crate::dialect::{self, Describe, Name, Statement, StatementText, Variable};
use crate::{Error, Result};

/// Carry out, or only find out whether it would plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Carry out.
    Run,
    /// Parse and plan; write nothing. Relations that statements would make are remembered by schema, so that later statements plan.
    Check,
}

/// What a statement led to.
pub enum Outcome {
    /// Rows for the user.
    Rows(SendableRecordBatchStream),
    /// Rows in a table.
    Written {
        /// Full name of the table.
        table: String,
        /// Version, rows, bytes, files.
        outcome: WriteOutcome,
    },
    /// Something else was done; in a few words.
    Done(String),
}

impl Session {
    /// Parses a statement with the variables now in force.
    ///
    /// # Errors
    /// Unset variables, syntax errors, unsupported constructs; all with their place.
    pub fn parse(&self, text: &StatementText) -> Result<Statement> {
        let tokens = self.variables().substitute(text)?;
        dialect::parse(&tokens).map_err(|e| planning::locate(e, text))
    }

    /// Parses and carries out one statement.
    ///
    /// The rows of [`Outcome::Rows`] are computed while the stream is read; errors that come up then are passed through
    /// [`Session::explain_error`] by the reader.
    ///
    /// # Errors
    /// Anything that goes wrong before rows flow, with its place; tables are as they were before.
    pub async fn execute(&self, text: &StatementText, mode: Mode, tracker: &Tracker) -> Result<Outcome> {
        self.execute_parsed(&self.parse(text)?, text, mode, tracker).await
    }

    /// The same for a statement that was parsed with the variables now in force.
    pub(super) async fn execute_parsed(
        &self,
        statement: &Statement,
        text: &StatementText,
        mode: Mode,
        tracker: &Tracker,
    ) -> Result<Outcome> {
        let token = self.cancellation().child_token();
        tracker.stop_with(token.clone());
        if token.is_cancelled() {
            return Err(Error::interrupted());
        }
        self.account_for(statement, text, mode, tracker, &token).await
    }

    /// Carries out a statement with the rights of this moment, within its user's limits, and notes what came of it.
    pub(super) async fn account_for(
        &self,
        statement: &Statement,
        text: &StatementText,
        mode: Mode,
        tracker: &Tracker,
        token: &CancellationToken,
    ) -> Result<Outcome> {
        let begun = self.begin_record(statement, text, (mode == Mode::Check).then_some("dry run"));
        let mut objects = Vec::new();
        let work = async {
            let allowance = self.names.guard().allow(statement, mode, token).await?;
            let work = async {
                tokio::select! {
                    biased;
                    result = self.dispatch(statement, text, mode, tracker) => result,
                    () = token.cancelled(), if !writes(statement) => Err(Error::interrupted()),
                }
            };
            let result = allowance.within(work, token).await;
            objects = self.names.guard().objects();
            match result {
                Ok(outcome) => Ok(allowance.ration(outcome)),
                Err(error) => Err(self.explain_error(error, text, tracker).await),
            }
        };
        let outcome = Box::pin(self.names.for_statement(work)).await;
        match begun {
            Some(begun) => begun.end(objects, outcome),
            None => outcome,
        }
    }

    /// Gives an error that came up while a plan ran its place in the script and, where a file is to blame, the file and line.
    pub async fn explain_error(&self, error: Error, text: &StatementText, tracker: &Tracker) -> Error {
        let error = planning::locate(error, text);
        match tracker.plan() {
            Some(plan) => diagnose::name_file(error, &plan, &self.context.task_ctx(), &|path| self.scratch.holds(path)).await,
            None => error,
        }
    }

    pub(super) fn dispatch<'a>(
        &'a self,
        statement: &'a Statement,
        text: &'a StatementText,
        mode: Mode,
        tracker: &'a Tracker,
    ) -> futures::future::BoxFuture<'a, Result<Outcome>> {
        Box::pin(self.dispatch_inner(statement, text, mode, tracker))
    }

    async fn dispatch_inner(&self, statement: &Statement, text: &StatementText, mode: Mode, tracker: &Tracker) -> Result<Outcome> {
        match Box::pin(self.authorize(statement, mode)).await? {
            Authorized::Absent(what) => Ok(Outcome::Done(what)),
            Authorized::Go(follow_up) => {
                let outcome = self.carry_out(statement, text, mode, tracker).await?;
                if mode == Mode::Check { Ok(outcome) } else { Box::pin(self.follow_up(follow_up, outcome)).await }
            }
        }
    }

    async fn carry_out(&self, statement: &Statement, text: &StatementText, mode: Mode, tracker: &Tracker) -> Result<Outcome> {
        match statement {
            Statement::Query(query) => self.query(query, mode, tracker).await,
            Statement::Explain { analyze, verbose, statement } => {
                let outcome = self.explain(statement, text, *analyze, *verbose, mode, tracker).await?;
                self.names.guard().refuse_to_explain()?;
                Ok(outcome)
            }
            Statement::SetVariable { name, value } => self.set(name, value, mode, tracker).await,
            Statement::SetOption { key, value } => self.set_option(key, value),
            Statement::CreateCatalog(create) => self.create_catalog(create, mode).await,
            Statement::DropCatalog(drop) => self.drop_catalog(drop, mode).await,
            Statement::CreateSchema(create) => self.create_schema(create, mode).await,
            Statement::DropSchema(drop) => self.drop_schema(drop, mode).await,
            Statement::Use { catalog, name } => self.use_namespace(*catalog, name, mode).await,
            Statement::CreateTable(create) => self.create_table(create, text, mode, tracker).await,
            Statement::Insert(insert) => self.insert(insert, text, mode, tracker).await,
            Statement::CreateView(create) => self.create_view(create, mode).await,
            Statement::DropTable(drop) => self.drop_table(drop, mode).await,
            Statement::DropView(drop) => self.drop_view(drop, mode).await,
            Statement::Cache { name, query } => self.cache(name, query.clone(), text, mode, tracker).await,
            Statement::Uncache(drop) => self.uncache(drop, mode).await,
            Statement::Describe(Describe::Relation { name, extended }) => self.describe_relation(name, *extended).await,
            Statement::Describe(Describe::Query(query)) => self.describe_query(query.clone()).await,
            Statement::Describe(Describe::History { name, limit }) => self.describe_history(name, *limit).await,
            Statement::Describe(Describe::Detail(name)) => self.describe_detail(name).await,
            Statement::Show(show) => self.show(show).await,
            Statement::Summarize(query) => self.summarize(query.clone(), mode, tracker).await,
            Statement::Assert { condition, message, text } => self.assert(condition, message.as_deref(), text, mode, tracker).await,
            Statement::Vacuum(vacuum) => self.vacuum(vacuum, mode).await,
            Statement::CreateModel(create) => Box::pin(self.create_model(create, text, mode, tracker)).await,
            Statement::AlterModel(alter) => self.alter_model(alter, mode).await,
            Statement::DropModel(drop) => self.drop_model(drop, mode).await,
            Statement::ExportModel(export) => self.export_model(export, mode).await,
            Statement::Describe(Describe::Model(model)) => self.describe_model(model).await,
            Statement::Describe(Describe::ModelHistory { name, limit }) => self.describe_model_history(name, *limit).await,
            Statement::Access(statement) => Box::pin(self.change_access(statement, mode, tracker)).await,
            Statement::DataFusion(statement) => {
                let mut state = Box::new(self.context.state());
                let plan = planning::plan_statement(&state, &self.names, statement.as_ref().clone()).await?;
                self.run_query(&mut state, plan, mode, tracker).await
            }
        }
    }

    async fn query(&self, query: &Query, mode: Mode, tracker: &Tracker) -> Result<Outcome> {
        let mut state = self.spare_state.take(&self.context);
        let outcome = match prepared::current().filter(|_| mode == Mode::Run) {
            Some(prepared) => Box::pin(self.query_prepared(&mut state, &prepared, query, tracker)).await,
            None => match planning::plan_query(&state, &self.names, Box::new(query.clone())).await {
                Ok(plan) => self.run_query(&mut state, plan, mode, tracker).await,
                Err(error) => Err(error),
            },
        };
        self.spare_state.give_back(state, &self.context);
        outcome
    }

    async fn run_query(&self, state: &mut SessionState, plan: LogicalPlan, mode: Mode, tracker: &Tracker) -> Result<Outcome> {
        if mode == Mode::Check {
            self.physical_by(state, mode, &plan).await?;
            return Ok(Outcome::Done("plans".to_string()));
        }
        let ready = Box::pin(self.prepare_by(state, &plan, tracker)).await?;
        self.stream(ready, tracker).await
    }

    /// Runs what is ready to run.
    pub(super) async fn stream(&self, ready: Prepared, tracker: &Tracker) -> Result<Outcome> {
        tracker.start(&ready.physical);
        let rows = self.backend.stream(Arc::clone(&ready.physical), &self.context, tracker).await?;
        Ok(Outcome::Rows(ready.rows(rows)))
    }

    /// The values of expressions, which may hold subqueries over any tables.
    pub(super) async fn evaluate(&self, exprs: Vec<Expr>, tracker: &Tracker) -> Result<Vec<ScalarValue>> {
        let state = self.context.state();
        let plan = planning::plan_query(&state, &self.names, planning::select_of(exprs)?).await?;
        planning::values_of(&self.collect(&plan, tracker).await?)
    }

    /// Runs a plan whose result is small.
    pub(super) async fn collect(&self, plan: &LogicalPlan, tracker: &Tracker) -> Result<Vec<RecordBatch>> {
        let prepared = self.prepare(plan, tracker).await?;
        tracker.start(&prepared.physical);
        let batches = self.backend.run(Arc::clone(&prepared.physical), &self.context, tracker).await;
        prepared.finish().await;
        batches
    }

    async fn set(&self, name: &str, value: &Expr, mode: Mode, tracker: &Tracker) -> Result<Outcome> {
        let state = self.context.state();
        let variable = if mode == Mode::Check && !matches!(value, Expr::Value(_)) {
            let query = planning::select_of(vec![value.clone()])?;
            let plan = planning::plan_query(&state, &self.names, query).await?;
            options::sample_value(plan.schema().field(0).data_type())
        } else {
            let values = self.evaluate(vec![value.clone()], tracker).await?;
            let value = values.first().ok_or_else(|| Error::sql("SET takes one value"))?;
            Variable::try_from(value)?
        };
        let shown = format!("{name} = {variable}");
        if self.set_variable(name, variable) {
            Ok(Outcome::Done(shown))
        } else {
            Ok(Outcome::Done(format!("{name} keeps the value given with --set")))
        }
    }

    fn set_option(&self, key: &Name, value: &str) -> Result<Outcome> {
        let dotted = key.to_string();
        if dotted == options::COMMON_SUBPLAN_BYTES {
            let bytes =
                value.parse().map_err(|_| Error::sql(format!("{dotted} takes a number of bytes, found {value}")).at(key.position))?;
            self.least_common_bytes.store(bytes, Ordering::Relaxed);
            self.names.begin_epoch();
            return Ok(Outcome::Done(format!("{dotted} = {bytes}")));
        }
        if !options::SETTABLE.contains(&dotted.as_str()) {
            return Err(Error::sql(format!("the setting '{dotted}' cannot be changed"))
                .at(key.position)
                .hint(format!("settings are: {}; a script variable has no dot in its name", options::settable().join(", "))));
        }
        let state = self.context.state_ref();
        let set = state.write().config_mut().options_mut().set(&dotted, value);
        self.names.begin_epoch();
        set.map_err(|e| Error::from(e).at(key.position))?;
        Ok(Outcome::Done(format!("{dotted} = {value}")))
    }

    /// The rows of a description or listing.
    pub(super) fn batch(batch: datafusion::arrow::array::RecordBatch) -> Result<Outcome> {
        Ok(Outcome::Rows(stream(batch)?))
    }
}

/// Statements that write watch the cancellation themselves, so that they can clean up behind them.
fn writes(statement: &Statement) -> bool {
    matches!(statement, Statement::CreateTable(_) | Statement::Insert(_) | Statement::Cache { .. } | Statement::CreateModel(_))
}
