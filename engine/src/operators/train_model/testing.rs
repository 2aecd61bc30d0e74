//! A model type for tests: it sums the column `v` in whole numbers, round after round, and counts the distinct values of the column `k`, for which rows with
//! equal keys have to be in one block; a third layout, by `v`, has to hold the same rows.

use std::any::Any;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use orrery_models::{
    Block, Collector, InputColumn, Iteration, Layout, Model, ModelError, ModelFile, ModelType, Observer, OptionKind, OptionSpec,
    OptionValue, Options, Passes, Result, Trained, Trainer,
};

use crate::models::training_spec::TrainingSpec;

pub(crate) const NAME: &str = "tally";

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Tally;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec { name: "rounds", kind: OptionKind::Int(1, 1000), default: Some("3"), about: "" },
    OptionSpec { name: "pass_ms", kind: OptionKind::Int(0, 100_000), default: Some("0"), about: "how long a pass takes" },
    OptionSpec { name: "padding", kind: OptionKind::Int(0, 100_000_000), default: Some("0"), about: "bytes of a request" },
];

/// A training of this type over the columns `k` and `v`.
pub(crate) fn spec(run_id: &str, options: &[(&str, i64)]) -> TrainingSpec {
    let column = |name: &str| InputColumn { name: name.to_string(), data_type: DataType::Int64 };
    TrainingSpec {
        model_type: NAME.to_string(),
        options: Options(options.iter().map(|(name, value)| ((*name).to_string(), OptionValue::Int(*value))).collect()),
        columns: vec![column("k"), column("v")],
        warm_start: None,
        run_id: run_id.to_string(),
    }
}

impl ModelType for Tally {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        ""
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn trainer(&self, options: &Options, columns: &[InputColumn], _: Option<&dyn Model>) -> Result<Box<dyn Trainer>> {
        options.check(OPTIONS)?;
        if let Some(column) = columns.iter().find(|column| column.data_type != DataType::Int64) {
            return Err(ModelError::column(&column.name, format!("{} is no whole number", column.data_type)));
        }
        let value = |name: &str, default: i64| options.int(name).unwrap_or(default).unsigned_abs();
        Ok(Box::new(TallyTrainer {
            rounds: value("rounds", 3) as u32,
            pass: Duration::from_millis(value("pass_ms", 0)),
            padding: value("padding", 0) as usize,
        }))
    }

    fn read(&self, _: &ModelFile) -> Result<Arc<dyn Model>> {
        Err(ModelError::file("a tally cannot be read"))
    }
}

struct TallyTrainer {
    rounds: u32,
    pass: Duration,
    padding: usize,
}

impl Trainer for TallyTrainer {
    fn layouts(&self) -> Vec<Layout> {
        vec![Layout::Any, Layout::By(vec![0]), Layout::By(vec![1])]
    }

    fn bytes_per_row(&self) -> usize {
        16
    }

    fn passes(&self) -> u32 {
        self.rounds * 3
    }

    fn collector(&self) -> Box<dyn Collector> {
        Box::new(Rows(Vec::new()))
    }

    fn blocks(&self, layouts: &[usize], collected: Vec<Box<dyn Collector>>, threads: usize) -> Result<Vec<Vec<Box<dyn Block>>>> {
        let mut rows = Vec::new();
        for collector in collected {
            rows.append(&mut collector.into_any().downcast::<Rows>().map_err(|_| ModelError::bug("other rows"))?.0);
        }
        let block = |rows: Vec<(i64, i64)>| Box::new(TallyBlock { rows, pass: self.pass }) as Box<dyn Block>;
        let blocks = layouts.iter().map(|layout| match layout {
            0 => rows.chunks(rows.len().div_ceil(threads).max(1)).map(|rows| block(rows.to_vec())).collect(),
            _ => {
                let mut parts: Vec<Vec<(i64, i64)>> = vec![Vec::new(); threads];
                rows.iter().for_each(|row| parts[row.0.unsigned_abs() as usize % threads].push(*row));
                parts.into_iter().map(block).collect()
            }
        });
        Ok(blocks.collect())
    }

    fn fit(&self, passes: &mut dyn Passes, observer: &dyn Observer) -> Result<Trained> {
        observer.begin(self.rounds);
        let (mut sums, mut distinct, mut rows, mut iterations) = (Vec::new(), Vec::new(), 0, Vec::new());
        for round in 0..self.rounds {
            let mut request = i64::from(round + 1).to_le_bytes().to_vec();
            request.resize(8 + self.padding, round as u8);
            let totals = total(&passes.run(0, &request)?)?;
            rows = totals.0;
            sums.push(totals.1);
            distinct.push(total(&passes.run(1, &request)?)?.2);
            let others = total(&passes.run(2, &request)?)?;
            if (others.0, others.1) != (totals.0, totals.1) {
                return Err(ModelError::bug(format!("the layouts hold {} and {} rows", totals.0, others.0)));
            }
            let iteration =
                Iteration { training_run: 0, iteration: round, loss: Some(totals.1 as f64), duration_ms: 0.0, clusters: Vec::new() };
            observer.iteration(&iteration);
            iterations.push(iteration);
        }
        let mut file = ModelFile::new(NAME);
        file.put_i64("sums", &[sums.len()], &sums);
        file.put_i64("distinct", &[distinct.len()], &distinct);
        // A number that reading as JSON turns into its neighbour.
        file.set("number", 0.999_999_999_999_354_1)?;
        let metrics = BTreeMap::from([("rows".to_string(), rows as f64)]);
        Ok(Trained { file, rows: rows.unsigned_abs(), iterations, metrics, trials: Vec::new() })
    }

    fn outline(&self) -> Result<Trained> {
        Err(ModelError::bug("a tally cannot be read, so that nothing can be planned with it"))
    }
}

/// Rows, sum and distinct keys of all blocks.
fn total(partials: &[Vec<u8>]) -> Result<(i64, i64, i64)> {
    partials.iter().try_fold((0, 0, 0), |(rows, sum, distinct), partial| {
        let words: Vec<i64> = partial.as_chunks::<8>().0.iter().map(|word| i64::from_le_bytes(*word)).collect();
        let [more, add, keys] = words.as_slice() else { return Err(ModelError::bug("other words")) };
        Ok((rows + more, i64::wrapping_add(sum, *add), distinct + keys))
    })
}

struct Rows(Vec<(i64, i64)>);

impl Collector for Rows {
    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let (keys, values) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Int64Type>());
        self.0.extend(keys.values().iter().copied().zip(values.values().iter().copied()));
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.0.len() * 16
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

struct TallyBlock {
    rows: Vec<(i64, i64)>,
    pass: Duration,
}

impl Block for TallyBlock {
    fn pass(&mut self, request: &[u8], observer: &dyn Observer) -> Result<Vec<u8>> {
        let until = Instant::now() + self.pass;
        while Instant::now() < until {
            if observer.is_cancelled() {
                return Err(ModelError::cancelled());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let factor = request.first_chunk::<8>().map_or(0, |word| i64::from_le_bytes(*word));
        let sum = self.rows.iter().fold(0_i64, |sum, (_, value)| sum.wrapping_add(value.wrapping_mul(factor)));
        let distinct = self.rows.iter().map(|(key, _)| *key).collect::<HashSet<_>>().len();
        Ok([self.rows.len() as i64, sum, distinct as i64].iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    fn bytes(&self) -> usize {
        self.rows.len() * 16
    }
}
