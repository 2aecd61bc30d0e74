//! `kmeans` against the trainer that `CREATE MODEL` uses, over any division of the rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::DataType;
use orrery_models::kmeans::KMeansModel;
use orrery_models::{InputColumn, OptionValue, Options, Unobserved, model_type, train_in_memory};
use proptest::prelude::*;

use super::{Run, all_runs, lines, session};

/// A group and a point, of which a number may be missing.
type Row = (i64, Option<f64>, f64);

fn table(rows: &[Row]) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("g", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)))),
        ("x", Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.1)))),
        ("y", Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.2)))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

async fn answer(rows: &[Row], sql: &str) -> datafusion::common::Result<Vec<String>> {
    lines(&session(&table(rows), &Run::default(), true)?, sql).await
}

/// Centres and cost as the trainer finds them, as bits.
fn expected(points: &[(Option<f64>, f64)], k: i64) -> (Vec<u64>, u64) {
    let columns = ["x", "y"].map(|name| InputColumn { name: name.to_string(), data_type: DataType::Float64 });
    let options = Options(BTreeMap::from([("num_clusters".to_string(), OptionValue::Int(k)), ("seed".to_string(), OptionValue::Int(7))]));
    let trainer = model_type("kmeans").unwrap().trainer(&options, &columns, None).unwrap();
    let mut collector = trainer.collector();
    let rows: Vec<Row> = points.iter().map(|(x, y)| (0, *x, *y)).collect();
    collector.push(&table(&rows).project(&[1, 2]).unwrap()).unwrap();
    let trained = train_in_memory(trainer.as_ref(), vec![collector], &Unobserved).unwrap();
    let centres = KMeansModel::read(&trained.file).unwrap().centres_in_data_units();
    (centres.into_iter().map(f64::to_bits).collect(), trained.metrics["training_cost"].to_bits())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn every_group_is_trained_as_a_model_of_its_own(
        rows in prop::collection::vec((0i64..3, prop::option::weighted(0.9, -50i32..50), -50i32..50), 1..120),
        k in 1i64..4,
    ) {
        let rows: Vec<Row> = rows.into_iter().map(|(g, x, y)| (g, x.map(|x| f64::from(x) * 0.1), f64::from(y) * 0.3)).collect();
        let mut groups: BTreeMap<i64, Vec<(Option<f64>, f64)>> = BTreeMap::new();
        rows.iter().for_each(|(g, x, y)| groups.entry(*g).or_default().push((*x, *y)));
        // Enough distinct points, whatever NULL becomes.
        let whole = |points: &[(Option<f64>, f64)]| {
            let mut distinct: Vec<_> = points.iter().filter_map(|(x, y)| x.map(|x| (x.to_bits(), y.to_bits()))).collect();
            distinct.sort_unstable();
            distinct.dedup();
            distinct.len() as i64 >= k
        };
        prop_assume!(groups.values().all(|points| whole(points)));
        let sql = format!("SELECT g, kmeans({k}, [x, y], 7) AS m FROM t GROUP BY g");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for run in all_runs() {
            let context = session(&table(&rows), &run, true).unwrap();
            let batches = runtime.block_on(async { context.sql(&sql).await.unwrap().collect().await }).unwrap();
            let mut found = BTreeMap::new();
            for batch in &batches {
                let model = batch.column(1).as_struct();
                let (centroids, cost) = (model.column(0).as_list::<i32>(), model.column(3).as_primitive::<arrow::datatypes::Float64Type>());
                for row in 0..batch.num_rows() {
                    let centres = centroids.value(row);
                    let numbers = centres.as_list::<i32>().iter().flatten().flat_map(|centre| {
                        centre.as_primitive::<arrow::datatypes::Float64Type>().values().iter().map(|v| v.to_bits()).collect::<Vec<_>>()
                    });
                    let group = batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().value(row);
                    found.insert(group, (numbers.collect::<Vec<u64>>(), cost.value(row).to_bits()));
                }
            }
            let wanted: BTreeMap<_, _> = groups.iter().map(|(group, points)| (*group, expected(points, k))).collect();
            prop_assert_eq!(&found, &wanted);
        }
    }
}

#[tokio::test]
async fn says_what_a_group_is_like() {
    let rows = [(1, Some(0.0), 0.0), (1, Some(0.0), 2.0), (1, Some(9.0), 9.0), (2, Some(1.0), 1.0), (2, Some(5.0), 1.0)];
    let sql = "SELECT g, m['rows'], m['cost'], array_sort(m['sizes']), array_sort(m['radii']), m['iterations'] > 0 \
               FROM (SELECT g, kmeans(2, [x, y]) AS m FROM t GROUP BY g) AS s";
    assert_eq!(answer(&rows, sql).await.unwrap(), ["1|3|2.0|[1, 2]|[0.0, 1.0]|true", "2|2|0.0|[1, 1]|[0.0, 0.0]|true"]);
    let sql = "SELECT kmeans(1, [x, y])['centroids'], kmeans(1, [x, y])['silhouette'] FROM t WHERE g = 2";
    assert_eq!(answer(&rows, sql).await.unwrap(), ["[[3.0, 1.0]]|"]);
    // Lists that are NULL are left out, and so are rows that a filter leaves out.
    let sql =
        "SELECT g, (kmeans(1, CASE WHEN y > 1 THEN [x] END))['rows'], (kmeans(1, [x]) FILTER (WHERE y < 0))['rows'] FROM t GROUP BY g";
    assert_eq!(answer(&rows, sql).await.unwrap(), ["1|2|", "2||"]);
    assert_eq!(answer(&[], "SELECT kmeans(2, [x, y]) FROM t").await.unwrap(), [""]);
}

#[tokio::test]
async fn wrong_calls_say_what_is_right() {
    let rows = [(1, Some(1.0), 0.0), (1, Some(1.0), 0.0), (2, Some(f64::NAN), 1.0)];
    for (call, parts) in [
        ("kmeans(2, [x, y]) FILTER (WHERE g = 1)", &["argument 1, k", "only 1 distinct", "at most 1", "2 rows"][..]),
        ("kmeans(0, [x, y])", &["argument 1, k, is 0", "from 1 to 10000"]),
        ("kmeans(g, [x, y])", &["argument 1, k", "literal"]),
        ("kmeans('a', [x, y])", &["argument 1, k", "whole number"]),
        ("kmeans(1, [x, y])", &["argument 2, features, holds NaN", "NULLIF"]),
        ("kmeans(1, x)", &["argument 2, features", "list of numbers such as [a, b]"]),
        ("kmeans(1, ['a'])", &["argument 2, features", "list of numbers"]),
        ("kmeans(1, CASE WHEN y > 0 THEN [y] ELSE [y, y] END)", &["argument 2, features", "same length"]),
        ("kmeans(1, [y], g)", &["argument 3, seed", "literal"]),
        ("kmeans(1, [y], 1.5)", &["argument 3, seed", "whole number"]),
        ("kmeans(1)", &["kmeans takes k"]),
        ("kmeans(DISTINCT 1, [y])", &["DISTINCT"]),
    ] {
        let sql = format!("SELECT {call} FROM t{}", if call.contains("CASE") { "" } else { " GROUP BY g > 0" });
        let error = answer(&rows, &sql).await.unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{call}: {error}");
    }
}

/// All on one thread, which is lent the means to stop.
#[test]
fn training_within_a_group_ends_with_its_statement() {
    use crate::stop::Stop;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let rows: Vec<Row> = (0..500).map(|i| (0, Some(f64::from(i * 7919 % 500)), f64::from(i * 31 % 97))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let run = |stop: &Stop| stop.lend(|| runtime.block_on(answer(&rows, "SELECT (kmeans(20, [x, y]))['rows'] FROM t")));
    let looks = Arc::new(AtomicUsize::new(0));
    let stop_after = |most: usize| {
        let looks = Arc::clone(&looks);
        looks.store(0, Ordering::Relaxed);
        Stop::new(move || if looks.fetch_add(1, Ordering::Relaxed) < most { Ok(()) } else { datafusion::common::exec_err!("stopped") })
    };
    assert_eq!(run(&stop_after(usize::MAX)).unwrap(), ["500"]);
    let all = looks.load(Ordering::Relaxed);
    assert!(all > 20, "looked {all} times");
    for most in [0, all / 2, all - 1] {
        let error = run(&stop_after(most)).unwrap_err().to_string();
        assert!(error.contains("stopped"), "{error}");
        assert!(looks.load(Ordering::Relaxed) <= most + 20, "went on after {most} looks");
    }
}

#[test]
fn memory_is_accounted_for() {
    use crate::kernels::grouped_vectors::GroupedVectors;
    let mut vectors = GroupedVectors::default();
    vectors.grow_to(1);
    vectors.add(0, 4, (0..40_000).map(f64::from)).unwrap();
    assert!(vectors.allocated_bytes() >= 40_000 * 8);
    vectors.take_first(1);
    assert!(vectors.allocated_bytes() < 1024);
}
