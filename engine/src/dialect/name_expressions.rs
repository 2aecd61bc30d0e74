//! Names the selected expressions that DataFusion could not tell apart by their text.
//!
//! DataFusion leaves casts and subqueries out of the names it makes up, so that `SELECT at, CAST(at AS DATE)` would have two
//! columns of one name, and be refused. Spark and DuckDB name such columns by the text, as is done here.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, Visit, VisitMut, Visitor, VisitorMut};

/// Gives every selected expression that holds a cast or a subquery, and has no name, its text as a name.
pub(super) fn name_expressions(query: &mut Query) {
    let _: ControlFlow<()> = VisitMut::visit(query, &mut NameExpressions);
}

struct NameExpressions;

impl VisitorMut for NameExpressions {
    type Break = ();

    /// `SELECT DISTINCT` may only be ordered by what it selects, which now has another name.
    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let SetExpr::Select(select) = query.body.as_mut() else { return ControlFlow::Continue(()) };
        name_items(select);
        if let Some(order_by) = &mut query.order_by
            && let OrderByKind::Expressions(keys) = &mut order_by.kind
            && select.distinct.is_some()
        {
            for key in keys {
                let selected = select.projection.iter().find_map(|item| match item {
                    SelectItem::ExprWithAlias { expr, alias } if *expr == key.expr => Some(alias.clone()),
                    _ => None,
                });
                key.expr = selected.map_or_else(|| key.expr.clone(), Expr::Identifier);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        name_items(select);
        ControlFlow::Continue(())
    }
}

fn name_items(select: &mut Select) {
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        if Visit::visit(expr, &mut FindNameless).is_break() {
            let alias = Ident::with_quote('"', expr.to_string());
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
        }
    }
}

struct FindNameless;

impl Visitor for FindNameless {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let is_left_out = matches!(expr, Expr::Cast { .. } | Expr::Subquery(_));
        if is_left_out { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
