//! `ml_normalizer(list[, p])` and `ml_distance(a, b[, kind])`: lists of numbers as vectors.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Float64Builder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::{PREPARATION, argument_text};
use crate::kernels::ragged::{list_type, lists};

static NORMALIZER: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        PREPARATION,
        "Returns the vector divided by its p-norm, as a list of DOUBLE; a vector of zeros stays as it is. NULL for NULL or a list that holds one.",
        "ML.NORMALIZER(vector[, p])",
    )
    .with_sql_example(
        "```sql\n> SELECT ML.NORMALIZER([3, 4]) AS two, ML.NORMALIZER([1, 3], 1) AS one, ML.NORMALIZER([1, -4], CAST('inf' AS DOUBLE)) AS most;\n\
             +------------+--------------+--------------+\n\
             | two        | one          | most         |\n\
             +------------+--------------+--------------+\n\
             | [0.6, 0.8] | [0.25, 0.75] | [0.25, -1.0] |\n\
             +------------+--------------+--------------+\n\
             ```",
    )
    .with_argument("vector", "A list of numbers.")
    .with_argument("p", "A number from 0 on, 2 by default: 1 is the sum of sizes, infinity the greatest size, 0 the number of those that are not 0.")
    .build()
});

static DISTANCE: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        PREPARATION,
        "Returns the distance of two vectors: EUCLIDEAN (the default), MANHATTAN, or COSINE, which is 1 - cosine. NULL where one is NULL or holds NULL, and \
         for the cosine of a vector of zeros. Vectors of different lengths are an error.",
        "ML.DISTANCE(a, b[, kind])",
    )
    .with_sql_example(
        "```sql\n> SELECT ML.DISTANCE([0, 0], [3, 4]) AS e, ML.DISTANCE([0, 0], [3, 4], 'MANHATTAN') AS m, ML.DISTANCE([1, 0], [0, 2], 'COSINE') AS c;\n\
             +-----+-----+-----+\n\
             | e   | m   | c   |\n\
             +-----+-----+-----+\n\
             | 5.0 | 7.0 | 1.0 |\n\
             +-----+-----+-----+\n\
             ```",
    )
    .with_argument("a, b", "Lists of numbers of one length.")
    .with_argument("kind", "'EUCLIDEAN', 'MANHATTAN' or 'COSINE'; a literal.")
    .build()
});

fn vector(function: &str, position: usize, name: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::Null => Ok(list_type(DataType::Float64)),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
            if item.data_type().is_numeric() || item.data_type().is_null() =>
        {
            Ok(list_type(DataType::Float64))
        }
        other => plan_err!("{function}: argument {position}, {name}, must be a list of numbers, not {other}"),
    }
}

/// A row's vector; `None` if it is NULL or holds one.
fn vector_of(lists: &ArrayRef, row: usize) -> Option<Float64Array> {
    let lists = lists.as_list::<i32>();
    let list = lists.is_valid(row).then(|| lists.value(row))?;
    (list.null_count() == 0).then(|| list.as_primitive::<Float64Type>().clone())
}

/// `ml_normalizer`; see the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Normalizer {
    signature: Signature,
}

impl Default for Normalizer {
    fn default() -> Self {
        Self::new()
    }
}

impl Normalizer {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Normalizer {
    fn name(&self) -> &str {
        "ml_normalizer"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [list] => Ok(vec![vector("ML.NORMALIZER", 1, "vector", list)?]),
            [list, p] if p.is_numeric() => Ok(vec![vector("ML.NORMALIZER", 1, "vector", list)?, DataType::Float64]),
            [_, p] => plan_err!("ML.NORMALIZER: argument 2, p, must be a number, not {p}"),
            _ => plan_err!("ML.NORMALIZER takes a vector and p, not {} arguments", arg_types.len()),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(list_type(DataType::Float64))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let vectors = args.args[0].to_array(args.number_rows)?;
        let orders = args.args.get(1).map(|p| p.to_array(args.number_rows)).transpose()?;
        let (mut starts, mut values, mut valid) = (vec![0], Vec::new(), Vec::with_capacity(vectors.len()));
        for row in 0..vectors.len() {
            let p = match &orders {
                None => Some(2.0),
                Some(orders) => orders.is_valid(row).then(|| orders.as_primitive::<Float64Type>().value(row)),
            };
            if let Some(p) = p.filter(|p| p.is_nan() || *p < 0.0) {
                return exec_err!("ML.NORMALIZER: argument 2, p, is {p}; it goes from 0 on");
            }
            let found = vector_of(&vectors, row).zip(p);
            valid.push(found.is_some());
            if let Some((vector, p)) = found {
                let size = norm(vector.values(), p);
                values.extend(vector.values().iter().map(|x| if size == 0.0 { *x } else { x / size }));
            }
            starts.push(values.len());
        }
        let (item, offsets, values, _) = lists(Arc::new(Float64Array::from(values)), &starts)?.into_parts();
        let lists = arrow::array::ListArray::try_new(item, offsets, values, Some(valid.into()))?;
        Ok(ColumnarValue::Array(Arc::new(lists)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&NORMALIZER)
    }
}

fn norm(vector: &[f64], p: f64) -> f64 {
    let sizes = vector.iter().map(|x| x.abs());
    if p == 0.0 {
        return sizes.filter(|x| *x > 0.0).count() as f64;
    }
    let most = sizes.clone().fold(0.0, f64::max);
    if p.is_infinite() || most == 0.0 {
        return most;
    }
    if p == 1.0 {
        return sizes.sum();
    }
    if p == 2.0 {
        return sizes.map(|x| x * x).sum::<f64>().sqrt();
    }
    // Against overflow of large powers.
    most * sizes.map(|x| (x / most).powf(p)).sum::<f64>().powf(1.0 / p)
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Euclidean,
    Manhattan,
    Cosine,
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        [("EUCLIDEAN", Self::Euclidean), ("MANHATTAN", Self::Manhattan), ("COSINE", Self::Cosine)]
            .into_iter()
            .find_map(|(known, kind)| known.eq_ignore_ascii_case(name).then_some(kind))
    }

    fn between(self, a: &[f64], b: &[f64]) -> Option<f64> {
        let pairs = || a.iter().zip(b);
        match self {
            Self::Euclidean => Some(pairs().map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt()),
            Self::Manhattan => Some(pairs().map(|(x, y)| (x - y).abs()).sum()),
            Self::Cosine => {
                let sizes = norm(a, 2.0) * norm(b, 2.0);
                (sizes > 0.0).then(|| 1.0 - pairs().map(|(x, y)| x * y).sum::<f64>() / sizes)
            }
        }
    }
}

/// `ml_distance`; see the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Distance {
    signature: Signature,
}

impl Default for Distance {
    fn default() -> Self {
        Self::new()
    }
}

impl Distance {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Distance {
    fn name(&self) -> &str {
        "ml_distance"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [a, b, rest @ ..] = arg_types else {
            return plan_err!("ML.DISTANCE takes two vectors and a kind, not {} arguments", arg_types.len());
        };
        let mut types = vec![vector("ML.DISTANCE", 1, "a", a)?, vector("ML.DISTANCE", 2, "b", b)?];
        match rest {
            [] => {}
            [kind] if kind.is_string() => types.push(DataType::Utf8),
            _ => return plan_err!("ML.DISTANCE: argument 3, kind, must be 'EUCLIDEAN', 'MANHATTAN' or 'COSINE'"),
        }
        Ok(types)
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kind = match args.args.get(2).map(|kind| argument_text(kind, args.number_rows)).transpose()? {
            None => Kind::Euclidean,
            Some(name) => match name.as_deref().map(|name| (Kind::named(name), name)) {
                Some((Some(kind), _)) => kind,
                found => {
                    let found = found.map_or("NULL", |(_, name)| name);
                    return exec_err!("ML.DISTANCE: argument 3, kind, is '{found}'; it is 'EUCLIDEAN', 'MANHATTAN' or 'COSINE'");
                }
            },
        };
        let vectors =
            |at: usize| -> Result<ArrayRef> { Ok(cast(&args.args[at].to_array(args.number_rows)?, &list_type(DataType::Float64))?) };
        let (a, b) = (vectors(0)?, vectors(1)?);
        let mut distances = Float64Builder::with_capacity(a.len());
        for row in 0..a.len() {
            match vector_of(&a, row).zip(vector_of(&b, row)) {
                Some((a, b)) if a.len() != b.len() => {
                    return exec_err!("ML.DISTANCE: argument 2, b, has {} numbers, and a has {}", b.len(), a.len());
                }
                found => distances.append_option(found.and_then(|(a, b)| kind.between(a.values(), b.values()))),
            }
        }
        Ok(ColumnarValue::Array(Arc::new(distances.finish())))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DISTANCE)
    }
}
