//! What a model keeps of its `TRANSFORM`, and its application to other rows.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{SelectItem, SetExpr};
use orrery_models::InputColumn;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::Call;
use super::learning::{Outputs, input_expr, value_name};
use super::select_list;
use crate::dialect::{self, Statement};
use crate::{Blame, Error, Result};

/// A select list and what was learned for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Preparation {
    /// As written in `TRANSFORM (…)`.
    pub select_list: String,
    /// The columns of the training query that it reads.
    pub inputs: Vec<InputColumn>,
    /// All columns of the training query, which `*` stands for.
    pub columns: Vec<InputColumn>,
    /// What was learned, from the innermost calls outwards.
    pub rounds: Vec<Round>,
}

/// The values of one aggregation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Round {
    /// The functions that wanted them, for people.
    pub calls: Vec<String>,
    /// The values, for people.
    pub shown: Vec<String>,
    /// The values, exact: a row in Arrow's stream format, hexadecimal.
    pub values: String,
}

impl Round {
    /// Keeps values.
    pub fn new(calls: &[Call], values: &[ScalarValue]) -> Result<Self> {
        let call = |call: &Call| {
            let args: Vec<String> = call.args.iter().map(ToString::to_string).collect();
            format!("{}({})", call.function.shown(), args.join(", "))
        };
        Ok(Self {
            calls: calls.iter().map(call).collect(),
            shown: values.iter().map(ToString::to_string).collect(),
            values: hexadecimal(&row_bytes(values)?),
        })
    }

    fn values(&self) -> Result<Vec<ScalarValue>> {
        let damaged = || Error::data("the preparation of the model is damaged").hint("create the model again");
        let bytes = from_hexadecimal(&self.values).ok_or_else(damaged)?;
        let mut reader = StreamReader::try_new(bytes.as_slice(), None).map_err(|_| damaged())?;
        let batch = reader.next().and_then(Result::ok).filter(|batch| batch.num_rows() == 1).ok_or_else(damaged)?;
        batch.columns().iter().map(|column| ScalarValue::try_from_array(column, 0).map_err(Error::from)).collect()
    }
}

fn row_bytes(values: &[ScalarValue]) -> Result<Vec<u8>> {
    let columns = values.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>, _>>()?;
    let fields: Vec<Field> = columns.iter().enumerate().map(|(at, c)| Field::new(value_name(at), c.data_type().clone(), true)).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema())?;
    writer.write(&batch)?;
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || text.len() % 2 != 0 {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

impl Preparation {
    pub fn to_json(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|e| Error::new(Blame::Bug, format!("a preparation is no JSON: {e}")))
    }

    fn of_json(preparation: &Value) -> Result<Self> {
        serde_json::from_value(preparation.clone())
            .map_err(|e| Error::data(format!("the preparation of the model cannot be read: {e}")).hint("create the model again"))
    }

    fn items(&self) -> Result<Vec<SelectItem>> {
        let mut statements = dialect::split(&format!("SELECT {}", self.select_list))?;
        if let [statement] = statements.as_mut_slice()
            && let Statement::Query(query) = dialect::parse(&statement.tokens)?
            && let SetExpr::Select(select) = *query.body
        {
            return Ok(select.projection);
        }
        Err(Error::data(format!("the preparation of the model is no select list: {}", self.select_list)))
    }

    /// The prepared columns over the columns of the training query.
    fn outputs(&self, state: &SessionState) -> Result<Vec<(String, Expr)>> {
        let fields: Vec<Field> = self.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), true)).collect();
        let schema = DFSchema::try_from(Schema::new(fields))?;
        // Places are those of another statement.
        let mut outputs = Outputs(select_list::outputs(&self.items()?, &schema, state).map_err(|e| Error { position: None, ..e })?);
        for round in &self.rounds {
            outputs.learn(&round.values()?, &schema)?;
        }
        outputs.flattened(&schema)
    }
}

/// The raw columns that the preparation needs, with their types in training.
///
/// # Errors
/// A value that is no preparation.
pub fn inputs(preparation: &Value) -> Result<Vec<InputColumn>> {
    Ok(Preparation::of_json(preparation)?.inputs)
}

/// The prepared columns by name, as expressions over rows with the columns of `schema`. Raw columns are found by name, and cast to their types in training.
///
/// # Errors
/// A raw column that is missing.
pub fn expressions(preparation: &Value, schema: &DFSchema, state: &SessionState) -> Result<Vec<(String, Expr)>> {
    let preparation = Preparation::of_json(preparation)?;
    let mut found = Vec::with_capacity(preparation.inputs.len());
    for input in &preparation.inputs {
        let exact = schema.iter().find(|(_, field)| field.name() == &input.name);
        let mut alike = schema.iter().filter(|(_, field)| field.name().eq_ignore_ascii_case(&input.name));
        let place = exact.or_else(|| match (alike.next(), alike.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        });
        let Some((qualifier, field)) = place else {
            let needed: Vec<&str> = preparation.inputs.iter().map(|input| input.name.as_str()).collect();
            return Err(Error::sql(format!("the rows have no column '{}', which the TRANSFORM of the model reads", input.name))
                .hint(format!("it reads: {}", needed.join(", "))));
        };
        let column = datafusion::common::Column::new(qualifier.cloned(), field.name());
        found.push((input.name.as_str(), input_expr(column, field.data_type(), &input.data_type)));
    }
    let outputs = preparation.outputs(state)?;
    let over_rows = outputs.into_iter().map(|(name, expr)| {
        let expr = expr.transform_up(|part| match &part {
            Expr::Column(column) => Ok(match found.iter().find(|(name, _)| *name == column.name) {
                Some((_, given)) => Transformed::yes(given.clone()),
                None => Transformed::no(part),
            }),
            _ => Ok(Transformed::no(part)),
        });
        Ok((name, expr.data()?))
    });
    over_rows.collect()
}

/// Rows with their prepared columns first, and behind them those of their own columns that are not named like a prepared one.
///
/// # Errors
/// As [`expressions`].
pub fn apply(preparation: &Value, input: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let prepared = expressions(preparation, input.schema(), state)?;
    let own: Vec<Expr> = input
        .schema()
        .columns()
        .into_iter()
        .filter(|column| !prepared.iter().any(|(name, _)| *name == column.name))
        .map(Expr::Column)
        .collect();
    let prepared = prepared.into_iter().map(|(name, expr)| expr.alias(name));
    Ok(LogicalPlanBuilder::from(input).project(prepared.chain(own))?.build()?)
}
