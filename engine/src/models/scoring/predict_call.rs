//! `predict('m@alias', STRUCT(…))`: the predicted value of one row of inputs, in any expression.
//!
//! The name has become a [record](super::super::resolved) before planning. The optimizer takes the struct apart, so that only the columns that are needed
//! are read; where it does not, as over constants, the call does the same itself.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StructArray};
use arrow::compute::{is_null, nullif};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef, Result, ScalarValue};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, Expr, ExprSchemable as _, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, cast,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use orrery_models::InputColumn;

use super::{Scorer, features, inputs, predict};
use crate::Error;
use crate::models::{ModelRecord, cache, resolved};

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

/// A model with its inputs as expressions over the fields of a struct.
struct Called {
    scorer: Scorer,
    fields: DFSchemaRef,
    args: Vec<Expr>,
}

impl Called {
    fn of(model: Option<&ScalarValue>, features: &DataType) -> Result<Self> {
        let text = model.and_then(|value| value.try_as_str().flatten());
        let record = text.and_then(resolved::from_text);
        let Some(record) = record else { return Err(wrong("the first argument of predict() is the name of a model in quotes").into()) };
        match features {
            DataType::Struct(fields) => Self::new(&record, fields),
            _ => Err(wrong("the second argument of predict() is a STRUCT of the model's inputs").into()),
        }
    }

    fn new(record: &ModelRecord, fields: &Fields) -> Result<Self> {
        const GIVEN: &str = "the STRUCT of predict() has";
        let model = cache::process().load_blocking(&record.reference)?;
        if model.predicted().is_empty() {
            let problem = format!("{} is a {} model, which predicts nothing", record.reference, record.model_type);
            return Err(Error::sql(problem).hint("ML.TRANSFORM(MODEL m, TABLE t) gives the columns that it prepares").into());
        }
        let schema: DFSchemaRef = Arc::new(DFSchema::try_from(Schema::new(fields.clone()))?);
        let simplifier = ExprSimplifier::new(SimplifyContext::builder().with_schema(Arc::clone(&schema)).build());
        let (mut names, mut exprs) = (Vec::new(), Vec::new());
        for (field, expr) in features::offered(record, &schema, GIVEN)? {
            names.push(field);
            exprs.push(simplifier.coerce(expr, &schema)?);
        }
        let inputs = model.inputs().to_vec();
        let places = inputs::places(&inputs, &names, &record.reference, GIVEN)?;
        let arg = |(input, place): (&InputColumn, usize)| {
            let expr = exprs[place].clone();
            if *names[place].data_type() == input.data_type { expr } else { cast(expr, input.data_type.clone()) }
        };
        let args = inputs.iter().zip(places).map(arg).collect();
        Ok(Self { scorer: Scorer::of(record.reference.clone(), model), fields: schema, args })
    }

    /// The call without the struct.
    fn expanded(&self, features: &Expr) -> Result<Expr> {
        let field = |part: Expr| {
            let place = match &part {
                Expr::Column(column) => self.fields.maybe_index_of_column(column),
                _ => None,
            };
            Ok(match place {
                Some(place) => Transformed::new(field_of(features, self.fields.field(place).name(), place), true, TreeNodeRecursion::Jump),
                None => Transformed::no(part),
            })
        };
        let args = self.args.iter().map(|arg| arg.clone().transform_down(field).data()).collect::<Result<_>>()?;
        predict::value_call(&self.scorer, args)
    }

    /// The values of rows that are here.
    fn value(&self, features: &StructArray, returns: &DataType) -> Result<ArrayRef> {
        // Where the struct is null, so are its fields.
        let columns = features.columns().iter().map(|column| match features.nulls() {
            Some(_) => Ok(nullif(column, &is_null(features)?)?),
            None => Ok(Arc::clone(column)),
        });
        let nullable = self.fields.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let batch = RecordBatch::try_new(schema, columns.collect::<Result<_>>()?)?;
        let arg = |arg: &Expr| {
            let expr = features::known_functions().create_physical_expr(arg.clone(), &self.fields)?;
            expr.evaluate(&batch)?.into_array(batch.num_rows())
        };
        let columns = self.args.iter().map(arg).collect::<Result<Vec<_>>>()?;
        predict::value(self.scorer.model()?.as_ref(), &columns, returns)
    }
}

fn wrong(what: &str) -> Error {
    Error::sql(what).hint(FORM)
}

/// A field of a struct: what the struct is made of where that is written, else the field.
fn field_of(features: &Expr, name: &str, place: usize) -> Expr {
    let made_of = match features {
        Expr::ScalarFunction(call) if call.func.name() == "named_struct" => call.args.get(2 * place + 1),
        Expr::ScalarFunction(call) if call.func.name() == "struct" => call.args.get(place),
        _ => None,
    };
    made_of.cloned().unwrap_or_else(|| get_field(features.clone(), name))
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
        let called = Called::of(Some(model), &features.get_type(info.schema().as_ref())?)?;
        Ok(ExprSimplifyResult::Simplified(called.expanded(features)?))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(model), features] = args.args.as_slice() else {
            return Err(wrong("the first argument of predict() is the name of a model in quotes").into());
        };
        let called = Called::of(Some(model), &features.data_type())?;
        let features = features.to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(called.value(features.as_struct(), args.return_field.data_type())?))
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
