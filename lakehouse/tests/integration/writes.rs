//! Writing and reading back: modes, types, comments, properties, what is refused.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use orrery_lakehouse::{Error, NOT_NULL, WriteMode, WriteRequest};

use crate::support::{Lake, name, request, rows};

#[tokio::test(flavor = "multi_thread")]
async fn every_mode_does_what_it_says() {
    let lake = Lake::local().await;
    let created = lake.create("t", "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v(id, name)").await;
    assert_eq!((created.version, created.rows, created.files), (0, 2, 1));
    assert!(created.bytes > 0);
    assert!(matches!(lake.write(request("t", WriteMode::Create), "SELECT 1 AS x").await, Err(Error::AlreadyExists(_))));
    let ignored = lake.write(request("t", WriteMode::CreateIfNotExists), "SELECT 1 AS x").await.unwrap();
    assert_eq!((ignored.version, ignored.rows), (0, 0));
    let appended = lake.append("t", "SELECT 'c' AS name, CAST(3 AS BIGINT) AS id").await;
    assert_eq!((appended.version, appended.rows), (1, 1));
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT * FROM t ORDER BY id").await), ["1|a", "2|b", "3|c"]);
    let overwritten = lake.write(request("t", WriteMode::Overwrite), "SELECT 9 AS id, 'z' AS name").await.unwrap();
    assert_eq!(overwritten.version, 2);
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT * FROM t").await), ["9|z"]);
    let replaced = lake.write(request("t", WriteMode::CreateOrReplace), "SELECT true AS flag").await.unwrap();
    assert_eq!(replaced.version, 3);
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT * FROM t").await), ["true"]);
    assert!(matches!(lake.write(request("none", WriteMode::Append), "SELECT 1 AS x").await, Err(Error::NotFound(_))));
    assert!(matches!(lake.write(request("none", WriteMode::Overwrite), "SELECT 1 AS x").await, Err(Error::NotFound(_))));
    let fresh = lake.write(request("fresh", WriteMode::CreateOrReplace), "SELECT 1 AS x").await.unwrap();
    assert_eq!(fresh.version, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_results_make_empty_tables() {
    let lake = Lake::local().await;
    let created = lake.create("t", "SELECT 1 AS a, 'x' AS b WHERE false").await;
    assert_eq!((created.version, created.rows, created.files), (0, 0, 0));
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT count(*) FROM t").await), ["0"]);
    assert_eq!(rows(&lake.query("SELECT a, b FROM t WHERE a > 0").await), Vec::<String>::new());
    lake.append("t", "SELECT 5 AS a, 'y' AS b").await;
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT a, b FROM t").await), ["5|y"]);
}

fn all_types() -> (SchemaRef, RecordBatch) {
    let map = {
        let mut builder = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
        builder.keys().append_value("k");
        builder.values().append_value(7);
        builder.append(true).unwrap();
        builder.append(false).unwrap();
        builder.finish()
    };
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1), None]), None]);
    let nested: Fields = vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Utf8, true)].into();
    let structs = StructArray::new(
        nested,
        vec![Arc::new(Int32Array::from(vec![Some(1), None])), Arc::new(StringArray::from(vec![None, Some("inner")]))],
        None,
    );
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("i8", Arc::new(Int8Array::from(vec![Some(i8::MIN), None]))),
        ("i16", Arc::new(Int16Array::from(vec![Some(i16::MAX), None]))),
        ("i32", Arc::new(Int32Array::from(vec![Some(i32::MIN), None]))),
        ("i64", Arc::new(Int64Array::from(vec![Some(i64::MAX), None]))),
        ("u8", Arc::new(UInt8Array::from(vec![Some(u8::MAX), None]))),
        ("u16", Arc::new(UInt16Array::from(vec![Some(u16::MAX), None]))),
        ("u32", Arc::new(UInt32Array::from(vec![Some(u32::MAX), None]))),
        ("u64", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]))),
        ("f32", Arc::new(Float32Array::from(vec![Some(1.5), None]))),
        ("f64", Arc::new(Float64Array::from(vec![Some(f64::MIN_POSITIVE), None]))),
        ("s", Arc::new(StringArray::from(vec![Some("é😀"), None]))),
        ("sv", Arc::new(StringViewArray::from(vec![Some("a string that is longer than twelve bytes"), None]))),
        ("ls", Arc::new(LargeStringArray::from(vec![Some("large"), None]))),
        ("bin", Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), None]))),
        ("fsb", Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some([1_u8, 2]), None].into_iter(), 2).unwrap())),
        ("d", Arc::new(Date32Array::from(vec![Some(-1), None]))),
        ("ts", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_569_888_000_123_456), None]).with_timezone("UTC"))),
        ("tn", Arc::new(TimestampNanosecondArray::from(vec![Some(1_569_888_000_123_456_789), None]))),
        ("dec", Arc::new(Decimal128Array::from(vec![Some(-12345), None]).with_precision_and_scale(10, 2).unwrap())),
        ("big", Arc::new(Decimal128Array::from(vec![Some(i128::from(i64::MAX) * 1_000), None]).with_precision_and_scale(38, 6).unwrap())),
        ("l", Arc::new(list)),
        ("m", Arc::new(map)),
        ("st", Arc::new(structs)),
    ];
    let fields: Vec<Field> = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, array)| array).collect()).unwrap();
    (schema, batch)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_survives() {
    let lake = Lake::local().await;
    let (schema, batch) = all_types();
    lake.register_batches("src", schema, vec![vec![batch]]);
    lake.create("t", "SELECT * FROM src").await;
    let table = lake.show("t").await;
    assert_eq!(table.schema().field_with_name("u64").unwrap().data_type(), &DataType::Decimal128(20, 0));
    assert_eq!(table.schema().field_with_name("tn").unwrap().data_type(), &DataType::Timestamp(TimeUnit::Microsecond, None));
    let read = rows(&lake.query("SELECT * FROM t ORDER BY i64").await);
    let first = "true|-128|32767|-2147483648|9223372036854775807|255|65535|4294967295|18446744073709551615|1.5|2.2250738585072014e-308|é😀|\
        a string that is longer than twelve bytes|large|00ff|0102|1969-12-31|2019-10-01T00:00:00.123456Z|2019-10-01T00:00:00.123456|-123.45|\
        9223372036854775.807000|[1, ]|{k: 7}|{x: 1, y: }";
    assert_eq!(read[0], first);
    assert_eq!(read[1], "|".repeat(23) + "{x: , y: inner}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_table_cannot_hold_is_refused() {
    let lake = Lake::local().await;
    for (sql, expected) in [
        ("SELECT NULL AS n", "\"n\""),
        ("SELECT INTERVAL '1 day' AS i", "\"i\""),
        ("SELECT 1 AS a, 2 AS \"A\"", "occurs twice"),
        ("SELECT 1 AS \"a b\"", "AS"),
    ] {
        let error = lake.write(request("t", WriteMode::Create), sql).await.unwrap_err();
        assert!(matches!(&error, Error::Invalid(message) if message.contains(expected)), "{sql}: {error}");
    }
    assert!(!lake.table_folder("t").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn inserts_must_give_the_tables_columns() {
    let lake = Lake::local().await;
    lake.create("t", "SELECT 1 AS a, 'x' AS b").await;
    let error = lake.write(request("t", WriteMode::Append), "SELECT 1 AS a, 2 AS c").await.unwrap_err().to_string();
    assert!(error.contains("does not give b") && error.contains("does not have c"), "{error}");
    let error = lake.write(request("t", WriteMode::Overwrite), "SELECT [1] AS a, 'x' AS b").await.unwrap_err().to_string();
    assert!(error.contains("\"a\"") && error.contains("cannot be cast"), "{error}");
    let elsewhere = WriteRequest { partition_by: vec!["a".into()], ..request("t", WriteMode::Append) };
    assert!(
        matches!(lake.write(elsewhere, "SELECT 1 AS a, 'x' AS b").await, Err(Error::Invalid(message)) if message.contains("not partitioned"))
    );
    assert_eq!(lake.table("t").await.version(), 0);
    assert_eq!(lake.data_files("t").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn not_null_columns_stay_so() {
    let lake = Lake::local().await;
    let field = Field::new("a", DataType::Int32, true).with_metadata(HashMap::from([(NOT_NULL.to_string(), "true".to_string())]));
    let schema = Arc::new(Schema::new(vec![field, Field::new("b", DataType::Int32, false)]));
    let batch =
        RecordBatch::try_new(schema.clone(), vec![Arc::new(Int32Array::from(vec![1])), Arc::new(Int32Array::from(vec![1]))]).unwrap();
    lake.register_batches("src", schema, vec![vec![batch]]);
    lake.create("t", "SELECT * FROM src").await;
    let table = lake.show("t").await;
    assert!(!table.schema().field(0).is_nullable() && table.schema().field(1).is_nullable());
    let error = lake.write(request("t", WriteMode::Append), "SELECT CAST(NULL AS INT) AS a, 1 AS b").await.unwrap_err().to_string();
    assert!(error.contains("\"a\"") && error.contains("NOT NULL"), "{error}");
    assert_eq!(lake.table("t").await.version(), 0);
    assert_eq!(lake.data_files("t").len(), 1);
    lake.append("t", "SELECT 2 AS a, CAST(NULL AS INT) AS b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_and_properties_are_kept() {
    let lake = Lake::local().await;
    let create = WriteRequest {
        comment: Some("Events as they came".into()),
        column_comments: HashMap::from([("a".to_string(), "the number".to_string())]),
        properties: HashMap::from([("owner".to_string(), "web".to_string()), ("delta.checkpointInterval".to_string(), "3".to_string())]),
        ..request("t", WriteMode::Create)
    };
    lake.write(create, "SELECT 1 AS a").await.unwrap();
    let table = lake.table("t").await;
    assert_eq!(table.comment(), Some("Events as they came"));
    assert_eq!(table.properties()["owner"], "web");
    assert_eq!(table.schema().field(0).metadata()["comment"], "the number");
    let unknown = WriteRequest { column_comments: HashMap::from([("z".to_string(), String::new())]), ..request("u", WriteMode::Create) };
    assert!(matches!(lake.write(unknown, "SELECT 1 AS a").await, Err(Error::Invalid(message)) if message.contains("\"z\"")));
    let unsupported = WriteRequest {
        properties: HashMap::from([("delta.enableChangeDataFeed".to_string(), "true".to_string())]),
        ..request("u", WriteMode::Create)
    };
    assert!(matches!(lake.write(unsupported, "SELECT 1 AS a").await, Err(Error::Invalid(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn append_only_tables_take_appends_only() {
    let lake = Lake::local().await;
    let create = WriteRequest {
        properties: HashMap::from([("delta.appendOnly".to_string(), "true".to_string())]),
        ..request("t", WriteMode::Create)
    };
    lake.write(create, "SELECT 1 AS a").await.unwrap();
    lake.append("t", "SELECT 2 AS a").await;
    for mode in [WriteMode::Overwrite, WriteMode::CreateOrReplace] {
        assert!(
            matches!(lake.write(request("t", mode), "SELECT 3 AS a").await, Err(Error::Invalid(message)) if message.contains("append-only"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_results_roll_over_to_new_files() {
    let lake = Lake::local().await;
    let create = WriteRequest { target_file_size: Some(200_000), ..request("t", WriteMode::Create) };
    let created = lake.write(create, "SELECT value AS a, md5(CAST(value AS VARCHAR)) AS h FROM generate_series(1, 100000)").await.unwrap();
    assert!(created.files > 5, "{created:?}");
    assert_eq!(created.rows, 100_000);
    assert_eq!(created.files as usize, lake.data_files("t").len());
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT count(*), sum(a), count(DISTINCT h) FROM t").await), ["100000|5000050000|100000"]);
    let bytes: u64 = lake.data_files("t").iter().map(|file| lake.table_folder("t").join(file).metadata().unwrap().len()).sum();
    assert_eq!(bytes, created.bytes);
    assert_eq!(lake.table("t").await.size_bytes(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_report_progress_and_plan() {
    let lake = Lake::local().await;
    let sql = "SELECT value AS a FROM generate_series(1, 50000)";
    let schema = Arc::new(lake.session.sql(sql).await.unwrap().schema().as_arrow().clone());
    let pending = lake.warehouse.begin_write(WriteRequest { schema, ..request("t", WriteMode::Create) }).await.unwrap();
    let plan = lake.plan(&pending, sql).await;
    let shown = datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string();
    assert!(shown.starts_with("DeltaWriteExec: table=dev.default.t"), "{shown}");
    let files = datafusion::physical_plan::collect(plan.clone(), lake.session.task_ctx()).await.unwrap();
    let metrics = plan.metrics().unwrap();
    let value = |name: &str| metrics.sum_by_name(name).unwrap().as_usize() as u64;
    assert_eq!(value("rows_written"), 50_000);
    let outcome = pending.commit(files).await.unwrap();
    assert_eq!((value("bytes_written"), value("files_written")), (outcome.bytes, outcome.files));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_write_leaves_nothing() {
    let lake = Lake::local().await;
    lake.create("kept", "SELECT 1 AS a").await;
    for (table, mode) in [("kept", WriteMode::Append), ("fresh", WriteMode::Create)] {
        let sql = "SELECT 2 AS a";
        let schema = Arc::new(lake.session.sql(sql).await.unwrap().schema().as_arrow().clone());
        let pending = lake.warehouse.begin_write(WriteRequest { schema, ..request(table, mode) }).await.unwrap();
        let plan = lake.plan(&pending, sql).await;
        datafusion::physical_plan::collect(plan, lake.session.task_ctx()).await.unwrap();
        pending.abort().await;
    }
    assert_eq!(lake.data_files("kept").len(), 1);
    assert!(!lake.table_folder("fresh").exists());
    assert_eq!(lake.table("kept").await.version(), 0);
    assert!(lake.warehouse.relation(&name("fresh")).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_query_leaves_nothing() {
    let lake = Lake::local().await;
    let create = WriteRequest { target_file_size: Some(1000), ..request("t", WriteMode::Create) };
    let sql = "SELECT value AS a, 1 / (value - 90000) AS b FROM generate_series(1, 100000)";
    assert!(matches!(lake.write(create, sql).await, Err(Error::Engine(_))));
    assert!(!lake.table_folder("t").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_write_stops_and_cleans_up() {
    let lake = Lake::local().await;
    let sql = "SELECT value AS a, md5(CAST(value AS VARCHAR)) AS h FROM generate_series(1, 100000000)";
    let schema = Arc::new(lake.session.sql(sql).await.unwrap().schema().as_arrow().clone());
    let create = WriteRequest { schema, target_file_size: Some(1 << 20), ..request("t", WriteMode::Create) };
    let pending = lake.warehouse.begin_write(create).await.unwrap();
    let plan = lake.plan(&pending, sql).await;
    let running = tokio::spawn(datafusion::physical_plan::collect(plan.clone(), lake.session.task_ctx()));
    while plan.metrics().unwrap().sum_by_name("files_written").is_none_or(|files| files.as_usize() == 0) {
        tokio::task::yield_now().await;
    }
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    pending.abort().await;
    assert!(!lake.table_folder("t").exists(), "left behind: {:?}", lake.data_files("t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn object_stores_without_folders_work_alike() {
    let lake = Lake::at("memory:///deep/lake").await;
    lake.warehouse.create_schema("dev", "silver", false, None).await.unwrap();
    lake.create("t", "SELECT 1 AS a").await;
    lake.append("t", "SELECT 2 AS a").await;
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT a FROM t ORDER BY a").await), ["1", "2"]);
    assert_eq!(lake.warehouse.schemas("dev").await.unwrap(), ["default", "silver"]);
    lake.warehouse.drop_table(&name("t"), false).await.unwrap();
    assert!(lake.warehouse.relations("dev", "default").await.unwrap().is_empty());
}

#[tokio::test(flavor = "current_thread")]
async fn a_single_thread_is_enough() {
    let lake = Lake::local().await;
    lake.create("t", "SELECT 1 AS a").await;
    lake.append("t", "SELECT 2 AS a").await;
    lake.show("t").await;
    assert_eq!(rows(&lake.query("SELECT sum(a) FROM t").await), ["3"]);
}
