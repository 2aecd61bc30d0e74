//! Refuses clauses of aggregate calls on scalar functions, which DataFusion would drop: `upper(x) FILTER (WHERE …)`.

use std::ops::ControlFlow;

use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{DuplicateTreatment, Expr, Function, FunctionArguments, Query, Spanned, Visit, Visitor};

use crate::dialect::to_name;
use crate::{Error, Position, Result};

/// Checks every call of the query.
///
/// # Errors
/// The clause and the function, with their place.
pub(super) fn check(state: &SessionState, query: &Query) -> Result<()> {
    match query.visit(&mut Check { state }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Check<'a> {
    state: &'a SessionState,
}

impl Visitor for Check<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let parts = to_name(&call.name).parts;
        let [name] = parts.as_slice() else { return ControlFlow::Continue(()) };
        let state = self.state;
        let is_scalar = state.scalar_functions().contains_key(name)
            && !state.aggregate_functions().contains_key(name)
            && !state.window_functions().contains_key(name);
        match clause_of(call).filter(|_| is_scalar) {
            None => ControlFlow::Continue(()),
            Some(clause) => ControlFlow::Break(
                Error::sql(format!("{clause} does not go with {name}(), which is no aggregate")).at(Position::of_span(call.name.span())),
            ),
        }
    }
}

/// A clause of the call that only aggregates and window functions have.
fn clause_of(call: &Function) -> Option<&'static str> {
    let arguments = match &call.args {
        FunctionArguments::List(list) => Some(list),
        FunctionArguments::None | FunctionArguments::Subquery(_) => None,
    };
    let clauses = [
        (call.over.is_some(), "OVER"),
        (call.filter.is_some(), "FILTER"),
        (call.null_treatment.is_some(), "IGNORE NULLS / RESPECT NULLS"),
        (!call.within_group.is_empty(), "WITHIN GROUP"),
        (arguments.is_some_and(|list| list.duplicate_treatment == Some(DuplicateTreatment::Distinct)), "DISTINCT"),
        (arguments.is_some_and(|list| !list.clauses.is_empty()), "ORDER BY or another clause in the parentheses"),
    ];
    clauses.into_iter().find_map(|(found, clause)| found.then_some(clause))
}
