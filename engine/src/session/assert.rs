//! `ASSERT condition [AS 'message']`: an error, with the values found, unless the condition is true.

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr};

use super::{Mode, Outcome, Session, planning};
use crate::{Error, Result};

impl Session {
    pub(super) async fn assert(&self, condition: &Expr, message: Option<&str>, text: &str, mode: Mode) -> Result<Outcome> {
        let state = self.context.state();
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
        let values = planning::evaluate(&state, &self.names, vec![condition.clone()]).await?;
        match values.first() {
            Some(ScalarValue::Boolean(Some(true))) => return Ok(Outcome::Done(message.unwrap_or(text).to_string())),
            Some(ScalarValue::Boolean(_) | ScalarValue::Null) => {}
            other => {
                let found = other.map_or_else(String::new, |v| format!(", found {}", super::sql_type_name(&v.data_type())));
                return Err(Error::sql(format!("ASSERT takes a condition{found}")));
            }
        }
        let found = if sides.is_empty() {
            values.first().map(|v| format!("the condition is {}", shown(v)))
        } else {
            let sides = planning::evaluate(&state, &self.names, sides).await?;
            Some(format!("found {}", sides.iter().map(shown).collect::<Vec<_>>().join(" against ")))
        };
        let what = message.map_or_else(|| format!("assertion failed: {text}"), |m| format!("assertion failed: {m}"));
        Err(Error::data(format!("{what}; {}", found.unwrap_or_default())).hint(format!("the condition was {text}")))
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
