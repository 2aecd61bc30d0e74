//! Random tables: what is written is what is read, statistics bound what is in the file, and no filter loses a row to them.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use datafusion::common::ScalarValue;
use datafusion::prelude::{Expr, ident, lit};
use orrery_lakehouse::{WriteMode, WriteRequest};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{Lake, request, rows};

/// A column of one type, as single values, so that it can be cut into batches anywhere.
fn column(rows: usize) -> BoxedStrategy<ArrayRef> {
    fn values<T: std::fmt::Debug + Clone + 'static>(
        rows: usize,
        value: impl Strategy<Value = T> + 'static,
        build: fn(Vec<Option<T>>) -> ArrayRef,
    ) -> BoxedStrategy<ArrayRef> {
        (0..=2_u32, vec((0..4_u32, value), rows))
            .prop_map(move |(nulls, values)| {
                build(values.into_iter().map(|(dice, value)| (dice >= nulls || nulls == 0).then_some(value)).collect())
            })
            .boxed()
    }
    let float = prop_oneof![any::<f64>(), Just(f64::NAN), Just(0.0), Just(-0.0), Just(f64::INFINITY), -5.0..5.0];
    let text = || prop_oneof!["[a-c]{0,3}", "\\PC{0,8}", "[a-b]{60,70}", Just("\u{10ffff}".repeat(20))];
    let micros = -62_135_596_800_000_000_i64..253_402_300_800_000_000;
    prop_oneof![
        values(rows, any::<bool>(), |v| Arc::new(BooleanArray::from(v))),
        values(rows, any::<i8>(), |v| Arc::new(Int8Array::from(v))),
        values(rows, any::<i16>(), |v| Arc::new(Int16Array::from(v))),
        values(rows, any::<i32>(), |v| Arc::new(Int32Array::from(v))),
        values(rows, any::<i64>(), |v| Arc::new(Int64Array::from(v))),
        values(rows, any::<u64>(), |v| Arc::new(UInt64Array::from(v))),
        values(rows, any::<f32>(), |v| Arc::new(Float32Array::from(v))),
        values(rows, float, |v| Arc::new(Float64Array::from(v))),
        values(rows, text(), |v| Arc::new(StringArray::from(v))),
        values(rows, text(), |v| Arc::new(StringViewArray::from(v))),
        values(rows, vec(any::<u8>(), 0..5), |v| Arc::new(BinaryArray::from_iter(v))),
        values(rows, -719_162..2_932_897_i32, |v| Arc::new(Date32Array::from(v))),
        values(rows, micros.clone(), |v| Arc::new(TimestampMicrosecondArray::from(v).with_timezone("UTC"))),
        values(rows, micros, |v| Arc::new(TimestampMicrosecondArray::from(v))),
        values(rows, -999_999_999_i128..999_999_999, |v| Arc::new(Decimal128Array::from(v).with_precision_and_scale(9, 3).unwrap())),
        values(rows, -(10_i128.pow(38) - 1)..10_i128.pow(38), |v| Arc::new(
            Decimal128Array::from(v).with_precision_and_scale(38, 10).unwrap()
        )),
        values(rows, vec(option::of(any::<i32>()), 0..3), |v| Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(v))),
        values(rows, (any::<i32>(), "[a-c]{0,2}"), |v| {
            let fields: Fields = std::vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Utf8, true)].into();
            let x: ArrayRef = Arc::new(v.iter().map(|pair| pair.as_ref().map(|p| p.0)).collect::<Int32Array>());
            let y: ArrayRef = Arc::new(v.iter().map(|pair| pair.as_ref().map(|p| p.1.clone())).collect::<StringArray>());
            let valid = v.iter().map(Option::is_some).collect::<Vec<_>>();
            Arc::new(StructArray::new(fields, std::vec![x, y], Some(valid.into())))
        }),
    ]
    .boxed()
}

#[derive(Debug, Clone)]
struct Case {
    batch: RecordBatch,
    cuts: usize,
    partitioned: bool,
    target_file_size: u64,
    probe: usize,
}

fn case() -> impl Strategy<Value = Case> {
    (1..60_usize, 1..6_usize).prop_flat_map(|(rows, columns)| {
        (vec(column(rows), columns), 1..5_usize, any::<bool>(), prop_oneof![Just(500_u64), Just(1 << 28)], any::<prop::sample::Index>())
            .prop_map(move |(arrays, cuts, partitioned, target_file_size, probe)| {
                let key: ArrayRef = Arc::new((0..rows).map(|row| (row % 4 > 0).then_some(row as i32 % 4)).collect::<Int32Array>());
                let named = std::iter::once(("k".to_string(), key))
                    .chain(arrays.into_iter().enumerate().map(|(i, array)| (format!("c{i}"), array)));
                let batch = RecordBatch::try_from_iter_with_nullable(named.map(|(name, array)| (name, array, true))).unwrap();
                Case { batch, cuts, partitioned, target_file_size, probe: probe.index(rows) }
            })
    })
}

/// Batches in two scan partitions.
fn cut(batch: &RecordBatch, cuts: usize) -> Vec<Vec<RecordBatch>> {
    let step = batch.num_rows().div_ceil(cuts).max(1);
    let mut halves = vec![Vec::new(), Vec::new()];
    for (index, start) in (0..batch.num_rows()).step_by(step).enumerate() {
        halves[index % 2].push(batch.slice(start, step.min(batch.num_rows() - start)));
    }
    halves
}

async fn check(case: Case) {
    let lake = Lake::local().await;
    lake.register_batches("src", case.batch.schema(), cut(&case.batch, case.cuts));
    let partition_by = if case.partitioned { vec!["k".to_string()] } else { vec![] };
    let create = WriteRequest { partition_by, target_file_size: Some(case.target_file_size), ..request("t", WriteMode::Create) };
    let outcome = lake.write(create, "SELECT * FROM src").await.unwrap();
    assert_eq!(outcome.rows, case.batch.num_rows() as u64);
    let table = lake.show("t").await;
    assert_eq!(table.num_rows(), Some(outcome.rows));
    let sorted = |table: String| {
        let mut lines = rows(&table);
        lines.sort();
        lines
    };
    assert_eq!(sorted(lake.query("SELECT * FROM t").await), sorted(lake.query("SELECT * FROM src").await));
    check_filters(&lake, &case).await;
    check_statistics(&lake).await;
}

/// Filters with a value that is in the table find as many rows in the table as in the source.
async fn check_filters(lake: &Lake, case: &Case) {
    for (index, field) in case.batch.schema().fields().iter().enumerate() {
        if field.data_type().is_nested() || field.data_type() == &DataType::UInt64 {
            continue;
        }
        let value = ScalarValue::try_from_array(case.batch.column(index), case.probe).unwrap();
        let column = || ident(field.name());
        let filters: Vec<Expr> = if value.is_null() {
            vec![column().is_null(), column().is_not_null()]
        } else {
            vec![
                column().eq(lit(value.clone())),
                column().gt_eq(lit(value.clone())),
                column().lt(lit(value.clone())),
                column().not_eq(lit(value)),
            ]
        };
        for filter in filters {
            let mut counts = Vec::new();
            for source in ["t", "src"] {
                counts.push(lake.session.table(source).await.unwrap().filter(filter.clone()).unwrap().count().await.unwrap());
            }
            assert_eq!(counts[0], counts[1], "{filter}");
        }
        for extreme in ["min", "max", "count"] {
            if matches!(field.data_type(), DataType::Boolean | DataType::Binary) && extreme != "count" {
                continue;
            }
            let ask = |source: &str| format!("SELECT {extreme}({}) FROM {source}", field.name());
            assert_eq!(rows(&lake.query(&ask("t")).await), rows(&lake.query(&ask("src")).await), "{extreme} of {field}");
        }
    }
}

/// Every file's statistics in the log hold for the rows in that file.
async fn check_statistics(lake: &Lake) {
    let log = std::fs::read_to_string(lake.table_folder("t").join("_delta_log/00000000000000000000.json")).unwrap();
    let adds: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).unwrap().get("add").cloned()).collect();
    assert_eq!(adds.len(), lake.data_files("t").len());
    for add in adds {
        let stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
        let path = lake.table_folder("t").join(add["path"].as_str().unwrap());
        let file = lake.session.read_parquet(path.display().to_string(), Default::default()).await.unwrap();
        assert_eq!(stats["numRecords"], file.clone().count().await.unwrap());
        let _ = lake.session.deregister_table("file");
        let schema = file.schema().as_arrow().clone();
        lake.session.register_table("file", file.into_view()).unwrap();
        for (name, nulls) in stats["nullCount"].as_object().unwrap().iter().filter(|(_, nulls)| nulls.is_number()) {
            assert_eq!(rows(&lake.query(&format!("SELECT count(*) - count({name}) FROM file")).await), [nulls.to_string()]);
        }
        for (side, comparison) in [("minValues", "<"), ("maxValues", ">")] {
            for (name, bound) in stats[side].as_object().unwrap().iter().filter(|(_, bound)| !bound.is_object()) {
                let text = bound.as_str().map_or_else(|| number_text(add["stats"].as_str().unwrap(), side, name), str::to_string);
                let bound = ScalarValue::from(text.as_str()).cast_to(schema.field_with_name(name).unwrap().data_type()).unwrap();
                let outside = if comparison == "<" { ident(name).lt(lit(bound)) } else { ident(name).gt(lit(bound)) };
                let count = lake.session.table("file").await.unwrap().filter(outside).unwrap().count().await.unwrap();
                assert_eq!(count, 0, "{name} {comparison} {text}");
            }
        }
    }
}

/// The digits as they stand in the log; a parsed JSON number would keep fewer.
fn number_text(stats: &str, side: &str, name: &str) -> String {
    let values = &stats[stats.find(side).unwrap()..];
    let key = format!("\"{name}\":");
    let text = &values[values.find(&key).unwrap() + key.len()..];
    text[..text.find([',', '}']).unwrap()].to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn random_tables_round_trip(case in case()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(check(case));
    }
}
