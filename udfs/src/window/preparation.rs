//! `ml_standard_scaler(x) OVER ()` and its kin: what is learned of a whole column, applied to each row.
//!
//! Here are their names, types and documentation. They are no window functions to run: the planner replaces each by aggregates over all rows and a plain
//! expression of their values.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, internal_err, plan_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{Documentation, PartitionEvaluator, Signature, Volatility, WindowUDFImpl};

use crate::scalar::PREPARATION;
use crate::scalar::encode::one_hot_type;

/// A function that learns of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Learned {
    /// `ML.STANDARD_SCALER(x)`
    StandardScaler,
    /// `ML.MIN_MAX_SCALER(x)`
    MinMaxScaler,
    /// `ML.MAX_ABS_SCALER(x)`
    MaxAbsScaler,
    /// `ML.ROBUST_SCALER(x[, quantile_range[, with_median[, with_quantile_range]]])`
    RobustScaler,
    /// `ML.IMPUTER(x, strategy)`
    Imputer,
    /// `ML.QUANTILE_BUCKETIZE(x, n[, output_format])`
    QuantileBucketize,
    /// `ML.ONE_HOT_ENCODER(text[, drop[, top_k[, frequency_threshold]]])`
    OneHotEncoder,
    /// `ML.LABEL_ENCODER(text[, top_k[, frequency_threshold]])`
    LabelEncoder,
    /// `winsorize(x, low, high)`
    Winsorize,
}

impl Learned {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::StandardScaler,
        Self::MinMaxScaler,
        Self::MaxAbsScaler,
        Self::RobustScaler,
        Self::Imputer,
        Self::QuantileBucketize,
        Self::OneHotEncoder,
        Self::LabelEncoder,
        Self::Winsorize,
    ];

    /// Its name in plans.
    pub fn name(self) -> &'static str {
        match self {
            Self::StandardScaler => "ml_standard_scaler",
            Self::MinMaxScaler => "ml_min_max_scaler",
            Self::MaxAbsScaler => "ml_max_abs_scaler",
            Self::RobustScaler => "ml_robust_scaler",
            Self::Imputer => "ml_imputer",
            Self::QuantileBucketize => "ml_quantile_bucketize",
            Self::OneHotEncoder => "ml_one_hot_encoder",
            Self::LabelEncoder => "ml_label_encoder",
            Self::Winsorize => "winsorize",
        }
    }

    /// Its name as statements write it.
    pub fn shown(self) -> String {
        match self.name().strip_prefix("ml_") {
            Some(name) => format!("ML.{}", name.to_uppercase()),
            None => self.name().to_string(),
        }
    }

    /// The function of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.name() == name)
    }

    /// Names and kinds of the arguments, and how many there must be at least.
    fn arguments(self) -> (&'static [(&'static str, Kind)], usize) {
        match self {
            Self::StandardScaler | Self::MinMaxScaler | Self::MaxAbsScaler => (&[("x", Kind::Number)], 1),
            Self::RobustScaler => (
                &[
                    ("x", Kind::Number),
                    ("quantile_range", Kind::Numbers),
                    ("with_median", Kind::Truth),
                    ("with_quantile_range", Kind::Truth),
                ],
                1,
            ),
            Self::Imputer => (&[("x", Kind::Any), ("strategy", Kind::Text)], 2),
            Self::QuantileBucketize => (&[("x", Kind::Number), ("n", Kind::Whole), ("output_format", Kind::Text)], 2),
            Self::OneHotEncoder => {
                (&[("text", Kind::Category), ("drop", Kind::Text), ("top_k", Kind::Whole), ("frequency_threshold", Kind::Whole)], 1)
            }
            Self::LabelEncoder => (&[("text", Kind::Category), ("top_k", Kind::Whole), ("frequency_threshold", Kind::Whole)], 1),
            Self::Winsorize => (&[("x", Kind::Number), ("low", Kind::Number), ("high", Kind::Number)], 3),
        }
    }

    fn documentation(self) -> &'static Documentation {
        let at = Self::ALL.iter().position(|function| *function == self).unwrap_or(0);
        &DOCUMENTATION[at]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Any,
    Category,
    Number,
    Numbers,
    Text,
    Truth,
    Whole,
}

impl Kind {
    fn about(self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Category => "a text, a whole number or TRUE / FALSE",
            Self::Number => "a number",
            Self::Numbers => "a list of numbers",
            Self::Text => "a text",
            Self::Truth => "TRUE or FALSE",
            Self::Whole => "a whole number",
        }
    }

    fn takes(self, given: &DataType) -> bool {
        match self {
            Self::Any => true,
            Self::Category => given.is_null() || given.is_string() || given.is_integer() || *given == DataType::Boolean,
            Self::Number => given.is_numeric() || given.is_null(),
            Self::Numbers => match given {
                DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => item.data_type().is_numeric(),
                _ => false,
            },
            Self::Text => given.is_string(),
            Self::Truth => *given == DataType::Boolean,
            Self::Whole => given.is_integer(),
        }
    }
}

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct LearnedFunction {
    signature: Signature,
    function: Learned,
}

impl LearnedFunction {
    /// The function; it has no state.
    pub fn new(function: Learned) -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable), function }
    }
}

impl WindowUDFImpl for LearnedFunction {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let (arguments, least) = self.function.arguments();
        let shown = self.function.shown();
        if !(least..=arguments.len()).contains(&arg_types.len()) {
            let names: Vec<&str> = arguments.iter().map(|(name, _)| *name).collect();
            return plan_err!("{shown} takes {}, of which {least} at least, not {} arguments", names.join(", "), arg_types.len());
        }
        for (at, ((name, kind), given)) in arguments.iter().zip(arg_types).enumerate() {
            if !kind.takes(given) {
                return plan_err!("{shown}: argument {}, {name}, must be {}, not {given}", at + 1, kind.about());
            }
        }
        Ok(arg_types.to_vec())
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let data_type = match self.function {
            Learned::QuantileBucketize => DataType::Utf8,
            Learned::LabelEncoder => DataType::Int64,
            Learned::OneHotEncoder => one_hot_type(),
            // Known only with the strategy: means and medians are DOUBLE, which whole numbers become then.
            Learned::Imputer => match args.input_fields().first().map(|field| field.data_type()) {
                Some(given) if given.is_numeric() => DataType::Float64,
                Some(given) => given.clone(),
                None => DataType::Null,
            },
            _ => DataType::Float64,
        };
        Ok(Arc::new(Field::new(args.name(), data_type, true)))
    }

    fn partition_evaluator(&self, _args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        internal_err!("{} was not expanded by the planner", self.name())
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(self.function.documentation())
    }
}

/// In the order of [`Learned::ALL`].
static DOCUMENTATION: LazyLock<Vec<Documentation>> = LazyLock::new(|| {
    vec![scaler("STANDARD"), scaler("MIN_MAX"), scaler("MAX_ABS"), robust(), imputer(), buckets(), one_hot(), label(), winsorize()]
});

const OVER: &str = "What is learned is learned of all rows of the query (OVER () is empty), or in TRANSFORM of the training rows, and kept in the model. The result \
     is the same to the bit in whatever order and division the rows come.";

fn scaler(kind: &str) -> Documentation {
    let (about, example, table) = match kind {
        "STANDARD" => (
            "Returns (x - mean) / deviation, the deviation being that of a sample (divided by n - 1); 0 where all numbers are equal.",
            "1), (2), (3), (4), (5",
            "+---+---------------------+\n\
             | x | s                   |\n\
             +---+---------------------+\n\
             | 1 | -1.2649110640673518 |\n\
             | 2 | -0.6324555320336759 |\n\
             | 3 | 0.0                 |\n\
             | 4 | 0.6324555320336759  |\n\
             | 5 | 1.2649110640673518  |\n\
             +---+---------------------+",
        ),
        "MIN_MAX" => (
            "Returns (x - min) / (max - min), held within 0 and 1 where a model scores numbers that lie outside of its training; 0 where all numbers are equal.",
            "1), (2), (5",
            "+---+------+\n| x | s    |\n+---+------+\n| 1 | 0.0  |\n| 2 | 0.25 |\n| 5 | 1.0  |\n+---+------+",
        ),
        _ => (
            "Returns x divided by the greatest size of a number; 0 where all are 0.",
            "-4), (1), (2",
            "+----+------+\n| x  | s    |\n+----+------+\n| -4 | -1.0 |\n| 1  | 0.25 |\n| 2  | 0.5  |\n+----+------+",
        ),
    };
    let call = format!("ML.{kind}_SCALER(x) OVER ()");
    Documentation::builder(PREPARATION, format!("{about} NULL for NULL. {OVER}"), call.clone())
        .with_sql_example(format!("```sql\n> SELECT x, {call} AS s FROM (VALUES ({example})) AS t(x) ORDER BY x;\n{table}\n```"))
        .with_argument("x", "Numbers.")
        .build()
}

fn robust() -> Documentation {
    Documentation::builder(
        PREPARATION,
        format!("Returns (x - median) / (upper percentile - lower percentile), which a few extreme numbers do not move; divided by 1 where the percentiles are equal. NULL for NULL. {OVER}"),
        "ML.ROBUST_SCALER(x[, quantile_range[, with_median[, with_quantile_range]]]) OVER ()",
    )
    .with_sql_example(
        "```sql\n> SELECT x, ML.ROBUST_SCALER(x) OVER () AS s FROM (VALUES (1), (2), (3), (4), (1000)) AS t(x) ORDER BY x;\n\
         +------+-------+\n| x    | s     |\n+------+-------+\n| 1    | -1.0  |\n| 2    | -0.5  |\n| 3    | 0.0   |\n| 4    | 0.5   |\n| 1000 | 498.5 |\n+------+-------+\n```",
    )
    .with_argument("x", "Numbers.")
    .with_argument("quantile_range", "A literal list of the two percentiles, from 0 to 100; [25, 75] by default.")
    .with_argument("with_median", "Whether the median is subtracted; TRUE by default.")
    .with_argument("with_quantile_range", "Whether it is divided by the range; TRUE by default.")
    .build()
}

fn imputer() -> Documentation {
    Documentation::builder(
        PREPARATION,
        format!("Returns x, or where it is NULL the mean, the median or the most frequent value (of several, the least). The mean and the median are DOUBLE. {OVER}"),
        "ML.IMPUTER(x, strategy) OVER ()",
    )
    .with_sql_example(
        "```sql\n> SELECT x, ML.IMPUTER(x, 'mean') OVER () AS mean, ML.IMPUTER(x, 'median') OVER () AS median, ML.IMPUTER(x, 'most_frequent') OVER () AS most FROM (VALUES (1), (1), (4), (NULL)) AS t(x) ORDER BY x;\n\
         +---+------+--------+------+\n| x | mean | median | most |\n+---+------+--------+------+\n| 1 | 1.0  | 1.0    | 1    |\n| 1 | 1.0  | 1.0    | 1    |\n| 4 | 4.0  | 4.0    | 4    |\n|   | 2.0  | 1.0    | 1    |\n+---+------+--------+------+\n```",
    )
    .with_argument("x", "Numbers; for 'most_frequent' values of any type.")
    .with_argument("strategy", "'mean', 'median' or 'most_frequent'; a literal.")
    .build()
}

fn buckets() -> Documentation {
    Documentation::builder(
        PREPARATION,
        format!("Returns the name of the bucket, of n that hold about as many rows each, as ML.BUCKETIZE does with the exact percentiles as points; equal ones count once, so there may be fewer buckets. NULL for NULL. {OVER}"),
        "ML.QUANTILE_BUCKETIZE(x, n[, output_format]) OVER ()",
    )
    .with_sql_example(
        "```sql\n> SELECT x, ML.QUANTILE_BUCKETIZE(x, 2) OVER () AS b FROM (VALUES (1), (2), (3), (90)) AS t(x) ORDER BY x;\n\
         +----+-------+\n| x  | b     |\n+----+-------+\n| 1  | bin_1 |\n| 2  | bin_1 |\n| 3  | bin_2 |\n| 90 | bin_2 |\n+----+-------+\n```",
    )
    .with_argument("x", "Numbers.")
    .with_argument("n", "How many buckets, a literal from 2 to 100000.")
    .with_argument("output_format", "'bucket_names' (the default) or 'bucket_ranges'; a literal.")
    .build()
}

fn one_hot() -> Documentation {
    Documentation::builder(
        PREPARATION,
        format!("Returns a list with one STRUCT of index, the place of the category in alphabetical order from 1, and value, which is 1: a column per category for a model. Index 0 is for NULL and for categories that are not in the vocabulary. {OVER}"),
        "ML.ONE_HOT_ENCODER(text[, drop[, top_k[, frequency_threshold]]]) OVER ()",
    )
    .with_sql_example(
        "```sql\n> SELECT x, ML.ONE_HOT_ENCODER(x) OVER () AS h, ML.ONE_HOT_ENCODER(x, 'most_frequent') OVER () AS d FROM (VALUES ('b'), ('a'), ('b'), (NULL)) AS t(x) ORDER BY x;\n\
         +---+--------------------------+--------------------------+\n\
         | x | h                        | d                        |\n\
         +---+--------------------------+--------------------------+\n\
         | a | [{index: 1, value: 1.0}] | [{index: 1, value: 1.0}] |\n\
         | b | [{index: 2, value: 1.0}] | []                       |\n\
         | b | [{index: 2, value: 1.0}] | []                       |\n\
         |   | [{index: 0, value: 1.0}] | [{index: 0, value: 1.0}] |\n\
         +---+--------------------------+--------------------------+\n```",
    )
    .with_argument("text", "Categories: texts, whole numbers (in the order of their digits) or TRUE / FALSE.")
    .with_argument("drop", "'none' (the default), or 'most_frequent': the most frequent category gets an empty list. A literal.")
    .with_argument("top_k", "How many of the most frequent categories are in the vocabulary; a literal, 32000 by default.")
    .with_argument("frequency_threshold", "How often a category has to occur to be in it; a literal, 0 by default.")
    .build()
}

fn label() -> Documentation {
    Documentation::builder(
        PREPARATION,
        format!("Returns the place of the category in alphabetical order, from 1, as BIGINT; 0 for NULL and for categories that are not in the vocabulary. {OVER}"),
        "ML.LABEL_ENCODER(text[, top_k[, frequency_threshold]]) OVER ()",
    )
    .with_sql_example(
        "```sql\n> SELECT x, ML.LABEL_ENCODER(x) OVER () AS l, ML.LABEL_ENCODER(x, 1) OVER () AS top FROM (VALUES ('b'), ('a'), ('b'), (NULL)) AS t(x) ORDER BY x;\n\
         +---+---+-----+\n| x | l | top |\n+---+---+-----+\n| a | 1 | 0   |\n| b | 2 | 1   |\n| b | 2 | 1   |\n|   | 0 | 0   |\n+---+---+-----+\n```",
    )
    .with_argument("text", "Categories: texts, whole numbers (in the order of their digits) or TRUE / FALSE.")
    .with_argument("top_k", "How many of the most frequent categories are in the vocabulary; a literal, 32000 by default.")
    .with_argument("frequency_threshold", "How often a category has to occur to be in it; a literal, 0 by default.")
    .build()
}

fn winsorize() -> Documentation {
    Documentation::builder(
        PREPARATION,
        format!("Returns x, capped at its percentiles low and high: numbers beyond them become them. As DOUBLE; NULL for NULL. {OVER}"),
        "winsorize(x, low, high) OVER ()",
    )
    .with_sql_example(
        "```sql\n> SELECT x, winsorize(x, 0.0, 0.75) OVER () AS w FROM (VALUES (1), (2), (3), (4), (100)) AS t(x) ORDER BY x;\n\
         +-----+-----+\n| x   | w   |\n+-----+-----+\n| 1   | 1.0 |\n| 2   | 2.0 |\n| 3   | 3.0 |\n| 4   | 4.0 |\n| 100 | 4.0 |\n+-----+-----+\n```",
    )
    .with_argument("x", "Numbers.")
    .with_argument("low, high", "Literal fractions from 0 to 1; 0 and 1 cap nothing. Percentiles are those of exact_quantiles.")
    .with_related_udf("exact_quantiles")
    .build()
}
