//! `encode_label(text, vocabulary)` and `encode_one_hot(text, vocabulary[, dropped])`: texts as numbers of a vocabulary.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Fields};
use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::PREPARATION;
use crate::aggregate::vocabulary::vocabulary_type;
use crate::kernels::ragged::{fields, list_type, struct_lists};
use crate::kernels::shared_lists::for_each_run;

static LABEL: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        PREPARATION,
        "Returns the place of a text in a vocabulary, from 1, as BIGINT; 0 for NULL and for what the vocabulary does not hold. ML.LABEL_ENCODER does so with \
         the vocabulary of the column.",
        "encode_label(text, vocabulary)",
    )
    .with_sql_example(
        "```sql\n> SELECT encode_label('b', ['a', 'b']) AS b, encode_label('z', ['a', 'b']) AS z, encode_label(NULL, ['a', 'b']) AS n;\n\
             +---+---+---+\n\
             | b | z | n |\n\
             +---+---+---+\n\
             | 2 | 0 | 0 |\n\
             +---+---+---+\n\
             ```",
    )
    .with_argument("text", "A text.")
    .with_argument("vocabulary", "A list of texts.")
    .with_related_udf("vocabulary")
    .build()
});

static ONE_HOT: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        PREPARATION,
        "Returns a list with one STRUCT of index, the place of a text in a vocabulary as encode_label tells it, and value, which is 1; no STRUCT for the text \
         that is dropped. ML.ONE_HOT_ENCODER does so with the vocabulary of the column.",
        "encode_one_hot(text, vocabulary[, dropped])",
    )
    .with_sql_example(
        "```sql\n> SELECT encode_one_hot('b', ['a', 'b']) AS b, encode_one_hot('a', ['a', 'b'], 'a') AS a;\n\
             +--------------------------+----+\n\
             | b                        | a  |\n\
             +--------------------------+----+\n\
             | [{index: 2, value: 1.0}] | [] |\n\
             +--------------------------+----+\n\
             ```",
    )
    .with_argument("text", "A text.")
    .with_argument("vocabulary", "A list of texts.")
    .with_argument("dropped", "The text that gets an empty list, so that it is told by all other values being 0; none if NULL or not given.")
    .with_related_udf("vocabulary")
    .build()
});

/// The type of the result of `encode_one_hot`.
pub fn one_hot_type() -> DataType {
    list_type(DataType::Struct(pair()))
}

fn pair() -> Fields {
    fields(&[("index", DataType::Int64), ("value", DataType::Float64)])
}

/// Either of the two functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Encode {
    signature: Signature,
    one_hot: bool,
}

impl Encode {
    /// `encode_label`.
    pub fn label() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable), one_hot: false }
    }

    /// `encode_one_hot`.
    pub fn one_hot() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable), one_hot: true }
    }
}

impl ScalarUDFImpl for Encode {
    fn name(&self) -> &str {
        if self.one_hot { "encode_one_hot" } else { "encode_label" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let function = self.name();
        let is_text = |t: &DataType| t.is_string() || t.is_null();
        let (text, vocabulary, dropped) = match arg_types {
            [text, vocabulary] => (text, vocabulary, None),
            [text, vocabulary, dropped] if self.one_hot => (text, vocabulary, Some(dropped)),
            _ => return plan_err!("{function} takes a text and a vocabulary, not {} arguments", arg_types.len()),
        };
        if !is_text(text) {
            return plan_err!("{function}: argument 1, text, must be a text, not {text}");
        }
        let vocabulary = match vocabulary {
            shared if *shared == vocabulary_type() => vocabulary_type(),
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) if is_text(item.data_type()) => {
                list_type(DataType::Utf8)
            }
            other => return plan_err!("{function}: argument 2, vocabulary, must be a list of texts, not {other}"),
        };
        let mut types = vec![DataType::Utf8, vocabulary];
        match dropped {
            None => {}
            Some(dropped) if is_text(dropped) => types.push(DataType::Utf8),
            Some(other) => return plan_err!("{function}: argument 3, dropped, must be a text, not {other}"),
        }
        Ok(types)
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(if self.one_hot { one_hot_type() } else { DataType::Int64 })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let texts = args.args[0].to_array(rows)?;
        let texts = texts.as_string::<i32>();
        let labels = match &args.args[1] {
            ColumnarValue::Scalar(list) => {
                let mut labels = Vec::with_capacity(rows);
                for_each_run::<DataFusionError>(&list.to_array()?, |_, vocabulary| {
                    add_labels(texts, 0..rows, &vocabulary, &mut labels);
                    Ok(())
                })?;
                labels
            }
            ColumnarValue::Array(lists) => {
                let mut labels = Vec::with_capacity(rows);
                for_each_run::<DataFusionError>(lists, |run, vocabulary| {
                    add_labels(texts, run, &vocabulary, &mut labels);
                    Ok(())
                })?;
                labels
            }
        };
        if !self.one_hot {
            return Ok(ColumnarValue::Array(Arc::new(Int64Array::from(labels))));
        }
        let dropped = args.args.get(2).map(|dropped| dropped.to_array(rows)).transpose()?;
        let keep = |row: usize| match &dropped {
            Some(dropped) => {
                let dropped = dropped.as_string::<i32>();
                dropped.is_null(row) || texts.is_null(row) || dropped.value(row) != texts.value(row)
            }
            None => true,
        };
        let (mut starts, mut index) = (vec![0], Vec::with_capacity(rows));
        for (row, label) in labels.into_iter().enumerate() {
            if keep(row) {
                index.push(label);
            }
            starts.push(index.len());
        }
        let value: ArrayRef = Arc::new(Float64Array::from(vec![1.0; index.len()]));
        Ok(ColumnarValue::Array(Arc::new(struct_lists(pair(), vec![Arc::new(Int64Array::from(index)), value], &starts)?)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(if self.one_hot { &ONE_HOT } else { &LABEL })
    }
}

fn add_labels(texts: &StringArray, rows: std::ops::Range<usize>, vocabulary: &Option<ArrayRef>, labels: &mut Vec<i64>) {
    let vocabulary = vocabulary.as_ref().map(|words| words.as_string::<i32>());
    let words = vocabulary.iter().flat_map(|words| words.iter().zip(1i64..)).filter_map(|(word, place)| Some((word?, place)));
    let places: HashMap<&str, i64, RandomState> = words.collect();
    labels.extend(rows.map(|row| if texts.is_null(row) { 0 } else { places.get(texts.value(row)).copied().unwrap_or(0) }));
}
