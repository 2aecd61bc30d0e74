//! Tables of other writers, written here by hand as their logs would have them: read exactly, or refused by the name of the feature.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use orrery_lakehouse::{Error, WriteMode};
use parquet::arrow::ArrowWriter;
use parquet::data_type::{Int96, Int96Type};
use parquet::file::writer::SerializedFileWriter;
use serde_json::{Value, json};

use crate::support::{Lake, name, request, rows};

/// A table made of hand-written files.
pub struct Foreign {
    pub folder: PathBuf,
}

impl Foreign {
    pub fn new(lake: &Lake, table: &str) -> Self {
        let folder = lake.table_folder(table);
        std::fs::create_dir_all(folder.join("_delta_log")).unwrap();
        Self { folder }
    }

    /// Writes a data file and returns its `add` action with the given partition values and statistics.
    pub fn file(&self, path: &str, columns: Vec<(&str, ArrayRef)>, partition: Value, stats: Option<Value>) -> Value {
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
        let full = self.folder.join(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        let mut writer = ArrowWriter::try_new(std::fs::File::create(&full).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        self.add(path, partition, stats)
    }

    pub fn add(&self, path: &str, partition: Value, stats: Option<Value>) -> Value {
        let size = self.folder.join(path).metadata().unwrap().len();
        let mut add = json!({"path": path.replace('%', "%25"), "partitionValues": partition, "size": size, "modificationTime": 1_700_000_000_000_i64, "dataChange": true});
        if let Some(stats) = stats {
            add["stats"] = Value::String(stats.to_string());
        }
        json!({ "add": add })
    }

    pub fn commit(&self, version: u64, actions: &[Value]) {
        let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
        std::fs::write(self.folder.join(format!("_delta_log/{version:020}.json")), lines.join("\n")).unwrap();
    }
}

pub fn field(name: &str, kind: Value) -> Value {
    json!({"name": name, "type": kind, "nullable": true, "metadata": {}})
}

fn mapped(name: &str, physical: &str, id: u32, kind: Value) -> Value {
    json!({"name": name, "type": kind, "nullable": true, "metadata": {"delta.columnMapping.id": id, "delta.columnMapping.physicalName": physical}})
}

pub fn metadata(fields: Vec<Value>, partition: &[&str], configuration: Value) -> Value {
    let schema = json!({"type": "struct", "fields": fields}).to_string();
    json!({"metaData": {"id": "8b7f1c2e-0000-4000-8000-000000000000", "format": {"provider": "parquet", "options": {}}, "schemaString": schema,
        "partitionColumns": partition, "configuration": configuration, "createdTime": 1_700_000_000_000_i64}})
}

pub fn legacy(reader: u32, writer: u32) -> Value {
    json!({"protocol": {"minReaderVersion": reader, "minWriterVersion": writer}})
}

fn modern(reader: &[&str], writer: &[&str]) -> Value {
    json!({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": reader, "writerFeatures": writer}})
}

fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

async fn refusal(lake: &Lake, table: &str, sql: &str) -> String {
    lake.show(table).await;
    lake.query_error(sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_vectors_are_refused_only_where_they_are() {
    let lake = Lake::local().await;
    let table = Foreign::new(&lake, "t");
    let features = modern(&["deletionVectors"], &["deletionVectors", "appendOnly", "invariants"]);
    let properties = json!({"delta.enableDeletionVectors": "true"});
    let first = table.file("a.parquet", vec![("a", ints(&[1, 2]))], json!({}), Some(json!({"numRecords": 2})));
    table.commit(0, &[features, metadata(vec![field("a", json!("long"))], &[], properties), first.clone()]);
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT count(*) FROM t").await), ["2"]);
    lake.append("t", "SELECT 3 AS a").await;

    let mut deleted = first.clone();
    deleted["add"]["deletionVector"] = json!({"storageType": "i", "pathOrInlineDv": "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L", "sizeInBytes": 40, "cardinality": 1});
    let remove = json!({"remove": {"path": "a.parquet", "deletionTimestamp": 1, "dataChange": true}});
    table.commit(2, &[remove, deleted]);
    for sql in ["SELECT * FROM t", "SELECT count(*) FROM t"] {
        let error = refusal(&lake, "t", sql).await;
        assert!(error.contains("deletion vectors") && error.contains("a.parquet") && error.contains("dev.default.t"), "{error}");
    }
    assert!(matches!(lake.table("t").await.check_readable(), Err(Error::Unsupported { .. })));
    lake.write(request("t", WriteMode::Overwrite), "SELECT 9 AS a").await.unwrap();
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT a FROM t").await), ["9"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_mapped_by_name_are_read_under_their_names() {
    let lake = Lake::local().await;
    let table = Foreign::new(&lake, "t");
    let fields = vec![
        mapped("id", "col-1", 1, json!("long")),
        mapped("day", "col-2", 2, json!("string")),
        mapped("label", "col-3", 3, json!("string")),
    ];
    let stats = |min: i64, max: i64| {
        Some(json!({"numRecords": 2, "minValues": {"col-1": min}, "maxValues": {"col-1": max}, "nullCount": {"col-1": 0}}))
    };
    let labels = |a: &str, b: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![Some(a), b])) };
    let first = table.file(
        "x/a.parquet",
        vec![("col-1", ints(&[1, 2])), ("col-3", labels("one", Some("two")))],
        json!({"col-2": "mon"}),
        stats(1, 2),
    );
    let second =
        table.file("b.parquet", vec![("col-3", labels("three", None)), ("col-1", ints(&[3, 4]))], json!({"col-2": null}), stats(3, 4));
    let configuration = json!({"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "3"});
    table.commit(0, &[legacy(2, 5), metadata(fields, &["day"], configuration), first, second]);
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT * FROM t ORDER BY id").await), ["1|mon|one", "2|mon|two", "3||three", "4||"]);
    assert_eq!(rows(&lake.query("SELECT label AS l, id + 1 FROM t WHERE id >= 2 AND day = 'mon'").await), ["two|3"]);
    assert_eq!(rows(&lake.query("SELECT id FROM t WHERE label = 'three' AND day IS NULL").await), ["3"]);
    assert!(!lake.explain("SELECT min(id), max(id), count(*) FROM t").await.contains("DataSourceExec"));
    assert_eq!(rows(&lake.query("SELECT min(id), max(id), count(*), count(day) FROM t").await), ["1|4|4|2"]);
    assert_eq!(lake.explain("SELECT label FROM t WHERE id > 2").await.matches("parquet").count() - 1, 1);
    let error = lake.write(request("t", WriteMode::Append), "SELECT 1 AS id, 'd' AS day, 'l' AS label").await.unwrap_err();
    assert!(matches!(&error, Error::Unsupported { what, .. } if what.contains("column mapping")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_column_mappings_are_refused() {
    let lake = Lake::local().await;
    let table = Foreign::new(&lake, "ids");
    let file = table.file("a.parquet", vec![("col-1", ints(&[1]))], json!({}), None);
    table.commit(
        0,
        &[legacy(2, 5), metadata(vec![mapped("id", "col-1", 1, json!("long"))], &[], json!({"delta.columnMapping.mode": "id"})), file],
    );
    let error = refusal(&lake, "ids", "SELECT * FROM ids").await;
    assert!(error.contains("column mapping in mode \"id\""), "{error}");

    let table = Foreign::new(&lake, "nested");
    let inner = json!({"type": "struct", "fields": [mapped("x", "col-2", 2, json!("long"))]});
    table.commit(0, &[legacy(2, 5), metadata(vec![mapped("s", "col-1", 1, inner)], &[], json!({"delta.columnMapping.mode": "name"}))]);
    let error = refusal(&lake, "nested", "SELECT * FROM nested").await;
    assert!(error.contains("nested") && error.contains("s.x"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_rules_that_would_be_broken_are_named() {
    let lake = Lake::local().await;
    let plain = || field("a", json!("long"));
    let with = |key: &str| json!({"name": "a", "type": "long", "nullable": true, "metadata": {key: "1"}});
    for (index, (protocol, column, configuration, expected)) in [
        (legacy(1, 3), plain(), json!({"delta.constraints.positive": "a > 0"}), "CHECK constraints (positive)"),
        (legacy(1, 4), plain(), json!({"delta.enableChangeDataFeed": "true"}), "change data feed"),
        (legacy(1, 4), with("delta.generationExpression"), json!({}), "generated columns (a)"),
        (legacy(1, 6), with("delta.identity.start"), json!({}), "identity columns (a)"),
        (legacy(1, 2), with("delta.invariants"), json!({}), "invariants (a)"),
        (modern(&[], &["rowTracking", "domainMetadata"]), plain(), json!({}), "row tracking"),
        (modern(&[], &["inCommitTimestamp"]), plain(), json!({"delta.enableInCommitTimestamps": "true"}), "in-commit timestamps"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("t{index}");
        let table = Foreign::new(&lake, &name);
        let file = table.file("a.parquet", vec![("a", ints(&[1]))], json!({}), None);
        table.commit(0, &[protocol, metadata(vec![column], &[], configuration), file]);
        lake.show(&name).await;
        assert_eq!(rows(&lake.query(&format!("SELECT a FROM {name}")).await), ["1"], "{expected}");
        for mode in [WriteMode::Append, WriteMode::Overwrite, WriteMode::CreateOrReplace] {
            let error = lake.write(request(&name, mode), "SELECT 2 AS a").await.unwrap_err();
            assert!(matches!(&error, Error::Unsupported { what, .. } if what.contains(expected)), "{error}");
        }
        assert_eq!(lake.table(&name).await.version(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_features_do_not_hinder() {
    let lake = Lake::local().await;
    let table = Foreign::new(&lake, "t");
    let features = [
        "appendOnly",
        "invariants",
        "checkConstraints",
        "changeDataFeed",
        "generatedColumns",
        "identityColumns",
        "deletionVectors",
        "domainMetadata",
    ];
    let file = table.file("a.parquet", vec![("a", ints(&[1]))], json!({}), None);
    table.commit(0, &[modern(&["deletionVectors"], &features), metadata(vec![field("a", json!("long"))], &[], json!({})), file]);
    lake.append("t", "SELECT 2 AS a").await;
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT a FROM t ORDER BY a").await), ["1", "2"]);
    // A log that counts rows in only one of two files cannot count them in both.
    assert_eq!(lake.table("t").await.num_rows(), None);
    assert_eq!(rows(&lake.query("SELECT count(*) FROM t").await), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_features_and_types_are_named() {
    let lake = Lake::local().await;
    Foreign::new(&lake, "feature")
        .commit(0, &[modern(&["shinyNew"], &["shinyNew"]), metadata(vec![field("a", json!("long"))], &[], json!({}))]);
    let error = lake.warehouse.relation(&name("feature")).await.unwrap_err();
    assert!(matches!(&error, Error::Unsupported { what, table } if what.contains("shinyNew") && table == "dev.default.feature"), "{error}");
    Foreign::new(&lake, "kind")
        .commit(0, &[modern(&["variantType"], &["variantType"]), metadata(vec![field("v", json!("variant"))], &[], json!({}))]);
    let error = lake.warehouse.relation(&name("kind")).await.unwrap_err();
    assert!(matches!(&error, Error::Unsupported { what, .. } if what.contains("variant")), "{error}");
    let widened = json!({"name": "a", "type": "long", "nullable": true, "metadata": {"delta.typeChanges": [{"fromType": "integer", "toType": "long"}]}});
    let table = Foreign::new(&lake, "wide");
    let narrow: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let file = table.file("a.parquet", vec![("a", narrow)], json!({}), None);
    table.commit(
        0,
        &[modern(&["typeWidening"], &["typeWidening"]), metadata(vec![widened], &[], json!({"delta.enableTypeWidening": "true"})), file],
    );
    let error = refusal(&lake, "wide", "SELECT * FROM wide").await;
    assert!(error.contains("type widening"), "{error}");
    assert!(lake.warehouse.drop_table(&name("feature"), false).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn timestamps_cut_to_milliseconds_lose_no_row() {
    let lake = Lake::local().await;
    let table = Foreign::new(&lake, "t");
    let micros = 1_704_110_400_123_456_i64;
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![micros, micros - 1]).with_timezone("UTC"));
    let cut = "2024-01-01T12:00:00.123Z";
    let stats = json!({"numRecords": 2, "minValues": {"t": cut}, "maxValues": {"t": cut}, "nullCount": {"t": 0}});
    let file = table.file("a.parquet", vec![("t", times)], json!({}), Some(stats));
    table.commit(0, &[legacy(1, 2), metadata(vec![field("t", json!("timestamp"))], &[], json!({})), file]);
    lake.show("t").await;
    assert_eq!(rows(&lake.query(&format!("SELECT count(*) FROM t WHERE t = to_timestamp_micros({micros})")).await), ["1"]);
    assert_eq!(rows(&lake.query("SELECT max(t), min(t) FROM t").await), ["2024-01-01T12:00:00.123456Z|2024-01-01T12:00:00.123455Z"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_96_bit_timestamps_are_read() {
    let lake = Lake::local().await;
    let table = Foreign::new(&lake, "t");
    let schema = Arc::new(parquet::schema::parser::parse_message_type("message spark_schema { optional int96 t; }").unwrap());
    let mut writer =
        SerializedFileWriter::new(std::fs::File::create(table.folder.join("a.parquet")).unwrap(), schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    // Noon of 2024-01-01 and 1500-01-01, which nanoseconds since 1970 cannot reach.
    let value = |nanos: u64, day: u32| Int96::from(vec![(nanos & 0xffff_ffff) as u32, (nanos >> 32) as u32, day]);
    let values = [value(43_200_000_001_000, 2_460_311), value(0, 2_268_924)];
    column.typed::<Int96Type>().write_batch(&values, Some(&[1, 1, 0]), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let add = table.add("a.parquet", json!({}), None);
    table.commit(0, &[legacy(1, 2), metadata(vec![field("t", json!("timestamp"))], &[], json!({})), add]);
    lake.show("t").await;
    assert_eq!(
        rows(&lake.query("SELECT t FROM t ORDER BY t NULLS LAST").await),
        ["1500-01-01T00:00:00Z", "2024-01-01T12:00:00.000001Z", ""]
    );
    assert_eq!(rows(&lake.query("SELECT count(*) FROM t WHERE t < to_timestamp_micros(-11676096000000000)").await), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_layouts_of_the_same_table_are_read() {
    let lake = Lake::local().await;
    let table = Foreign::new(&lake, "t");
    let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1), None])]));
    let kind = json!({"type": "array", "elementType": "long", "containsNull": true});
    let columns = vec![field("l", kind), field("p", json!("string")), field("a", json!("long"))];
    // The list's items are called "item", the partition column is in the file with another value, and the folder is escaped.
    let odd: ArrayRef = Arc::new(StringArray::from(vec!["stale"]));
    let file = table.file(
        "p=a%2Fb/x y.parquet",
        vec![("a", ints(&[5])), ("p", odd), ("l", list)],
        json!({"p": "a/b"}),
        Some(json!({"numRecords": 1})),
    );
    table.commit(0, &[legacy(1, 2), metadata(columns, &["p"], json!({})), file]);
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT * FROM t WHERE p = 'a/b'").await), ["[1, ]|a/b|5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_elsewhere_are_refused() {
    let lake = Lake::local().await;
    let table = Foreign::new(&lake, "t");
    let add = json!({"add": {"path": "file:///elsewhere/a.parquet", "partitionValues": {}, "size": 1, "modificationTime": 1, "dataChange": true}});
    table.commit(0, &[legacy(1, 2), metadata(vec![field("a", json!("long"))], &[], json!({})), add]);
    let error = refusal(&lake, "t", "SELECT * FROM t").await;
    assert!(error.contains("outside of the table's folder"), "{error}");
}
