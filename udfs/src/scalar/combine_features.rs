//! `ml_polynomial_expand(struct, degree)` and `ml_feature_cross(struct[, degree])`: products of numbers and pairs of categories, as structs.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::PREPARATION;

/// As in BigQuery ML: more features of one struct have more products than anybody wants.
const FEATURES_MAX: usize = 10;
const DEGREE_MAX: i64 = 4;

static POLYNOMIAL: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        PREPARATION,
        "Returns a STRUCT of the numbers and of all their products of up to degree factors, named by the factors. A product is NULL where a factor is.",
        "ML.POLYNOMIAL_EXPAND(STRUCT(a, b, …)[, degree])",
    )
    .with_sql_example(
        "```sql\n> SELECT ML.POLYNOMIAL_EXPAND(STRUCT(2 AS a, 3 AS b), 2) AS p;\n\
             +------------------------------------------------+\n\
             | p                                              |\n\
             +------------------------------------------------+\n\
             | {a: 2.0, a_a: 4.0, a_b: 6.0, b: 3.0, b_b: 9.0} |\n\
             +------------------------------------------------+\n\
             ```",
    )
    .with_argument("STRUCT(a, b, …)", "1 to 10 numbers with names; columns bring theirs.")
    .with_argument("degree", "A literal from 1 to 4, 2 by default.")
    .build()
});

static CROSS: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        PREPARATION,
        "Returns a STRUCT of the combinations of 2 to degree categories, joined by underscores and named by the categories: what ML.ONE_HOT_ENCODER and trees \
         see as one category. A combination is NULL where one of its categories is.",
        "ML.FEATURE_CROSS(STRUCT(a, b, …)[, degree])",
    )
    .with_sql_example(
        "```sql\n> SELECT ML.FEATURE_CROSS(STRUCT('x' AS a, 'y' AS b, 1 AS c)) AS f, ML.FEATURE_CROSS(STRUCT('x' AS a, 'y' AS b, 'z' AS c), 3) AS g;\n\
             +--------------------------------+----------------------------------------------+\n\
             | f                              | g                                            |\n\
             +--------------------------------+----------------------------------------------+\n\
             | {a_b: x_y, a_c: x_1, b_c: y_1} | {a_b: x_y, a_b_c: x_y_z, a_c: x_z, b_c: y_z} |\n\
             +--------------------------------+----------------------------------------------+\n\
             ```",
    )
    .with_argument("STRUCT(a, b, …)", "2 to 10 categories with names: texts, or what can be written as one; columns bring their names.")
    .with_argument("degree", "A literal from 2 to 4, 2 by default.")
    .build()
});

/// Either of the two functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CombineFeatures {
    signature: Signature,
    products: bool,
}

impl CombineFeatures {
    /// `ml_polynomial_expand`.
    pub fn polynomial_expand() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable), products: true }
    }

    /// `ml_feature_cross`.
    pub fn feature_cross() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable), products: false }
    }

    fn shown(&self) -> &'static str {
        if self.products { "ML.POLYNOMIAL_EXPAND" } else { "ML.FEATURE_CROSS" }
    }

    fn item(&self) -> DataType {
        if self.products { DataType::Float64 } else { DataType::Utf8 }
    }

    /// What each output is combined of, in the order of a depth-first walk: a, a_a, a_b, b, b_b.
    fn combinations(&self, features: usize, degree: usize) -> Vec<Vec<usize>> {
        let mut found = Vec::new();
        self.extend(&mut Vec::new(), features, degree, &mut found);
        found
    }

    fn extend(&self, so_far: &mut Vec<usize>, features: usize, degree: usize, found: &mut Vec<Vec<usize>>) {
        if so_far.len() == degree {
            return;
        }
        // A number goes with itself, a category does not.
        let from = so_far.last().map_or(0, |last| if self.products { *last } else { last + 1 });
        for feature in from..features {
            so_far.push(feature);
            if self.products || so_far.len() > 1 {
                found.push(so_far.clone());
            }
            self.extend(so_far, features, degree, found);
            so_far.pop();
        }
    }

    fn output(&self, features: &Fields, degree: usize) -> Fields {
        let name = |combination: &Vec<usize>| combination.iter().map(|at| features[*at].name().as_str()).collect::<Vec<_>>().join("_");
        self.combinations(features.len(), degree).iter().map(|c| Field::new(name(c), self.item(), true)).collect()
    }

    fn degree(&self, given: Option<&ScalarValue>) -> Result<usize> {
        let least = if self.products { 1 } else { 2 };
        match given.map(|degree| degree.cast_to(&DataType::Int64)) {
            None => Ok(2),
            Some(Ok(ScalarValue::Int64(Some(degree)))) if (least..=DEGREE_MAX).contains(&degree) => Ok(degree as usize),
            Some(_) => plan_err!("{}: argument 2, degree, must be a literal from {least} to {DEGREE_MAX}", self.shown()),
        }
    }
}

impl ScalarUDFImpl for CombineFeatures {
    fn name(&self) -> &str {
        if self.products { "ml_polynomial_expand" } else { "ml_feature_cross" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let function = self.shown();
        let (DataType::Struct(features), rest) = (match arg_types.split_first() {
            Some((first, rest)) if rest.len() <= 1 => (first, rest),
            _ => return plan_err!("{function} takes a STRUCT and a degree, not {} arguments", arg_types.len()),
        }) else {
            return plan_err!("{function}: argument 1 must be STRUCT(a, b, …), not {}", arg_types[0]);
        };
        let least = if self.products { 1 } else { 2 };
        if !(least..=FEATURES_MAX).contains(&features.len()) {
            return plan_err!("{function}: argument 1 has {} fields; it takes {least} to {FEATURES_MAX}", features.len());
        }
        if let Some(wrong) = features.iter().find(|f| self.products && !f.data_type().is_numeric() && !f.data_type().is_null()) {
            return plan_err!("{function}: argument 1 has the field '{}', which is {} and no number", wrong.name(), wrong.data_type());
        }
        if let Some(degree) = rest.first().filter(|degree| !degree.is_integer()) {
            return plan_err!("{function}: argument 2, degree, must be a whole number, not {degree}");
        }
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        internal_err!("{} depends on its degree", self.name())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let Some(DataType::Struct(features)) = args.arg_fields.first().map(|field| field.data_type()) else {
            return plan_err!("{}: argument 1 must be STRUCT(a, b, …)", self.shown());
        };
        let degree = match args.scalar_arguments.get(1) {
            None => self.degree(None)?,
            Some(degree) => self.degree(Some(degree.unwrap_or(&ScalarValue::Null)))?,
        };
        Ok(Arc::new(Field::new(self.name(), DataType::Struct(self.output(features, degree)), false)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let degree = match args.args.get(1) {
            None => self.degree(None)?,
            Some(ColumnarValue::Scalar(degree)) => self.degree(Some(degree))?,
            Some(ColumnarValue::Array(_)) => self.degree(Some(&ScalarValue::Null))?,
        };
        let features = args.args[0].to_array(args.number_rows)?;
        let features = features.as_struct();
        let rows = features.len();
        let columns = features.columns().iter().map(|column| match features.nulls() {
            // A struct that is NULL is one of NULLs.
            Some(nulls) => {
                let nulls = arrow::array::BooleanArray::new(!nulls.inner(), None);
                Ok(cast(&arrow::compute::nullif(column, &nulls)?, &self.item())?)
            }
            None => Ok(cast(column, &self.item())?),
        });
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        let combined = self.combinations(columns.len(), degree).into_iter().map(|combination| {
            let parts: Vec<&ArrayRef> = combination.iter().map(|at| &columns[*at]).collect();
            if self.products { products(&parts, rows) } else { crosses(&parts, rows) }
        });
        let combined: Vec<ArrayRef> = combined.collect();
        Ok(ColumnarValue::Array(Arc::new(StructArray::try_new(self.output(features.fields(), degree), combined, None)?)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(if self.products { &POLYNOMIAL } else { &CROSS })
    }
}

fn products(parts: &[&ArrayRef], rows: usize) -> ArrayRef {
    let parts: Vec<&Float64Array> = parts.iter().map(|part| part.as_primitive::<Float64Type>()).collect();
    let product = |row| parts.iter().try_fold(1.0, |product, part| part.is_valid(row).then(|| product * part.value(row)));
    Arc::new((0..rows).map(product).collect::<Float64Array>())
}

fn crosses(parts: &[&ArrayRef], rows: usize) -> ArrayRef {
    let parts: Vec<&StringArray> = parts.iter().map(|part| part.as_string::<i32>()).collect();
    let cross = |row| {
        let words: Option<Vec<&str>> = parts.iter().map(|part| part.is_valid(row).then(|| part.value(row))).collect();
        words.map(|words| words.join("_"))
    };
    Arc::new((0..rows).map(cross).collect::<StringArray>())
}
