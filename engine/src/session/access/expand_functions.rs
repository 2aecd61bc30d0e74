//! Functions written in SQL, and those that ask who is asking: both are replaced in the query's tree, before anything is planned, so that every backend runs
//! what it knows anyhow.
//!
//! `current_user()` becomes the name in quotes, `is_member(x)` becomes `x IN (the roles)`, and `f(a, b)` the expression of `f` with `a` and `b` in the place of
//! its parameters.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, Select, SelectItem, SetExpr,
    Spanned as _, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use orrery_lakehouse::TableName;

use super::Verdict;
use crate::access::tables::FunctionRow;
use crate::access::{Privilege, Securable};
use crate::dialect::growth::{Growth, Size};
use crate::dialect::{Statement, normalize, to_name};
use crate::session::catalog::Names;
use crate::{Error, Position, Result};

/// How deep functions may call one another.
const DEPTH_MAX: usize = 16;
/// How deep what they stand for may be: its tree is walked by recursion.
const EXPRESSION_DEPTH_MAX: usize = 1_000;
const CURRENT_USER: [&str; 2] = ["current_user", "session_user"];
const IS_MEMBER: [&str; 2] = ["is_member", "is_account_group_member"];

impl Names {
    /// Puts functions of the user's own, and who he is, in the place of their calls.
    ///
    /// # Errors
    /// A call with other arguments than the function has, or without the right to it.
    pub(crate) fn expand_functions(&self, state: &SessionState, query: &mut Query) -> Result<()> {
        let place = &state.config_options().catalog;
        let (catalog, schema) = (place.default_catalog.clone(), place.default_schema.clone());
        let expand = Expand { names: self, state, catalog, schema, depth: 0, growth: &Growth::default() };
        // Most queries have nothing of the kind; their tree stays as it is.
        if Visit::visit(&*query, &mut Finder { expand: &expand }).is_continue() {
            return Ok(());
        }
        match VisitMut::visit(query, &mut Replacer { expand: &expand }) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    /// Checks that the expression of a function can be expanded: it calls nothing that calls it.
    pub(super) fn check_function_body(&self, state: &SessionState, name: &TableName, body: &Expr) -> Result<()> {
        let (catalog, schema) = (name.catalog.clone(), name.schema.clone());
        let expand = Expand { names: self, state, catalog, schema, depth: 0, growth: &Growth::default() };
        let mut body = body.clone();
        if Size::of(&body).depth > EXPRESSION_DEPTH_MAX {
            return Err(Error::sql(format!("the expression of {name} nests more than {EXPRESSION_DEPTH_MAX} deep")));
        }
        if let ControlFlow::Break(error) = body.visit(&mut Calls { expand: &expand, name }) {
            return Err(error);
        }
        match VisitMut::visit(&mut body, &mut Replacer { expand: &expand }) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }
}

struct Expand<'a> {
    names: &'a Names,
    state: &'a SessionState,
    catalog: String,
    schema: String,
    depth: usize,
    growth: &'a Growth,
}

/// What a call stands for.
enum Meaning {
    CurrentUser,
    IsMember,
    Own(TableName, std::sync::Arc<FunctionRow>),
}

impl Expand<'_> {
    fn meaning(&self, call: &Function) -> Option<Meaning> {
        let name = to_name(&call.name);
        if let [single] = name.parts.as_slice() {
            if CURRENT_USER.contains(&single.as_str()) {
                return Some(Meaning::CurrentUser);
            }
            if IS_MEMBER.contains(&single.as_str()) {
                return Some(Meaning::IsMember);
            }
            let state = self.state;
            let is_built_in = state.scalar_functions().contains_key(single)
                || state.aggregate_functions().contains_key(single)
                || state.window_functions().contains_key(single);
            if is_built_in {
                return None;
            }
        }
        let full = match name.parts.as_slice() {
            [catalog, schema, name] => TableName::new(catalog, schema, name),
            [schema, name] => TableName::new(&self.catalog, schema, name),
            [name] => TableName::new(&self.catalog, &self.schema, name),
            _ => return None,
        };
        let row = self.names.guard().rights().function(&full).cloned()?;
        Some(Meaning::Own(full, row))
    }

    fn replacement(&self, call: &Function) -> Result<Option<Expr>> {
        let Some(meaning) = self.meaning(call) else { return Ok(None) };
        let text = |text: &str| Expr::value(Value::SingleQuotedString(text.to_string()));
        let (user, roles) = self.names.guard().identity();
        let args = plain_args(call)?;
        let count = |wanted: usize| {
            if args.len() == wanted {
                return Ok(());
            }
            let plural = if wanted == 1 { "" } else { "s" };
            Err(Error::sql(format!("{} takes {wanted} argument{plural}, found {}", call.name, args.len())))
        };
        match meaning {
            Meaning::CurrentUser => {
                count(0)?;
                Ok(Some(text(&user)))
            }
            Meaning::IsMember => {
                count(1)?;
                let list = roles.iter().map(|role| text(role)).collect();
                let asked = args.into_iter().next().map(Box::new);
                Ok(asked.map(|expr| Expr::Nested(Box::new(Expr::InList { expr, list, negated: false }))))
            }
            Meaning::Own(name, row) => {
                match self.names.guard().may(Privilege::Execute, &Securable::function(&name)) {
                    Verdict::Allowed => {}
                    Verdict::Hidden => return Ok(None),
                    Verdict::Refused(error) => return Err(error),
                }
                count(row.parameters.len())?;
                self.expanded(&name, &row, args).map(Some)
            }
        }
    }

    /// The expression of a function, with arguments in the place of its parameters.
    fn expanded(&self, name: &TableName, row: &FunctionRow, args: Vec<Expr>) -> Result<Expr> {
        if self.depth >= DEPTH_MAX {
            return Err(Error::sql(format!("functions call one another too deeply, up to {name}")));
        }
        let (mut body, types, returns) = parsed(row)?;
        if !self.growth.allows(Size::of(&body).count) {
            return Err(too_large(name));
        }
        let depth_of_args = args.iter().map(|arg| Size::of(arg).depth).max().unwrap_or(0);
        let values = row.parameters.iter().cloned().zip(args.into_iter().zip(types)).map(|(parameter, (value, data_type))| {
            let value = cast(value, data_type);
            (parameter, (Size::of(&value).count, value))
        });
        let values: HashMap<String, (usize, Expr)> = values.collect();
        let inner = Expand {
            names: self.names,
            state: self.state,
            catalog: name.catalog.clone(),
            schema: name.schema.clone(),
            depth: self.depth + 1,
            growth: self.growth,
        };
        if let ControlFlow::Break(error) = VisitMut::visit(&mut body, &mut Replacer { expand: &inner }) {
            return Err(error);
        }
        // Before the arguments are in their place: that tree would be walked, too.
        if Size::of(&body).depth + depth_of_args > EXPRESSION_DEPTH_MAX {
            return Err(Error::sql(format!("what {name} stands for here nests too deeply")).hint(STORE_BETWEEN));
        }
        if VisitMut::visit(&mut body, &mut Substitute { values: &values, growth: self.growth }).is_break() {
            return Err(too_large(name));
        }
        let body = Expr::Nested(Box::new(body));
        Ok(match returns {
            Some(data_type) => cast(body, data_type),
            None => body,
        })
    }
}

const STORE_BETWEEN: &str = "call it on the columns of a table or view, not on calls of functions";

fn too_large(name: &TableName) -> Error {
    Error::sql(format!("what {name} and the other functions stand for here is too large")).hint(STORE_BETWEEN)
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(Expr::Nested(Box::new(expr))), data_type, array: false, format: None }
}

/// The expression of a function, the types of its parameters and of its value.
fn parsed(row: &FunctionRow) -> Result<(Expr, Vec<DataType>, Option<DataType>)> {
    let damaged = || Error::new(crate::Blame::Storage, format!("the function {} cannot be read", row.function));
    let types = row.types.iter().chain(&row.returns).map(|name| format!("CAST(NULL AS {name})"));
    let items: Vec<String> = types.chain([row.expression.clone()]).collect();
    let statement = crate::dialect::split_own(&format!("SELECT {}", items.join(", ")))?.into_iter().next();
    let Some(Statement::Query(query)) = statement.map(|text| crate::dialect::parse(&text.tokens)).transpose()? else {
        return Err(damaged());
    };
    let SetExpr::Select(select) = *query.body else { return Err(damaged()) };
    let mut exprs = select.projection.into_iter().map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Ok(expr),
        _ => Err(damaged()),
    });
    let mut data_type = || match exprs.next().ok_or_else(damaged)?? {
        Expr::Cast { data_type, .. } => Ok(data_type),
        _ => Err(damaged()),
    };
    let types = row.types.iter().map(|_| data_type()).collect::<Result<Vec<_>>>()?;
    let returns = row.returns.as_ref().map(|_| data_type()).transpose()?;
    let body = exprs.next().ok_or_else(damaged)??;
    Ok((body, types, returns))
}

fn plain_args(call: &Function) -> Result<Vec<Expr>> {
    let has_clauses = call.over.is_some() || call.filter.is_some() || call.null_treatment.is_some() || !call.within_group.is_empty();
    let list = match &call.args {
        FunctionArguments::None => return Ok(Vec::new()),
        FunctionArguments::List(list) if !has_clauses && list.duplicate_treatment.is_none() && list.clauses.is_empty() => list,
        FunctionArguments::List(_) | FunctionArguments::Subquery(_) => {
            return Err(Error::sql(format!("{} takes arguments and no clauses", call.name)));
        }
    };
    let plain = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr.clone()),
        other => Err(Error::sql(format!("{} takes arguments by place, found {other}", call.name))),
    };
    list.args.iter().map(plain).collect()
}

/// Whether there is anything to do.
struct Finder<'a> {
    expand: &'a Expand<'a>,
}

impl Visitor for Finder<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(call) if self.expand.meaning(call).is_some() => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

struct Replacer<'a> {
    expand: &'a Expand<'a>,
}

impl VisitorMut for Replacer<'_> {
    type Break = Error;

    /// A selected call keeps the name that it was written by.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        for item in &mut select.projection {
            let SelectItem::UnnamedExpr(expr) = item else { continue };
            if Visit::visit(expr, &mut Finder { expand: self.expand }).is_break() {
                let alias = Ident::with_quote('"', expr.to_string());
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        ControlFlow::Continue(())
    }

    /// Arguments first, so that what a function is handed is expanded already.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Function(call) = &*expr else { return ControlFlow::Continue(()) };
        match self.expand.replacement(call) {
            Ok(Some(replacement)) => *expr = replacement,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error.at(Position::of_span(call.name.span()))),
        }
        ControlFlow::Continue(())
    }
}

/// Puts arguments in the place of parameters.
struct Substitute<'a> {
    /// With how many expressions each is.
    values: &'a HashMap<String, (usize, Expr)>,
    growth: &'a Growth,
}

impl VisitorMut for Substitute<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr
            && let Some((size, value)) = self.values.get(&normalize(ident))
        {
            if !self.growth.allows(*size) {
                return ControlFlow::Break(());
            }
            *expr = value.clone();
        }
        ControlFlow::Continue(())
    }
}

/// Finds calls of a function itself.
struct Calls<'a> {
    expand: &'a Expand<'a>,
    name: &'a TableName,
}

impl Visitor for Calls<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        if let Expr::Function(call) = expr {
            let parts = to_name(&call.name).parts;
            let full = [self.name.catalog.as_str(), &self.name.schema, &self.name.table];
            let is_built_in = parts.len() == 1 && self.expand.state.scalar_functions().contains_key(&parts[0]);
            if !is_built_in
                && !parts.is_empty()
                && parts.len() <= full.len()
                && full[full.len() - parts.len()..] == parts.iter().map(String::as_str).collect::<Vec<_>>()[..]
            {
                return ControlFlow::Break(Error::sql(format!("the function {} calls itself", self.name)));
            }
        }
        ControlFlow::Continue(())
    }
}
