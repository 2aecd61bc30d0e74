//! Tables whose schema has changed since some of their files were written.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use serde_json::json;

use crate::foreign::{Foreign, field, legacy, metadata};
use crate::support::{Lake, rows};

#[tokio::test(flavor = "multi_thread")]
async fn added_columns_are_null_in_older_files() {
    let lake = Lake::local().await;
    lake.create("t", "SELECT * FROM (VALUES (1, 'x'), (2, 'y')) AS v(a, b)").await;
    let old = Foreign { folder: lake.table_folder("t") };
    let fields = vec![
        field("new", json!("decimal(10,2)")),
        field("a", json!("long")),
        field("b", json!("string")),
        field("day", json!("timestamp_ntz")),
    ];
    let features = json!({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["timestampNtz"], "writerFeatures": ["timestampNtz"]}});
    old.commit(1, &[features, metadata(fields, &[], json!({}))]);
    lake.append("t", "SELECT 3 AS a, 'z' AS b, 1.5 AS new, TIMESTAMP '2024-01-01' AS day").await;
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT * FROM t ORDER BY a").await), ["|1|x|", "|2|y|", "1.50|3|z|2024-01-01T00:00:00"]);
    assert_eq!(rows(&lake.query("SELECT a FROM t WHERE new IS NULL ORDER BY a").await), ["1", "2"]);
    assert_eq!(rows(&lake.query("SELECT a FROM t WHERE new > 1 OR b = 'x' ORDER BY a").await), ["1", "3"]);
    assert_eq!(rows(&lake.query("SELECT count(new), min(new), max(day), count(*) FROM t").await), ["1|1.50|2024-01-01T00:00:00|3"]);
    lake.register("old", &lake.table("t").await.at_version(0).await.unwrap());
    assert_eq!(rows(&lake.query("SELECT * FROM old ORDER BY a").await), ["1|x", "2|y"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn added_fields_of_structs_are_null_in_older_files() {
    let lake = Lake::local().await;
    let table = Foreign::new(&lake, "t");
    let kind =
        |names: &[&str]| json!({"type": "struct", "fields": names.iter().map(|name| field(name, json!("long"))).collect::<Vec<_>>()});
    let file = |path: &str, names: &[&str]| {
        let fields: Fields = names.iter().map(|name| Arc::new(Field::new(*name, DataType::Int64, true))).collect();
        let arrays: Vec<ArrayRef> = (0..names.len()).map(|i| Arc::new(Int64Array::from(vec![i as i64 + 1])) as ArrayRef).collect();
        table.file(path, vec![("s", Arc::new(StructArray::new(fields, arrays, None)))], json!({}), None)
    };
    table.commit(0, &[legacy(1, 2), metadata(vec![field("s", kind(&["x"]))], &[], json!({})), file("a.parquet", &["x"])]);
    table.commit(1, &[metadata(vec![field("s", kind(&["y", "x"]))], &[], json!({})), file("b.parquet", &["y", "x"])]);
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT s['x'], s['y'] FROM t ORDER BY 1").await), ["1|", "2|1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_found_by_name_not_by_place() {
    let lake = Lake::local().await;
    let table = Foreign::new(&lake, "t");
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let fields = vec![field("a", json!("integer")), field("b", json!("string"))];
    let first = table.file("a.parquet", vec![("a", numbers.clone()), ("b", texts.clone())], json!({}), None);
    let second = table.file("b.parquet", vec![("extra", numbers.clone()), ("b", texts), ("a", numbers)], json!({}), None);
    table.commit(0, &[legacy(1, 2), metadata(fields, &[], json!({})), first, second]);
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT * FROM t WHERE b = 'x'").await), ["1|x", "1|x"]);
}
