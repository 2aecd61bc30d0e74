//! Models that a query names: `MODEL m@alias` in calls of `ML.X`, and the first argument of `predict('m@alias', …)`. Each is looked up in the registry and
//! loaded before planning, and its [record](crate::models::resolved) put in the place of the name.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, Select, SelectItem, Spanned as _, TableFactor, Value,
    Visit, VisitMut, Visitor, VisitorMut,
};
use orrery_lakehouse::TableName;

use super::access::Verdict;
use super::catalog::Names;
use super::reliance::Reliance;
use crate::access::{Privilege, Securable};
use crate::dialect::model_names::{self, ModelName};
use crate::dialect::to_name;
use crate::models::scoring::predict_call;
use crate::models::{ModelRecord, Selector, cache, live, resolved};
use crate::{Error, Position, Result};

/// The function that tells of trainings.
const TRAINING_INFO: &str = "training_info";

/// Settles which version each model of the query is.
///
/// # Errors
/// A model, version or alias that does not exist, a file that is damaged or missing; with the place of the name.
pub(super) async fn resolve(state: &SessionState, names: &Names, query: &mut Query) -> Result<()> {
    let mut find = Find { found: Vec::new() };
    if let ControlFlow::Break(error) = VisitMut::visit(query, &mut find) {
        return Err(error);
    }
    if find.found.is_empty() {
        return Ok(());
    }
    names.with_reliance(Reliance::note_unrepeatable);
    let mut texts = HashMap::new();
    for Found { key, model, position, use_of } in find.found {
        if texts.contains_key(&key) {
            continue;
        }
        let name = names.resolve_in(&model.name, state);
        let record = match use_of {
            UseOf::Model => {
                let record = names.model(&name, &model.selector).await.map_err(|e| e.at(position))?;
                // It stays in memory while the query is planned, unless many others are loaded; then it is loaded again.
                cache::process().load(&record.reference).await.map_err(|e| e.at(position))?;
                resolved::to_text(&record)?
            }
            UseOf::Iterations => resolved::to_text(&with_iterations(names, &name, &model).await.map_err(|e| e.at(position))?)?,
        };
        texts.insert(key, record);
    }
    let _: ControlFlow<()> = VisitMut::visit(query, &mut Replace { texts: &texts });
    Ok(())
}

/// What is known of a model's training: of the one that runs now, where the newest version is asked for.
async fn with_iterations(names: &Names, name: &TableName, model: &ModelName) -> Result<ModelRecord> {
    // Who may make the model may watch its first training; there is nothing else yet that he could be granted.
    let schema = Securable::schema(&name.catalog, &name.schema);
    let is_first = !names.guard().is_unrestricted() && !names.registry().exists(name).await?;
    if !(is_first && matches!(names.guard().may(Privilege::CreateModel, &schema), Verdict::Allowed)) {
        names.require_model(name, Privilege::Execute).await?;
    }
    let running = live::iterations(&name.to_string()).filter(|_| model.selector == Selector::Latest);
    let record = names.model(name, &model.selector).await;
    match (running, record) {
        (None, record) => Ok(ModelRecord::clone(&*record?)),
        (Some(iterations), Ok(record)) => Ok(ModelRecord { iterations, ..ModelRecord::clone(&record) }),
        (Some(iterations), Err(_)) => Ok(ModelRecord { iterations, ..ModelRecord::in_training(&name.to_string()) }),
    }
}

/// The name of the model that an expression is or calls, as it is written, and where.
fn named(expr: &Expr) -> Option<Result<Found>> {
    if let Some(model) = model_names::model_argument(expr) {
        return Some(Ok(Found { key: model.to_string(), position: model.name.position, model, use_of: UseOf::Model }));
    }
    let text = predict_name(expr)?;
    let position = Position::of_span(expr.span());
    let found = |model| Found { key: text.to_string(), model, position, use_of: UseOf::Model };
    Some(model_names::parse_model_text(text).map(found).map_err(|e| e.at(position)))
}

/// The model of `ML.TRAINING_INFO(MODEL m)`, which may not exist yet.
fn in_training(factor: &mut TableFactor) -> Option<(&mut Expr, ModelName)> {
    let TableFactor::Table { name, args: Some(args), .. } = factor else { return None };
    if model_names::ml_function(name).as_deref() != Some(TRAINING_INFO) {
        return None;
    }
    match args.args.first_mut()? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(first)) => model_names::model_argument(first).map(|model| (first, model)),
        _ => None,
    }
}

/// Another key than the model itself has.
fn training_key(model: &ModelName) -> String {
    format!("{TRAINING_INFO} {model}")
}

/// The text that `predict('…', …)` names a model by.
fn predict_name(expr: &Expr) -> Option<&str> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr else { return None };
    if to_name(name).parts != [predict_call::NAME] {
        return None;
    }
    match list.args.first()? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// What is asked of a model.
enum UseOf {
    Model,
    Iterations,
}

struct Found {
    key: String,
    model: ModelName,
    position: Option<Position>,
    use_of: UseOf,
}

struct Find {
    found: Vec<Found>,
}

impl VisitorMut for Find {
    type Break = Error;

    /// Its first argument gets out of the way of the expressions.
    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        if let Some((first, model)) = in_training(factor) {
            let key = training_key(&model);
            *first = Expr::value(Value::SingleQuotedString(key.clone()));
            self.found.push(Found { key, position: model.name.position, model, use_of: UseOf::Iterations });
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match named(expr) {
            None => ControlFlow::Continue(()),
            Some(Ok(found)) => {
                self.found.push(found);
                ControlFlow::Continue(())
            }
            Some(Err(error)) => ControlFlow::Break(error),
        }
    }
}

struct Replace<'a> {
    texts: &'a HashMap<String, String>,
}

impl VisitorMut for Replace<'_> {
    type Break = ();

    /// A selected call keeps the name that it was written by.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            let SelectItem::UnnamedExpr(expr) = item else { continue };
            if Visit::visit(expr, &mut HasPredict).is_break() {
                let shown = if predict_name(expr).is_some() { predict_call::NAME.to_string() } else { expr.to_string() };
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', shown) };
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: Some(args), .. } = factor
            && model_names::ml_function(name).as_deref() == Some(TRAINING_INFO)
            && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))) = args.args.first_mut()
            && let Value::SingleQuotedString(text) = &mut value.value
            && let Some(record) = self.texts.get(text.as_str())
        {
            text.clone_from(record);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(model) = model_names::model_argument(expr) {
            if let Some(text) = self.texts.get(&model.to_string()) {
                *expr = Expr::value(Value::SingleQuotedString(text.clone()));
            }
        } else if let Some(text) = predict_name(expr).and_then(|written| self.texts.get(written)).cloned()
            && let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = expr
            && let Some(first) = list.args.first_mut()
        {
            *first = FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::value(Value::SingleQuotedString(text))));
            if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Struct { values, .. }))) = list.args.get_mut(1) {
                values.iter_mut().for_each(name_column);
            }
        }
        ControlFlow::Continue(())
    }
}

/// A column in a struct has its own name, where DataFusion would number it.
fn name_column(value: &mut Expr) {
    let name = match &*value {
        Expr::Identifier(name) => Some(name.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().cloned(),
        _ => None,
    };
    if let Some(name) = name {
        *value = Expr::Named { expr: Box::new(value.clone()), name };
    }
}

/// Finds a call of `predict`.
struct HasPredict;

impl Visitor for HasPredict {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if predict_name(expr).is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
