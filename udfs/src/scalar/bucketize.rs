//! `ml_bucketize(x, points[, exclude_boundaries[, output_format]])`: the bucket between split points that a number falls into.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, Float64Array, StringBuilder};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{DataFusionError, Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::{PREPARATION, argument_text};
use crate::kernels::ragged::list_type;
use crate::kernels::shared_lists::for_each_run;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        PREPARATION,
        "Returns the name of the bucket that a number falls into: 'bin_1' below the first split point, 'bin_2' from the first on and below the second, and \
         so on. NULL for NULL.",
        "ML.BUCKETIZE(x, points[, exclude_boundaries[, output_format]])",
    )
    .with_sql_example(
        "```sql\n> SELECT ML.BUCKETIZE(4, [0, 2, 5, 10]) AS bin, ML.BUCKETIZE(4, [0, 2, 5, 10], TRUE) AS inner_bin, ML.BUCKETIZE(4, [0, 2, 5, 10], FALSE, 'bucket_ranges') AS range;\n\
             +-------+-----------+------------+\n\
             | bin   | inner_bin | range      |\n\
             +-------+-----------+------------+\n\
             | bin_3 | bin_2     | [2.0, 5.0) |\n\
             +-------+-----------+------------+\n\
             ```",
    )
    .with_argument("x", "A number.")
    .with_argument("points", "A list of numbers in ascending order; equal ones count once.")
    .with_argument("exclude_boundaries", "Whether the first and the last point are left out, so that the outer buckets reach one point further; FALSE by default.")
    .with_argument("output_format", "'bucket_names' (the default) or 'bucket_ranges', which gives '[2.0, 5.0)'; a literal.")
    .build()
});

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Bucketize {
    signature: Signature,
}

impl Default for Bucketize {
    fn default() -> Self {
        Self::new()
    }
}

impl Bucketize {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Bucketize {
    fn name(&self) -> &str {
        "ml_bucketize"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [x, points, rest @ ..] = arg_types else {
            return plan_err!("ML.BUCKETIZE takes a number and a list of points, not {} arguments", arg_types.len());
        };
        if !x.is_numeric() && !x.is_null() {
            return plan_err!("ML.BUCKETIZE: argument 1, x, must be a number, not {x}");
        }
        let item = match points {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => item.data_type(),
            other => return plan_err!("ML.BUCKETIZE: argument 2, points, must be a list of numbers, not {other}"),
        };
        if !item.is_numeric() && !item.is_null() {
            return plan_err!("ML.BUCKETIZE: argument 2, points, must be a list of numbers, not of {item}");
        }
        let mut types = vec![DataType::Float64, list_type(DataType::Float64)];
        match rest {
            [] => {}
            [DataType::Boolean] => types.push(DataType::Boolean),
            [DataType::Boolean, format] if format.is_string() => types.extend([DataType::Boolean, DataType::Utf8]),
            [exclude, ..] if *exclude != DataType::Boolean => {
                return plan_err!("ML.BUCKETIZE: argument 3, exclude_boundaries, must be TRUE or FALSE, not {exclude}");
            }
            _ => return plan_err!("ML.BUCKETIZE: argument 4, output_format, must be 'bucket_names' or 'bucket_ranges'"),
        }
        Ok(types)
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let names_ranges = match args.args.get(3).map(|format| argument_text(format, rows)).transpose()?.flatten() {
            None => false,
            Some(format) if format.eq_ignore_ascii_case("bucket_names") => false,
            Some(format) if format.eq_ignore_ascii_case("bucket_ranges") => true,
            Some(other) => {
                return exec_err!("ML.BUCKETIZE: argument 4, output_format, is '{other}'; it is 'bucket_names' or 'bucket_ranges'");
            }
        };
        let numbers = args.args[0].to_array(rows)?;
        let numbers = numbers.as_primitive::<Float64Type>();
        let excludes = args.args.get(2).map(|exclude| exclude.to_array(rows)).transpose()?;
        let mut bins = StringBuilder::with_capacity(rows, rows * 5);
        let mut last: Option<Buckets> = None;
        let lists = match &args.args[1] {
            // One list for all rows is read once.
            ColumnarValue::Scalar(list) => list.to_array()?,
            ColumnarValue::Array(lists) => Arc::clone(lists),
        };
        let is_shared = matches!(args.args[1], ColumnarValue::Scalar(_));
        for_each_run::<DataFusionError>(&lists, |run, points| {
            for row in if is_shared { 0..rows } else { run } {
                let exclude = excludes.as_ref().is_some_and(|e| e.is_valid(row) && e.as_boolean().value(row));
                let points = points.as_ref().map(|points| points.as_primitive::<Float64Type>());
                match points.filter(|_| numbers.is_valid(row)) {
                    None => bins.append_null(),
                    Some(points) => {
                        if last.as_ref().is_none_or(|last| !last.is_of(points, exclude)) {
                            last = Some(Buckets::new(points, exclude)?);
                        }
                        bins.append_option(last.as_ref().map(|buckets| buckets.name(numbers.value(row), names_ranges)));
                    }
                }
            }
            Ok(())
        })?;
        Ok(ColumnarValue::Array(Arc::new(bins.finish())))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

/// Buckets with their names, made once for a list of points.
struct Buckets {
    given: Float64Array,
    exclude: bool,
    points: Vec<f64>,
    names: Vec<String>,
}

impl Buckets {
    fn new(given: &Float64Array, exclude: bool) -> Result<Self> {
        let mut points: Vec<f64> = given.iter().map(|point| point.unwrap_or(f64::NAN)).collect();
        if let Some(wrong) = points.iter().find(|point| !point.is_finite()) {
            return exec_err!("ML.BUCKETIZE: argument 2, points, holds {wrong}; points are finite numbers");
        }
        if let Some(pair) = points.windows(2).find(|pair| pair[0] > pair[1]) {
            return exec_err!("ML.BUCKETIZE: argument 2, points, has {} before {}; points are in ascending order", pair[0], pair[1]);
        }
        points.dedup();
        if exclude {
            points.pop();
            points.drain(..points.len().min(1));
        }
        let names = (1..=points.len() + 1).map(|bin| format!("bin_{bin}")).collect();
        Ok(Self { given: given.clone(), exclude, points, names })
    }

    fn is_of(&self, given: &Float64Array, exclude: bool) -> bool {
        self.exclude == exclude && self.given == *given
    }

    fn name(&self, number: f64, as_range: bool) -> String {
        // NaN is greater than any number, as in sorting.
        let bin = self.points.partition_point(|point| *point <= number || number.is_nan());
        if !as_range {
            return self.names[bin].clone();
        }
        let low = bin.checked_sub(1).map_or("(-inf".to_string(), |below| format!("[{:?}", self.points[below]));
        let high = self.points.get(bin).map_or("+inf".to_string(), |point| format!("{point:?}"));
        format!("{low}, {high})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_begin_their_buckets() {
        let buckets = Buckets::new(&Float64Array::from(vec![0.0, 2.0, 2.0, 5.0]), false).unwrap();
        for (number, bin, range) in [
            (-1.0, "bin_1", "(-inf, 0.0)"),
            (0.0, "bin_2", "[0.0, 2.0)"),
            (1.9, "bin_2", "[0.0, 2.0)"),
            (2.0, "bin_3", "[2.0, 5.0)"),
            (5.0, "bin_4", "[5.0, +inf)"),
            (f64::NAN, "bin_4", "[5.0, +inf)"),
        ] {
            assert_eq!((buckets.name(number, false).as_str(), buckets.name(number, true).as_str()), (bin, range));
        }
        let inner = Buckets::new(&Float64Array::from(vec![0.0, 2.0, 5.0]), true).unwrap();
        assert_eq!([-9.0, 2.0, 9.0].map(|x| inner.name(x, true)), ["(-inf, 2.0)", "[2.0, +inf)", "[2.0, +inf)"]);
        assert!(Buckets::new(&Float64Array::from(vec![1.0, 0.0]), false).is_err());
        assert!(Buckets::new(&Float64Array::from(vec![f64::NAN]), false).is_err());
        assert_eq!(Buckets::new(&Float64Array::from(vec![1.0]), true).unwrap().name(3.0, true), "(-inf, +inf)");
    }
}
