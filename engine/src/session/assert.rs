//! `ASSERT condition [AS 'message']`: an error, with the values found, unless the condition is true.

use std::ops::ControlFlow;

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Query, SelectItem, SetExpr, TableFactor, VisitMut as _, VisitorMut};

use super::{Mode, Outcome, Session, Tracker, planning};
use crate::dialect::{self, Statement};
use crate::{Error, Result};

impl Session {
    pub(super) async fn assert(
        &self,
        condition: &Expr,
        message: Option<&str>,
        text: &str,
        mode: Mode,
        tracker: &Tracker,
    ) -> Result<Outcome> {
        let state = self.context.state();
        let mut condition = condition.clone();
        let _ = condition.visit(&mut ExistsToCount);
        let condition = &condition;
        // The sides of a comparison are computed in the same query, so that a failure can show them.
        let sides = match condition {
            Expr::BinaryOp { left, op, right } if is_comparison(op) => vec![left.as_ref().clone(), right.as_ref().clone()],
            _ => Vec::new(),
        };
        if mode == Mode::Check {
            let plan = planning::plan_query(&state, &self.names, planning::select_of(vec![condition.clone()])?).await?;
            self.physical(&plan).await?;
            return Ok(Outcome::Done("plans".to_string()));
        }
        let values = self.evaluate(vec![condition.clone()], tracker).await?;
        match values.first() {
            Some(ScalarValue::Boolean(Some(true))) => return Ok(Outcome::Done("holds".to_string())),
            Some(ScalarValue::Boolean(_) | ScalarValue::Null) => {}
            other => {
                let found = other.map_or_else(String::new, |v| format!(", found {}", super::sql_type_name(&v.data_type())));
                return Err(Error::sql(format!("ASSERT takes a condition{found}")));
            }
        }
        let found = if sides.is_empty() {
            values.first().map(|v| format!("the condition is {}", shown(v)))
        } else {
            let sides = self.evaluate(sides, tracker).await?;
            Some(format!("found {}", sides.iter().map(shown).collect::<Vec<_>>().join(" against ")))
        };
        let what = message.map_or_else(|| format!("assertion failed: {text}"), |m| format!("assertion failed: {m}"));
        Err(Error::data(format!("{what}; {}", found.unwrap_or_default())).hint(format!("the condition was {text}")))
    }
}

/// `EXISTS (q)` → `(SELECT COUNT(*) FROM (q)) > 0`: DataFusion carries out EXISTS in WHERE only.
struct ExistsToCount;

impl VisitorMut for ExistsToCount {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Exists { subquery, negated } = expr {
            let comparison = if *negated { "=" } else { ">" };
            let counted = dialect::split(&format!("SELECT (SELECT COUNT(*) FROM (SELECT 1) AS q) {comparison} 0"))
                .and_then(|mut statements| dialect::parse(&statements.remove(0).tokens));
            if let Ok(Statement::Query(query)) = counted
                && let SetExpr::Select(select) = *query.body
                && let Some(SelectItem::UnnamedExpr(mut counted) | SelectItem::ExprWithAlias { expr: mut counted, .. }) =
                    select.projection.into_iter().next()
            {
                let _ = counted.visit(&mut PutSubquery(subquery));
                *expr = counted;
            }
        }
        ControlFlow::Continue(())
    }
}

struct PutSubquery<'a>(&'a Query);

impl VisitorMut for PutSubquery<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { subquery, .. } = factor {
            **subquery = self.0.clone();
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

fn shown(value: &ScalarValue) -> String {
    if value.is_null() { "NULL".to_string() } else { value.to_string() }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Eq | BinaryOperator::NotEq | BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq
    )
}
