//! Times a matrix factorization on ratings that `als.py` wrote, and measures it on the rows held out; prints one line of JSON.
//!
//! `als_bench FILE explicit|implicit RANK ITERATIONS SOLVER SEED`. The file: how many ratings (8 bytes), then users and items (8 bytes each), ratings (4) and
//! whether a row is held out (1), column by column, little-endian.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, Int64Array, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::{DataType, Field, Schema};
use orrery_models::matrix_factorization::{MatrixFactorizationModel, RankingEvaluation, Side};
use orrery_models::{Evaluation, InputColumn, Model, OptionValue, Options, Unobserved, model_type};

type Anything<T> = Result<T, Box<dyn std::error::Error>>;

fn read(path: &str) -> Anything<(RecordBatch, RecordBatch)> {
    let bytes = std::fs::read(path)?;
    let (count, rest) = bytes.split_first_chunk::<8>().ok_or("the file is too short")?;
    let n = u64::from_le_bytes(*count) as usize;
    let (users, rest) = rest.split_at(n * 8);
    let (items, rest) = rest.split_at(n * 8);
    let (ratings, held_out) = rest.split_at(n * 4);
    let ids =
        |bytes: &[u8]| Arc::new(Int64Array::from_iter_values(bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)))) as ArrayRef;
    let ratings = Arc::new(Float32Array::from_iter_values(ratings.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b))));
    let fields = [("user", DataType::Int64), ("item", DataType::Int64), ("rating", DataType::Float32)];
    let schema = Schema::new(fields.map(|(name, kind)| Field::new(name, kind, false)).to_vec());
    let all = RecordBatch::try_new(Arc::new(schema), vec![ids(users), ids(items), ratings])?;
    let held_out: BooleanArray = held_out.iter().map(|flag| Some(*flag != 0)).collect();
    Ok((filter_record_batch(&all, &not(&held_out)?)?, filter_record_batch(&all, &held_out)?))
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn measure(evaluation: &dyn Evaluation, rows: &RecordBatch) -> Anything<String> {
    let columns: Vec<ArrayRef> = evaluation.columns().into_iter().map(|column| rows.column(column).clone()).collect();
    let (mut before, mut partial): (Option<Vec<u8>>, Option<Vec<u8>>) = (None, None);
    for stage in 0..evaluation.stages() {
        before = partial.take();
        partial = Some(evaluation.accumulate(stage, before.as_deref(), None, &columns)?);
    }
    let result = evaluation.finish(before.as_deref(), partial.as_deref())?;
    let mut text = Vec::new();
    for (field, column) in result.schema().fields().iter().zip(result.columns()) {
        let value = arrow::util::display::array_value_to_string(column, 0)?;
        text.push(format!("\"{}\": {}", field.name(), if value.is_empty() { "null" } else { value.as_str() }));
    }
    Ok(text.join(", "))
}

fn main() -> Anything<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, feedback, rank, iterations, solver, seed] = arguments.as_slice() else { return Err("see the head of the file".into()) };
    let (training, held_out) = read(path)?;
    let columns: Vec<InputColumn> =
        training.schema().fields().iter().map(|f| InputColumn { name: f.name().clone(), data_type: f.data_type().clone() }).collect();
    let options = Options(
        [
            ("feedback_type", OptionValue::Text(feedback.clone())),
            ("num_factors", OptionValue::Int(rank.parse()?)),
            ("max_iterations", OptionValue::Int(iterations.parse()?)),
            ("solver", OptionValue::Text(solver.clone())),
            ("seed", OptionValue::Int(seed.parse()?)),
        ]
        .map(|(name, value)| (name.to_string(), value))
        .into(),
    );
    let trainer = model_type("matrix_factorization")?.trainer(&options, &columns, None)?;
    let begin = Instant::now();
    let mut collector = trainer.collector();
    let mut from = 0;
    while from < training.num_rows() {
        let rows = 8192.min(training.num_rows() - from);
        collector.push(&training.slice(from, rows))?;
        from += rows;
    }
    let collect_ms = ms(begin);
    let begin = Instant::now();
    let mut passes = orrery_models::model_type::InMemory { blocks: trainer.blocks(&[0, 1], vec![collector], 2)?, observer: &Unobserved };
    let blocks_ms = ms(begin);
    let begin = Instant::now();
    let trained = trainer.fit(&mut passes, &Unobserved)?;
    let fit_ms = ms(begin);
    let iterations_ms: f64 = trained.iterations.iter().map(|iteration| iteration.duration_ms).sum();
    let losses: Vec<f64> = trained.iterations.iter().filter_map(|iteration| iteration.loss).collect();
    let begin = Instant::now();
    let bytes = trained.file.to_bytes()?;
    let write_ms = ms(begin);
    let begin = Instant::now();
    let model = Arc::new(MatrixFactorizationModel::read(&orrery_models::ModelFile::from_bytes(&bytes)?)?);
    let read_ms = ms(begin);
    let begin = Instant::now();
    let top = model.recommend_range(Side::Users, 0, usize::MAX, 10, false)?;
    let top_ms = ms(begin);
    let begin = Instant::now();
    model.recommend_range(Side::Users, 0, usize::MAX, 10, true)?;
    let unseen_ms = ms(begin);
    let begin = Instant::now();
    let errors = measure(model.clone().evaluation(&columns, &Options::default())?.as_ref(), &held_out)?;
    let evaluate_ms = ms(begin);
    let ranking = measure(&RankingEvaluation::new(model.clone(), &columns, 0.0, 10)?, &held_out)?;
    println!(
        "{{\"collect_ms\": {collect_ms:.1}, \"blocks_ms\": {blocks_ms:.1}, \"fit_ms\": {fit_ms:.1}, \"iterations_ms\": {iterations_ms:.1}, \"write_ms\": {write_ms:.1}, \
         \"read_ms\": {read_ms:.1}, \"top_10_ms\": {top_ms:.1}, \"top_10_unseen_ms\": {unseen_ms:.1}, \"evaluate_ms\": {evaluate_ms:.1}, \"users\": {}, \
         \"file_bytes\": {}, \"losses\": {losses:?}, \"held_out\": {{{errors}}}, \"ranking\": {{{ranking}}}, \"type\": \"{}\"}}",
        top.ids.len(),
        bytes.len(),
        model.model_type(),
    );
    Ok(())
}
