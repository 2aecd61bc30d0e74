//! Writes Spark's `monotonically_increasing_id()` as `CAST(row_number() OVER () AS BIGINT) - 1`: numbers that are unique, from 0 on, and here without gaps.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArguments, Ident, Query, Select, SelectItem, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

const FUNCTION: &str = "monotonically_increasing_id";

/// Replaces the calls in all of a query; selected ones without a name keep their text as a name.
///
/// # Errors
/// None: what is put in their places can be parsed.
pub(super) fn write_row_ids(query: &mut Query) -> Result<(), ParserError> {
    if Visit::visit(query, &mut Find).is_continue() {
        return Ok(());
    }
    let number = Parser::new(&GenericDialect {}).try_with_sql("CAST(row_number() OVER () AS BIGINT)")?.parse_expr()?;
    let one = Parser::new(&GenericDialect {}).try_with_sql("1")?.parse_expr()?;
    let id = Expr::BinaryOp { left: Box::new(number), op: BinaryOperator::Minus, right: Box::new(one) };
    let _: ControlFlow<()> = VisitMut::visit(query, &mut Replace { id: Expr::Nested(Box::new(id)) });
    Ok(())
}

fn is_call(expr: &Expr) -> bool {
    let Expr::Function(call) = expr else { return false };
    let has_no_arguments = match &call.args {
        FunctionArguments::List(list) => list.args.is_empty() && list.clauses.is_empty(),
        FunctionArguments::None | FunctionArguments::Subquery(_) => false,
    };
    has_no_arguments && call.over.is_none() && call.filter.is_none() && call.name.to_string().eq_ignore_ascii_case(FUNCTION)
}

struct Find;

impl Visitor for Find {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if is_call(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

struct Replace {
    id: Expr,
}

impl VisitorMut for Replace {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && Visit::visit(expr, &mut Find).is_break()
            {
                let alias = Ident::with_quote('"', expr.to_string());
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if is_call(expr) {
            *expr = self.id.clone();
        }
        ControlFlow::Continue(())
    }
}
