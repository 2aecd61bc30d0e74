//! Pure kernels over slices and Arrow arrays. Nothing here names DataFusion, so each can be tested and measured alone.

/// Runs `$body` with `$array` bound to the text or binary array that `$column` is, whose `value(row)` derefs to bytes;
/// `$otherwise` if it is neither.
macro_rules! with_byte_strings {
    ($column:expr, $array:ident => $body:expr, $otherwise:expr) => {
        match $column.data_type() {
            DataType::Utf8 => {
                let $array = $column.as_string::<i32>();
                $body
            }
            DataType::LargeUtf8 => {
                let $array = $column.as_string::<i64>();
                $body
            }
            DataType::Utf8View => {
                let $array = $column.as_string_view();
                $body
            }
            DataType::Binary => {
                let $array = $column.as_binary::<i32>();
                $body
            }
            DataType::LargeBinary => {
                let $array = $column.as_binary::<i64>();
                $body
            }
            DataType::BinaryView => {
                let $array = $column.as_binary_view();
                $body
            }
            _ => $otherwise,
        }
    };
}

pub mod civil;
pub mod distinct_pairs;
pub mod event_pattern;
pub mod funnel;
pub mod grouped_log;
pub mod grouped_vectors;
pub mod interner;
pub mod order_keys;
pub mod order_words;
pub mod pair_set;
pub mod paths;
pub mod quantiles;
pub mod ragged;
pub mod row_runs;
pub mod salted_text;
pub mod session_runs;
pub mod sessions;
pub mod shared_lists;
pub mod spark_hash;
pub mod timestamp_pattern;
pub mod timestamp_text;
pub mod value_counts;
pub mod value_store;
pub mod view_store;
pub mod xxhash64;
