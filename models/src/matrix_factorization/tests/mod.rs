//! Tests of whole trainings and models; what a single solver does is tested in `solvers`.

mod determinism;
mod models;
mod options;
mod rankings;
mod reference;
mod solvers;
mod tuning;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{Field, Schema};

use super::{MatrixFactorization, MatrixFactorizationModel};
use crate::{Evaluation, InputColumn, ModelType as _, OptionValue, Options, Result, Trained, Trainer, Unobserved, train_in_memory};

/// Options of a test, as `name = value`.
fn options(given: &[(&str, OptionValue)]) -> Options {
    Options(given.iter().map(|(name, value)| ((*name).to_string(), value.clone())).collect::<BTreeMap<_, _>>())
}

fn text(value: &str) -> OptionValue {
    OptionValue::Text(value.to_string())
}

/// Rows with columns `user`, `item` and `rating`.
fn rows_of(users: ArrayRef, items: ArrayRef, ratings: ArrayRef) -> RecordBatch {
    let columns = [("user", users), ("item", items), ("rating", ratings)];
    let fields: Vec<Field> = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.map(|(_, column)| column).to_vec()).unwrap()
}

fn rows(triples: &[(i64, i64, f64)]) -> RecordBatch {
    rows_of(
        Arc::new(triples.iter().map(|t| t.0).collect::<Int64Array>()),
        Arc::new(triples.iter().map(|t| t.1).collect::<Int64Array>()),
        Arc::new(triples.iter().map(|t| t.2).collect::<Float64Array>()),
    )
}

fn columns_of(rows: &RecordBatch) -> Vec<InputColumn> {
    rows.schema().fields().iter().map(|f| InputColumn { name: f.name().clone(), data_type: f.data_type().clone() }).collect()
}

fn trainer(rows: &RecordBatch, given: &[(&str, OptionValue)]) -> Result<Box<dyn Trainer>> {
    MatrixFactorization.trainer(&options(given), &columns_of(rows), None)
}

fn train(rows: &RecordBatch, given: &[(&str, OptionValue)]) -> Result<Trained> {
    let trainer = trainer(rows, given)?;
    let mut collector = trainer.collector();
    collector.push(rows)?;
    train_in_memory(trainer.as_ref(), vec![collector], &Unobserved)
}

fn model(rows: &RecordBatch, given: &[(&str, OptionValue)]) -> Arc<MatrixFactorizationModel> {
    Arc::new(MatrixFactorizationModel::read(&train(rows, given).unwrap().file).unwrap())
}

/// The measures of an evaluation on rows that lie in batches, each taken alone.
fn measured(evaluation: &dyn Evaluation, batches: &[RecordBatch]) -> RecordBatch {
    let (mut before, mut last): (Option<Vec<u8>>, Option<Vec<u8>>) = (None, None);
    for stage in 0..evaluation.stages() {
        before = last.take();
        let of_batch = |rows: &RecordBatch| {
            let columns: Vec<ArrayRef> = evaluation.columns().into_iter().map(|at| Arc::clone(rows.column(at))).collect();
            evaluation.accumulate(stage, before.as_deref(), None, &columns).unwrap()
        };
        last = batches.iter().map(of_batch).reduce(|one, other| evaluation.merge(stage, one, &other).unwrap());
    }
    evaluation.finish(before.as_deref(), last.as_deref()).unwrap()
}

/// Ratings that look random but are the same in every run: about `share` of all pairs, each once.
fn some_ratings(users: i64, items: i64, share: f64) -> Vec<(i64, i64, f64)> {
    let mut triples = Vec::new();
    for user in 0..users {
        for item in 0..items {
            let pair = (user * items + item) as u64;
            if crate::keyed_random::uniform(5, pair, 0) < share {
                let taste = ((user % 3) - (item % 4)) as f64;
                triples.push((user * 7 - 20, item * 3, (3.0 - taste.abs() + crate::keyed_random::uniform(5, pair, 1)).max(0.5)));
            }
        }
    }
    triples
}
