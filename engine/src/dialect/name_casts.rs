//! Names the selected expressions that hold a cast by their text.
//!
//! DataFusion leaves casts out of the names it makes up, so that `SELECT at, CAST(at AS DATE)` would have two columns of one
//! name, and be refused. Spark and DuckDB name such columns by the text, as is done here.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, Select, SelectItem, Visit, VisitMut, Visitor, VisitorMut};

/// Gives every selected expression that holds a cast, and has no name, its text as a name.
pub(super) fn name_casts(query: &mut Query) {
    let _: ControlFlow<()> = VisitMut::visit(query, &mut NameCasts);
}

struct NameCasts;

impl VisitorMut for NameCasts {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            let SelectItem::UnnamedExpr(expr) = item else { continue };
            if Visit::visit(expr, &mut FindCast).is_break() {
                let alias = Ident::with_quote('"', expr.to_string());
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        ControlFlow::Continue(())
    }
}

struct FindCast;

impl Visitor for FindCast {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if matches!(expr, Expr::Cast { .. }) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
