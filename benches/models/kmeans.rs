//! Times a training of KMeans on made-up rows, beside what another program needs for the same file.
//!
//! `cargo run --release -p orrery-models --example kmeans_bench -- [rows] [features] [clusters] [file]`; with a file, the rows are written to it as `f64`,
//! little-endian, row by row, for `scripts` that compare.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use orrery_models::keyed_random::{normal, uniform};
use orrery_models::{InputColumn, OptionValue, Options, Unobserved, model_type, train_in_memory};

const BATCH_ROWS: usize = 8192;
/// Around how many places the rows lie.
const PLACES: u64 = 12;

fn row(i: u64, features: u64, out: &mut [f64]) {
    let place = (uniform(1, i, 0) * PLACES as f64) as u64;
    for (f, x) in (0..features).zip(out) {
        *x = 2.0 * normal(2, place, f) + normal(3, i, f);
    }
}

/// Processor time of this process so far, in seconds; on a busy machine it tells more than the clock. 0 where the system does not tell.
fn cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = |field: usize| stat.split_whitespace().nth(field).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(13) + ticks(14)) / TICKS_PER_SECOND
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |a| a.parse());
    let (rows, features, clusters) = (number(2_000_000)?, number(10)?, number(8)?);
    let mut file = arguments.next().map(std::fs::File::create).transpose()?.map(std::io::BufWriter::new);
    let fields: Vec<Field> = (0..features).map(|f| Field::new(format!("f{f}"), DataType::Float64, false)).collect();
    let columns: Vec<InputColumn> = fields.iter().map(|f| InputColumn { name: f.name().clone(), data_type: DataType::Float64 }).collect();
    let schema = Arc::new(Schema::new(fields));
    let options = Options(BTreeMap::from([
        ("num_clusters".to_string(), OptionValue::Int(clusters as i64)),
        ("tol".to_string(), OptionValue::Float(0.0)),
    ]));
    let trainer = model_type("kmeans")?.trainer(&options, &columns, None)?;
    let mut collectors = vec![trainer.collector(), trainer.collector()];
    let mut gathering = 0.0;
    let mut values = vec![0.0; features as usize];
    let mut last = None;
    for (i, from) in (0..rows).step_by(BATCH_ROWS).enumerate() {
        let mut arrays = vec![Vec::with_capacity(BATCH_ROWS); features as usize];
        for r in from..rows.min(from + BATCH_ROWS as u64) {
            row(r, features, &mut values);
            arrays.iter_mut().zip(&values).for_each(|(a, v)| a.push(*v));
            if let Some(file) = &mut file {
                values.iter().try_for_each(|v| file.write_all(&v.to_le_bytes()))?;
            }
        }
        let arrays: Vec<ArrayRef> = arrays.into_iter().map(|a| Arc::new(Float64Array::from(a)) as ArrayRef).collect();
        let begin = Instant::now();
        collectors[i % 2].push(&RecordBatch::try_new(Arc::clone(&schema), arrays.clone())?)?;
        gathering += begin.elapsed().as_secs_f64();
        last = Some(arrays);
    }
    println!("gathering {gathering:.3} s, {} MB", collectors.iter().map(|c| c.bytes()).sum::<usize>() >> 20);
    let (begin, cpu) = (Instant::now(), cpu_seconds());
    let trained = train_in_memory(&*trainer, collectors, &Unobserved)?;
    println!("training {:.3} s, {:.3} s of processors", begin.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let in_iterations: f64 = trained.iterations.iter().map(|i| i.duration_ms).sum();
    println!(
        "{} iterations, {in_iterations:.1} ms: {:?}",
        trained.iterations.len(),
        trained.iterations.iter().map(|i| i.duration_ms as u32).collect::<Vec<_>>()
    );
    println!("{:?}", trained.metrics);
    let model = model_type("kmeans")?.read(&trained.file)?;
    if let Some(batch) = last {
        for wanted in [&[0usize][..], &[0, 1]] {
            let (begin, cpu, times) = (Instant::now(), cpu_seconds(), 1000);
            for _ in 0..times {
                model.predict_only(&batch, wanted)?;
            }
            let scored = times as f64 * batch[0].len() as f64;
            let (clock, cpu) = (begin.elapsed().as_secs_f64() * 1e9 / scored, (cpu_seconds() - cpu) * 1e9 / scored);
            println!("scoring {wanted:?}: {clock:.2} ns a row, {cpu:.2} ns of processors");
        }
    }
    Ok(())
}
