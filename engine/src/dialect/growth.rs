//! How much larger than it was written a statement may become, where names and calls stand for larger expressions: of `f(f(f(…)))` with `f(x) = x + x`,
//! each call makes twice as much as the one before.

use std::cell::Cell;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, Visit, Visitor};

/// Expressions that may be written into one statement.
const EXPRESSIONS_MAX: usize = 1_000_000;

/// What may yet be written into a statement.
#[derive(Debug)]
pub(crate) struct Growth {
    left: Cell<usize>,
}

impl Default for Growth {
    fn default() -> Self {
        Self { left: Cell::new(EXPRESSIONS_MAX) }
    }
}

impl Growth {
    /// Whether so many expressions may be written into the statement too; they count as written then.
    pub(crate) fn allows(&self, expressions: usize) -> bool {
        match self.left.get().checked_sub(expressions) {
            Some(left) => {
                self.left.set(left);
                true
            }
            None => false,
        }
    }
}

/// How large an expression is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    pub count: usize,
    /// Of expressions and queries in each other.
    pub depth: usize,
}

impl Size {
    pub(crate) fn of(expr: &Expr) -> Self {
        let mut measure = Measure::default();
        let _ = expr.visit(&mut measure);
        measure.size
    }
}

#[derive(Default)]
struct Measure {
    size: Size,
    depth: usize,
}

impl Measure {
    fn enter(&mut self) -> ControlFlow<()> {
        self.size.count += 1;
        self.depth += 1;
        self.size.depth = self.size.depth.max(self.depth);
        ControlFlow::Continue(())
    }

    fn leave(&mut self) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

impl Visitor for Measure {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.enter()
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.enter()
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.leave()
    }
}
