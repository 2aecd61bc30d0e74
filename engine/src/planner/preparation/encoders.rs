//! `ML.LABEL_ENCODER` and `ML.ONE_HOT_ENCODER`: categories as places in a vocabulary.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{Expr, ScalarUDF, cast, lit};
use orrery_udfs::aggregate::most_frequent::MostFrequent;
use orrery_udfs::aggregate::vocabulary::Vocabulary;
use orrery_udfs::scalar::encode::Encode;
use orrery_udfs::window::preparation::Learned;

use super::call::{Call, aggregate};

/// As in BigQuery ML.
const TOP_K_MAX: i64 = 1_000_000;
const TOP_K: i64 = 32_000;

fn category(call: &Call) -> Result<Expr> {
    Ok(cast(call.value()?, DataType::Utf8))
}

fn drops_most_frequent(call: &Call) -> Result<bool> {
    Ok(call.function == Learned::OneHotEncoder && call.choice(1, "drop", &["none", "most_frequent"])? == Some("most_frequent"))
}

pub(super) fn aggregates(call: &Call) -> Result<Vec<Expr>> {
    let at = if call.function == Learned::OneHotEncoder { 2 } else { 1 };
    let top_k = call.whole(at, "top_k", 1, TOP_K_MAX)?.unwrap_or(TOP_K);
    let threshold = call.whole(at + 1, "frequency_threshold", 0, i64::MAX)?.unwrap_or(0);
    let mut aggregates = vec![aggregate(Vocabulary::new(), vec![category(call)?, lit(top_k), lit(threshold)])];
    if drops_most_frequent(call)? {
        // Not of the text: DataFusion leaves casts out of names, so that this would clash with the same of the values in one query.
        aggregates.push(aggregate(MostFrequent::new(), vec![call.value()?]));
    }
    Ok(aggregates)
}

pub(super) fn expression(call: &Call, learned: &[Expr]) -> Result<Expr> {
    let mut args = vec![category(call)?];
    args.extend(learned.iter().take(1).cloned());
    args.extend(learned.iter().skip(1).map(|dropped| cast(dropped.clone(), DataType::Utf8)));
    match (call.function, learned.len()) {
        (Learned::LabelEncoder, 1) => Ok(ScalarUDF::new_from_impl(Encode::label()).call(args)),
        (Learned::OneHotEncoder, 1 | 2) => Ok(ScalarUDF::new_from_impl(Encode::one_hot()).call(args)),
        (_, values) => internal_err!("{values} values were learned of categories"),
    }
}
