//! `ML.NAME(…)` in expressions becomes a call of the function `ml_name`; functions that learn of a column are asked for their `OVER ()`, and columns in
//! `STRUCT(a, b)` among the arguments bring their names.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, VisitMut, VisitorMut, WindowType,
};
use orrery_udfs::window::preparation::Learned;

use super::normalize;
use crate::{Error, Position, Result};

/// Rewrites the calls of a query or expression.
///
/// # Errors
/// A function that learns of a column without `OVER ()`, or with something in it; with its place.
pub(super) fn resolve(node: &mut impl VisitMut) -> Result<()> {
    match node.visit(&mut Resolve) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Resolve;

impl VisitorMut for Resolve {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        name_in_one_part(&mut call.name);
        let name = match call.name.0.as_slice() {
            [ObjectNamePart::Identifier(name)] => name.clone(),
            _ => return ControlFlow::Continue(()),
        };
        let function = normalize(&name);
        if function.starts_with("ml_") {
            name_struct_fields(call);
        }
        match Learned::named(&function).map_or(Ok(()), |learned| check_over(call, learned, &name)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// `ML.X` → `ml_x`, at the place of the whole.
fn name_in_one_part(name: &mut ObjectName) {
    let [ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(function)] = name.0.as_slice() else { return };
    if schema.quote_style.is_some() || !schema.value.eq_ignore_ascii_case("ml") {
        return;
    }
    let mut one = Ident::new(format!("ml_{}", function.value.to_lowercase()));
    one.span = schema.span.union(&function.span);
    *name = ObjectName(vec![ObjectNamePart::Identifier(one)]);
}

/// `STRUCT(a, t.b, a + b AS c)`: DataFusion would name the first two c0 and c1.
fn name_struct_fields(call: &mut Function) {
    let FunctionArguments::List(list) = &mut call.args else { return };
    for argument in &mut list.args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Struct { values, .. })) = argument else { continue };
        for value in values {
            let name = match &*value {
                Expr::Identifier(name) => name.clone(),
                Expr::CompoundIdentifier(parts) => match parts.last() {
                    Some(name) => name.clone(),
                    None => continue,
                },
                _ => continue,
            };
            let name = Ident::with_quote('"', normalize(&name));
            *value = Expr::Named { expr: Box::new(value.clone()), name };
        }
    }
}

fn check_over(call: &Function, function: Learned, name: &Ident) -> Result<()> {
    let shown = function.shown();
    let is_empty = match &call.over {
        None => false,
        Some(WindowType::WindowSpec(over)) => {
            over.window_name.is_none() && over.partition_by.is_empty() && over.order_by.is_empty() && over.window_frame.is_none()
        }
        Some(WindowType::NamedWindow(_)) => false,
    };
    let has_clauses = match &call.args {
        FunctionArguments::List(list) => list.duplicate_treatment.is_some() || !list.clauses.is_empty(),
        _ => false,
    };
    let problem = if call.over.is_none() {
        format!("{shown} learns of all rows and is written with OVER ()")
    } else if !is_empty {
        format!("{shown} learns of all rows: its OVER () is empty")
    } else if has_clauses || call.filter.is_some() || call.null_treatment.is_some() || !call.within_group.is_empty() {
        format!("{shown} takes no FILTER, DISTINCT, ORDER BY or IGNORE NULLS")
    } else {
        return Ok(());
    };
    Err(Error::sql(problem).at(Position::of_span(name.span)).hint(format!("{shown}(…) OVER ()")))
}
