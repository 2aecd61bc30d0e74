//! Tests of whole trainings: closed-form cases, NumPy's values on real rows, and the same bytes for any division of the rows.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Float64Type, Int64Type, Schema};
use proptest::prelude::*;

use super::*;
use crate::error::Cause;
use crate::model_type::InMemory;
use crate::{ModelTable, OptionValue, Unobserved};

type Columns = Vec<(&'static str, ArrayRef)>;

const TWO: (&str, OptionValue) = ("num_principal_components", OptionValue::Int(2));
const PLAIN: (&str, OptionValue) = ("scale_features", OptionValue::Bool(false));

fn numbers(columns: &[(&'static str, Vec<f64>)]) -> Columns {
    columns.iter().map(|(name, values)| (*name, Arc::new(Float64Array::from(values.clone())) as ArrayRef)).collect()
}

fn inputs(columns: &Columns) -> Vec<InputColumn> {
    columns.iter().map(|(name, a)| InputColumn { name: (*name).to_string(), data_type: a.data_type().clone() }).collect()
}

/// Trains on rows in some order, dealt out to some collectors in batches.
fn train_divided(columns: &Columns, given: &[(&str, OptionValue)], batch_rows: usize, collectors: usize) -> Result<Trained> {
    let options = Options(given.iter().map(|(name, value)| ((*name).to_string(), value.clone())).collect::<BTreeMap<_, _>>());
    let trainer = Pca.trainer(&options, &inputs(columns), None)?;
    let fields: Vec<Field> = columns.iter().map(|(name, a)| Field::new(*name, a.data_type().clone(), true)).collect();
    let all = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.iter().map(|c| Arc::clone(&c.1)).collect()).unwrap();
    let mut gathered: Vec<Box<dyn Collector>> = (0..collectors).map(|_| trainer.collector()).collect();
    for (i, from) in (0..all.num_rows()).step_by(batch_rows).enumerate() {
        gathered[i % collectors].push(&all.slice(from, batch_rows.min(all.num_rows() - from)))?;
    }
    let mut passes = InMemory { blocks: trainer.blocks(&[0], gathered, 1)?, observer: &Unobserved };
    trainer.fit(&mut passes, &Unobserved)
}

fn train(columns: &Columns, given: &[(&str, OptionValue)]) -> Result<Trained> {
    train_divided(columns, given, 1000, 1)
}

fn model(trained: &Trained) -> Arc<dyn Model> {
    Pca.read(&ModelFile::from_bytes(&trained.file.to_bytes().unwrap()).unwrap()).unwrap()
}

fn arrays(columns: &Columns) -> Vec<ArrayRef> {
    columns.iter().map(|(_, array)| Arc::clone(array)).collect()
}

fn close(found: &[f64], expected: &[f64], relative: f64) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= relative * scale, "{found} is not {expected}");
    }
}

fn column(batch: &RecordBatch, name: &str) -> Vec<f64> {
    batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().values().to_vec()
}

fn evaluated(model: &Arc<dyn Model>, columns: &Columns) -> f64 {
    let evaluation = Arc::clone(model).evaluation(&inputs(columns), &crate::Options::default()).unwrap();
    let all: Vec<ArrayRef> = evaluation.columns().iter().map(|at| Arc::clone(&columns[*at].1)).collect();
    let (one, other): (Vec<ArrayRef>, Vec<ArrayRef>) = all.iter().map(|a| (a.slice(0, 1), a.slice(1, a.len() - 1))).unzip();
    let one = evaluation.accumulate(0, None, None, &one).unwrap();
    let other = evaluation.accumulate(0, None, None, &other).unwrap();
    let merged = evaluation.merge(0, one, &other).unwrap();
    column(&evaluation.finish(None, Some(&merged)).unwrap(), "total_explained_variance_ratio")[0]
}

/// On a line: one component explains everything, and its direction is known.
#[test]
fn rows_on_a_line() {
    let columns = numbers(&[("x", vec![0.0, 1.0, 2.0, 3.0]), ("y", vec![1.0, -1.0, -3.0, -5.0])]);
    let trained = train(&columns, &[("pca_explained_variance_ratio", OptionValue::Float(0.99)), PLAIN]).unwrap();
    let model = model(&trained);
    assert_eq!(model.predicted().len(), 1);
    let table = model.table(ModelTable::PrincipalComponents).unwrap().unwrap();
    let root = 5f64.sqrt();
    // The larger weight is positive.
    close(&column(&table, "numerical_value"), &[-1.0 / root, 2.0 / root], 1e-12);
    let info = model.table(ModelTable::PrincipalComponentsInfo).unwrap().unwrap();
    // Variances 5/3 and 20/3.
    close(&column(&info, "eigenvalue"), &[25.0 / 3.0], 1e-12);
    close(&column(&info, "cumulative_explained_variance_ratio"), &[1.0], 1e-12);
    let projected = model.predict(&arrays(&columns)).unwrap();
    close(projected[0].as_primitive::<Float64Type>().values(), &[1.5 * root, 0.5 * root, -0.5 * root, -1.5 * root], 1e-12);
    assert!((evaluated(&model, &columns) - 1.0).abs() < 1e-12);
}

#[test]
fn null_is_the_mean_and_a_constant_counts_nothing() {
    let x: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(3.0)]));
    let columns = vec![("x", x), ("c", Arc::new(Int64Array::from(vec![7, 7, 7])) as ArrayRef)];
    let model = model(&train(&columns, &[TWO]).unwrap());
    let info = model.table(ModelTable::PrincipalComponentsInfo).unwrap().unwrap();
    close(&column(&info, "eigenvalue"), &[1.0, 0.0], 1e-12);
    let projected = model.predict(&arrays(&columns)).unwrap();
    close(projected[0].as_primitive::<Float64Type>().values(), &[-1.0, 0.0, 1.0], 1e-12);
    let ids = model.table(ModelTable::PrincipalComponents).unwrap().unwrap();
    assert_eq!(ids.column(0).as_primitive::<Int64Type>().values().to_vec(), [1, 1, 2, 2]);
}

#[test]
fn without_centring_rows_are_projected_as_they_are() {
    let columns = numbers(&[("x", vec![10.0, 12.0, 14.0])]);
    let options = [("num_principal_components", OptionValue::Int(1)), PLAIN, ("center", OptionValue::Bool(false))];
    let model = model(&train(&columns, &options).unwrap());
    let projected = model.predict(&arrays(&columns)).unwrap();
    assert_eq!(projected[0].as_primitive::<Float64Type>().values().to_vec(), [10.0, 12.0, 14.0]);
}

#[test]
fn refuses_what_has_no_components() {
    let flat = numbers(&[("x", vec![1.0, 1.0]), ("y", vec![2.0, 2.0])]);
    assert_eq!(train(&flat, &[TWO]).unwrap_err().cause, Cause::Data);
    let one = numbers(&[("x", vec![1.0]), ("y", vec![2.0])]);
    assert!(train(&one, &[TWO]).unwrap_err().message.contains("1 rows"));
    let none = numbers(&[("x", vec![]), ("y", vec![])]);
    assert!(train(&none, &[TWO]).unwrap_err().message.contains("0 rows"));
    let option = |given: &[(&str, OptionValue)]| match train(&flat, given).unwrap_err().cause {
        Cause::Option(name) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(option(&[]), "num_principal_components");
    assert_eq!(option(&[("num_principal_components", OptionValue::Int(3))]), "num_principal_components");
    assert_eq!(option(&[("num_principal_components", OptionValue::Int(0))]), "num_principal_components");
    assert_eq!(option(&[TWO, ("pca_explained_variance_ratio", OptionValue::Float(0.5))]), "pca_explained_variance_ratio");
    assert_eq!(option(&[("pca_explained_variance_ratio", OptionValue::Int(0))]), "pca_explained_variance_ratio");
    let text: Columns = vec![("t", Arc::new(StringArray::from(vec!["a", "b"])))];
    assert_eq!(train(&text, &[TWO]).unwrap_err().cause, Cause::Column("t".to_string()));
    let huge = numbers(&[("x", vec![1e200, 1.0]), ("y", vec![2.0, 2.0])]);
    assert!(train(&huge, &[TWO]).unwrap_err().message.contains("'x'"));
}

#[test]
fn damage_is_an_error() {
    let file = train(&numbers(&[("x", vec![1.0, 2.0]), ("y", vec![2.0, 1.0])]), &[TWO]).unwrap().file;
    for missing in file.tensors.keys() {
        let mut damaged = file.clone();
        damaged.tensors.remove(missing);
        assert_eq!(Pca.read(&damaged).err().unwrap().cause, Cause::File, "{missing}");
    }
    let mut damaged = file.clone();
    damaged.put_f64("components", &[1], &[1.0]);
    assert_eq!(Pca.read(&damaged).err().unwrap().cause, Cause::File);
}

/// The columns of the customer personality data, rows without income left out; `None` where the data are not there.
fn customers() -> Option<Columns> {
    let shared =
        std::env::var("ORRERY_SHARED_DATA").unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_string());
    let text = std::fs::read_to_string(Path::new(&shared).join("customer_personality/marketing_campaign.csv")).ok()?;
    let names = ["Year_Birth", "Income", "Recency", "MntWines", "MntFruits", "MntMeatProducts"];
    let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let head = lines.next()?;
    let places: Vec<usize> = names.iter().map(|name| head.iter().position(|h| h == name).unwrap()).collect();
    let rows: Vec<Vec<&str>> = lines.filter(|row| !row[places[1]].is_empty()).collect();
    let of = |place: usize| rows.iter().map(|row| row[place].parse().unwrap()).collect();
    Some(numbers(&names.iter().zip(places).map(|(name, place)| (*name, of(place))).collect::<Vec<_>>()))
}

/// Expected values: NumPy 2, `numpy.linalg.eigh(numpy.cov(Z, rowvar=False))` of `Z = (X - X.mean(0)) / X.std(0, ddof=1)` (or `X - X.mean(0)`), eigenvectors
/// turned so that their largest weight is positive, projections `Z @ v`, errors `((Z - Z @ v @ v.T) ** 2).mean(1)`.
#[test]
fn agrees_with_numpy_on_real_customers() {
    let Some(columns) = customers() else { return };
    let trained = train(&columns, &[TWO]).unwrap();
    assert_eq!(trained.rows, 2216);
    let scaled = model(&trained);
    let info = scaled.table(ModelTable::PrincipalComponentsInfo).unwrap().unwrap();
    close(&column(&info, "eigenvalue"), &[2.578784436548941, 1.0270556930126769], 1e-12);
    close(&column(&info, "explained_variance_ratio"), &[0.42979740609149053, 0.17117594883544626], 1e-12);
    let weights = column(&scaled.table(ModelTable::PrincipalComponents).unwrap().unwrap(), "numerical_value");
    let first =
        [-0.11910827129100342, 0.5114126225673982, 0.010764381707347908, 0.4984814644182247, 0.4456918821943183, 0.5263358747537649];
    let second =
        [0.8297179737318734, -0.057191037675541706, -0.4756956581143195, -0.08992489432866445, 0.23200321717500222, 0.14177069770400735];
    close(&weights[..6], &first, 1e-10);
    close(&weights[6..], &second, 1e-10);
    let projected = scaled.predict(&arrays(&columns)).unwrap();
    let of = |at: usize, row: usize| projected[at].as_primitive::<Float64Type>().value(row);
    close(&[of(0, 0), of(1, 0)], &[2.3078404716495893, -0.4683383810731291], 1e-10);
    close(&[of(0, 2215), of(1, 2215)], &[-0.6804882277588167, -1.0235065927636002], 1e-10);
    let errors = scaled.anomalies(&arrays(&columns)).unwrap();
    let errors = errors[0].as_primitive::<Float64Type>();
    let most = errors.values().iter().fold(0.0f64, |most, e| most.max(*e));
    close(&[errors.value(0), most], &[0.29833816461758506, 77.76906903852688], 1e-10);
    let threshold = scaled.anomaly_threshold(0.01).unwrap();
    let above = errors.values().iter().filter(|e| **e > threshold).count();
    assert!((18..=22).contains(&above), "{above} of 2216 rows lie above the threshold of 1 %");
    assert!((evaluated(&scaled, &columns) - trained.metrics["total_explained_variance_ratio"]).abs() < 1e-12);

    let plain = model(&train(&columns, &[TWO, PLAIN]).unwrap());
    let info = plain.table(ModelTable::PrincipalComponentsInfo).unwrap().unwrap();
    close(&column(&info, "eigenvalue")[..1], &[633739387.5387728], 1e-12);
    close(&column(&info, "eigenvalue")[1..], &[82002.76822217282], 1e-9);
    let projected = plain.predict(&arrays(&columns)).unwrap();
    close(&[projected[1].as_primitive::<Float64Type>().value(0)], &[386.8153649738817], 1e-8);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Any order, any division: the same bytes.
    #[test]
    fn same_bytes_for_any_division(
        rows in prop::collection::vec((-1e6f64..1e6, prop::option::of(-1.0f64..1.0), -50i64..50), 3..400),
        batch_rows in 1usize..100,
        collectors in 1usize..6,
        turn in 0usize..400,
    ) {
        let columns = |rows: &[(f64, Option<f64>, i64)]| -> Columns {
            vec![
                ("a", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.0)))),
                ("b", Arc::new(rows.iter().map(|r| r.1).collect::<Float64Array>())),
                ("c", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2)))),
            ]
        };
        let options = [TWO];
        let Ok(whole) = train(&columns(&rows), &options) else { return Ok(()) };
        let mut turned = rows.clone();
        turned.rotate_left(turn % rows.len());
        turned.reverse();
        let divided = train_divided(&columns(&turned), &options, batch_rows, collectors).unwrap();
        prop_assert_eq!(whole.file.to_bytes().unwrap(), divided.file.to_bytes().unwrap());
    }

    /// Eigenvectors are orthonormal, and give the covariances back.
    #[test]
    fn components_rebuild_the_covariances(rows in prop::collection::vec(prop::array::uniform3(-10.0f64..10.0), 4..60)) {
        let columns: Vec<Vec<f64>> = (0..3).map(|i| rows.iter().map(|row| row[i]).collect()).collect();
        let named = numbers(&[("a", columns[0].clone()), ("b", columns[1].clone()), ("c", columns[2].clone())]);
        let all = ("num_principal_components", OptionValue::Int(3));
        let trained = train(&named, &[all, PLAIN]).unwrap();
        let model = model(&trained);
        let pca = model.as_any().downcast_ref::<PcaModel>().unwrap();
        let n = rows.len() as f64;
        let mean: Vec<f64> = columns.iter().map(|c| c.iter().sum::<f64>() / n).collect();
        for i in 0..3 {
            for j in 0..3 {
                let covariance = rows.iter().map(|row| (row[i] - mean[i]) * (row[j] - mean[j])).sum::<f64>() / (n - 1.0);
                let rebuilt: f64 = (0..3).map(|k| pca.values[k] * pca.components[3 * k + i] * pca.components[3 * k + j]).sum();
                prop_assert!((covariance - rebuilt).abs() < 1e-9, "{covariance} {rebuilt}");
                let product: f64 = (0..3).map(|k| pca.components[3 * i + k] * pca.components[3 * j + k]).sum();
                prop_assert!((product - f64::from(u8::from(i == j))).abs() < 1e-9);
            }
        }
        prop_assert!(pca.values.windows(2).all(|pair| pair[0] >= pair[1]));
    }
}
