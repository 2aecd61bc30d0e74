//! Values for the parameters of a statement. They are put into the logical plan as literals, after the text was planned, so that a value is never read as
//! SQL. What type a parameter has is told by its place: the column it is compared with or written to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, LogicalPlan};
use parking_lot::Mutex;

use super::sql_type_name;
use crate::{Error, Result};

tokio::task_local! {
    /// What the parameters of the statement stand for that runs in this task.
    static MEANING: Meaning;
}

/// Values by the names of parameters, which are `1`, `2` … for those that have none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters {
    values: BTreeMap<String, ScalarValue>,
}

impl Parameters {
    /// Pairs the parameters of a statement with values, by name if all the values' names are names of parameters (`$` in front or not), else by place.
    ///
    /// # Errors
    /// More or fewer values than parameters.
    pub fn pair(parameters: &[String], values: Vec<(String, ScalarValue)>) -> Result<Self> {
        if parameters.len() != values.len() {
            let hint = if parameters.is_empty() { "it has no ?, $1 or $name".to_string() } else { shown(parameters) };
            let problem = format!("the statement has {} parameters, {} values are given", parameters.len(), values.len());
            return Err(Error::sql(problem).hint(hint));
        }
        let plain = |name: &str| name.strip_prefix('$').unwrap_or(name).to_string();
        let by_name: BTreeMap<String, ScalarValue> = values.iter().map(|(name, value)| (plain(name), value.clone())).collect();
        if parameters.iter().all(|name| by_name.contains_key(name)) {
            return Ok(Self { values: by_name });
        }
        let values = parameters.iter().cloned().zip(values.into_iter().map(|(_, value)| value)).collect();
        Ok(Self { values })
    }
}

fn shown(parameters: &[String]) -> String {
    let names: Vec<_> = parameters.iter().map(|name| format!("${name}")).collect();
    format!("its parameters are {}", names.join(", "))
}

#[derive(Clone)]
enum Meaning {
    /// They have these values.
    Values(Arc<Parameters>),
    /// They are being found out about, and stand for NULL.
    Unknown(Arc<Mutex<BTreeMap<String, DataType>>>),
    /// They may not be there.
    None(&'static str),
}

/// Carries work out with values for the parameters that it plans.
pub(super) async fn with_values<T>(parameters: Parameters, work: impl Future<Output = T>) -> T {
    MEANING.scope(Meaning::Values(Arc::new(parameters)), work).await
}

/// The values for the parameters of what is planned at the moment; none outside of [`with_values`].
pub(super) fn values() -> Arc<Parameters> {
    MEANING.try_with(|meaning| if let Meaning::Values(values) = meaning { Arc::clone(values) } else { Arc::default() }).unwrap_or_default()
}

/// Plans something whose parameters have no values yet. Returns the types that their places tell beside what was planned.
pub(super) async fn with_types<T>(work: impl Future<Output = T>) -> (T, BTreeMap<String, DataType>) {
    let found = Arc::new(Mutex::default());
    let planned = MEANING.scope(Meaning::Unknown(Arc::clone(&found)), work).await;
    let types = std::mem::take(&mut *found.lock());
    (planned, types)
}

/// Plans something that is kept, where values would be lost.
pub(super) async fn without<T>(what: &'static str, work: impl Future<Output = T>) -> T {
    MEANING.scope(Meaning::None(what), work).await
}

/// The plan with values in the place of its parameters; `columns` are the types of what its rows are written to.
pub(super) fn bind(plan: LogicalPlan, columns: &[DataType]) -> Result<LogicalPlan> {
    let found = find(&plan, columns)?;
    if found.is_empty() {
        return Ok(plan);
    }
    let meaning = MEANING.try_with(Clone::clone).unwrap_or_else(|_| Meaning::Values(Arc::default()));
    let mut values = HashMap::new();
    for (name, expected) in found {
        let value = match &meaning {
            Meaning::None(what) => return Err(Error::sql(format!("{what} cannot have parameters, found ${name}"))),
            Meaning::Unknown(types) => {
                if let Some(expected) = &expected {
                    types.lock().entry(name.clone()).or_insert_with(|| expected.data_type.clone());
                }
                expected.map_or(Ok(ScalarValue::Null), |expected| ScalarValue::try_from(&expected.data_type))?
            }
            Meaning::Values(parameters) => match parameters.values.get(&name) {
                None => {
                    return Err(Error::sql(format!("the parameter ${name} has no value"))
                        .hint("parameters are for prepared statements; a script has variables, written ${name}"));
                }
                Some(value) => as_expected(&name, value, expected)?,
            },
        };
        values.insert(name, ScalarAndMetadata::from(value));
    }
    Ok(plan.with_param_values(ParamValues::Map(values))?)
}

/// The type that the place of a parameter asks for.
struct Expected {
    data_type: DataType,
    /// Whether the value will be of that type, as the columns are that it is written to; else it is only compared with values of that type.
    is_kept: bool,
}

/// A value in the type that is expected of it. A number that the type cannot hold exactly is refused where it would be kept, and can still be compared.
fn as_expected(name: &str, value: &ScalarValue, expected: Option<Expected>) -> Result<ScalarValue> {
    let Some(Expected { data_type, is_kept }) = expected.filter(|expected| expected.data_type != value.data_type()) else {
        return Ok(value.clone());
    };
    let given = value.data_type();
    let wrong = || {
        Error::sql(format!("the parameter ${name} is {}, found {} {value}", sql_type_name(&data_type), sql_type_name(&given)))
            .hint("give a value of that type, or CAST the parameter")
    };
    if value.is_null() {
        return Ok(ScalarValue::try_from(&data_type)?);
    }
    let cast = value.cast_to(&data_type).ok().filter(|cast| !cast.is_null());
    if given.is_numeric() && data_type.is_numeric() {
        let is_exact = cast.as_ref().and_then(|cast| cast.cast_to(&given).ok()).is_some_and(|back| back == *value);
        return match cast.filter(|_| is_exact) {
            Some(cast) => Ok(cast),
            None if is_kept => Err(wrong()),
            None => Ok(value.clone()),
        };
    }
    if given.is_numeric() != data_type.is_numeric() && !is_text(&given) {
        return Err(wrong());
    }
    cast.ok_or_else(wrong)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)
}

/// The parameters of a plan and the types that their places tell, the first place that tells one.
fn find(plan: &LogicalPlan, columns: &[DataType]) -> Result<BTreeMap<String, Option<Expected>>> {
    let mut found: BTreeMap<String, Option<Expected>> = BTreeMap::new();
    let mut note = |id: &str, data_type: Option<DataType>, is_kept: bool| {
        let known = found.entry(id.trim_start_matches('$').to_string()).or_default();
        if known.is_none() {
            *known = data_type.map(|data_type| Expected { data_type, is_kept });
        }
    };
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for count in [&limit.skip, &limit.fetch].into_iter().flatten() {
                if let Some(id) = placeholder(count) {
                    note(id, Some(DataType::Int64), true);
                }
            }
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                match expr {
                    Expr::Placeholder(Placeholder { id, field }) => note(id, field.as_ref().map(|field| field.data_type().clone()), false),
                    Expr::Cast(cast) if *cast.field.data_type() != DataType::Null => {
                        if let Some(id) = placeholder(&cast.expr) {
                            note(id, Some(cast.field.data_type().clone()), true);
                        }
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    for (row, data_type) in written(plan).into_iter().flat_map(|row| row.iter().zip(columns)) {
        if let Some(id) = placeholder(row) {
            note(id, Some(data_type.clone()), true);
        }
    }
    // Text is text in any layout; clients know the plain one.
    for Expected { data_type, .. } in found.values_mut().flatten() {
        if is_text(data_type) {
            *data_type = DataType::Utf8;
        }
        if matches!(data_type, DataType::BinaryView | DataType::LargeBinary) {
            *data_type = DataType::Binary;
        }
        if let DataType::Dictionary(_, value) = data_type {
            *data_type = value.as_ref().clone();
        }
    }
    Ok(found)
}

/// The expressions whose values become the columns of a plan's rows: of every row of `VALUES`, or of the select list.
fn written(plan: &LogicalPlan) -> Vec<&[Expr]> {
    match plan {
        LogicalPlan::Values(values) => values.values.iter().map(Vec::as_slice).collect(),
        LogicalPlan::Projection(projection) => match projection.input.as_ref() {
            LogicalPlan::Values(values) if projection.expr.iter().all(|expr| matches!(expr, Expr::Column(_))) => {
                values.values.iter().map(Vec::as_slice).collect()
            }
            _ => vec![projection.expr.as_slice()],
        },
        LogicalPlan::SubqueryAlias(alias) => written(&alias.input),
        _ => Vec::new(),
    }
}

fn placeholder(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Placeholder(placeholder) => Some(&placeholder.id),
        Expr::Alias(alias) => placeholder(&alias.expr),
        // `VALUES` casts to the type that its rows have in common, which is none where parameters are alone.
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Null => placeholder(&cast.expr),
        _ => None,
    }
}
