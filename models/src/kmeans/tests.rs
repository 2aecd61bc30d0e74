//! Tests of whole trainings: closed-form cases, a naive Lloyd, and the same bytes for any division of the rows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
use proptest::prelude::*;

use super::*;
use crate::error::Cause;
use crate::model_type::InMemory;
use crate::{ModelTable, OptionValue, Unobserved};

/// Columns by name, as rows are trained on.
type Columns = Vec<(&'static str, ArrayRef)>;

fn options(given: &[(&str, OptionValue)]) -> Options {
    Options(given.iter().map(|(name, value)| ((*name).to_string(), value.clone())).collect::<BTreeMap<_, _>>())
}

fn clusters(k: i64) -> (&'static str, OptionValue) {
    ("num_clusters", OptionValue::Int(k))
}

fn text(value: &str) -> OptionValue {
    OptionValue::Text(value.to_string())
}

fn numbers(columns: &[(&'static str, Vec<f64>)]) -> Columns {
    columns.iter().map(|(name, values)| (*name, Arc::new(Float64Array::from(values.clone())) as ArrayRef)).collect()
}

fn inputs(columns: &Columns) -> Vec<InputColumn> {
    columns.iter().map(|(name, a)| InputColumn { name: (*name).to_string(), data_type: a.data_type().clone() }).collect()
}

fn batch(columns: &Columns) -> RecordBatch {
    let fields: Vec<Field> = columns.iter().map(|(name, a)| Field::new(*name, a.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.iter().map(|c| Arc::clone(&c.1)).collect()).unwrap()
}

/// Trains with the rows in batches of a size, dealt out to some collectors, and with some blocks.
fn train_divided(columns: &Columns, options: &Options, batch_rows: usize, collectors: usize, blocks: usize) -> Result<Trained> {
    let trainer = KMeans.trainer(options, &inputs(columns), None)?;
    let all = batch(columns);
    let mut gathered: Vec<Box<dyn Collector>> = (0..collectors).map(|_| trainer.collector()).collect();
    for (i, from) in (0..all.num_rows()).step_by(batch_rows).enumerate() {
        gathered[i % collectors].push(&all.slice(from, batch_rows.min(all.num_rows() - from)))?;
    }
    let mut passes = InMemory { blocks: trainer.blocks(&[0], gathered, blocks)?, observer: &Unobserved };
    trainer.fit(&mut passes, &Unobserved)
}

fn train(columns: &Columns, given: &[(&str, OptionValue)]) -> Result<Trained> {
    train_divided(columns, &options(given), 1000, 1, 1)
}

fn model(trained: &Trained) -> Arc<dyn Model> {
    KMeans.read(&ModelFile::from_bytes(&trained.file.to_bytes().unwrap()).unwrap()).unwrap()
}

fn centroids(trained: &Trained) -> Vec<f64> {
    let table = model(trained).table(ModelTable::Centroids { standardize: false }).unwrap().unwrap();
    table.column_by_name("numerical_value").unwrap().as_primitive::<Float64Type>().values().to_vec()
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn labels(trained: &Trained, columns: &Columns) -> Vec<i64> {
    let arrays: Vec<ArrayRef> = columns.iter().map(|c| Arc::clone(&c.1)).collect();
    model(trained).predict_only(&arrays, &[0]).unwrap()[0].as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn two_groups_on_a_line() {
    let columns = numbers(&[("x", vec![1.0, 2.0, 3.0, 11.0, 12.0, 13.0])]);
    let trained = train(&columns, &[clusters(2)]).unwrap();
    assert_eq!(sorted(centroids(&trained)), [2.0, 12.0]);
    assert_eq!(trained.rows, 6);
    let metric = |name: &str| trained.metrics[name];
    assert!((metric("training_cost") - 4.0).abs() < 1e-12);
    assert!((metric("mean_squared_distance") - 4.0 / 6.0).abs() < 1e-12);
    // Mean distances 2/3 each, centres 10 apart.
    assert!((metric("davies_bouldin_index") - 4.0 / 3.0 / 10.0).abs() < 1e-12);
    // Of squared distances: for 1, own (1 + 4) / 2 and other (100 + 121 + 144) / 3; for 2, (1 + 1) / 2 and (81 + 100 + 121) / 3; for 3, (4 + 1) / 2 and
    // (64 + 81 + 100) / 3; the other group is its mirror image.
    let expected =
        [(2.5, 365.0 / 3.0), (1.0, 302.0 / 3.0), (2.5, 245.0 / 3.0)].iter().map(|(own, other)| 1.0 - own / other).sum::<f64>() / 3.0;
    assert!((metric("silhouette") - expected).abs() < 1e-12, "{} {expected}", metric("silhouette"));
    let last = trained.iterations.last().unwrap();
    assert_eq!(last.clusters.iter().map(|c| c.cluster_size).collect::<Vec<_>>(), [3.0, 3.0]);
    assert!((last.clusters[0].cluster_radius - (2.0f64 / 3.0).sqrt()).abs() < 1e-12);
}

#[test]
fn predicts_ids_and_nearest_distances() {
    let columns = numbers(&[("x", vec![0.0, 0.0, 10.0, 10.0, 14.0]), ("y", vec![0.0, 2.0, 0.0, 2.0, 1.0])]);
    let trained = train(&columns, &[clusters(3)]).unwrap();
    let (centres, model) = (centroids(&trained), model(&trained));
    let arrays: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(vec![9.0])), Arc::new(Float64Array::from(vec![1.0]))];
    let predicted = model.predict(&arrays).unwrap();
    let fields: Vec<DataType> = model.predicted().iter().map(|f| f.data_type().clone()).collect();
    assert_eq!(fields, predicted.iter().map(|a| a.data_type().clone()).collect::<Vec<_>>());
    let id = predicted[0].as_primitive::<Int64Type>().value(0);
    assert_eq!(centres[(id as usize - 1) * 2..][..2], [10.0, 1.0]);
    let list = predicted[1].as_list::<i32>().value(0);
    let list = list.as_struct();
    assert_eq!(list.column(1).as_primitive::<Float64Type>().values()[..], [1.0, 5.0, 9.0]);
    assert_eq!(list.column(0).as_primitive::<Int64Type>().value(0), id);
}

#[test]
fn standardizes_with_the_sample_deviation_and_answers_in_data_units() {
    let columns = numbers(&[("x", vec![1.0, 2.0, 3.0, 4.0, 5.0]), ("constant", vec![7.0; 5])]);
    let trained = train(&columns, &[clusters(1), ("standardize_features", OptionValue::Bool(true))]).unwrap();
    assert_eq!(centroids(&trained), [3.0, 7.0]);
    // Σ z² = n - 1 for the one feature that varies.
    assert!((trained.metrics["training_cost"] - 4.0).abs() < 1e-12);
}

#[test]
fn null_counts_as_the_mean() {
    let x = Float64Array::from(vec![Some(0.0), None, Some(10.0), Some(20.0)]);
    let trained = train(&vec![("x", Arc::new(x))], &[clusters(3)]).unwrap();
    assert_eq!(sorted(centroids(&trained)), [0.0, 10.0, 20.0]);
    let arrays: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(vec![None, Some(10.0)]))];
    let ids = model(&trained).predict(&arrays).unwrap();
    let ids = ids[0].as_primitive::<Int64Type>();
    assert_eq!(ids.value(0), ids.value(1));
}

#[test]
fn cosine_looks_at_directions_only() {
    let columns = numbers(&[("x", vec![1.0, 100.0, 0.001, 0.0]), ("y", vec![0.0, 1.0, 5.0, 3.0])]);
    let trained = train(&columns, &[clusters(2), ("distance_type", text("cosine"))]).unwrap();
    let ids = labels(&trained, &columns);
    assert!(ids[0] == ids[1] && ids[2] == ids[3] && ids[0] != ids[2], "{ids:?}");
    for centre in centroids(&trained).chunks(2) {
        assert!((centre[0].hypot(centre[1]) - 1.0).abs() < 1e-12);
    }
    let zero = numbers(&[("x", vec![0.0, 1.0]), ("y", vec![0.0, 1.0])]);
    assert_eq!(train(&zero, &[clusters(1), ("distance_type", text("cosine"))]).unwrap_err().cause, Cause::Data);
}

#[test]
fn a_cluster_without_rows_keeps_its_centre() {
    // The two marked rows are equal: all rows go to the first of them, because ties go to the lowest index.
    let mut columns = numbers(&[("x", vec![0.0, 0.0, 10.0])]);
    columns.push(("start", Arc::new(BooleanArray::from(vec![true, true, true]))));
    let trained = train(&columns, &[clusters(2), ("kmeans_init_col", text("start"))]);
    assert!(trained.unwrap_err().message.contains("TRUE in 3 rows"));
    columns[1].1 = Arc::new(BooleanArray::from(vec![Some(true), Some(true), None]));
    let trained = train(&columns, &[clusters(2), ("kmeans_init_col", text("start")), ("max_iterations", OptionValue::Int(1))]).unwrap();
    let sizes: Vec<f64> = trained.iterations.last().unwrap().clusters.iter().map(|c| c.cluster_size).collect();
    assert_eq!((sizes, centroids(&trained)), (vec![3.0, 0.0], vec![10.0 / 3.0, 0.0]));
}

#[test]
fn every_row_its_own_cluster() {
    let columns = numbers(&[("x", vec![4.0, 1.0, 3.0, 2.0])]);
    for method in ["kmeans_parallel", "kmeans++", "random"] {
        let trained = train(&columns, &[clusters(4), ("kmeans_init_method", text(method))]).unwrap();
        assert_eq!(sorted(centroids(&trained)), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!((trained.metrics["training_cost"], trained.metrics["silhouette"]), (0.0, 0.0));
    }
}

#[test]
fn tries_candidates_and_keeps_the_highest_silhouette() {
    let x: Vec<f64> = (0..90).map(|i| f64::from(i / 30) * 100.0 + f64::from(i % 30) / 10.0).collect();
    let trained = train(&numbers(&[("x", x)]), &[("num_clusters", OptionValue::Range(2.0, 100.0))]).unwrap();
    assert_eq!(trained.trials.len(), 99);
    let best: Vec<f64> = trained.trials.iter().filter(|t| t.is_optimal).map(|t| t.hyperparameters["num_clusters"]).collect();
    assert_eq!(best, [3.0]);
    assert!(trained.trials[98].error_message.as_ref().unwrap().contains("only 90 distinct points"));
    let costs: Vec<f64> = trained.trials.iter().take(3).map(|t| t.training_loss.unwrap()).collect();
    assert!(costs[0] > costs[1] && costs[1] > costs[2], "{costs:?}");
    assert_eq!(model(&trained).table(ModelTable::Centroids { standardize: false }).unwrap().unwrap().num_rows(), 3);
}

#[test]
fn a_warm_start_begins_where_the_model_ended() {
    let x: Vec<f64> = (0..100).map(|i| f64::from(i * i % 97)).collect();
    let columns = numbers(&[("x", x)]);
    let given = [clusters(4), ("standardize_features", OptionValue::Bool(true)), ("max_iterations", OptionValue::Int(100))];
    let before = train(&columns, &given).unwrap();
    let mut again = given.to_vec();
    again.push(("warm_start", OptionValue::Bool(true)));
    let trainer = KMeans.trainer(&options(&again), &inputs(&columns), Some(&*model(&before))).unwrap();
    let mut collector = trainer.collector();
    collector.push(&batch(&columns)).unwrap();
    let after = crate::train_in_memory(&*trainer, vec![collector], &Unobserved).unwrap();
    assert_eq!(after.iterations.len(), 1);
    let off = centroids(&before).iter().zip(centroids(&after)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(off < 1e-9, "{off}");
    let other = numbers(&[("z", vec![1.0, 2.0])]);
    assert!(KMeans.trainer(&options(&again), &inputs(&other), Some(&*model(&before))).is_err());
}

#[test]
fn refuses_what_cannot_be_trained() {
    let one = numbers(&[("x", vec![1.0, 1.0, 2.0])]);
    let error = train(&one, &[clusters(3)]).unwrap_err();
    assert_eq!(error.cause, Cause::Option("num_clusters".to_string()));
    assert_eq!(error.message, "3 clusters, but the training rows have only 2 distinct points");
    assert_eq!(train(&one, &[]).unwrap_err().cause, Cause::Option("num_clusters".to_string()));
    assert_eq!(train(&one, &[clusters(0)]).unwrap_err().cause, Cause::Option("num_clusters".to_string()));
    assert_eq!(train(&numbers(&[("x", vec![])]), &[clusters(1)]).unwrap_err().cause, Cause::Data);
    assert_eq!(train(&numbers(&[("x", vec![1e200])]), &[clusters(1)]).unwrap_err().cause, Cause::Data);
    let nulls: Columns = vec![("x", Arc::new(Float64Array::from(vec![None, None])))];
    assert!(train(&nulls, &[clusters(1)]).unwrap_err().message.contains("'x' is NULL in every row"));
    for weight in [-1.0, f64::NAN] {
        let weighted = numbers(&[("x", vec![1.0]), ("w", vec![weight])]);
        assert!(train(&weighted, &[clusters(1), ("weight_col", text("w"))]).unwrap_err().message.contains("'w'"));
    }
    let error = train(&one, &[clusters(1), ("weight_col", text("nothing"))]).unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("its columns are: x"));
}

#[test]
fn a_damaged_file_is_an_error() {
    let trained = train(&numbers(&[("x", vec![1.0, 2.0])]), &[clusters(2)]).unwrap();
    for tensor in ["centroids", "cluster_radii", "feature_means", "distance_steps"] {
        let mut file = trained.file.clone();
        file.tensors.remove(tensor);
        assert!(KMeans.read(&file).is_err(), "{tensor}");
    }
    let mut file = trained.file;
    file.put_f64("centroids", &[2, 2], &[0.0; 4]);
    assert!(KMeans.read(&file).is_err());
}

#[test]
fn evaluates_as_training_did_whatever_the_division() {
    let x: Vec<f64> = (0..3000).map(|i| f64::from(i * 7919 % 1009) / 10.0 + if i % 3 == 0 { 300.0 } else { 0.0 }).collect();
    let y: Vec<f64> = (0..3000).map(|i| f64::from(i * 104_729 % 977)).collect();
    let columns = numbers(&[("x", x), ("y", y)]);
    for distance in ["euclidean", "cosine"] {
        let trained = train(&columns, &[clusters(4), ("distance_type", text(distance))]).unwrap();
        let evaluation = model(&trained).evaluation(&inputs(&columns), &crate::Options::default()).unwrap();
        let all = batch(&columns);
        let evaluate = |size: usize| {
            let (mut before, mut partial) = (None, None);
            for stage in 0..evaluation.stages() {
                let parts = (0..all.num_rows()).step_by(size).map(|from| {
                    let rows = all.slice(from, size.min(all.num_rows() - from));
                    evaluation.accumulate(stage, before.as_deref(), None, rows.columns()).unwrap()
                });
                let merged = parts.collect::<Vec<_>>().into_iter().rev().reduce(|a, b| evaluation.merge(stage, a, &b).unwrap());
                before = partial;
                partial = merged;
                if stage == 0 {
                    before.clone_from(&partial);
                }
            }
            evaluation.finish(before.as_deref(), partial.as_deref()).unwrap()
        };
        let whole = evaluate(3000);
        assert_eq!(whole, evaluate(701));
        for field in whole.schema().fields() {
            let value = whole.column_by_name(field.name()).unwrap().as_primitive::<Float64Type>().value(0);
            let expected = trained.metrics[field.name()];
            assert!((value - expected).abs() <= 1e-9 * expected, "{distance} {field}: {value} {expected}");
        }
    }
}

#[test]
fn anomalies_are_far_from_their_centre() {
    let mut x: Vec<f64> = (0..99).map(|i| f64::from(i % 10) / 10.0).collect();
    x.push(30.0);
    let columns = numbers(&[("x", x)]);
    let model = model(&train(&columns, &[clusters(1)]).unwrap());
    let found = model.anomalies(&[Arc::clone(&columns[0].1)]).unwrap();
    let threshold = model.anomaly_threshold(0.01).unwrap();
    let scores = found[0].as_primitive::<Float64Type>();
    let anomalous: Vec<usize> = (0..100).filter(|row| scores.value(*row) > threshold).collect();
    assert_eq!(anomalous, [99]);
}

/// Lloyd's algorithm as it is told: everything anew in each iteration, ordinary sums.
fn naive(rows: &[Vec<f64>], mut centres: Vec<Vec<f64>>, iterations: usize) -> (Vec<Vec<f64>>, Vec<usize>) {
    let nearest = |row: &Vec<f64>, centres: &[Vec<f64>]| {
        let square = |c: &Vec<f64>| c.iter().zip(row).map(|(c, x)| (x - c) * (x - c)).sum::<f64>();
        (0..centres.len()).fold(0, |best, i| if square(&centres[i]) < square(&centres[best]) { i } else { best })
    };
    for _ in 0..iterations {
        let labels: Vec<usize> = rows.iter().map(|row| nearest(row, &centres)).collect();
        for (i, centre) in centres.iter_mut().enumerate() {
            let own: Vec<&Vec<f64>> = rows.iter().zip(&labels).filter(|(_, l)| **l == i).map(|(r, _)| r).collect();
            if !own.is_empty() {
                (0..centre.len()).for_each(|f| centre[f] = own.iter().map(|row| row[f]).sum::<f64>() / own.len() as f64);
            }
        }
    }
    let labels = rows.iter().map(|row| nearest(row, &centres)).collect();
    (centres, labels)
}

fn small_rows() -> impl Strategy<Value = Vec<Vec<f64>>> {
    // Few different numbers: ties, equal rows and empty clusters are frequent.
    let number = prop_oneof![(-4..5i32).prop_map(f64::from), -5.0..5.0f64];
    prop::collection::vec(prop::collection::vec(number, 2), 4..120)
}

fn as_columns(rows: &[Vec<f64>]) -> Columns {
    numbers(&[("x", rows.iter().map(|r| r[0]).collect()), ("y", rows.iter().map(|r| r[1]).collect())])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn equals_naive_lloyd_from_the_same_start(rows in small_rows(), iterations in 1..6usize) {
        let mut columns = as_columns(&rows);
        let mut marks = vec![false; rows.len()];
        marks[..3].fill(true);
        columns.push(("start", Arc::new(BooleanArray::from(marks))));
        let mut start = rows[..3].to_vec();
        start.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
        let distinct: std::collections::BTreeSet<Vec<u64>> = rows.iter().map(|r| r.iter().map(|x| (x + 0.0).to_bits()).collect()).collect();
        prop_assume!(distinct.len() >= 3);
        let given = [clusters(3), ("kmeans_init_col", text("start")), ("tol", OptionValue::Float(0.0)), ("max_iterations", OptionValue::Int(iterations as i64))];
        let trained = train(&columns, &given).unwrap();
        let (centres, expected) = naive(&rows, start, trained.iterations.len());
        for (found, wanted) in centroids(&trained).iter().zip(centres.concat()) {
            prop_assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
        }
        // Rounding may turn a tie over; then both are right.
        let cost = |labels: &mut dyn Iterator<Item = usize>| -> f64 {
            labels.zip(&rows).map(|(l, row)| row.iter().zip(&centres[l]).map(|(x, c)| (x - c) * (x - c)).sum::<f64>()).sum()
        };
        let found = labels(&trained, &columns[..2].to_vec());
        let (found, wanted) = (cost(&mut found.iter().map(|l| *l as usize - 1)), cost(&mut expected.iter().copied()));
        prop_assert!((found - wanted).abs() < 1e-9 * wanted.max(1.0));
        prop_assert!((trained.metrics["training_cost"] - wanted).abs() < 1e-9 * wanted.max(1.0));
        let losses: Vec<f64> = trained.iterations.iter().map(|i| i.loss.unwrap()).collect();
        prop_assert!(losses.windows(2).all(|pair| pair[1] <= pair[0] + 1e-9));
    }

    #[test]
    fn any_division_and_order_gives_the_same_bytes(
        rows in small_rows(),
        order in prop::collection::vec(any::<u64>(), 120),
        batch_rows in 1..50usize,
        method in prop::sample::select(vec!["kmeans_parallel", "kmeans++", "random"]),
        distance in prop::sample::select(vec!["euclidean", "cosine"]),
        standardize in any::<bool>(),
    ) {
        let rows: Vec<Vec<f64>> = if distance == "cosine" { rows.iter().map(|r| vec![r[0] + 10.0, r[1]]).collect() } else { rows };
        let given = options(&[
            clusters(2),
            ("kmeans_init_method", text(method)),
            ("distance_type", text(distance)),
            ("standardize_features", OptionValue::Bool(standardize && distance == "euclidean")),
            ("n_init", OptionValue::Int(2)),
        ]);
        let one = train_divided(&as_columns(&rows), &given, 1000, 1, 1);
        prop_assume!(one.is_ok()); // fewer distinct points than clusters
        let one = one.unwrap();
        let mut shuffled: Vec<usize> = (0..rows.len()).collect();
        shuffled.sort_by_key(|i| order[*i]);
        let shuffled: Vec<Vec<f64>> = shuffled.iter().map(|i| rows[*i].clone()).collect();
        for parts in [2, 7] {
            let other = train_divided(&as_columns(&shuffled), &given, batch_rows, parts, parts).unwrap();
            prop_assert_eq!(one.file.to_bytes().unwrap(), other.file.to_bytes().unwrap());
            prop_assert_eq!(&one.metrics, &other.metrics);
        }
    }

    #[test]
    fn a_row_of_weight_w_counts_as_w_rows(rows in small_rows(), weights in prop::collection::vec(1..5usize, 120)) {
        let repeated: Vec<Vec<f64>> = rows.iter().zip(&weights).flat_map(|(row, w)| std::iter::repeat_n(row.clone(), *w)).collect();
        let mut weighted = as_columns(&rows);
        weighted.push(("w", Arc::new(Float64Array::from_iter_values(weights.iter().take(rows.len()).map(|w| *w as f64)))));
        let one = train(&weighted, &[clusters(3), ("weight_col", text("w"))]);
        prop_assume!(one.is_ok()); // fewer distinct points than clusters
        let one = one.unwrap();
        let other = train(&as_columns(&repeated), &[clusters(3)]).unwrap();
        prop_assert_eq!(centroids(&one), centroids(&other));
        for (name, value) in &one.metrics {
            // Of a silhouette, a row of weight 2 counts itself in its cluster but not beside itself, as two rows do not.
            if name != "silhouette" {
                prop_assert!((value - other.metrics[name]).abs() <= 1e-12 * value.abs().max(1e-12), "{name} {value} {}", other.metrics[name]);
            }
        }
    }
}

/// Forgets between passes what blocks have kept: as when each pass runs on an executor that has just started.
struct Forgetful<'a> {
    trainer: &'a dyn Trainer,
    batch: RecordBatch,
}

impl Passes for Forgetful<'_> {
    fn run(&mut self, _: usize, request: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut answers = Vec::new();
        for from in (0..self.batch.num_rows()).step_by(1500) {
            let mut collector = self.trainer.collector();
            collector.push(&self.batch.slice(from, 1500.min(self.batch.num_rows() - from)))?;
            for mut block in self.trainer.blocks(&[0], vec![collector], 1)?.remove(0) {
                answers.push(block.pass(request, &Unobserved)?);
            }
        }
        Ok(answers)
    }
}

#[test]
fn what_blocks_keep_only_saves_work() {
    let x: Vec<f64> = (0..5000).map(|i| f64::from(i * 7919 % 10_007)).collect();
    let y: Vec<f64> = (0..5000).map(|i| f64::from(i * 104_729 % 9973)).collect();
    let columns = numbers(&[("x", x), ("y", y)]);
    let given = options(&[clusters(6), ("standardize_features", OptionValue::Bool(true))]);
    let kept = train_divided(&columns, &given, 1000, 2, 2).unwrap();
    let trainer = KMeans.trainer(&given, &inputs(&columns), None).unwrap();
    let anew = trainer.fit(&mut Forgetful { trainer: &*trainer, batch: batch(&columns) }, &Unobserved).unwrap();
    assert_eq!(kept.file.to_bytes().unwrap(), anew.file.to_bytes().unwrap());
}

#[test]
fn a_sample_stands_for_more_rows_than_it_holds() {
    // Forty thousand distinct rows around four places; the sample holds fewer.
    let places = [(0.0, 0.0), (50.0, 0.0), (0.0, 50.0), (50.0, 50.0)];
    let at = |i: i32| places[(i % 4) as usize];
    let x: Vec<f64> = (0..40_000).map(|i| at(i).0 + crate::keyed_random::normal(1, i as u64, 0)).collect();
    let y: Vec<f64> = (0..40_000).map(|i| at(i).1 + crate::keyed_random::normal(1, i as u64, 1)).collect();
    let columns = numbers(&[("x", x), ("y", y)]);
    let given = options(&[clusters(4)]);
    let one = train_divided(&columns, &given, 10_000, 1, 1).unwrap();
    let mean_square = one.metrics["mean_squared_distance"];
    assert!((mean_square - 2.0).abs() < 0.05, "{mean_square}");
    let other = train_divided(&columns, &given, 777, 3, 7).unwrap();
    assert_eq!(one.file.to_bytes().unwrap(), other.file.to_bytes().unwrap());
}

#[test]
fn has_an_onnx_graph_with_its_columns() {
    let columns = numbers(&[("income", vec![1.0, 2.0, 9.0]), ("age", vec![0.0, 1.0, 2.0])]);
    for distance in ["euclidean", "cosine"] {
        let trained =
            train(&columns, &[clusters(2), ("distance_type", text(distance)), ("standardize_features", OptionValue::Bool(true))]).unwrap();
        let bytes = model(&trained).to_onnx().unwrap().unwrap();
        for name in ["income", "age", "CENTROID_ID", "ArgMin"] {
            assert!(bytes.windows(name.len()).any(|w| w == name.as_bytes()), "{name}");
        }
        // A running ONNX runtime may be given the file and the rows.
        if let Ok(folder) = std::env::var("ORRERY_ONNX_OUT") {
            std::fs::write(format!("{folder}/{distance}.onnx"), &bytes).unwrap();
            println!("{distance}: {:?}", labels(&trained, &columns));
        }
    }
}

/// Is cancelled after so many looks, and counts them and those before the first iteration.
struct Looks {
    most: usize,
    all: AtomicUsize,
    first: OnceLock<usize>,
}

impl Observer for Looks {
    fn iteration(&self, _: &crate::Iteration) {
        self.first.get_or_init(|| self.all.load(Ordering::Relaxed));
    }

    fn is_cancelled(&self) -> bool {
        self.all.fetch_add(1, Ordering::Relaxed) >= self.most
    }
}

#[test]
fn can_be_cancelled_wherever_it_is() {
    let columns =
        numbers(&[("x", (0..3000).map(|i| f64::from(i * 7919 % 1009)).collect()), ("y", (0..3000).map(|i| f64::from(i % 97)).collect())]);
    for init in ["k-means||", "k-means++"] {
        let train = |most: usize| {
            let given = [clusters(5), ("kmeans_init_method", text(init)), ("max_iterations", OptionValue::Int(3))];
            let trainer = KMeans.trainer(&options(&given), &inputs(&columns), None).unwrap();
            let mut collector = trainer.collector();
            collector.push(&batch(&columns)).unwrap();
            let looks = Looks { most, all: AtomicUsize::new(0), first: OnceLock::new() };
            let trained = crate::train_in_memory(&*trainer, vec![collector], &looks);
            (trained.map(|trained| trained.rows).map_err(|error| error.cause), looks)
        };
        let (trained, looks) = train(usize::MAX);
        assert_eq!(trained, Ok(3000));
        let (all, first) = (looks.all.into_inner(), looks.first.into_inner().unwrap());
        assert!(first > 8 && all > first, "{init}: {first} looks before the first iteration, {all} in all");
        for most in [0, first / 2, first, all - 1] {
            assert_eq!(train(most).0, Err(Cause::Cancelled), "{init}: after {most} of {all} looks");
        }
    }
}
