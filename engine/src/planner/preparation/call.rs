//! A call of a function that learns of a column: which aggregates over all rows it needs, and what it is given their values.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{AggregateUDF, AggregateUDFImpl, Expr, ExprSchemable as _, WindowFunctionDefinition, cast, lit};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use orrery_udfs::aggregate::exact_moments::MomentsFunction;
use orrery_udfs::aggregate::exact_quantiles::QuantilesFunction;
use orrery_udfs::window::preparation::Learned;

use datafusion::arrow::array::{Array as _, AsArray as _};
use datafusion::arrow::datatypes::{DataType, Float64Type};

use super::{buckets, encoders, imputer, scalers, winsorize};

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    /// Which function.
    pub function: Learned,
    /// Its arguments.
    pub args: Vec<Expr>,
}

impl Call {
    /// The call that an expression is.
    pub fn of(expr: &Expr) -> Option<Self> {
        let Expr::WindowFunction(window) = expr else { return None };
        let WindowFunctionDefinition::WindowUDF(function) = &window.fun else { return None };
        Some(Self { function: Learned::named(function.name())?, args: window.params.args.clone() })
    }

    /// The aggregates over all rows whose values [`Call::expression`] takes.
    ///
    /// # Errors
    /// An argument that is no literal, or out of bounds.
    pub fn aggregates(&self) -> Result<Vec<Expr>> {
        match self.function {
            Learned::StandardScaler | Learned::MinMaxScaler | Learned::MaxAbsScaler => Ok(vec![moments(self.number()?)]),
            Learned::RobustScaler => scalers::robust_aggregates(self),
            Learned::Imputer => imputer::aggregates(self),
            Learned::QuantileBucketize => buckets::aggregates(self),
            Learned::OneHotEncoder | Learned::LabelEncoder => encoders::aggregates(self),
            Learned::Winsorize => winsorize::aggregates(self),
        }
    }

    /// The plain expression of a row that the call is, given the values of its aggregates.
    ///
    /// # Errors
    /// As [`Call::aggregates`].
    pub fn expression(&self, learned: &[Expr]) -> Result<Expr> {
        match self.function {
            Learned::StandardScaler => scalers::standard(self.number()?, only(learned)?),
            Learned::MinMaxScaler => scalers::min_max(self.number()?, only(learned)?),
            Learned::MaxAbsScaler => scalers::max_abs(self.number()?, only(learned)?),
            Learned::RobustScaler => scalers::robust(self, only(learned)?),
            Learned::Imputer => imputer::expression(self, only(learned)?),
            Learned::QuantileBucketize => buckets::expression(self, only(learned)?),
            Learned::OneHotEncoder | Learned::LabelEncoder => encoders::expression(self, learned),
            Learned::Winsorize => winsorize::expression(self, only(learned)?),
        }
    }

    /// The first argument as it is.
    pub fn value(&self) -> Result<Expr> {
        match self.args.first() {
            Some(value) => Ok(value.clone()),
            None => plan_err!("{} has no arguments", self.function.shown()),
        }
    }

    /// The first argument as DOUBLE.
    pub fn number(&self) -> Result<Expr> {
        Ok(cast(self.value()?, DataType::Float64))
    }

    /// A literal argument, by its place from 0; `None` if it is not given.
    pub fn literal(&self, at: usize, name: &str) -> Result<Option<ScalarValue>> {
        let Some(given) = self.args.get(at) else { return Ok(None) };
        let schema = Arc::new(DFSchema::empty());
        let simplifier = ExprSimplifier::new(SimplifyContext::builder().with_schema(Arc::clone(&schema)).build());
        let folded = simplifier.coerce(given.clone(), &schema).and_then(|expr| simplifier.simplify(expr));
        match folded {
            Ok(Expr::Literal(value, _)) if !value.is_null() => Ok(Some(value)),
            _ => self.refuse(at, name, &format!("must be a literal, not {given}")),
        }
    }

    /// A literal whole number within bounds.
    pub fn whole(&self, at: usize, name: &str, low: i64, high: i64) -> Result<Option<i64>> {
        match self.literal(at, name)?.map(|value| (value.cast_to(&DataType::Int64), value)) {
            None => Ok(None),
            Some((Ok(ScalarValue::Int64(Some(value))), _)) if (low..=high).contains(&value) => Ok(Some(value)),
            Some((_, found)) => self.refuse(at, name, &format!("is {found}; it goes from {low} to {high}")),
        }
    }

    /// A literal truth value.
    pub fn truth(&self, at: usize, name: &str) -> Result<Option<bool>> {
        match self.literal(at, name)? {
            None => Ok(None),
            Some(ScalarValue::Boolean(Some(value))) => Ok(Some(value)),
            Some(other) => self.refuse(at, name, &format!("must be TRUE or FALSE, not {other}")),
        }
    }

    /// A literal fraction from 0 to 1.
    pub fn fraction(&self, at: usize, name: &str) -> Result<f64> {
        match self.literal(at, name)?.map(|value| (value.cast_to(&DataType::Float64), value)) {
            Some((Ok(ScalarValue::Float64(Some(value))), _)) if (0.0..=1.0).contains(&value) => Ok(value),
            Some((_, found)) => self.refuse(at, name, &format!("is {found}; it goes from 0 to 1")),
            None => self.refuse(at, name, "is missing"),
        }
    }

    /// A literal list of numbers.
    pub fn numbers(&self, at: usize, name: &str) -> Result<Option<Vec<f64>>> {
        let list = DataType::new_list(DataType::Float64, true);
        match self.literal(at, name)?.map(|value| value.cast_to(&list)) {
            None => Ok(None),
            Some(Ok(ScalarValue::List(found))) if found.is_valid(0) && found.value(0).null_count() == 0 => {
                Ok(Some(found.value(0).as_primitive::<Float64Type>().values().to_vec()))
            }
            Some(_) => self.refuse(at, name, "must be a list of numbers"),
        }
    }

    /// One of the choices, whatever its case; `None` if it is not given.
    pub fn choice(&self, at: usize, name: &str, choices: &[&'static str]) -> Result<Option<&'static str>> {
        let Some(given) = self.literal(at, name)? else { return Ok(None) };
        let given = given.try_as_str().flatten().unwrap_or_default().to_string();
        match choices.iter().find(|choice| choice.eq_ignore_ascii_case(&given)) {
            Some(found) => Ok(Some(found)),
            None => {
                let choices: Vec<String> = choices.iter().map(|choice| format!("'{choice}'")).collect();
                self.refuse(at, name, &format!("is '{given}'; it is one of {}", choices.join(", ")))
            }
        }
    }

    /// An error about an argument. The statement's place is found by the function's name.
    pub fn refuse<T>(&self, at: usize, name: &str, problem: &str) -> Result<T> {
        plan_err!("{}: argument {}, {name}, {problem}", self.function.shown(), at + 1)
    }
}

fn only(learned: &[Expr]) -> Result<&Expr> {
    match learned {
        [only] => Ok(only),
        _ => internal_err!("{} values were learned and not one", learned.len()),
    }
}

/// A call of an aggregate.
pub(super) fn aggregate(function: impl AggregateUDFImpl + 'static, args: Vec<Expr>) -> Expr {
    let function = Arc::new(AggregateUDF::new_from_impl(function));
    Expr::AggregateFunction(AggregateFunction::new_udf(function, args, false, None, Vec::new(), None))
}

/// `exact_moments(x)`.
pub(super) fn moments(number: Expr) -> Expr {
    aggregate(MomentsFunction::new(), vec![number])
}

/// `exact_quantiles(x, fractions)`.
pub(super) fn quantiles(number: Expr, fractions: &[f64]) -> Expr {
    let list = ScalarValue::new_list_nullable(&fractions.iter().map(|f| ScalarValue::from(*f)).collect::<Vec<_>>(), &DataType::Float64);
    aggregate(QuantilesFunction::new(), vec![number, lit(ScalarValue::List(list))])
}

/// The calls in expressions that have no other call among their arguments, each once, in their order.
pub(super) fn innermost(exprs: &[&Expr], schema: &DFSchema) -> Result<Vec<Call>> {
    let mut found: Vec<Call> = Vec::new();
    for expr in exprs {
        expr.apply(|part| {
            if let Some(call) = Call::of(part)
                && !call.args.iter().any(has_call)
                && !found.contains(&call)
            {
                // What the arguments' types do not allow is told before anything is computed.
                part.get_type(schema)?;
                if call.function == Learned::Imputer {
                    imputer::check(&call, &call.value()?.get_type(schema)?)?;
                }
                found.push(call);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(found)
}

/// Whether there is a call in the expression.
pub(super) fn has_call(expr: &Expr) -> bool {
    expr.exists(|part| Ok(Call::of(part).is_some())).unwrap_or(false)
}

/// The aggregates of several calls, each once, and for each call the places of its own among them.
pub(super) fn aggregates_of(calls: &[Call]) -> Result<(Vec<Expr>, Vec<Vec<usize>>)> {
    let mut all: Vec<Expr> = Vec::new();
    let mut places = Vec::with_capacity(calls.len());
    for call in calls {
        let of_call = call.aggregates()?.into_iter().map(|aggregate| match all.iter().position(|known| *known == aggregate) {
            Some(place) => place,
            None => {
                all.push(aggregate);
                all.len() - 1
            }
        });
        places.push(of_call.collect());
    }
    Ok((all, places))
}

/// Puts the plain expressions of calls in their places.
pub(super) fn substitute(expr: Expr, calls: &[Call], plain: &[Expr]) -> Result<Expr> {
    expr.transform_up(|part| {
        let at = Call::of(&part).and_then(|call| calls.iter().position(|known| *known == call));
        Ok(match at {
            Some(at) => Transformed::yes(plain[at].clone()),
            None => Transformed::no(part),
        })
    })
    .data()
}

/// The plain expressions of calls, given the values of all aggregates of [`aggregates_of`].
pub(super) fn expressions_of(calls: &[Call], places: &[Vec<usize>], values: &[Expr]) -> Result<Vec<Expr>> {
    let pairs = calls.iter().zip(places);
    pairs.map(|(call, places)| call.expression(&places.iter().map(|place| values[*place].clone()).collect::<Vec<_>>())).collect()
}
