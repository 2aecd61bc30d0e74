//! Learns what `TRANSFORM` needs of the training rows.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, ExprSchemable as _, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::sql::sqlparser::ast::SelectItem;
use orrery_models::InputColumn;
use serde_json::Value;

use super::call::{Call, aggregates_of, expressions_of, innermost, substitute};
use super::select_list;
use super::stored::{Preparation, Round};
use crate::{Blame, Error, Result};

/// A `TRANSFORM` that is being learned: rounds of aggregates to compute, then the result.
pub struct Learning {
    text: String,
    rows: LogicalPlan,
    schema: DFSchema,
    outputs: Outputs,
    rounds: Vec<Round>,
}

impl Learning {
    /// Begins. `text` is the select list as written, `items` are the same parsed, `rows` the training query.
    ///
    /// # Errors
    /// A select list that does not fit `TRANSFORM` or the rows, with its place.
    pub fn new(items: &[SelectItem], text: &str, rows: LogicalPlan, state: &SessionState) -> Result<Self> {
        let rows = with_plain_names(rows)?;
        let schema = rows.schema().as_ref().clone();
        let outputs = Outputs(select_list::outputs(items, &schema, state)?);
        Ok(Self { text: text.to_string(), rows, schema, outputs, rounds: Vec::new() })
    }

    /// The aggregation whose only row [`Learning::take`] wants next; `None` when everything is known.
    ///
    /// # Errors
    /// Arguments of a function that are no literals or out of bounds.
    pub fn next(&self) -> Result<Option<LogicalPlan>> {
        let calls = self.outputs.calls(&self.schema)?;
        if calls.is_empty() {
            return Ok(None);
        }
        let (aggregates, _) = aggregates_of(&calls)?;
        let named = aggregates.into_iter().enumerate().map(|(at, aggregate)| aggregate.alias(value_name(at)));
        Ok(Some(LogicalPlanBuilder::from(self.rows.clone()).aggregate(Vec::<Expr>::new(), named)?.build()?))
    }

    /// Takes the row of [`Learning::next`]'s aggregation.
    ///
    /// # Errors
    /// Rows of another form.
    pub fn take(&mut self, batches: &[RecordBatch]) -> Result<()> {
        let Some(batch) = batches.iter().find(|batch| batch.num_rows() == 1) else {
            return Err(Error::new(Blame::Bug, "an aggregation of all rows gave no row"));
        };
        self.learn(batch.columns().iter().map(|column| ScalarValue::try_from_array(column, 0)))
    }

    /// Takes NULL for all that `aggregation`, which [`Learning::next`] gave, would tell: the types of the columns are those that they will have.
    ///
    /// # Errors
    /// Types that have no NULL.
    pub fn take_nothing(&mut self, aggregation: &LogicalPlan) -> Result<()> {
        self.learn(aggregation.schema().fields().iter().map(|field| ScalarValue::try_from(field.data_type())))
    }

    fn learn(&mut self, values: impl Iterator<Item = datafusion::common::Result<ScalarValue>>) -> Result<()> {
        let values: Vec<ScalarValue> = values.map(|value| value.map(plain)).collect::<Result<_, _>>()?;
        let round = Round::new(&self.outputs.calls(&self.schema)?, &values)?;
        self.outputs.learn(&values, &self.schema)?;
        self.rounds.push(round);
        Ok(())
    }

    /// What is kept with the model, and the training rows as they are prepared.
    ///
    /// # Errors
    /// Types that do not fit.
    pub fn finish(self) -> Result<(Value, LogicalPlan)> {
        let outputs = self.outputs.flattened(&self.schema)?;
        let needed = |name: &str| outputs.iter().any(|(_, expr)| expr.column_refs().iter().any(|column| column.name == name));
        let inputs: Vec<InputColumn> = self
            .schema
            .fields()
            .iter()
            .filter(|field| needed(field.name()))
            .map(|field| InputColumn { name: field.name().clone(), data_type: field.data_type().clone() })
            .collect();
        // `*` stands for what it stood for in training, whatever rows are scored later.
        let all = self.schema.fields().iter().map(|f| InputColumn { name: f.name().clone(), data_type: f.data_type().clone() }).collect();
        let preparation = Preparation { select_list: self.text, inputs, columns: all, rounds: self.rounds };
        let exprs = outputs.into_iter().map(|(name, expr)| expr.alias(name));
        let rows = LogicalPlanBuilder::from(self.rows).project(exprs)?.build()?;
        Ok((preparation.to_json()?, rows))
    }
}

/// Names of the columns of an aggregation.
pub(super) fn value_name(at: usize) -> String {
    format!("value_{at}")
}

/// Gives up the names of tables before columns.
fn with_plain_names(rows: LogicalPlan) -> Result<LogicalPlan> {
    let columns = rows.schema().columns();
    let mut names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::sql(format!("the training query has two columns named '{}'", twice[0])).hint("give one another name with AS"));
    }
    let plain = columns.into_iter().map(|column| {
        let name = column.name.clone();
        Expr::Column(column).alias(name)
    });
    Ok(LogicalPlanBuilder::from(rows).project(plain)?.build()?)
}

/// A value without the dictionary that spared memory beside many rows.
fn plain(value: ScalarValue) -> ScalarValue {
    match value {
        ScalarValue::Dictionary(_, value) => *value,
        other => other,
    }
}

/// The columns that a select list makes, while values are put into them.
pub(super) struct Outputs(pub Vec<(String, Expr)>);

impl Outputs {
    /// The calls whose values are to be learned next.
    pub fn calls(&self, schema: &DFSchema) -> Result<Vec<Call>> {
        Ok(innermost(&self.0.iter().map(|(_, expr)| expr).collect::<Vec<_>>(), schema)?)
    }

    /// Puts values into [`Outputs::calls`].
    pub fn learn(&mut self, values: &[ScalarValue], schema: &DFSchema) -> Result<()> {
        let calls = self.calls(schema)?;
        let (aggregates, places) = aggregates_of(&calls)?;
        if aggregates.len() != values.len() {
            return Err(Error::data(format!("the preparation of the model keeps {} values and needs {}", values.len(), aggregates.len()))
                .hint("create the model again"));
        }
        let values: Vec<Expr> = values.iter().map(|value| lit(value.clone())).collect();
        let plain = expressions_of(&calls, &places, &values)?;
        for (_, expr) in &mut self.0 {
            *expr = substitute(std::mem::take(expr), &calls, &plain)?;
        }
        Ok(())
    }

    /// The columns, structs as a column for each of their fields.
    pub fn flattened(self, schema: &DFSchema) -> Result<Vec<(String, Expr)>> {
        let mut flat = Vec::new();
        for (name, expr) in self.0 {
            match expr.get_type(schema)? {
                DataType::Struct(fields) => {
                    for field in &fields {
                        flat.push((format!("{name}_{}", field.name()), get_field(expr.clone(), field.name().as_str())));
                    }
                }
                _ => flat.push((name, expr)),
            }
        }
        Ok(flat)
    }
}

/// A column of the rows that are prepared, in the type that it had in training.
pub(super) fn input_expr(column: Column, found: &DataType, wanted: &DataType) -> Expr {
    let column = Expr::Column(column);
    if found == wanted { column } else { cast(column, wanted.clone()) }
}
