//! Syntax tree → logical plan, and the small evaluations that statements need while they are planned.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, col};
use datafusion::physical_plan;
use datafusion::sql::parser::{CopyToSource, CopyToStatement, Statement as DataFusionStatement};
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, SelectItem, SetExpr, Spanned as _, Statement as SqlStatement, Visit as _, Visitor,
};
use orrery_lakehouse::TableName;

use super::catalog::Names;
use super::{parameters, relations, view_provider};
use crate::dialect::{self, Statement, StatementText};
use crate::planner::plan_size;
use crate::{Error, Position, Result};

/// How different a name may be to be offered as "did you mean".
const SIMILAR_ENOUGH: f64 = 0.7;

/// Plans a query: file scans and table versions are resolved first, the rest is DataFusion's.
pub(super) async fn plan_query(state: &SessionState, names: &Names, query: Box<Query>) -> Result<LogicalPlan> {
    plan_query_into(state, names, query, &[]).await
}

/// The same for a query whose rows are written to columns of these types, which tell what its parameters are.
pub(super) async fn plan_query_into(state: &SessionState, names: &Names, query: Box<Query>, columns: &[DataType]) -> Result<LogicalPlan> {
    parameters::bind(plan_unbound(state, names, query).await?, columns)
}

/// Plans a query and leaves its parameters in the plan.
pub(super) async fn plan_unbound(state: &SessionState, names: &Names, mut query: Box<Query>) -> Result<LogicalPlan> {
    let scans = relations::prepare(state, names, &mut query).await?;
    let statement = DataFusionStatement::Statement(Box::new(SqlStatement::Query(query)));
    let planned = view_provider::within_one_statement(state.statement_to_plan(statement.clone())).await;
    names.drop_scans(&scans);
    match planned {
        Ok(plan) => of_workable_size(plan),
        Err(error) => Err(explain_missing(state, names, &statement, error.into()).await),
    }
}

/// Plans a DataFusion statement that is no query (`COPY … TO`).
pub(super) async fn plan_statement(state: &SessionState, names: &Names, mut statement: DataFusionStatement) -> Result<LogicalPlan> {
    let scans = match &mut statement {
        DataFusionStatement::CopyTo(CopyToStatement { source: CopyToSource::Query(query), .. }) => {
            relations::prepare(state, names, query).await?
        }
        _ => Vec::new(),
    };
    let planned = view_provider::within_one_statement(state.statement_to_plan(statement.clone())).await;
    names.drop_scans(&scans);
    match planned {
        Ok(plan) => parameters::bind(of_workable_size(plan)?, &[]),
        Err(error) => Err(explain_missing(state, names, &statement, error.into()).await),
    }
}

fn of_workable_size(plan: LogicalPlan) -> Result<LogicalPlan> {
    match plan_size::problem(&plan) {
        None => Ok(plan),
        Some(problem) => Err(Error::sql(problem).hint("store what is read again and again with CREATE TABLE … AS or CACHE TABLE")),
    }
}

/// `SELECT e1, e2, …` as a query.
pub(super) fn select_of(exprs: Vec<Expr>) -> Result<Box<Query>> {
    let statement = dialect::split("SELECT NULL").and_then(|mut s| dialect::parse(&s.remove(0).tokens))?;
    let Statement::Query(mut query) = statement else { return Err(Error::new(crate::Blame::Bug, "SELECT NULL is no query")) };
    if let SetExpr::Select(select) = query.body.as_mut() {
        // Names of their own: DataFusion leaves casts out of generated names, so two different casts of NULL would clash.
        let named = exprs.into_iter().enumerate();
        select.projection = named.map(|(i, expr)| SelectItem::ExprWithAlias { expr, alias: Ident::new(format!("v{i}")) }).collect();
    }
    Ok(query)
}

/// Refuses a subquery where a constant is computed before a statement has its turn: it could read for as long as it likes, whatever the limits of its user.
pub(super) fn refuse_subqueries(expr: &Expr, place: &str) -> Result<()> {
    struct Finder;
    impl Visitor for Finder {
        type Break = Option<Position>;

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Option<Position>> {
            ControlFlow::Break(Position::of_span(query.span()))
        }
    }
    match expr.visit(&mut Finder) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(position) => {
            Err(Error::unsupported(format!("a subquery in {place}"), position).hint("a constant such as TIMESTAMP '2030-01-31 10:00:00'"))
        }
    }
}

/// The values of constant expressions, computed here whatever the backend.
pub(super) async fn evaluate(state: &SessionState, names: &Names, exprs: Vec<Expr>) -> Result<Vec<ScalarValue>> {
    let plan = plan_query(state, names, select_of(exprs)?).await?;
    values_of(&collect(state, &plan).await?)
}

/// The values of the only row of a result.
pub(super) fn values_of(batches: &[RecordBatch]) -> Result<Vec<ScalarValue>> {
    let Some(batch) = batches.iter().find(|b| b.num_rows() > 0) else { return Err(Error::data("the expression has no value")) };
    batch.columns().iter().map(|column| ScalarValue::try_from_array(column, 0).map_err(Error::from)).collect()
}

/// Runs a plan whose result is small.
pub(super) async fn collect(state: &SessionState, plan: &LogicalPlan) -> Result<Vec<RecordBatch>> {
    let physical = state.create_physical_plan(plan).await?;
    Ok(physical_plan::collect(physical, state.task_ctx()).await?)
}

/// Gives the columns of a plan new names, in order; no names: unchanged.
pub(super) fn rename_columns(plan: LogicalPlan, columns: &[String]) -> Result<LogicalPlan> {
    if columns.is_empty() {
        return Ok(plan);
    }
    let found = plan.schema().fields().len();
    if found != columns.len() {
        return Err(Error::sql(format!("{} column names are given, the query has {found} columns", columns.len())));
    }
    let projection: Vec<_> =
        plan.schema().columns().into_iter().zip(columns).map(|(column, name)| col(column).alias(name.as_str())).collect();
    Ok(LogicalPlanBuilder::from(plan).project(projection)?.build()?)
}

/// Adds the place of the offending word to an error that carries none.
pub(super) fn locate(error: Error, statement: &StatementText) -> Error {
    if error.position.is_some() {
        return error;
    }
    let quoted = error.message.split(['\'', '"', '`']).skip(1).step_by(2);
    // DataFusion quotes a missing column only where it has to.
    let bare = error.message.split_once("No field named ").and_then(|(_, rest)| rest.split(['.', ' ']).next());
    // Functions say "name: argument 2, gap, must be …".
    let function = error.message.split_once(": argument ").map(|(name, _)| name);
    let position = quoted.chain(bare).chain(function).flat_map(|word| word.rsplit('.').next()).find_map(|word| statement.find_word(word));
    error.at(position.or(Some(statement.position)))
}

/// When planning failed because a relation is missing, says which, and what it may have meant.
async fn explain_missing(state: &SessionState, names: &Names, statement: &DataFusionStatement, error: Error) -> Error {
    if !error.message.contains("not found") {
        return error;
    }
    for reference in state.resolve_table_references(statement).unwrap_or_default() {
        let catalog = &state.config_options().catalog;
        let resolved = reference.resolve(&catalog.default_catalog, &catalog.default_schema);
        let name = TableName::new(resolved.catalog.as_ref(), resolved.schema.as_ref(), resolved.table.as_ref());
        match names.relation(&name).await {
            Ok(Some(_)) => {}
            Ok(None) => return missing_relation(names, &name).await.at(error.position),
            Err(other) => return other,
        }
    }
    error
}

/// The error for a relation that does not exist as far as the user may know, with the level that is missing and the nearest name that does exist.
pub(super) async fn missing_relation(names: &Names, name: &TableName) -> Error {
    if !names.catalog_exists(&name.catalog).await.unwrap_or(true) {
        let known = names.visible_catalogs().await.unwrap_or_default();
        return Error::sql(format!("the catalog '{}' does not exist", name.catalog)).hint(format!("catalogs are: {}", known.join(", ")));
    }
    if !names.schema_exists(&name.catalog, &name.schema).await.unwrap_or(true) {
        let known = names.visible_schemas(&name.catalog).await.unwrap_or_default();
        return Error::sql(format!("the schema '{}.{}' does not exist", name.catalog, name.schema)).hint(format!(
            "schemas of {} are: {}",
            name.catalog,
            known.join(", ")
        ));
    }
    let mut known: Vec<String> = names.temporary_names();
    known.extend(names.visible_relations(&name.catalog, &name.schema).await.unwrap_or_default().into_iter().map(|r| r.name));
    let error = Error::sql(format!("the table or view '{name}' does not exist"));
    match similar(&name.table, &known) {
        Some(nearest) => error.hint(format!("did you mean '{nearest}'?")),
        None if known.is_empty() => error.hint(format!("{}.{} has no tables", name.catalog, name.schema)),
        None => error.hint(format!("{}.{} has: {}", name.catalog, name.schema, known.join(", "))),
    }
}

pub(super) fn similar(name: &str, known: &[String]) -> Option<String> {
    let scored = known.iter().map(|k| (strsim::jaro_winkler(name, k), k));
    scored.filter(|(score, _)| *score >= SIMILAR_ENOUGH).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, k)| k.clone())
}

/// A provider that has a schema and no rows, standing in for a relation that a dry run does not make.
pub(super) fn stand_in(plan: &LogicalPlan) -> Arc<dyn datafusion::catalog::TableProvider> {
    Arc::new(datafusion::datasource::empty::EmptyTable::new(Arc::new(plan.schema().as_arrow().clone())))
}
