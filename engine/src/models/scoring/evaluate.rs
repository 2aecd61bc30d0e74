//! `ml_evaluate(columns…)`: an aggregate that measures a model on rows, a stage at a time, with partial results that merge anywhere.
//!
//! A stage that needs what the one before found is given it as its first argument, the same on every row: a dictionary of one value, so that a join may put
//! it beside millions of rows for four bytes each.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};
use orrery_models::{Evaluation, InputColumn, Options};
use serde::{Deserialize, Serialize};

use super::{ModelReference, Scorer, from_bytes, of_model, to_bytes};

/// Of the results of stages that others follow.
fn between_stages() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Binary))
}

/// One stage of an evaluation.
#[derive(Debug, Clone)]
pub struct EvaluateFunction {
    scorer: Scorer,
    /// The columns that the evaluation chose from.
    columns: Vec<InputColumn>,
    options: Options,
    stage: usize,
    returns: DataType,
    signature: Signature,
}

/// What of a function travels.
#[derive(Serialize, Deserialize)]
struct Sent {
    reference: ModelReference,
    columns: Vec<InputColumn>,
    options: Options,
    stage: usize,
    returns: DataType,
}

/// An evaluation, planned: which of the columns it takes, and a function for each stage.
#[derive(Debug)]
pub struct Planned {
    /// Indices into the columns that were offered.
    pub columns: Vec<usize>,
    /// The functions of the stages; all but the first take the result of the one before as their first argument.
    pub stages: Vec<AggregateUDF>,
}

/// Plans the evaluation of a model on rows with these columns.
///
/// # Errors
/// The model cannot be loaded or evaluated; columns that are missing or of unsuitable types; options that have no meaning for the model.
pub fn plan(scorer: &Scorer, columns: &[InputColumn], options: &Options) -> Result<Planned> {
    let evaluation = evaluation_of(scorer, columns, options)?;
    let last = DataType::Struct(evaluation.schema().fields().clone());
    let stages = evaluation.stages();
    let function = |stage| {
        let returns = if stage + 1 == stages { last.clone() } else { between_stages() };
        AggregateUDF::new_from_impl(EvaluateFunction::new(scorer.clone(), columns.to_vec(), options.clone(), stage, returns))
    };
    Ok(Planned { columns: evaluation.columns(), stages: (0..stages).map(function).collect() })
}

fn evaluation_of(scorer: &Scorer, columns: &[InputColumn], options: &Options) -> Result<Arc<dyn Evaluation>> {
    Ok(Arc::from(Arc::clone(scorer.model()?).evaluation(columns, options).map_err(of_model)?))
}

impl EvaluateFunction {
    fn new(scorer: Scorer, columns: Vec<InputColumn>, options: Options, stage: usize, returns: DataType) -> Self {
        Self { scorer, columns, options, stage, returns, signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl PartialEq for EvaluateFunction {
    fn eq(&self, other: &Self) -> bool {
        self.scorer == other.scorer
            && self.stage == other.stage
            && self.columns == other.columns
            && self.options == other.options
            && self.returns == other.returns
    }
}

impl Eq for EvaluateFunction {}

impl Hash for EvaluateFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.scorer, self.stage).hash(state);
    }
}

impl AggregateUDFImpl for EvaluateFunction {
    fn name(&self) -> &'static str {
        "ml_evaluate"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let evaluation = evaluation_of(&self.scorer, &self.columns, &self.options)?;
        Ok(Box::new(Measured { evaluation, stage: self.stage, returns: self.returns.clone(), before: None, partial: None }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let field = |part: &str| Arc::new(Field::new(format!("{}[{part}]", args.name), DataType::Binary, true));
        Ok(vec![field("partial"), field("before")])
    }
}

/// What one partition's rows, or several partial results, come to.
struct Measured {
    evaluation: Arc<dyn Evaluation>,
    stage: usize,
    returns: DataType,
    before: Option<Vec<u8>>,
    partial: Option<Vec<u8>>,
}

impl fmt::Debug for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measured").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Accumulator for Measured {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let columns = match values.split_first() {
            Some((before, columns)) if self.stage > 0 => {
                if before.is_empty() {
                    return Ok(());
                }
                if self.before.is_none() {
                    let first = cast(&before.slice(0, 1), &DataType::Binary)?;
                    self.before = first.is_valid(0).then(|| first.as_binary::<i32>().value(0).to_vec());
                }
                columns
            }
            _ => values,
        };
        if columns.first().is_some_and(|column| column.is_empty()) {
            return Ok(());
        }
        let partial = self.evaluation.accumulate(self.stage, self.before.as_deref(), self.partial.take(), columns);
        self.partial = Some(partial.map_err(of_model)?);
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [partials, befores] = states else { return Err(internal_datafusion_err!("a state of ml_evaluate has two parts")) };
        let (partials, befores) = (partials.as_binary::<i32>(), befores.as_binary::<i32>());
        for (partial, before) in partials.iter().zip(befores) {
            if self.before.is_none() {
                self.before = before.map(<[u8]>::to_vec);
            }
            let Some(partial) = partial else { continue };
            self.partial = Some(match self.partial.take() {
                None => partial.to_vec(),
                Some(mine) => self.evaluation.merge(self.stage, mine, partial).map_err(of_model)?,
            });
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(self.partial.clone()), ScalarValue::Binary(self.before.clone())])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if let DataType::Dictionary(keys, _) = &self.returns {
            return Ok(ScalarValue::Dictionary(keys.clone(), Box::new(ScalarValue::Binary(self.partial.clone()))));
        }
        let row = self.evaluation.finish(self.before.as_deref(), self.partial.as_deref()).map_err(of_model)?;
        Ok(ScalarValue::Struct(Arc::new(StructArray::from(row))))
    }

    fn size(&self) -> usize {
        let held = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::capacity);
        size_of_val(self) + held(&self.before) + held(&self.partial)
    }
}

/// The call of a stage; `before` is the result of the one before.
pub fn call(stage: &AggregateUDF, before: Option<Expr>, columns: Vec<Expr>) -> Expr {
    stage.call(before.into_iter().chain(columns).collect())
}

/// The function's bytes if it is one of ours.
pub(crate) fn encode(function: &AggregateUDF) -> Result<Option<Vec<u8>>> {
    let Some(function) = function.inner().downcast_ref::<EvaluateFunction>() else { return Ok(None) };
    let EvaluateFunction { scorer, columns, options, stage, returns, .. } = function.clone();
    to_bytes(&Sent { reference: scorer.reference().clone(), columns, options, stage, returns }).map(Some)
}

/// What [`encode`] wrote; the model begins to be loaded.
pub(crate) fn decode(bytes: &[u8]) -> Result<AggregateUDF> {
    let Sent { reference, columns, options, stage, returns } = from_bytes(bytes)?;
    Ok(AggregateUDF::new_from_impl(EvaluateFunction::new(Scorer::primed(reference), columns, options, stage, returns)))
}
