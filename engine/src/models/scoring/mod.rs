//! What is computed with a model within plans: functions that carry a reference to the model and find it, in whatever process they run, in the
//! [cache](super::cache).
//!
//! | function | of a row | gives |
//! |---|---|---|
//! | [`predict`] | the model's inputs | the columns of `ML.PREDICT` that are wanted |
//! | [`anomalies`] | the model's inputs | the columns of `ML.DETECT_ANOMALIES` |
//! | [`tables`] | nothing | the rows of `ML.CENTROIDS`, `ML.WEIGHTS`, … |
//! | [`recommend`] | an id, or a range of ids | the best of the other side |
//! | [`evaluate`] | the columns of an evaluation | the measures of `ML.EVALUATE`: an aggregate |

pub mod anomalies;
pub mod evaluate;
pub mod features;
pub mod inputs;
pub mod predict;
pub mod predict_call;
pub mod recommend;
pub mod tables;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, StructArray};
use arrow::datatypes::{DataType, FieldRef, Fields};
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use orrery_models::{Model, ModelTable};
use serde::{Deserialize, Serialize};

use self::recommend::Recommend;
use super::{ModelReference, cache};
use crate::Error;

/// A model by reference, found when it is first needed.
#[derive(Clone)]
pub struct Scorer {
    reference: ModelReference,
    model: Arc<OnceLock<Arc<dyn Model>>>,
}

impl Scorer {
    /// A model that is here.
    pub fn of(reference: ModelReference, model: Arc<dyn Model>) -> Self {
        let cell = OnceLock::new();
        let _ = cell.set(model);
        Self { reference, model: Arc::new(cell) }
    }

    /// A model that begins to be loaded now.
    pub fn primed(reference: ModelReference) -> Self {
        cache::process().prime(&reference);
        Self::later(reference)
    }

    /// A model that is loaded when it is first asked for.
    pub fn later(reference: ModelReference) -> Self {
        Self { reference, model: Arc::default() }
    }

    /// Which model.
    pub fn reference(&self) -> &ModelReference {
        &self.reference
    }

    /// The model; the thread waits if it is not loaded yet.
    ///
    /// # Errors
    /// Its file is missing, damaged or cannot be read.
    pub fn model(&self) -> Result<&Arc<dyn Model>> {
        if let Some(model) = self.model.get() {
            return Ok(model);
        }
        let loaded = cache::process().load_blocking(&self.reference)?;
        Ok(self.model.get_or_init(|| loaded))
    }
}

impl fmt::Debug for Scorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.reference, f)
    }
}

impl PartialEq for Scorer {
    fn eq(&self, other: &Self) -> bool {
        self.reference == other.reference
    }
}

impl Eq for Scorer {}

impl Hash for Scorer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.reference.hash(state);
    }
}

/// What a function computes with its model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Task {
    /// Predicted columns, by index.
    Predict(Vec<usize>),
    /// The one value that says most.
    PredictValue,
    /// Columns that tell how unusual a row is, by index.
    Anomalies(Vec<usize>),
    /// A table about the model, as a list.
    Table(ModelTable),
    /// The best of the other side for ids.
    Recommend(Recommend),
    /// The same for ranges of the model's own ids.
    RecommendBlock(Recommend),
}

impl Task {
    fn name(&self) -> &'static str {
        match self {
            Self::Predict(_) => "ml_predict",
            Self::PredictValue => "ml_predict_value",
            Self::Anomalies(_) => "ml_anomalies",
            Self::Table(_) => "ml_table",
            Self::Recommend(_) | Self::RecommendBlock(_) => "ml_recommend",
        }
    }
}

/// A scalar function of one model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelFunction {
    scorer: Scorer,
    task: Task,
    returns: DataType,
    signature: Signature,
}

/// What of a function travels.
#[derive(Serialize, Deserialize)]
struct Sent {
    reference: ModelReference,
    task: Task,
    returns: DataType,
}

impl ModelFunction {
    fn new(scorer: Scorer, task: Task, returns: DataType) -> Self {
        Self { scorer, task, returns, signature: Signature::variadic_any(Volatility::Immutable) }
    }

    fn call(self, args: Vec<Expr>) -> Expr {
        ScalarUDF::new_from_impl(self).call(args)
    }

    /// Which model it is of.
    pub fn scorer(&self) -> &Scorer {
        &self.scorer
    }

    /// What it computes.
    pub fn task(&self) -> &Task {
        &self.task
    }
}

impl ScalarUDFImpl for ModelFunction {
    fn name(&self) -> &str {
        self.task.name()
    }

    /// Tells the model, so that plans can be read and equal calls of different models differ.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let args = args.iter().map(|arg| Ok(arg.schema_name().to_string())).collect::<Result<Vec<_>>>()?;
        Ok(format!("{}({}, {:?}, {})", self.name(), self.scorer.reference, self.task, args.join(", ")))
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        self.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<Result<Vec<_>>>()?;
        let model = self.scorer.model()?;
        let computed = match &self.task {
            Task::Predict(wanted) => predict::columns(model.as_ref(), &columns, wanted, &self.returns)?,
            Task::PredictValue => predict::value(model.as_ref(), &columns, &self.returns)?,
            Task::Anomalies(wanted) => anomalies::columns(model.as_ref(), &columns, wanted, &self.returns)?,
            Task::Recommend(what) => recommend::for_ids(model.as_ref(), what, &columns)?,
            Task::RecommendBlock(what) => recommend::for_blocks(model.as_ref(), what, &columns)?,
            Task::Table(table) => tables::rows(model.as_ref(), *table, args.number_rows)?,
        };
        if computed.data_type() != &self.returns {
            return internal_err!("{} of {} gave {} and not {}", self.name(), self.scorer.reference, computed.data_type(), self.returns);
        }
        Ok(ColumnarValue::Array(computed))
    }
}

/// One column as it is, several as a struct of the type that was promised.
fn packed(mut columns: Vec<ArrayRef>, returns: &DataType, one: bool) -> Result<ArrayRef> {
    if one {
        return columns.pop().ok_or_else(|| internal_datafusion_err!("a model predicts no column"));
    }
    let DataType::Struct(fields) = returns else { return internal_err!("several columns are a struct, not {returns}") };
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns, None)?))
}

/// The type of what [`packed`] makes.
fn packed_type(fields: Vec<FieldRef>) -> DataType {
    match fields.as_slice() {
        [only] => only.data_type().clone(),
        _ => DataType::Struct(Fields::from(fields)),
    }
}

/// The function's bytes if it is one of ours.
pub(crate) fn encode_scalar(function: &ScalarUDF) -> Result<Option<Vec<u8>>> {
    let Some(function) = function.inner().downcast_ref::<ModelFunction>() else { return Ok(None) };
    let (reference, task, returns) = (function.scorer.reference.clone(), function.task.clone(), function.returns.clone());
    to_bytes(&Sent { reference, task, returns }).map(Some)
}

/// What [`encode_scalar`] wrote; the model begins to be loaded.
pub(crate) fn decode_scalar(bytes: &[u8]) -> Result<ScalarUDF> {
    let Sent { reference, task, returns } = from_bytes(bytes)?;
    Ok(ScalarUDF::new_from_impl(ModelFunction::new(Scorer::primed(reference), task, returns)))
}

fn to_bytes(value: &impl Serialize) -> Result<Vec<u8>> {
    postcard::to_allocvec(value).map_err(|e| internal_datafusion_err!("a function of a model cannot be sent: {e}"))
}

fn from_bytes<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes)
        .map_err(|e| internal_datafusion_err!("a function of a model cannot be read: {e}; are all nodes of one version?"))
}

/// A model's error as DataFusion's, blame and hint kept.
fn of_model(error: orrery_models::ModelError) -> datafusion::common::DataFusionError {
    Error::from(error).into()
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
