//! Scalar functions, one file each.

pub(crate) mod bounded;
pub mod bucketize;
pub mod combine_features;
pub mod encode;
pub mod hash_bucketize;
pub mod pack_row;
pub mod salt;
pub mod train_test_split;
pub mod try_to_timestamp;
pub mod unsalt;
pub mod vectors;
pub mod xxhash64;

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, DocSection, ScalarUDF};

/// Where the functions are listed that prepare columns for models.
pub(crate) const PREPARATION: DocSection = DocSection { include: true, label: "Preparation Functions", description: None };

/// Every scalar function of this crate.
pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        pack_row::pack_row_udf(),
        Arc::new(ScalarUDF::new_from_impl(salt::Salt::new())),
        Arc::new(ScalarUDF::new_from_impl(try_to_timestamp::TryToTimestamp::new())),
        Arc::new(ScalarUDF::new_from_impl(unsalt::Unsalt::new())),
        Arc::new(ScalarUDF::new_from_impl(xxhash64::XxHash64::new())),
        Arc::new(ScalarUDF::new_from_impl(bucketize::Bucketize::new())),
        Arc::new(ScalarUDF::new_from_impl(combine_features::CombineFeatures::polynomial_expand())),
        Arc::new(ScalarUDF::new_from_impl(combine_features::CombineFeatures::feature_cross())),
        Arc::new(ScalarUDF::new_from_impl(encode::Encode::label())),
        Arc::new(ScalarUDF::new_from_impl(encode::Encode::one_hot())),
        Arc::new(ScalarUDF::new_from_impl(hash_bucketize::HashBucketize::new())),
        Arc::new(ScalarUDF::new_from_impl(train_test_split::TrainTestSplit::new())),
        Arc::new(ScalarUDF::new_from_impl(vectors::Distance::new())),
        Arc::new(ScalarUDF::new_from_impl(vectors::Normalizer::new())),
    ]
}

/// A text argument that is meant as a literal: that of the first row.
fn argument_text(argument: &ColumnarValue, rows: usize) -> Result<Option<String>> {
    let texts = cast(&argument.to_array(rows.min(1))?, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    Ok((!texts.is_empty() && texts.is_valid(0)).then(|| texts.value(0).to_string()))
}
