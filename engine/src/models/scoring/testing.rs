//! A small model for tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::DataType;
use orrery_models::{InputColumn, Model, OptionValue, Options, Trained, Unobserved, model_file, model_type, train_in_memory};

use crate::models::ModelReference;

/// Points around (0, 0) and (100, 100), moved by `shift`.
pub(crate) fn points(shift: f64) -> RecordBatch {
    let near = |centre: f64| [centre - 1.0, centre, centre + 1.0, centre + 2.0];
    let values: Vec<f64> = near(shift).into_iter().chain(near(100.0 + shift)).collect();
    let column = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as ArrayRef;
    RecordBatch::try_from_iter([("a", column(values.clone())), ("b", column(values))]).unwrap()
}

/// Two clusters of [`points`].
pub(crate) fn trained(shift: f64) -> Trained {
    let options = [("num_clusters", 2), ("seed", 42)].map(|(name, value)| (name.to_string(), OptionValue::Int(value)));
    let columns = ["a", "b"].map(|name| InputColumn { name: name.to_string(), data_type: DataType::Float64 });
    let trainer = model_type("kmeans").unwrap().trainer(&Options(BTreeMap::from(options)), &columns, None).unwrap();
    let mut collector = trainer.collector();
    collector.push(&points(shift)).unwrap();
    train_in_memory(trainer.as_ref(), vec![collector], &Unobserved).unwrap()
}

/// The same as a model.
pub(crate) fn model(shift: f64) -> Arc<dyn Model> {
    model_type("kmeans").unwrap().read(&trained(shift).file).unwrap()
}

/// Writes the model's file into a folder.
pub(crate) fn stored(folder: &Path, shift: f64) -> ModelReference {
    let bytes = trained(shift).file.to_bytes().unwrap();
    let path = folder.join(format!("{shift}.safetensors"));
    std::fs::write(&path, &bytes).unwrap();
    let url = url::Url::from_file_path(&path).unwrap().to_string();
    ModelReference { name: "dev.default.m".to_string(), version: 1, url, checksum: model_file::checksum(&bytes) }
}
