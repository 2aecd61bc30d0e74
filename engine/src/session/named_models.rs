//! Models that a query names: `MODEL m@alias` in calls of `ML.X`, and the first argument of `predict('m@alias', …)`. Each is looked up in the registry and
//! loaded before planning, and its [record](crate::models::resolved) put in the place of the name.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, Select, SelectItem, Spanned as _, Value, Visit,
    VisitMut, Visitor, VisitorMut,
};

use super::catalog::Names;
use crate::dialect::model_names::{self, ModelName};
use crate::dialect::to_name;
use crate::models::scoring::predict_call;
use crate::models::{cache, resolved};
use crate::{Error, Position, Result};

/// Settles which version each model of the query is.
///
/// # Errors
/// A model, version or alias that does not exist, a file that is damaged or missing; with the place of the name.
pub(super) async fn resolve(state: &SessionState, names: &Names, query: &mut Query) -> Result<()> {
    let mut find = Find { found: Vec::new() };
    if let ControlFlow::Break(error) = Visit::visit(query, &mut find) {
        return Err(error);
    }
    if find.found.is_empty() {
        return Ok(());
    }
    let mut texts = HashMap::new();
    for (written, model, position) in find.found {
        if texts.contains_key(&written) {
            continue;
        }
        let name = names.resolve_in(&model.name, state);
        let record = names.registry().resolve(&name, &model.selector).await.map_err(|e| e.at(position))?;
        // It stays in memory while the query is planned, unless many others are loaded; then it is loaded again.
        cache::process().load(&record.reference).await.map_err(|e| e.at(position))?;
        texts.insert(written, resolved::to_text(&record)?);
    }
    let _: ControlFlow<()> = VisitMut::visit(query, &mut Replace { texts: &texts });
    Ok(())
}

/// The name of the model that an expression is or calls, as it is written, and where.
fn named(expr: &Expr) -> Option<Result<(String, ModelName, Option<Position>)>> {
    if let Some(model) = model_names::model_argument(expr) {
        let position = model.name.position;
        return Some(Ok((model.to_string(), model, position)));
    }
    let text = predict_name(expr)?;
    let position = Position::of_span(expr.span());
    Some(model_names::parse_model_text(text).map(|model| (text.to_string(), model, position)).map_err(|e| e.at(position)))
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

struct Find {
    found: Vec<(String, ModelName, Option<Position>)>,
}

impl Visitor for Find {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
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
        }
        ControlFlow::Continue(())
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
