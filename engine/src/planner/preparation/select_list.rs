//! The select list of `TRANSFORM`: what it may hold, and its expressions over the columns of the training query.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::common::{Column, DFSchema};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::Expr as Planned;
use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, ExprWithAlias, Function, Ident, RenameSelectItem, SelectItem, SelectItemQualifiedWildcardKind, Spanned, Visit,
    Visitor, WildcardAdditionalOptions,
};
use orrery_udfs::window::preparation::Learned;

use crate::dialect::{normalize, to_name};
use crate::{Error, Position, Result};

/// What may stand in the list, for errors.
const FORM: &str = "TRANSFORM takes *, * EXCEPT (…), columns, and expressions AS name, each over the columns of the training query";

/// The outputs of the list by name, in their order.
///
/// # Errors
/// What the list may not hold, names that are missing or given twice, columns that do not exist; with their place.
pub(super) fn outputs(items: &[SelectItem], schema: &DFSchema, state: &SessionState) -> Result<Vec<(String, Planned)>> {
    let mut outputs: Vec<(String, Planned)> = Vec::new();
    let mut names = BTreeSet::new();
    for item in items {
        let position = Position::of_span(item.span());
        for (name, expr) in of_item(item, schema, state).map_err(|error| error.at(position))? {
            if !names.insert(name.clone()) {
                return Err(Error::sql(format!("TRANSFORM has two columns named '{name}'"))
                    .at(position)
                    .hint("give one another name with AS, or leave it out of * with * EXCEPT (…)"));
            }
            outputs.push((name, expr));
        }
    }
    if outputs.is_empty() {
        return Err(Error::sql("TRANSFORM leaves no columns").hint(FORM));
    }
    Ok(outputs)
}

fn of_item(item: &SelectItem, schema: &DFSchema, state: &SessionState) -> Result<Vec<(String, Planned)>> {
    match item {
        SelectItem::UnnamedExpr(expr @ Expr::Identifier(name)) => Ok(vec![(normalize(name), planned(expr, schema, state)?)]),
        SelectItem::ExprWithAlias { expr, alias } => Ok(vec![(normalize(alias), planned(expr, schema, state)?)]),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
            let name = parts.last().map(|name| name.value.clone()).unwrap_or_default();
            let written: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
            Err(Error::sql(format!("{} in TRANSFORM is a column of a table", written.join(".")))
                .hint(format!("columns of the training query go by their plain names: {name}")))
        }
        SelectItem::UnnamedExpr(expr) => {
            planned(expr, schema, state)?;
            Err(Error::sql(format!("{expr} in TRANSFORM has no name")).hint(format!("{expr} AS name")))
        }
        SelectItem::Wildcard(options) => wildcard(options, schema, state),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
            Err(Error::unsupported(format!("{name}.* in TRANSFORM"), None).hint(FORM))
        }
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(expr), _) => {
            Err(Error::unsupported(format!("{expr}.* in TRANSFORM"), None).hint(FORM))
        }
        other => Err(Error::unsupported(format!("{other} in TRANSFORM"), None).hint(FORM)),
    }
}

fn wildcard(options: &WildcardAdditionalOptions, schema: &DFSchema, state: &SessionState) -> Result<Vec<(String, Planned)>> {
    let mut left_out: Vec<(String, Option<Position>)> = Vec::new();
    let mut leave_out = |ident: &Ident| left_out.push((normalize(ident), Position::of_span(ident.span)));
    if let Some(except) = &options.opt_except {
        std::iter::once(&except.first_element).chain(&except.additional_elements).for_each(&mut leave_out);
    }
    let mut excluded = Vec::new();
    match &options.opt_exclude {
        None => {}
        Some(ExcludeSelectItem::Single(name)) => excluded.push(name),
        Some(ExcludeSelectItem::Multiple(names)) => excluded.extend(names),
    }
    left_out.extend(excluded.into_iter().map(|name| {
        let name = to_name(name);
        (name.parts.last().cloned().unwrap_or_default(), name.position)
    }));
    let renames = match &options.opt_rename {
        None => Vec::new(),
        Some(RenameSelectItem::Single(rename)) => vec![(normalize(&rename.ident), &rename.alias, Position::of_span(rename.ident.span))],
        Some(RenameSelectItem::Multiple(renames)) => {
            renames.iter().map(|rename| (normalize(&rename.ident), &rename.alias, Position::of_span(rename.ident.span))).collect()
        }
    };
    let mut replaced = Vec::new();
    for element in options.opt_replace.iter().flat_map(|replace| &replace.items) {
        let position = Position::of_span(element.column_name.span);
        replaced.push((normalize(&element.column_name), planned(&element.expr, schema, state).map_err(|e| e.at(position))?, position));
    }
    let known = left_out.iter().map(|(name, at)| (name, at));
    let known = known.chain(renames.iter().map(|(name, _, at)| (name, at))).chain(replaced.iter().map(|(name, _, at)| (name, at)));
    for (name, position) in known {
        if !schema.has_column_with_unqualified_name(name) {
            return Err(Error::sql(format!("the training query has no column '{name}'")).at(*position).hint(columns(schema)));
        }
    }
    let kept = schema.fields().iter().filter(|field| !left_out.iter().any(|(name, _)| name == field.name()));
    let kept = kept.map(|field| {
        let name = renames.iter().find(|(old, _, _)| old == field.name()).map_or(field.name().clone(), |(_, new, _)| normalize(new));
        let plain = || Planned::Column(Column::from_name(field.name()));
        let expr = replaced.iter().find(|(old, _, _)| old == field.name()).map_or_else(plain, |(_, expr, _)| expr.clone());
        (name, expr)
    });
    Ok(kept.collect())
}

/// The columns of the training query, for errors.
fn columns(schema: &DFSchema) -> String {
    format!("its columns are: {}", schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", "))
}

fn planned(expr: &Expr, schema: &DFSchema, state: &SessionState) -> Result<Planned> {
    if let ControlFlow::Break(error) = expr.visit(&mut Check { state }) {
        return Err(error);
    }
    let expr = ExprWithAlias { expr: expr.clone(), alias: None };
    state.create_logical_expr_from_sql_expr(expr, schema).map_err(|error| {
        let error = Error::from(error);
        if error.message.contains("No field named") { error.hint(columns(schema)) } else { error }
    })
}

/// Refuses what depends on more than a row and what was learned.
struct Check<'a> {
    state: &'a SessionState,
}

impl Check<'_> {
    fn refused(&self, expr: &Expr) -> Option<Error> {
        let refuse =
            |what: String, hint: &str| Some(Error::sql(format!("{what} in TRANSFORM")).at(Position::of_span(expr.span())).hint(hint));
        match expr {
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                refuse("a subquery".to_string(), "compute it in the training query and where the model is used")
            }
            Expr::Function(Function { name, over, .. }) => {
                let parts = to_name(name).parts;
                let [function] = parts.as_slice() else { return None };
                if Learned::named(function).is_some() {
                    return None;
                }
                if over.is_some() {
                    return refuse(
                        format!("the analytic function {function}"),
                        "only functions whose learned values a model can keep, such as ML.STANDARD_SCALER(x) OVER ()",
                    );
                }
                if self.state.aggregate_functions().contains_key(function) {
                    return refuse(format!("the aggregate {function}()"), "compute it in the training query");
                }
                None
            }
            _ => None,
        }
    }
}

impl Visitor for Check<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        self.refused(expr).map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}
