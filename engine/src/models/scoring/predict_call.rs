//! `predict('m@alias', STRUCT(…))`: the predicted value of one row of inputs, in any expression.
//!
//! The name has become a [record](super::super::resolved) before planning. The optimizer takes the struct apart, so that only the columns that are needed
//! are read; where it does not, as over constants, the call does the same itself.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::compute::{cast, is_null, nullif};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, Expr, ExprSchemable as _, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, cast as cast_expr,
};
use orrery_models::InputColumn;

use super::{Scorer, inputs, predict};
use crate::models::{cache, resolved};
use crate::{Error, models::ModelRecord};

/// The function as sessions know it.
pub fn function() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(PredictCall { signature: Signature::variadic_any(Volatility::Immutable) }))
}

/// Its name.
pub const NAME: &str = "predict";
const SECTION: DocSection = DocSection { include: true, label: "Model Functions", description: None };
/// How it is called.
pub const FORM: &str = "predict('model@alias', STRUCT(a AS first_input, b AS second_input))";

#[derive(Debug, PartialEq, Eq, Hash)]
struct PredictCall {
    signature: Signature,
}

/// A model with the features that it takes.
struct Called {
    scorer: Scorer,
    inputs: Vec<InputColumn>,
    places: Vec<usize>,
}

impl Called {
    fn of(model: Option<&ScalarValue>, features: &DataType) -> Result<Self> {
        let text = model.and_then(|value| value.try_as_str().flatten());
        let record = text.and_then(resolved::from_text).ok_or_else(|| wrong("the first argument of predict() is the name of a model in quotes"))?;
        let DataType::Struct(fields) = features else { return Err(wrong("the second argument of predict() is a STRUCT of the model's inputs").into()) };
        Self::new(&record, fields)
    }

    fn new(record: &ModelRecord, fields: &Fields) -> Result<Self> {
        if record.preparation.is_some() {
            let problem = format!("predict() with a model that has a TRANSFORM, as {}, is not supported", record.reference);
            return Err(Error::sql(problem).hint("SELECT … FROM ML.PREDICT(MODEL …, (SELECT …))").into());
        }
        let model = cache::process().load_blocking(&record.reference)?;
        let inputs = model.inputs().to_vec();
        let places = inputs::places(&inputs, fields, &record.reference, "the STRUCT of predict() has")?;
        Ok(Self { scorer: Scorer::of(record.reference.clone(), model), inputs, places })
    }

    /// The call without the struct.
    fn expanded(&self, features: &Expr, fields: &Fields) -> Result<Expr> {
        let feature = |(input, place): (&InputColumn, &usize)| {
            let (value, found) = (field_of(features, fields, *place), fields[*place].data_type());
            if *found == input.data_type { value } else { cast_expr(value, input.data_type.clone()) }
        };
        predict::value_call(&self.scorer, self.inputs.iter().zip(&self.places).map(feature).collect())
    }
}

fn wrong(what: &str) -> Error {
    Error::sql(what).hint(FORM)
}

/// A field of a struct: what the struct is made of where that is written, else the field.
fn field_of(features: &Expr, fields: &Fields, place: usize) -> Expr {
    if let Expr::ScalarFunction(call) = features {
        let made_of = match call.func.name() {
            "named_struct" => call.args.get(2 * place + 1),
            "struct" => call.args.get(place),
            _ => None,
        };
        if let Some(made_of) = made_of {
            return made_of.clone();
        }
    }
    datafusion::functions::core::expr_fn::get_field(features.clone(), fields[place].name().as_str())
}

impl ScalarUDFImpl for PredictCall {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(wrong("predict() is called with a model and a STRUCT").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let ([_, features], [model, _]) = (args.arg_fields, args.scalar_arguments) else {
            return Err(wrong(&format!("predict() is called with {} arguments", args.arg_fields.len())).into());
        };
        let called = Called::of(*model, features.data_type())?;
        Ok(Arc::new(Field::new(NAME, predict::value_type(called.scorer.model()?.as_ref())?, true)))
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let [Expr::Literal(model, _), features] = args.as_slice() else { return Ok(ExprSimplifyResult::Original(args)) };
        let found = features.get_type(info.schema().as_ref())?;
        let called = Called::of(Some(model), &found)?;
        match &found {
            DataType::Struct(fields) => Ok(ExprSimplifyResult::Simplified(called.expanded(features, fields)?)),
            _ => Ok(ExprSimplifyResult::Original(args)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(model), features] = args.args.as_slice() else {
            return Err(wrong("the first argument of predict() is the name of a model in quotes").into());
        };
        let called = Called::of(Some(model), &features.data_type())?;
        let features = features.to_array(args.number_rows)?;
        let features = features.as_struct();
        let column = |(input, place): (&InputColumn, &usize)| -> Result<ArrayRef> {
            // Where the struct is null, so are its fields.
            let column = match features.nulls() {
                Some(_) => nullif(features.column(*place), &is_null(features)?)?,
                None => Arc::clone(features.column(*place)),
            };
            Ok(cast(&column, &input.data_type)?)
        };
        let columns = called.inputs.iter().zip(&called.places).map(column).collect::<Result<Vec<_>>>()?;
        let value = predict::value(called.scorer.model()?.as_ref(), &columns, args.return_field.data_type())?;
        Ok(ColumnarValue::Array(value))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            let description = "What a model predicts of a row: the cluster of a kmeans model, the rating of a matrix factorization, the coordinates of a \
                PCA as a list. NULL where the model says so.";
            Documentation::builder(SECTION, description, FORM)
                .with_argument("model", "The name of a model in quotes, with `@alias` or `VERSION n` if it is not the newest version")
                .with_argument("features", "A STRUCT with a field for each input of the model, found by name; more fields do not matter")
                .build()
        });
        Some(&DOCUMENTATION)
    }
}
