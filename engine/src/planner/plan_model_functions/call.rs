//! A call of `ML.X`, read: the model, the rows and the fields of `STRUCT(…)`.

use std::collections::BTreeMap;

use datafusion::common::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, Query, Spanned as _, TableFactor, TableFunctionArgs, UnaryOperator, Value,
};
use orrery_models::{OptionValue, Options};

use super::{Function, Rows, shown};
use crate::dialect::{normalize, window_tables};
use crate::models::scoring::Scorer;
use crate::models::{ModelRecord, errors, resolved};
use crate::{Error, Position};

/// See the module documentation.
pub(super) struct Call {
    pub function: &'static Function,
    pub place: Option<Position>,
    pub record: ModelRecord,
    pub scorer: Scorer,
    rows: Option<Box<Query>>,
    pub options: Options,
}

impl Call {
    pub fn of(function: &'static Function, place: Option<Position>, args: &TableFunctionArgs) -> Result<Self, Error> {
        let wrong = |problem: String, at: Option<Position>| Error::sql(problem).at(at.or(place)).hint(function.form);
        let (mut record, mut rows, mut options) = (None, None, None);
        for (index, arg) in args.args.iter().enumerate() {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg else {
                return Err(wrong(format!("{} takes no argument like {arg}", shown(function)), Position::of_span(arg.span())));
            };
            let at = Position::of_span(arg.span());
            let twice = |what: &str| wrong(format!("{} is given two {what}", shown(function)), at);
            if index == 0 {
                let found = model_of(arg).ok_or_else(|| wrong(format!("the first argument of {} is MODEL m", shown(function)), at))?;
                record = Some(found);
            } else if let Some(table) = window_tables::table_argument(arg) {
                if function.rows == Rows::No {
                    return Err(wrong(format!("{} takes no rows", shown(function)), at));
                }
                if rows.replace(table.query).is_some() {
                    return Err(twice("sets of rows"));
                }
            } else if let SqlExpr::Struct { values, .. } = arg {
                if options.replace(struct_options(function, place, values)?).is_some() {
                    return Err(twice("STRUCTs"));
                }
            } else {
                return Err(wrong(format!("{} takes no argument like {arg}", shown(function)), at));
            }
        }
        let Some(record) = record else { return Err(wrong(format!("{} is called without a model", shown(function)), None)) };
        if rows.is_none() && function.rows == Rows::Needed {
            return Err(wrong(format!("{} is called without rows", shown(function)), None));
        }
        let scorer = Scorer::later(record.reference.clone());
        Ok(Self { function, place, record, scorer, rows, options: options.unwrap_or_default() })
    }

    /// An error at the call, with its form as the hint.
    pub fn error(&self, problem: impl Into<String>) -> Error {
        Error::sql(problem).at(self.place).hint(self.function.form)
    }

    /// The error for a model type that lacks what the function tells; `having` are those that have it.
    pub fn lacking(&self, having: &str) -> Error {
        let problem = format!("{} is a {} model, which has no {}", self.record.reference, self.record.model_type, shown(self.function));
        Error::sql(problem).at(self.place).hint(format!("{} is of models of type {having}", shown(self.function)))
    }

    /// The error for a model that only prepares rows, if it is one.
    ///
    /// # Errors
    /// The model predicts nothing, or cannot be loaded.
    pub fn check_predicts(&self) -> Result<()> {
        if !self.scorer.model()?.predicted().is_empty() {
            return Ok(());
        }
        let problem = format!("{} is a {} model, which predicts nothing", self.record.reference, self.record.model_type);
        Err(Error::sql(problem).at(self.place).hint("ML.TRANSFORM(MODEL m, TABLE t) gives the columns that it prepares").into())
    }

    /// Plans the rows, if there are some.
    pub fn rows(&self, context: &mut dyn RelationPlannerContext) -> Result<Option<LogicalPlan>> {
        let Some(query) = &self.rows else { return Ok(None) };
        context.plan(TableFactor::Derived { lateral: false, subquery: query.clone(), alias: None, sample: None }).map(Some)
    }

    /// Plans rows that have to be there.
    pub fn needed_rows(&self, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
        let without = || self.error(format!("{} is called without rows", shown(self.function))).into();
        self.rows(context)?.ok_or_else(without)
    }
}

fn model_of(arg: &SqlExpr) -> Option<ModelRecord> {
    match arg {
        SqlExpr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => resolved::from_text(text),
            _ => None,
        },
        _ => None,
    }
}

/// `STRUCT(10 AS top_k, …)`, checked against what the function takes.
fn struct_options(function: &Function, place: Option<Position>, values: &[SqlExpr]) -> Result<Options, Error> {
    let mut options = BTreeMap::new();
    let mut places = BTreeMap::new();
    for value in values {
        let at = Position::of_span(value.span()).or(place);
        let SqlExpr::Named { expr, name } = value else {
            return Err(Error::sql(format!("the field {value} of the STRUCT of {} has no name", shown(function)))
                .at(at)
                .hint(function.form));
        };
        let name = normalize(name);
        let Some(read) = literal(expr) else {
            return Err(Error::sql(format!("the field '{name}' of the STRUCT of {} is no literal: {expr}", shown(function))).at(at));
        };
        if options.insert(name.clone(), read).is_some() {
            return Err(Error::sql(format!("the field '{name}' is there twice")).at(at));
        }
        places.insert(name, at);
    }
    let options = Options(options);
    options.check(function.options).map_err(|e| errors::at_option(e, &places).hint(function.form))?;
    Ok(options)
}

fn literal(expr: &SqlExpr) -> Option<OptionValue> {
    match expr {
        SqlExpr::Value(value) => match &value.value {
            Value::Number(text, _) => text.parse().map(OptionValue::Int).or_else(|_| text.parse().map(OptionValue::Float)).ok(),
            Value::Boolean(value) => Some(OptionValue::Bool(*value)),
            Value::SingleQuotedString(text) => Some(OptionValue::Text(text.clone())),
            _ => None,
        },
        SqlExpr::UnaryOp { op: UnaryOperator::Minus, expr } => match literal(expr)? {
            OptionValue::Int(value) => value.checked_neg().map(OptionValue::Int),
            OptionValue::Float(value) => Some(OptionValue::Float(-value)),
            _ => None,
        },
        SqlExpr::UnaryOp { op: UnaryOperator::Plus, expr } | SqlExpr::Nested(expr) => literal(expr),
        _ => None,
    }
}
