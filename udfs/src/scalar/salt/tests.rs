//! `salt` and `unsalt` as SQL runs them.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::Int32Type;

use crate::aggregate::tests::{Run, lines, session};

fn table() -> RecordBatch {
    let keys = ["a#1", "b", "a#1", "c#22", "b#x"].map(|key| (key != "b").then_some(key));
    let dictionary: DictionaryArray<Int32Type> = keys.into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("k", Arc::new(StringArray::from_iter(keys))),
        ("large", Arc::new(LargeStringArray::from_iter(keys))),
        ("view", Arc::new(StringViewArray::from_iter(keys))),
        ("dictionary", Arc::new(dictionary)),
        ("x", Arc::new(Int64Array::from_iter_values(0..5))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

async fn answer(sql: &str) -> Vec<String> {
    lines(&session(&table(), &Run { partitions: 1, ..Run::default() }, true).unwrap(), sql).await.unwrap()
}

#[tokio::test]
async fn salts_without_keys_are_dealt_out_in_turn() {
    assert_eq!(answer("SELECT x, salt(3) FROM t").await, ["0|0", "1|1", "2|2", "3|0", "4|1"]);
    assert_eq!(answer("SELECT salt(1), salt(65536) FROM t WHERE x < 2").await, ["0|0", "0|1"]);
}

#[tokio::test]
async fn salts_of_keys_are_those_of_their_hash() {
    let same =
        "SELECT count(*) FROM t WHERE salt(7, k, x) = ((xxhash64(k, x) % 7) + 7 + CASE WHEN xxhash64(k, x) < 0 THEN 2 ELSE 0 END) % 7";
    // 2^64 leaves 2 when divided by 7: what a negative number lacks as an unsigned one.
    assert_eq!(answer(same).await, ["5"]);
    assert_eq!(answer("SELECT min(salt(5, x)) >= 0, max(salt(5, x)) < 5, arrow_typeof(max(salt(5, x))) FROM t").await, ["true|true|Int32"]);
    assert_eq!(answer("SELECT count(DISTINCT salt(100, k)) FROM t WHERE k = 'a#1'").await, ["1"]);
    assert_eq!(answer("SELECT salt(10, 'a') = salt(10, 'a'), salt(10) FROM t WHERE x = 3").await, ["true|0"]);
}

#[tokio::test]
async fn calls_with_keys_are_evaluated_once() {
    let context = session(&table(), &Run::default(), true).unwrap();
    let plan = lines(&context, "EXPLAIN SELECT salt(4, k) + 1, salt(4, k) + 2 FROM t").await.unwrap().join("\n");
    assert!(plan.contains("__common_expr"), "{plan}");
}

#[tokio::test]
async fn wrong_numbers_of_salts_are_refused() {
    for call in ["salt(0)", "salt(-1)", "salt(65537)", "salt(x)", "salt(NULL)", "salt('a')", "salt(x, k)", "salt(1.5)"] {
        let context = session(&table(), &Run::default(), true).unwrap();
        let error = context.sql(&format!("SELECT {call} FROM t")).await.expect_err(call).to_string();
        assert!(error.contains("salt: argument 1, n, must be a"), "{call}: {error}");
    }
    let context = session(&table(), &Run::default(), true).unwrap();
    assert!(context.sql("SELECT salt() FROM t").await.is_err());
}

#[tokio::test]
async fn unsalting_keeps_type_and_nulls() {
    for column in ["k", "large", "view", "dictionary"] {
        let sql = format!("SELECT x, unsalt({column}), arrow_typeof(unsalt({column})) = arrow_typeof({column}) FROM t");
        assert_eq!(answer(&sql).await, ["0|a|true", "1||true", "2|a|true", "3|c|true", "4|b#x|true"], "{column}");
    }
    assert_eq!(answer("SELECT unsalt('a' || '#' || salt(4)), unsalt(NULL) FROM t WHERE x = 1").await, ["a|"]);
    let context = session(&table(), &Run::default(), true).unwrap();
    let error = context.sql("SELECT unsalt(x) FROM t").await.unwrap_err().to_string();
    assert!(error.contains("unsalt: argument 1, salted_key, must be text"), "{error}");
}
