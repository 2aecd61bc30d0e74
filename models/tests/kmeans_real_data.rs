//! KMeans on the customers of the Black Friday data, against what scikit-learn finds as the best of twenty starts.

// Clippy lets test functions unwrap, but not the functions they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use orrery_models::{InputColumn, OptionValue, Options, Trained, Unobserved, model_type, train_in_memory};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/black_friday");

/// How often somebody bought, for how much, and which products.
type Customer = (i64, f64, HashSet<String>);

/// Frequency, monetary, average and distinct products of each customer.
fn customers() -> Option<RecordBatch> {
    let file = std::fs::File::open(Path::new(FOLDER).join("train.parquet")).ok()?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let mut customers: BTreeMap<i64, Customer> = BTreeMap::new();
    for batch in reader {
        let batch = batch.unwrap();
        let text = |name: &str| cast(batch.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
        let (users, products) = (text("User_ID"), text("Product_ID"));
        let purchases = cast(&text("Purchase"), &DataType::Float64).unwrap();
        for row in 0..batch.num_rows() {
            let user = users.as_string::<i32>().value(row).parse().unwrap();
            let customer = customers.entry(user).or_default();
            customer.0 += 1;
            customer.1 += purchases.as_primitive::<Float64Type>().value(row);
            customer.2.insert(products.as_string::<i32>().value(row).to_string());
        }
    }
    let numbers = |f: &dyn Fn(&Customer) -> f64| Arc::new(Float64Array::from_iter_values(customers.values().map(f))) as ArrayRef;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("frequency", Arc::new(Int64Array::from_iter_values(customers.values().map(|c| c.0)))),
        ("monetary", numbers(&|c| c.1)),
        ("average", numbers(&|c| c.1 / c.0 as f64)),
        ("products", numbers(&|c| c.2.len() as f64)),
    ];
    let fields: Vec<Field> = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), false)).collect();
    Some(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|c| c.1).collect()).unwrap())
}

fn train(rows: &RecordBatch, given: &[(&str, i64)]) -> Trained {
    let mut options: HashMap<String, OptionValue> =
        given.iter().map(|(name, value)| ((*name).to_string(), OptionValue::Int(*value))).collect();
    options.insert("standardize_features".to_string(), OptionValue::Bool(true));
    let columns: Vec<InputColumn> =
        rows.schema().fields().iter().map(|f| InputColumn { name: f.name().clone(), data_type: f.data_type().clone() }).collect();
    let trainer = model_type("kmeans").unwrap().trainer(&Options(options.into_iter().collect()), &columns, None).unwrap();
    let mut collector = trainer.collector();
    collector.push(rows).unwrap();
    train_in_memory(&*trainer, vec![collector], &Unobserved).unwrap()
}

#[test]
fn black_friday_customers_cost_what_the_best_of_twenty_starts_costs() {
    let Some(rows) = customers() else {
        eprintln!("skipped: {FOLDER} is absent");
        return;
    };
    assert_eq!(rows.num_rows(), 5891);
    let cases = [
        (3, 10, 42, 8427.4),
        (5, 1, 42, 4655.0),
        (8, 1, 42, 2929.4),
        (5, 1, 7, 4655.0),
        (8, 1, 7, 2929.4),
        (5, 1, 1, 4655.0),
        (8, 1, 1, 2929.4),
    ];
    for (k, runs, seed, best) in cases {
        let begin = std::time::Instant::now();
        let trained = train(&rows, &[("num_clusters", k), ("n_init", runs), ("seed", seed)]);
        let cost = trained.metrics["training_cost"];
        println!(
            "k = {k}, n_init = {runs}, seed {seed}: {cost:.1} in {:.1} ms, {:?}",
            begin.elapsed().as_secs_f64() * 1e3,
            trained.metrics
        );
        assert!(cost <= best * 1.001, "k = {k}, n_init = {runs}, seed {seed}: {cost} and not {best}");
        assert!(cost >= best * 0.999, "k = {k}: {cost} is less than anybody has found");
    }
}
